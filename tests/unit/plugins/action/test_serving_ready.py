# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting ends with the service, with its failure or with the time; each step is told once."""

from __future__ import annotations

import copy
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import serving_ready
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group_notes import GroupNotes
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid, valid_group


def look(state, progress=None, restarts=0, **changes):
    instance = {"name": "vllm-ascend-qwen25-vl", "state": state, "progress": progress, "reason": None,
                "container": {"restarts": restarts}}
    return dict({"docker_engine_error": None, "settled": state != "starting", "instances": [instance]}, **changes)


@pytest.fixture
def wait(monkeypatch):
    """Return a function looks -> (result, requests, told), with a clock that goes on 10 s at each look."""
    def run(*looks, check_mode=False, **variables):
        clock, requests, pending = [0.0], [], list(looks)
        monkeypatch.setattr(serving_ready.time, "monotonic", lambda: clock[0])

        def execute(name, module_args, task_vars):
            requests.append(copy.deepcopy(module_args))
            clock[0] += 10
            answer = pending.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        loader = DataLoader()
        task = Mock(args={"plan": valid()}, async_val=0, check_mode=check_mode)
        action = serving_ready.ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module, action._display = execute, Mock()
        result = action.run(task_vars={"inventory_hostname": "node1", "inventory_dir": "/site", **variables})
        assert not pending
        return result, requests, [call.args[0] for call in action._display.display.call_args_list]
    return run


def test_ready_at_once(wait):
    result, requests, told = wait(look("ready"), serving_api_key="k")
    assert result == {"changed": False, "seconds": 10, "failed_instances": [], "ready": True}
    assert requests[0]["api_key"] == "k"
    assert told == []


def test_each_step_is_told_once(wait):
    result, _requests, told = wait(look("starting", "loading weights, 40 %"), look("starting", "loading weights, 40 %"),
                                   look("starting", "KV cache sized"), look("ready"))
    assert result["seconds"] == 40
    assert told == ["node1 vllm-ascend-qwen25-vl: loading weights, 40 % (10 s)",
                    "node1 vllm-ascend-qwen25-vl: KV cache sized (30 s)"]


def test_failure_ends_the_wait(wait):
    result, _requests, _told = wait(look("starting"), look("failed"))
    assert [instance["state"] for instance in result["failed_instances"]] == ["failed"]
    assert not result["ready"]


def test_restarts_seen_are_known_at_the_next_look(wait):
    _result, requests, _told = wait(look("starting", restarts=3), look("ready"))
    assert [request["instances"][0].get("restarts") for request in requests] == [None, 3]


def test_time_is_over(wait):
    result, requests, _told = wait(look("starting"), look("starting"), serving_ready_timeout_s=20)
    assert result == {"changed": False, "seconds": 20, "failed_instances": [], "ready": False}
    assert [request["wait_s"] for request in requests] == [15, 10]
    assert [request["completion_timeout_s"] for request in requests] == [20, 10]


def test_check_mode_looks_once(wait):
    assert wait(look("starting"), check_mode=True)[0]["seconds"] == 10


def test_dead_engine_is_not_waited_for(wait):
    result, _requests, _told = wait(look("starting", docker_engine_error="no answer", instances=[]))
    assert (result["seconds"], result["ready"]) == (10, False)


def test_lost_node_is_left_to_the_stage(wait):
    result, _requests, _told = wait(look("starting"), AnsibleConnectionFailure("gone"))
    assert (result["failed_instances"], result["ready"]) == ([], False)


def test_failed_module_fails(wait):
    with pytest.raises(AnsibleActionFail, match="no python"):
        wait({"failed": True, "msg": "no python"})


