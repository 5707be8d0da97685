# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups are planned for every release and model, and unsuitable settings are refused."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import serve_options, version_key
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.topology import GROUPED
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    BF16,
    CATALOGUE,
    W8A8,
    group_plans,
    inputs_of,
    options,
    valid,
    valid_group,
)

THREE = ("node1", "node2", "node3")
FULL_DECODE_ONLY = {"compilation-config": {"cudagraph_mode": "FULL_DECODE_ONLY"}}
# Releases without --nnodes. Pipelines are refused for them.
NO_NNODES = ("v0.11.0rc1", "v0.11.0rc2", "v0.11.0rc3", "v0.11.0")
# Releases in which asynchronous scheduling works in a pipeline without Ray.
ASYNC_PIPELINE = [release for release in CATALOGUE["releases"] if version_key(release) >= version_key("v0.18.0rc1")]


def instances(resolved):
    """Return ``{host: its only instance}``."""
    return {host: found["instances"][0] for host, found in resolved.items()}


def refused(topology, **case):
    """Return ``{host: its refusals in one string}``."""
    return {host: " ".join(refusal["message"] for refusal in found["refusals"])
            for host, found in group_plans(topology, **case).items()}


@pytest.mark.parametrize("model", [W8A8, BF16])
@pytest.mark.parametrize("release", CATALOGUE["releases"])
@pytest.mark.parametrize("topology", GROUPED)
def test_group_is_planned_for_every_release_model_and_topology(topology, release, model):
    if topology == "pipeline" and release in NO_NNODES:
        message = refused(topology, plan_release=release)["node1"]
        assert "has no option --nnodes; set it to ray, or plan_release to one of v0.12.0rc1, " in message
        return
    resolved = valid_group(topology, hosts=THREE, plan_release=release, plan_model=model)
    known = serve_options(CATALOGUE, CATALOGUE["releases"][release]["vllm"])
    asynchronous = topology == "data_parallel" or (topology == "pipeline" and release in ASYNC_PIPELINE)
    for rank, found in enumerate(resolved.values()):
        (instance,) = found["instances"]
        if topology == "ray" and rank:
            assert instance["command"][:2] == ["ray", "start"]
            continue
        rendered = options(found)
        assert [name for name in rendered if name[2:] not in known and name[5:] not in known] == []
        assert ("--async-scheduling" in rendered) is asynchronous
        assert ("--headless" in rendered) is (rank > 0)
        assert ("--port" in rendered) is ("--host" in rendered) is instance["serves"] is (rank == 0)
        assert rendered["--tensor-parallel-size"] == ["2"]


def test_data_parallel_members_have_consecutive_ranks():
    rendered = [options(found) for found in valid_group("data_parallel", hosts=THREE).values()]
    for rank, one in enumerate(rendered):
        assert one["--data-parallel-size"] == ["3"]
        assert one["--data-parallel-size-local"] == ["1"]
        assert one["--data-parallel-address"] == ["192.0.2.11"]
        assert one["--data-parallel-rpc-port"] == ["13389"]
        assert one.get("--data-parallel-start-rank") == ([str(rank)] if rank else None)


def test_data_parallel_ranks_of_a_node_run_in_one_container():
    resolved = valid_group("data_parallel", hosts=THREE, changes={
        "node1": {"serving_replicas": "auto"}, "node2": {"serving_replicas": 1}, "node3": {"serving_replicas": 2}})
    rendered = [options(found) for found in resolved.values()]
    assert [one["--data-parallel-size"] for one in rendered] == [["7"]] * 3
    assert [one["--data-parallel-size-local"] for one in rendered] == [["4"], ["1"], ["2"]]
    assert [one.get("--data-parallel-start-rank") for one in rendered] == [None, ["4"], ["5"]]
    found = instances(resolved)
    assert [len(instance["npus"]) for instance in found.values()] == [8, 2, 4]
    assert "/dev/davinci7" in found["node1"]["devices"]
    assert "/dev/davinci4" not in found["node3"]["devices"]


def test_pipeline_members_have_consecutive_ranks():
    rendered = [options(found) for found in valid_group("pipeline", hosts=THREE, plan_release="v0.18.0").values()]
    for rank, one in enumerate(rendered):
        assert one["--pipeline-parallel-size"] == one["--nnodes"] == ["3"]
        assert one["--node-rank"] == [str(rank)]
        assert (one["--master-addr"], one["--master-port"]) == (["192.0.2.11"], ["13389"])
        assert one["--distributed-executor-backend"] == ["mp"]


