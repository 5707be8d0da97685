# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All nodes run the same rounds of all-reduces, and save the results with their observations."""

from __future__ import annotations

import json
from itertools import count
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action.hccl_collective import ActionModule
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import Plans
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.collective import MARK
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.collective_container import NAME
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

HOSTS = ["node1", "node2", "node3"]
ADDRESSES = {host: f"192.0.2.{number}" for number, host in enumerate(HOSTS, 1)}
PLAN = valid()
SIZE = 268435456
SKIPPED = {"changed": False, "skipped": True, "resumed": False, "rounds": []}


def observation(host):
    """Return the observation of a node with free NPUs, the image, and one interface."""
    return {"npus": {}, "processes": [], "image_present": True, "host_network": {"error": None, "interfaces": [
        {"name": "eth0", "up": True, "kind": None, "addresses": [{"address": ADDRESSES[host], "prefix": 24}]}]}}


def output(bandwidth=20.0):
    """Return the result of the module for a container whose all-reduce has this bus bandwidth in GB/s."""
    records = [{"type": "start", "backend": "hccl", "ranks": 24, "sizes": [SIZE]},
               {"type": "row", "size_bytes": SIZE, "time_us": 1.0, "alg_bandwidth_gbs": bandwidth / 2,
                "bus_bandwidth_gbs": bandwidth, "check": "success"}, {"type": "end"}]
    return {"status": 0, "container": {"Output": "".join(MARK + json.dumps(record) + "\n" for record in records)}}


def failed(message="RuntimeError: out of memory"):
    return {"status": 1, "failed": True, "container": {"Output": message + "\n"}}


class Cluster:
    """The nodes of a play and the results directory.

    ``returned`` is ``{(host, number of nodes in the run): result of docker_container}``, by default ``output()``;
    ``info`` is ``{host: result of hccn_info}``. A result that is an exception is raised.
    """

    def __init__(self, folder):
        self.folder, self.records, self.display = folder, Records(folder), Mock()
        self.uuids, self.returned, self.info, self.containers, self.requests = count(), {}, {}, [], []
        for host in HOSTS:
            self.records.write_observation(host, "hccl", ObservationRecord(observed=observation(host)))

    def task(self, step="run", hosts=tuple(HOSTS), check_mode=False, **variables):
        """Run a task on all hosts, and return ``{host: return value}``."""
        uuid = f"task {next(self.uuids)}"
        return {host: self._act(host, uuid, step, check_mode, variables) for host in hosts}

    def _act(self, host, uuid, step, check_mode, variables):
        def execute(name, module_args, task_vars):
            assert task_vars["inventory_hostname"] == host
            result = self._result(host, name, module_args)
            if isinstance(result, Exception):
                raise result
            return result

        loader = DataLoader()
        task = Mock(args={"plan": PLAN, "step": step}, async_val=0, check_mode=check_mode, _uuid=uuid)
        action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module, action._display = execute, self.display
        return action.run(task_vars={
            "inventory_hostname": host, "ansible_play_hosts": HOSTS, "ansible_forks": 5, "playbook_dir": "/playbooks",
            "report_path": str(self.folder), "hccl_baseline_path": str(self.folder / "baselines" / "hccl.json"),
            "hccl_collective_tool": "probe", "hccl_collective_sizes_bytes": [SIZE], **variables})

    def _result(self, host, name, arguments):
        if name == "ascend.vllm.hccn_info":
            self.requests.append((host, validated(name, arguments)))
            return self.info[host]
        assert name == "community.docker.docker_container"
        assert (arguments["name"], arguments["image"], arguments["pull"]) == (NAME, PLAN["image"]["reference"], "never")
        # The module waits for the container and removes it.
        assert (arguments["detach"], arguments["cleanup"], arguments["network_mode"]) == (False, True, "host")
        assert arguments["env"]["HCCL_IF_IP"] == ADDRESSES[host]
        options = dict(word.split("=") for word in arguments["command"] if word.startswith("--") and "=" in word)
        nodes = int(options["--nnodes"])
        self.containers.append((host, nodes, int(options["--node-rank"]), options["--master-addr"]))
        return self.returned.get((host, nodes), output())

    def observed(self, host):
        return self.records.read_observation(host, "hccl").observed

    def runs(self, host):
        return [(run["round"], run["hosts"], run["result"] and run["result"]["reason"])
                for run in self.observed(host)["collective"]["runs"]]


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_all_nodes_take_part_in_one_all_reduce(cluster):
    returned = cluster.task()
    assert cluster.containers == [(host, 3, rank, "192.0.2.1") for rank, host in enumerate(HOSTS)]
    for host in HOSTS:
        assert returned[host] == {"changed": False, "skipped": False, "resumed": False, "rounds": ["all"], "msg": ""}
        assert cluster.runs(host) == [("all", HOSTS, None)]
        assert cluster.observed(host).items() >= observation(host).items()
        assert cluster.observed(host)["collective"]["obstacle"] is None