@pytest.fixture
def together(monkeypatch, tmp_path):
    """Return a function (looks of node1, what node2 tells at each of them) -> (result, modules, what node1 told)."""
    def run(*looks, other=(), began=("node1", "node2"), check_mode=False, **variables):
        group = valid_group("data_parallel")["node1"]["group"]
        records, clock, pending = Records(tmp_path), [0.0], list(looks)
        told, modules = [], []
        notes = {host: GroupNotes(records, dict(group, host=host)) for host in ("node1", "node2")}
        for host in began:
            notes[host].tell("started")
        monkeypatch.setattr(serving_ready.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(serving_ready.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        others = list(other)

        def execute(name, module_args, task_vars):
            modules.append((name, module_args.get("state")))
            clock[0] += 10
            if name != "ascend.vllm.serving_info":
                return {"changed": True}
            if others:
                notes["node2"].tell(*others.pop(0))
            answer = pending.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        loader = DataLoader()
        task = Mock(args={"plan": valid_group("data_parallel")["node1"]}, async_val=0, check_mode=check_mode)
        action = serving_ready.ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module, action._display = execute, Mock()
        result = action.run(task_vars={"inventory_hostname": "node1", "inventory_dir": str(tmp_path),
                                       "report_path": str(tmp_path), **variables})
        assert not pending
        told = notes["node1"].read()[0]["node1"]
        return result, modules, (told["state"], told["reason"])
    return run


STOPPED = ("community.docker.docker_container", "stopped")


def test_group_is_ready_when_all_are(together):
    result, modules, told = together(look("starting"), look("ready"), look("ready"),
                                     other=[("starting",), ("starting",), ("ready",)])
    assert (result["ended"], result["changed"], result["ready"], told) == ([], False, True, ("ready", None))
    assert STOPPED not in modules


def test_dead_member_is_named_and_the_rest_is_stopped(together):
    result, modules, _told = together(look("starting"), look("starting"),
                                      other=[("starting",), ("failed", "exit code 137")])
    assert result["ended"] == [{"host": "node2", "state": "failed", "reason": "exit code 137"}]
    assert modules[-1] == STOPPED
    assert result["changed"]


def test_own_failure_is_told_and_cleared_away(together):
    result, modules, told = together(look("failed"), other=[("starting",)])
    assert [member["host"] for member in result["ended"]] == ["node1"]
    assert told[0] == "failed"
    assert [instance["state"] for instance in result["failed_instances"]] == ["failed"]
    assert modules[-1] == STOPPED


def test_member_that_was_never_started_ends_the_group_at_once(together):
    result, modules, _told = together(look("starting"), began=("node1",))
    assert [member["host"] for member in result["ended"]] == ["node2"]
    assert modules == [("ascend.vllm.serving_info", None), STOPPED]


def test_lost_node_is_told_to_the_others(together):
    result, modules, told = together(AnsibleConnectionFailure("gone"), other=[("starting",)])
    assert told == ("failed", "the node cannot be reached any more")
    assert [member["host"] for member in result["ended"]] == ["node1"]
    assert STOPPED not in modules


def test_late_group_is_left_running(together):
    result, modules, told = together(look("starting"), other=[("ready",)], serving_ready_timeout_s=5)
    assert (told[0], [member["state"] for member in result["ended"]]) == ("late", ["late"])
    assert STOPPED not in modules


def test_silent_member_is_not_waited_for_without_end(together):
    result, _modules, _told = together(*[look("ready")] * 5, serving_ready_timeout_s=5)
    assert [(member["host"], member["state"]) for member in result["ended"]] == [("node2", "late")]
    assert not result["ready"]


def test_check_mode_stops_nothing(together):
    result, modules, _told = together(look("missing", settled=True), check_mode=True)
    assert (result["ended"], modules) == ([], [("ascend.vllm.serving_info", None)])


def test_module_that_breaks_is_told_to_the_others(together, tmp_path):
    with pytest.raises(AnsibleActionFail, match="no python"):
        together({"failed": True, "msg": "no python"})
    note = Records(tmp_path).read_notes(["node1"], "serving_group")["node1"]
    assert (note["state"], "no python" in note["reason"]) == ("failed", True)