def test_ray_head_starts_the_server_and_the_worker_joins():
    head, worker = instances(valid_group("ray", serving_api_key="set", serving_plog_max_mb=0)).values()
    assert worker["command"] == ["ray", "start", "--address=192.0.2.11:6379", "--node-ip-address=192.0.2.12", "--block"]
    script, secrets = head["launcher"].index("ray-head"), head["launcher"].index("/run/ascend-vllm/secrets.env")
    assert script < secrets, "the API key must not be in the environment of Ray"
    assert head["launcher"][script + 1:script + 3] == ["192.0.2.11", "6379"]
    assert "ray start --head" in head["launcher"][2]
    assert head["launcher"][2].endswith('&& exec "$@"')
    command = head["command"]
    assert command[command.index("--distributed-executor-backend") + 1] == "ray"
    assert command[command.index("--pipeline-parallel-size") + 1] == "2"
    for instance in (head, worker):
        assert instance["environment"]["RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES"] == "1"
        assert instance["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"
        assert instance["environment"]["ASCEND_RT_VISIBLE_DEVICES"] == "0,1"
    for instance in instances(valid_group("ray", serving_privileged=True, serving_npus=[4, 5])).values():
        assert instance["environment"]["ASCEND_RT_VISIBLE_DEVICES"] == "4,5"


@pytest.mark.parametrize("topology", GROUPED)
def test_container_of_every_member_is_set_up_for_the_group(topology):
    resolved = valid_group(topology, plan_release="v0.18.0", serving_api_key="set")
    for rank, instance in enumerate(instances(resolved).values()):
        environment, sources = instance["environment"], {mount["source"] for mount in instance["mounts"]}
        assert environment["HCCL_IF_IP"] == environment["VLLM_HOST_IP"] == instance["address"] == f"192.0.2.{11 + rank}"
        assert not {"GLOO_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME"} & set(environment), "the node determines them"
        assert environment["HCCL_CONNECT_TIMEOUT"] == "600"
        assert {"/usr/local/Ascend/driver/tools/hccn_tool", "/etc/hccn.conf"} <= sources
        assert (instance["shm_size"], instance["restart_policy"]) == ("16g", "no")
        assert bool(instance["secrets_path"]) is (rank == 0), "only the head has the API and needs the key"
        assert bool(instance["url"]) is (rank == 0)
    assert [len(serving_instances(found)) for found in resolved.values()] == [1, 0]


def test_serving_env_cannot_set_what_other_variables_control():
    found = instances(valid_group("data_parallel", serving_env={"HCCL_CONNECT_TIMEOUT": 120, "OMP_PROC_BIND": None}))
    assert found["node2"]["environment"]["HCCL_CONNECT_TIMEOUT"] == "120"
    assert "OMP_PROC_BIND" not in found["node2"]["environment"]
    message = refused("data_parallel", serving_env={"HCCL_IF_IP": "192.0.2.1", "GLOO_SOCKET_IFNAME": "eth1"})["node1"]
    assert "HCCL_IF_IP, which serving_group_address controls" in message
    assert "GLOO_SOCKET_IFNAME, which serving_interface controls" in message
    assert valid(serving_env={"HCCL_IF_IP": "192.0.2.1"}), "allowed without a group"


def test_api_server_count_is_set_on_the_head_only():
    resolved = valid_group("data_parallel", serving_args={"api-server-count": 2})
    assert ["--api-server-count" in options(found) for found in resolved.values()] == [True, False]


@pytest.mark.parametrize(("topology", "release", "arguments", "message"), [
    ("ray", "v0.11.0rc1", {"async-scheduling": True}, "asynchronous scheduling is an error in this release; remove"),
    ("pipeline", "v0.14.0rc1", {"async_scheduling": True}, "which does not work with serving_topology pipeline"),
    ("ray", "v0.18.0", {"async-scheduling": True}, "the Ray executor does not support asynchronous scheduling"),
    ("data_parallel", "v0.11.0rc1", FULL_DECODE_ONLY, "requests with images hang with FULL_DECODE_ONLY"),
    ("data_parallel", "v0.11.0rc2", {"compilation-config": '{"cudagraph_mode":"FULL_DECODE_ONLY"}'}, "request 4393"),
    ("ray", "v0.11.0rc2", {"enable-expert-parallel": True}, "Ray with expert parallelism does not work"),
])
def test_argument_that_is_incompatible_with_the_topology_is_refused(topology, release, arguments, message):
    assert message in refused(topology, plan_release=release, serving_args=arguments)["node2"]


@pytest.mark.parametrize(("topology", "release", "arguments"), [
    ("data_parallel", "v0.11.0rc3", FULL_DECODE_ONLY),
    ("data_parallel", "v0.11.0rc1", {"async-scheduling": True}),
    ("data_parallel", "v0.11.0rc1", {"compilation-config": {"cudagraph_mode": "PIECEWISE"}}),
    ("ray", "v0.11.0rc1", {"async-scheduling": False}),
    ("ray", "v0.23.0", {"async-scheduling": True}),
])
def test_argument_that_is_compatible_with_the_topology_is_accepted(topology, release, arguments):
    assert valid_group(topology, plan_release=release, serving_args=arguments)


@pytest.mark.parametrize(("case", "message"), [
    ({"hosts": ("node1",)}, "serving_hosts must name two or more different hosts"),
    ({"changes": {"node1": {"serving_hosts": ["node1", "node1"]}}}, "names node1, node1"),
    ({"changes": {"node1": {"serving_hosts": ["node2", "node9"]}}}, "but not node1 itself"),
    ({"changes": {"node1": {"serving_hosts": ["node1", "node9"]}}}, "names node9, which is not in the inventory"),
    ({"changes": {"node2": {"serving_args": {"max-num-seqs": 3}}}}, "serving_args is {} on node1, but"),
    ({"changes": {"node2": {"plan_release": "v0.18.0"}}}, "plan_release is 'v0.11.0rc1' on node1, but 'v0.18.0'"),
    ({"changes": {"node2": {"serving_group_address": "node2.example.com"}}}, "of node2 must be the IPv4 address"),
    ({"changes": {"node2": {"serving_group_address": "127.0.0.1"}}}, "of node2 must be the IPv4 address"),
    ({"changes": {"node2": {"serving_group_address": "192.0.2.11"}}}, "192.0.2.11 on more than one host"),
    ({"changes": {"node2": {"serving_npus": [0]}}},
     "node2, which is in the same group as node1, cannot be deployed: serving_replicas: 1 x 2 NPUs"),
    ({"serving_group_port": 8888},
     "serving_port assigns port 8888 to instance 0, but this overlaps with serving_group_po"),
    ({"serving_restart_hung": True}, "serving_restart_hung is true, but a restarted host cannot rejoin its group"),
    ({"serving_group_port": 80}, "serving_group_port must be an integer from 1024"),
])
def test_invalid_group_is_refused(case, message):
    assert message in refused("data_parallel", **case)["node1"]


def test_invalid_addresses_are_not_compared():
    message = refused("data_parallel", changes={name: {"serving_group_address": "localhost"} for name in (
        "node1", "node2")})["node1"]
    assert "of node1 must be" in message
    assert "more than one host" not in message


def test_ray_port_must_not_be_one_of_its_worker_ports():
    assert "Ray uses the ports from 10002 to 19999 for its workers" in refused("ray", serving_group_port=13389)["node1"]
    assert valid_group("ray", serving_group_port=20000)["node1"]["group"]["port"] == 20000


def test_pipeline_has_one_engine_on_each_node():
    assert "serving_replicas must be 1 with serving_topology ray" in refused("ray", serving_replicas=2)["node1"]


def test_weights_are_spread_across_the_stages_of_a_pipeline():
    case = {"plan_model": "qwen2_5_vl_32b_instruct", "serving_tensor_parallel_size": 1}
    assert "need 62.3 GiB" in refused("data_parallel", **case)["node1"]
    assert valid_group("ray", **case)


@pytest.mark.parametrize("topology", GROUPED)
def test_untested_topology_causes_a_warning(topology):
    for found in valid_group(topology, plan_release="v0.18.0").values():
        assert any("leaves this cell empty" in warning["message"] for warning in found["warnings"])


def hashes(**case):
    """Return the hashes of the members, and assert that the container labels and every member's plan contain them."""
    resolved = valid_group("data_parallel", **case)
    planned = {tuple(member["hash"] for member in found["group"]["members"]) for found in resolved.values()}
    found = [instance["labels"]["ascend.vllm.instance-hash"] for instance in instances(resolved).values()]
    assert planned == {tuple(found)}
    return found


def test_change_of_one_member_changes_all_hashes():
    before = hashes()
    assert hashes() == before
    assert len(set(before)) == 2
    for changes in ({"serving_env": {"A": 1}}, {"serving_npus": [2, 3]}, {"serving_driver_path": "/opt/driver"}):
        assert not set(hashes(changes={"node2": changes})) & set(before)


def test_different_list_of_hosts_changes_all_hashes():
    assert not set(hashes(hosts=THREE)) & set(hashes())


def test_replicas_do_not_depend_on_serving_hosts():
    inputs = inputs_of("replicas")
    alone = resolve(CATALOGUE, inputs["node1"])
    assert alone["group"] is None
    assert resolve(CATALOGUE, inputs["node1"], "node1", inputs) == {**alone, "node": "node1"}
    assert "address" not in alone["instances"][0]