def test_source_code_of_the_programs_is_passed_as_container_arguments(cluster, monkeypatch):
    commands = []
    monkeypatch.setattr(cluster, "_result", lambda host, name, arguments: commands.append(
        arguments["command"]) or output())
    cluster.task(hosts=["node1"], hccl_collective_tool="auto")
    ((launcher, probe),) = [[word for word in command if word.startswith("# Copyright")] for command in commands]
    assert "Hydra" in launcher
    assert "torch.distributed" in probe


@pytest.mark.parametrize(("change", "variables", "obstacle"), [
    ({"processes": [{"npu": 3, "pid": 77, "name": "vllm", "memory_mb": 1}]}, {}, "NPU 3 of node2 is in use by vllm"),
    ({"image_present": False}, {}, "node2 does not have the image yet"),
    ({}, {"ansible_forks": 2}, "the forks setting of Ansible is 2"),
    ({}, {"hccl_collective_policy": "never"}, "hccl_collective_policy is never"),
    ({}, {"check_mode": True}, "Without --check, the run would measure an all-reduce"),
])
def test_obstacle_on_one_node_prevents_the_run_on_all_nodes(cluster, change, variables, obstacle):
    cluster.records.write_observation("node2", "hccl", ObservationRecord(observed={**observation("node2"), **change}))
    for host, returned in cluster.task(**variables).items():
        assert (returned["skipped"], returned["rounds"]) == (True, [])
        assert obstacle in returned["msg"]
        assert cluster.observed(host)["collective"]["obstacle"] == returned["msg"]
    assert cluster.containers == []


@pytest.mark.parametrize(("result", "reason"), [
    (failed(), "RuntimeError: out of memory"),
    ({"status": 124, "failed": True, "container": {"Output": ""}}, "timed out"),
    ({"failed": True, "msg": "no such image"}, "node2 could not run the container: no such image"),
    (AnsibleConnectionFailure("timed out"), "node2 is not reachable: timed out"),
])
def test_failure_is_saved_and_the_host_does_not_fail(cluster, result, reason):
    cluster.returned["node2", 3] = result
    returned = cluster.task()
    assert not any(each.get("failed") for each in returned.values())
    assert {host: cluster.runs(host) for host in HOSTS} == {
        "node1": [("all", HOSTS, None)], "node2": [("all", HOSTS, reason)], "node3": [("all", HOSTS, None)]}


def test_node_that_could_not_be_observed_does_not_take_part(cluster):
    unreachable = ObservationRecord(failure="node2 is not reachable", reachable=False)
    cluster.records.write_observation("node2", "hccl", unreachable)
    assert cluster.task()["node2"] == SKIPPED
    assert cluster.containers == [("node1", 2, 0, "192.0.2.1"), ("node3", 2, 1, "192.0.2.1")]
    assert cluster.runs("node1") == [("all", ["node1", "node3"], None)]
    assert cluster.task("resume")["node2"] == cluster.task("diagnosis")["node2"] == SKIPPED


