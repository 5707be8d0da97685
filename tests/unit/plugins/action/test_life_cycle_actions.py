# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for requests and NPUs, the table of the status, and what is behind the balancer."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import balancer_plan, serving_status, serving_wait
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

NAME = "vllm-ascend-qwen25-vl"


@pytest.fixture
def act(monkeypatch, tmp_path):
    """Return a function (plugin, args, answers of modules, variables) -> (result, requests, told, warned)."""
    def run(plugin, args, *answers, check_mode=False, **variables):
        clock, requests, pending = [0.0], [], list(answers)
        monkeypatch.setattr(serving_wait.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(serving_wait.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + 10))

        def execute(name, module_args, task_vars):
            requests.append((name, module_args))
            answer = pending.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        loader = DataLoader()
        task = Mock(args=args, async_val=0, check_mode=check_mode)
        action = plugin.ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module, action._display = execute, Mock()
        try:
            result = action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path), **variables})
        finally:
            told = [call.args[0] for call in action._display.display.call_args_list]
            warned = [call.args[0] for call in action._display.warning.call_args_list]
        assert not pending
        return result, requests, told, warned
    return run


def running(count, shutdown_timeout_s=0, name=NAME, status="running"):
    return {"docker_engine_error": None, "containers": [{
        "name": name, "status": status, "shutdown_timeout_s": shutdown_timeout_s,
        "load": {"running": count, "waiting": 0, "kv_cache_usage": 0.0}}]}


DONE = {"until": "requests_done", "timeout_s": 25}


def test_requests_are_waited_for_and_told_once(act):
    result, requests, told, warned = act(serving_wait, DONE, running(2), running(2), running(0))
    assert (result["seconds"], result["left"], len(result["containers"])) == (20, [], 1)
    assert told == [f"node1: {NAME} has 2 requests running and 0 waiting (0 s)"]
    assert warned == []
    assert requests[0] == ("ascend.vllm.serving_info", {
        "instances": [], "load": True, "docker_socket": "/var/run/docker.sock"})


def test_what_is_cut_off_is_said(act):
    result, _requests, _told, warned = act(serving_wait, DONE, *[running(1)] * 4)
    assert result["left"] == [f"{NAME} has 1 requests running and 0 waiting"]
    assert "serving_drain_timeout_s is over" in warned[0]


@pytest.mark.parametrize(("seen", "balanced", "looks"), [
    (running(1, shutdown_timeout_s=600), False, 1),    # it finishes them by itself, and new ones keep coming
    (running(1, shutdown_timeout_s=600), True, 4),
    (running(1, name="another-deployment"), False, 1),
    (running(1, status="exited"), False, 1),
])
def test_whose_requests_are_waited_for(act, seen, balanced, looks):
    _result, requests, _told, _warned = act(serving_wait, DONE, *[seen] * looks, balancer_enabled=balanced)
    assert len(requests) == looks


def test_check_mode_looks_once(act):
    assert act(serving_wait, DONE, running(1), check_mode=True)[3] == []


def test_dead_engine_fails(act):
    with pytest.raises(AnsibleActionFail, match="node1: no answer"):
        act(serving_wait, DONE, {"docker_engine_error": "no answer", "containers": []})


def npus(used):
    return {"npu_smi": {"error": None, "chips": [{"device": 0, "hbm_used_mb": used}]}, "holders": []}


FREE = {"until": "npus_free", "timeout_s": 15, "devices": [0]}


def test_npus_are_waited_for(act):
    result, requests, _told, _warned = act(serving_wait, FREE, npus(50000), npus(3000))
    assert result["seconds"] == 10
    assert requests[0][0] == "ascend.vllm.npu_info"


def test_npus_that_stay_busy_fail_with_their_number(act):
    with pytest.raises(AnsibleActionFail, match=r"On node1 the NPUs are not free .* NPU 0 is held by nobody"):
        act(serving_wait, FREE, *[npus(50000)] * 3)


def test_without_npus_nobody_is_asked(act):
    assert act(serving_wait, dict(FREE, devices=[]))[1] == []


def test_failed_module_fails(act):
    with pytest.raises(AnsibleActionFail, match="no python"):
        act(serving_wait, FREE, {"failed": True, "msg": "no python"})


def test_status_of_a_lost_node_is_a_row(act):
    result = act(serving_status, {"plan": valid()}, AnsibleConnectionFailure("gone"))[0]
    assert result["rows"][0][:3] == ["node1", "-", "not reachable"]


