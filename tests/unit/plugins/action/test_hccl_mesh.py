# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each node sends its part of the pings in the mesh, and the result or the failure is saved with its observation."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action.hccl_mesh import ActionModule
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import Plans
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated

HOSTS = ["node1", "node2", "node3"]
RESULT = {"ping": {"sent": 2}, "reach": {"node2": True}}


def observation(number):
    """Return the observation of a node with two NPUs and one interface."""
    return {"npus": {str(npu): {"ip": {"address": f"10.{npu}.0.{number}"}} for npu in (0, 1)},
            "host_network": {"error": None, "interfaces": [
                {"name": "eth0", "up": True, "kind": None,
                 "addresses": [{"address": f"192.0.2.{number}", "prefix": 24}]}]}}


@pytest.fixture
def act(tmp_path):
    """Return a function (host, result of the module, **variables) -> the return value of the action.

    Its attribute ``requests`` lists the module calls.
    """
    def run(host, result, **variables):
        def execute(name, module_args, task_vars):
            assert task_vars["inventory_hostname"] == host
            run.requests.append((name, validated(name, module_args)))
            if isinstance(result, Exception):
                raise result
            return result

        loader = DataLoader()
        task = Mock(args={"plan": {"hash": "1", "docker_socket": "/d"}}, async_val=0, check_mode=False, _uuid="task")
        action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module = execute
        return action.run(task_vars={"inventory_hostname": host, "ansible_play_hosts": HOSTS,
                                     "report_path": str(tmp_path), "playbook_dir": str(tmp_path), **variables})

    run.records, run.requests = Records(tmp_path), []
    for number, host in enumerate(HOSTS, 1):
        run.records.write_observation(host, "hccl", ObservationRecord(observed=observation(number)))
    return run


def test_each_node_runs_its_part_in_one_module_call(act):
    for host in HOSTS:
        act(host, RESULT, hccl_host_port=2222, hccl_ping_timeout_s="3.5")
    assert [name for name, _arguments in act.requests] == ["ascend.vllm.hccn_ping"] * 3
    parts = dict(zip(HOSTS, (arguments for _name, arguments in act.requests)))
    for host, part in parts.items():
        others = [name for name in HOSTS if name != host]
        assert part["npus"] == [0, 1]
        assert part["timeout_s"] == 3.5
        assert sorted(partner["host"] for partner in part["partners"] if partner) == others
        assert part["hosts"] == [
            {"host": name, "address": f"192.0.2.{HOSTS.index(name) + 1}", "port": 2222} for name in others]
    assert {"host": "node2", "npus": {"0": "10.0.0.2", "1": "10.1.0.2"}} in parts["node1"]["partners"]
    # In every round, two nodes ping each other and the third node pauses.
    for partners in zip(*(parts[host]["partners"] for host in HOSTS)):
        names = [partner and partner["host"] for partner in partners]
        assert sorted(filter(None, names)) == sorted(host for host, name in zip(HOSTS, names) if name)


def test_no_pings_are_sent_if_they_are_disabled(act):
    act("node1", RESULT, hccl_ping_enabled=False)
    ((_name, arguments),) = act.requests
    assert (arguments["partners"], len(arguments["hosts"])) == ([], 2)


@pytest.mark.parametrize(("result", "expected"), [
    (RESULT, {**RESULT, "ping_error": None}),
    ({"failed": True, "msg": "no hccn_tool"},
     {"ping": None, "reach": None, "ping_error": "ascend.vllm.hccn_ping failed: no hccn_tool"}),
    (AnsibleConnectionFailure("timed out"),
     {"ping": None, "reach": None, "ping_error": "node1 is not reachable: timed out"}),
])
def test_result_is_saved_with_the_observation_of_the_node(act, result, expected):
    assert act("node1", result) == {"changed": False, **expected}
    observed = act.records.read_observations(HOSTS, "hccl")
    assert observed["node1"].items() >= {**observation(1), **expected}.items()
    assert observed["node2"].items() >= observation(2).items()
    assert "ping" not in observed["node2"]


def test_node_that_could_not_be_observed_does_not_take_part(act):
    act.records.write_observation("node2", "hccl", ObservationRecord(failure="node2 is not reachable", reachable=False))
    assert act("node2", RESULT)["skipped"]
    assert act.requests == []
    act("node1", RESULT)
    ((_name, arguments),) = act.requests
    assert [partner["host"] for partner in arguments["partners"] if partner] == ["node3"]


def second_deployment(self, host, stage, hosts):
    """Replace `Plans.observer`: node2 is another deployment on node1."""
    return "node1" if host == "node2" else host


def test_second_deployment_on_a_node_sends_no_pings(act, monkeypatch):
    monkeypatch.setattr(Plans, "observer", second_deployment)
    assert act("node2", AssertionError("pinged"))["skipped"]
    act("node1", RESULT)
    ((_name, part),) = act.requests
    assert {partner["host"] for partner in part["partners"] if partner} == {"node3"}
