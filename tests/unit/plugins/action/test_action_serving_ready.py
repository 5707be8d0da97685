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
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils.plan_case import valid


def look(state, progress=None, restarts=0, **changes):
    instance = {"name": "vllm-ascend-qwen25-vl", "state": state, "progress": progress,
                "container": {"restarts": restarts}}
    return dict({"engine_error": None, "settled": state != "starting", "instances": [instance]}, **changes)


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
        result = action.run(task_vars={"inventory_hostname": "node1", **variables})
        assert not pending
        return result, requests, [call.args[0] for call in action._display.display.call_args_list]
    return run


def test_ready_at_once(wait):
    result, requests, told = wait(look("ready"), serving_api_key="k")
    assert result == {"changed": False, "seconds": 10, "failed_instances": []}
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


def test_restarts_seen_are_known_at_the_next_look(wait):
    _result, requests, _told = wait(look("starting", restarts=3), look("ready"))
    assert [request["instances"][0].get("restarts") for request in requests] == [None, 3]


def test_time_is_over(wait):
    result, requests, _told = wait(look("starting"), look("starting"), serving_ready_timeout_s=20)
    assert result == {"changed": False, "seconds": 20, "failed_instances": []}
    assert [request["wait_s"] for request in requests] == [15, 10]
    assert [request["completion_timeout_s"] for request in requests] == [20, 10]


def test_check_mode_looks_once(wait):
    assert wait(look("starting"), check_mode=True)[0]["seconds"] == 10


def test_dead_engine_is_not_waited_for(wait):
    assert wait(look("starting", engine_error="no answer", instances=[]))[0]["seconds"] == 10


def test_lost_node_is_left_to_the_stage(wait):
    assert wait(look("starting"), AnsibleConnectionFailure("gone"))[0]["failed_instances"] == []


def test_failed_module_fails(wait):
    with pytest.raises(AnsibleActionFail, match="no python"):
        wait({"failed": True, "msg": "no python"})