def test_status_is_shown_with_the_balancer(act):
    row = ["node1", NAME, "running", "ready", "0", "0", "0 %", "0,1", "5m", "as planned", "sha256:1"]
    server = {"name": "node1:8888", "status": "DOWN", "taken_out": True, "sessions": 3, "check": "L4CON",
              "watched": True, "engine": "down (hangs)"}
    other = {"name": "node2:8888", "status": "UP", "taken_out": False, "sessions": 0, "check": "L7OK/200",
             "watched": False, "engine": "Connection refused"}
    _result, _requests, told, _warned = act(serving_status, {"plan": valid(), "show": [row], "balancers": [
        {"item": "node1", "error": None, "servers": [server, other]}, {"item": "lb", "unreachable": True}]})
    assert "node1  vllm-ascend-qwen25-vl  running" in told[0]
    assert ("balancer on node1: node1:8888 DOWN (taken out, 3 requests, L4CON, engine down (hangs)), "
            "node2:8888 UP (0 requests, L7OK/200, no watch: Connection refused)") in told[0]
    assert "balancer on lb: not reachable" in told[0]


class Hosts(dict):
    raw_get = dict.__getitem__


def behind(host="node1", present=("node1", "node2"), **changes):
    hosts = Hosts({name: dict({"inventory_hostname": name, "ansible_host": address}, **changes.get(name, {}))
                   for name, address in (("node1", "10.0.0.1"), ("node2", "10.0.0.2"), ("node3", "10.0.0.3"))})
    groups = {"npu_nodes": list(hosts)}
    for variables in hosts.values():
        variables["groups"] = groups
    return dict(hosts[host], hostvars=hosts, ansible_play_hosts_all=["node1", "node2"], ansible_play_hosts=present)


def test_nodes_outside_the_play_stay_behind_the_balancer(act):
    result = act(balancer_plan, {}, **behind(node3={"serving_port": 9000}))[0]
    assert (result["hosts"], result["managed"]) == (["node1"], ["node1"])
    assert [(each["name"], each["address"]) for each in result["servers"]] == [
        ("node1:8888", "10.0.0.1"), ("node2:8888", "10.0.0.2"), ("node3:9000", "10.0.0.3")]
    assert result["services"] == [
        {"name": "balancer on node1", "served_name": "qwen25_vl", "url": "http://10.0.0.1:8080"}]
    assert result["ports"] == [{"name": "balancer_port", "port": 8080},
                               {"name": "balancer_watch_port", "port": 8079}]


def test_balancer_outside_the_play(act):
    found = behind(node1={"balancer_hosts": ["lb"], "balancer_watch_interval_s": 0})
    found["hostvars"]["lb"] = {"inventory_hostname": "lb", "ansible_host": "10.0.0.9", "groups": found["groups"]}
    result = act(balancer_plan, {}, **found)[0]
    assert (result["hosts"], result["managed"]) == (["lb"], ["lb"])
    assert len(result["servers"]) == 3
    assert [service["url"] for service in result["services"]] == ["http://10.0.0.9:8080"]
    assert result["ports"] == [{"name": "balancer_port", "port": 8080}]


def test_node_that_manages_no_balancer_resolves_itself_only(act):
    result = act(balancer_plan, {}, **dict(behind(), inventory_hostname="node2", ansible_host="10.0.0.2"))[0]
    assert (result["managed"], result["services"]) == ([], [])
    assert [each["name"] for each in result["servers"]] == ["node2:8888"]


def test_only_the_head_of_a_group_gets_requests(act):
    together = {"serving_topology": "pipeline", "serving_hosts": ["node1", "node2"], "plan_release": "v0.18.0"}
    result = act(balancer_plan, {}, **behind(node1=together, node2=together, node3={"plan_release": "v0.18.0"}))[0]
    assert [each["name"] for each in result["servers"]] == ["node1:8888", "node3:8888"]
    assert result["hosts"] == ["node1"]


def test_no_balancer_is_waited_for_where_a_node_takes_no_requests(act):
    together = {"serving_topology": "pipeline", "serving_hosts": ["node1", "node2"], "plan_release": "v0.18.0"}
    result = act(balancer_plan, {}, **behind(host="node2", node1=together, node2=together))[0]
    assert result["hosts"] == []


@pytest.mark.parametrize(("changes", "said"), [
    ({"node1": {"balancer_hosts": ["lb"]}}, "balancer_hosts must name hosts .* on node1 it names lb"),
    ({"node1": {"balancer_nodes": []}}, "must name hosts of the inventory, but on node1 it names none"),
    ({"node3": {"serving_api_key": "sesame"}}, "serving_api_key differs"),
    ({"node3": {"plan_release": "v9"}}, "node3 cannot be deployed like this, .* plan_release is v9"),
    ({"node1": {"balancer_port": 8888}}, "balancer_port is 8888"),
    ({"node1": {"balancer_watch_port": 8888}}, "balancer_watch_port is 8888"),
])
def test_what_cannot_be_balanced_fails_with_a_sentence(act, changes, said):
    with pytest.raises(AnsibleActionFail, match=said) as failure:
        act(balancer_plan, {}, **behind(**changes))
    assert "sesame" not in str(failure.value)