# --- Diagnosis

PAIRS = [("pair 0", ["node2", "node3"]), ("pair 1", ["node1", "node2"]), ("pair 2", ["node1", "node3"])]


@pytest.mark.parametrize(("result", "variables", "diagnosed"), [
    (output(), {}, False),
    (output(), {"hccl_collective_bus_bandwidth_minimum_gbs": "19"}, False),
    (output(), {"hccl_collective_bus_bandwidth_minimum_gbs": "21"}, True),
    (failed(), {}, True),
    (AnsibleConnectionFailure("timed out"), {}, True),
])
def test_failed_or_slow_run_is_diagnosed(cluster, result, variables, diagnosed):
    cluster.returned["node2", 3] = result
    cluster.task(**variables)
    cluster.containers.clear()
    returned = cluster.task("diagnosis", **variables)
    rounds = ["alone", "pair 0", "pair 1", "pair 2"] if diagnosed else []
    for host in HOSTS:
        assert (returned[host]["rounds"], returned[host]["skipped"]) == (rounds, not diagnosed)
        assert [(name, hosts) for name, hosts, _reason in cluster.runs(host)[1:]] == [
            *[("alone", [host])][:len(rounds)],
            *[(name, hosts if host in hosts else []) for name, hosts in PAIRS][:len(rounds)]]
    # Every node runs once alone and in two of the three pairs; the first node of a pair leads the pair.
    assert sorted(cluster.containers) == (sorted(
        [(host, 1, 0, ADDRESSES[host]) for host in HOSTS]
        + [(host, 2, rank, ADDRESSES[pair[0]]) for _name, pair in PAIRS for rank, host in enumerate(pair)])
        if diagnosed else [])


def test_nothing_is_diagnosed_if_no_run_took_place(cluster):
    cluster.task(hccl_collective_policy="never")
    returned = cluster.task("diagnosis", hccl_collective_policy="never")
    assert [each["rounds"] for each in returned.values()] == [[]] * 3
    assert cluster.observed("node1")["collective"]["obstacle"] == "hccl_collective_policy is never."


# --- Resume

INFO = {"npus": {}, "conf": None, "conf_error": None, "host_network": {}, "processes": [], "image_present": True,
        "duration_s": 0.1}


def run_without_the_image(cluster):
    """Run the first task while node2 does not have the image yet."""
    cluster.records.write_observation("node2", "hccl", ObservationRecord(observed={
        **observation("node2"), "image_present": False}))
    cluster.task()
    cluster.info = dict.fromkeys(HOSTS, INFO)


def test_run_takes_place_as_soon_as_all_nodes_have_the_image(cluster):
    run_without_the_image(cluster)
    returned = cluster.task("resume")
    assert returned == {host: {"changed": False, "resumed": True, "rounds": []} for host in HOSTS}
    assert [(host, arguments["npus"], arguments["image"]) for host, arguments in cluster.requests] == [
        (host, [], PLAN["image"]["reference"]) for host in HOSTS]
    assert cluster.containers == []
    assert cluster.task()["node2"]["rounds"] == ["all"]
    assert cluster.runs("node2") == [("all", HOSTS, None)]
    # The rest of the observation is kept.
    assert cluster.observed("node2")["host_network"] == observation("node2")["host_network"]
    assert cluster.task("resume")["node2"] == SKIPPED


@pytest.mark.parametrize(("result", "obstacle"), [
    ({**INFO, "image_present": False}, "node2 does not have the image yet"),
    ({"failed": True, "msg": "hccn_tool was not found"}, "Docker on node2 does not report"),
    (AnsibleConnectionFailure("timed out"), "Docker on node2 does not report"),
])
def test_node_that_still_lacks_the_image_prevents_the_run_again(cluster, result, obstacle):
    run_without_the_image(cluster)
    cluster.info["node2"] = result
    assert cluster.task("resume")["node2"]["resumed"]
    assert cluster.task()["node1"]["msg"].startswith(obstacle)
    assert cluster.containers == []


