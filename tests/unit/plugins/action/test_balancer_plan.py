# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action determines the servers behind the balancer from the inventory, and refuses unsuitable variables."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action import balancer_plan
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import HostVars, new_action

PIPELINE = {"serving_topology": "pipeline", "serving_hosts": ["node1", "node2"], "plan_release": "v0.18.0"}


def variables(host="node1", present=("node1", "node2"), **changes):
    """Return the variables of a host. node1 and node2 are in the play, node3 is only in the inventory.

    :param present: the hosts of the play that have not failed.
    :param changes: ``{host: variables that only this host has}``.
    """
    hosts = HostVars({name: dict({"inventory_hostname": name, "ansible_host": address}, **changes.get(name, {}))
                      for name, address in (("node1", "10.0.0.1"), ("node2", "10.0.0.2"), ("node3", "10.0.0.3"))})
    groups = {"npu_nodes": list(hosts)}
    for host_variables in hosts.values():
        host_variables["groups"] = groups
    return dict(hosts[host], hostvars=hosts, ansible_play_hosts_all=["node1", "node2"], ansible_play_hosts=present)


@pytest.fixture
def resolve(tmp_path):
    """Return a function (variables) -> the result of the action."""
    def run(task_vars):
        return new_action(balancer_plan, {}).run(task_vars={"report_path": str(tmp_path), **task_vars})
    return run


def test_nodes_outside_the_play_remain_servers_of_the_balancer(resolve):
    result = resolve(variables(node3={"serving_port": 9000}))
    assert (result["hosts"], result["managed"]) == (["node1"], ["node1"])
    assert [(each["name"], each["address"]) for each in result["servers"]] == [
        ("node1:8888", "10.0.0.1"), ("node2:8888", "10.0.0.2"), ("node3:9000", "10.0.0.3")]
    assert result["services"] == [
        {"name": "balancer on node1", "served_name": "qwen25_vl", "url": "http://10.0.0.1:8080"}]
    assert result["ports"] == [{"name": "balancer_port", "port": 8080},
                               {"name": "balancer_watch_port", "port": 8079}]


def test_first_node_manages_a_balancer_outside_the_play(resolve):
    task_vars = variables(node1={"balancer_hosts": ["lb"], "balancer_watch_interval_s": 0})
    task_vars["hostvars"]["lb"] = {"inventory_hostname": "lb", "ansible_host": "10.0.0.9",
                                   "groups": task_vars["groups"]}
    result = resolve(task_vars)
    assert (result["hosts"], result["managed"]) == (["lb"], ["lb"])
    assert len(result["servers"]) == 3
    assert [service["url"] for service in result["services"]] == ["http://10.0.0.9:8080"]
    assert result["ports"] == [{"name": "balancer_port", "port": 8080}]


def test_control_paths_depend_on_the_releases_of_all_nodes(resolve):
    assert "/pause" not in resolve(variables())["control_paths"]  # vLLM 0.11 does not have it
    paths = resolve(variables(node3={"plan_release": "v0.18.0"}))["control_paths"]
    assert {"/pause", "/sleep", "/collective_rpc", "/v1/load_lora_adapter"} < set(paths)
    assert not {"/health", "/v1/models", "/v1/completions", "/metrics"} & set(paths)


def test_node_that_manages_no_balancer_returns_only_its_own_server(resolve):
    result = resolve(dict(variables(), inventory_hostname="node2", ansible_host="10.0.0.2"))
    assert (result["managed"], result["services"]) == ([], [])
    assert [each["name"] for each in result["servers"]] == ["node2:8888"]


def test_only_the_head_of_a_group_receives_requests(resolve):
    result = resolve(variables(node1=PIPELINE, node2=PIPELINE, node3={"plan_release": "v0.18.0"}))
    assert [each["name"] for each in result["servers"]] == ["node1:8888", "node3:8888"]
    assert result["hosts"] == ["node1"]


def test_node_that_receives_no_requests_does_not_wait_for_a_balancer(resolve):
    assert resolve(variables(host="node2", node1=PIPELINE, node2=PIPELINE))["hosts"] == []


@pytest.mark.parametrize(("changes", "message"), [
    ({"node1": {"balancer_hosts": ["lb"]}}, "balancer_hosts must name hosts .* on node1 it names lb"),
    ({"node1": {"balancer_nodes": []}}, "must name hosts of the inventory, but on node1 it names none"),
    ({"node3": {"serving_api_key": "sesame"}}, "serving_api_key differs"),
    ({"node3": {"serving_api_key": ["sesame", "other"]}}, "serving_api_key differs"),
    ({"node3": {"plan_release": "v9"}}, "node3 cannot be deployed like this, .* plan_release is v9"),
    ({"node1": {"balancer_port": 8888}}, "balancer_port is 8888"),
    ({"node1": {"balancer_watch_port": 8888}}, "balancer_watch_port is 8888"),
])
def test_variables_that_do_not_suit_a_balancer_are_refused(resolve, changes, message):
    with pytest.raises(AnsibleActionFail, match=message) as failure:
        resolve(variables(**changes))
    assert "sesame" not in str(failure.value)


def deployments(host, **changes):
    """Return the variables of a host in a play of the deployments node1, and node2 with node3."""
    own = {"node1": ["node1"], "node2": ["node2", "node3"], "node3": ["node2", "node3"]}
    found = variables(host, **{name: {"balancer_enabled": True, "balancer_nodes": nodes, **changes.get(name, {})}
                               for name, nodes in own.items()})
    return dict(found, ansible_play_hosts_all=[*own], ansible_play_hosts=[*own])


def test_each_deployment_has_its_balancer(resolve):
    found = {host: resolve(deployments(host)) for host in ("node1", "node2", "node3")}
    assert {host: each["managed"] for host, each in found.items()} == {
        "node1": ["node1"], "node2": ["node2"], "node3": []}
    assert [server["name"] for server in found["node2"]["servers"]] == ["node2:8888", "node3:8888"]


def test_balancer_on_a_node_of_another_deployment_is_managed_by_its_own(resolve):
    changes = {"node1": {"balancer_enabled": False}, "node2": {"balancer_hosts": ["node1"]},
               "node3": {"balancer_hosts": ["node1"]}}
    assert resolve(deployments("node2", **changes))["managed"] == ["node1"]
    assert resolve(deployments("node3", **changes))["managed"] == []


def test_node_that_is_not_behind_the_balancer_does_not_belong_to_another_deployment(resolve):
    nodes = {name: {"balancer_enabled": True, "balancer_nodes": ["node1", "node2"]} for name in (
        "node1", "node2", "node3")}
    assert resolve(variables(**nodes))["managed"] == ["node1"]


def test_balancers_of_two_deployments_on_one_host_are_refused(resolve):
    with pytest.raises(AnsibleActionFail, match="balancer_hosts names node1 on node1 and on node2, which are in diff"):
        resolve(deployments("node1", node2={"balancer_hosts": ["node1"]}))


def test_balancers_of_two_deployments_on_one_node_are_refused(resolve):
    apart = {"plan_node": "node1", "ansible_host": "10.0.0.1", "serving_port": 9000, "serving_hccl_port_base": 61000,
             "plan_model": "qwen3_8b"}
    with pytest.raises(AnsibleActionFail, match="balancer_hosts names node1 on node1 and on node2, which are in diff"):
        resolve(deployments("node1", node2=apart))