def test_completed_run_is_not_repeated(cluster):
    cluster.task()
    assert cluster.task("resume") == dict.fromkeys(HOSTS, SKIPPED)
    assert cluster.requests == []


# --- Baseline

KEY = "3 nodes, 24 ranks, hccl, 268435456 bytes"


def test_only_the_first_node_saves_the_baseline(cluster, tmp_path):
    for host, bandwidth in zip(HOSTS, (20.0, 21.0, 22.0)):
        cluster.returned[host, 3] = output(bandwidth)
    path = tmp_path / "baselines" / "hccl.json"
    path.parent.mkdir()
    path.write_text('{"another key": 5.0}', "utf-8")
    cluster.task(hccl_baseline_save=True)
    assert json.loads(path.read_text("utf-8")) == {"another key": 5.0, KEY: 20.0}
    assert all(cluster.observed(host)["collective"]["baseline"][KEY] == 20.0 for host in HOSTS)


def test_output_states_once_why_the_baseline_has_not_been_saved(cluster):
    """The all-reduce is not run while a service uses the NPUs."""
    cluster.records.write_observation("node2", "hccl", ObservationRecord(observed={
        **observation("node2"), "processes": [{"npu": 3, "name": "VLLM::Worker", "pid": 41}]}))
    cluster.task()
    cluster.display.display.assert_not_called()
    cluster.task(hccl_baseline_save=True)
    ((text,), _options), = cluster.display.display.call_args_list
    assert text == ("[node1] hccl_baseline_save is true, but the baseline has not been saved. NPU 3 of node2 is in use "
                    "by VLLM::Worker (pid 41), which an all-reduce would disturb.")


@pytest.mark.parametrize(("result", "variables"), [
    (failed(), {"hccl_baseline_save": True}), (output(), {}),
    (output(), {"hccl_baseline_save": True, "hccl_collective_policy": "never"}),
])
def test_baseline_is_saved_only_on_request_and_after_a_successful_run(cluster, tmp_path, result, variables):
    cluster.returned["node1", 3] = result
    for step in ("run", "diagnosis"):
        cluster.task(step, **variables)
    assert not (tmp_path / "baselines").exists()
    assert cluster.observed("node1")["collective"]["baseline"] == {}


def test_secrets_in_the_output_of_a_container_are_masked(cluster):
    cluster.returned[("node1", 3)] = failed("RuntimeError: sent Authorization: Bearer s3cret-value")
    cluster.task()
    observed = json.dumps(cluster.observed("node1"))
    assert "s3cret-value" not in observed
    assert "(redacted)" in observed


@pytest.mark.parametrize("damage", ["", '{"hccl', "[]"])
def test_damaged_baseline_counts_as_missing(cluster, tmp_path, damage):
    path = tmp_path / "baselines" / "hccl.json"
    path.parent.mkdir()
    path.write_text(damage)
    cluster.task()
    assert cluster.observed("node1")["collective"]["baseline"] == {}


def second_deployment(self, host, stage, hosts):
    """Replace `Plans.observer`: node3 is another deployment on node1."""
    return "node1" if host == "node3" else host


def test_second_deployment_on_a_node_runs_no_container_and_is_judged_again(cluster, monkeypatch):
    monkeypatch.setattr(Plans, "observer", second_deployment)
    run_without_the_image(cluster)
    assert cluster.task("resume")["node3"] == {"changed": False, "resumed": True, "rounds": []}
    assert [host for host, _arguments in cluster.requests] == ["node1", "node2"]
    assert cluster.task()["node3"] == SKIPPED
    assert cluster.containers == [("node1", 2, 0, "192.0.2.1"), ("node2", 2, 1, "192.0.2.1")]
