# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action waits until the service is ready, has failed or times out, and displays each step once."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.action import serving_ready
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group import GroupNotes
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import (
    FakeNode,
    displayed,
    new_action,
    warnings,
)
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid, valid_group

NAME = "vllm-ascend-qwen25-vl"


def observed(state, progress=None, restarts=0, **changes):
    """Return the result of serving_info for one instance."""
    instance = {"name": NAME, "state": state, "progress": progress, "reason": None, "causes": [],
                "container": {"restarts": restarts}}
    return dict({"docker_engine_error": None, "settled": state != "starting", "instances": [instance], "now_s": 0},
                **changes)


@pytest.fixture
def wait(monkeypatch, tmp_path):
    """Return a function (results of serving_info, variables) -> (result, arguments of the calls, displayed lines).

    Each call takes 10 s.
    """
    def run(*results, check_mode=False, **variables):
        clock, node = [0.0], FakeNode(*results)
        monkeypatch.setattr(serving_ready.time, "monotonic", lambda: clock[0])

        def execute(name, module_args, task_vars):
            clock[0] += 10
            return node.execute(name, module_args, task_vars)

        action = new_action(serving_ready, {"plan": valid()}, execute, check_mode)
        result = action.run(task_vars={"inventory_hostname": "node1", "inventory_dir": str(tmp_path), **variables})
        assert node.results == []
        return result, [arguments for _module, arguments in node.requests], displayed(action)
    return run


def test_service_may_be_ready_at_the_first_call(wait):
    result, requests, lines = wait(observed("ready"), serving_api_key="k")
    assert result == {"changed": False, "seconds": 10, "failed_instances": [], "ready": True}
    assert requests[0]["api_key"] == "k"
    assert lines == []


def test_each_step_is_displayed_once(wait):
    loading = observed("starting", "loading weights, 40 %")
    result, _requests, lines = wait(loading, loading, observed("starting", "KV cache sized"), observed("ready"))
    assert result["seconds"] == 40
    assert lines == [f"node1 {NAME}: loading weights, 40 % (10 s)", f"node1 {NAME}: KV cache sized (30 s)"]


def test_wait_ends_when_an_instance_fails(wait):
    result, _requests, _lines = wait(observed("starting"), observed("failed"))
    assert [instance["state"] for instance in result["failed_instances"]] == ["failed"]
    assert not result["ready"]


def test_number_of_restarts_is_passed_to_the_next_call(wait):
    _result, requests, _lines = wait(observed("starting", restarts=3), observed("ready"))
    assert [request["instances"][0].get("restarts") for request in requests] == [None, 3]


def test_wait_ends_at_the_timeout(wait):
    result, requests, _lines = wait(observed("starting"), observed("starting"), serving_ready_timeout_s=20)
    assert result == {"changed": False, "seconds": 20, "failed_instances": [], "ready": False}
    assert [request["wait_s"] for request in requests] == [15, 10]
    assert [request["completion_timeout_s"] for request in requests] == [20, 10]


def test_check_mode_observes_once(wait):
    assert wait(observed("starting"), check_mode=True)[0]["seconds"] == 10


def test_wait_ends_if_the_docker_engine_does_not_respond(wait):
    result, _requests, _lines = wait(observed("starting", docker_engine_error="no response", instances=[]))
    assert (result["seconds"], result["ready"]) == (10, False)


def test_wait_ends_if_the_node_is_unreachable(wait):
    result, _requests, _lines = wait(observed("starting"), AnsibleConnectionFailure("timed out"))
    assert (result["failed_instances"], result["ready"]) == ([], False)


def test_module_failure_fails_the_action(wait):
    with pytest.raises(AnsibleActionFail, match="no python"):
        wait({"failed": True, "msg": "no python"})


@pytest.fixture
def wait_in_group(monkeypatch, tmp_path):
    """Return a function (results of serving_info on node1, node2) -> (result, [(module, state)], last note of node1).

    ``node2`` lists the notes that node2 writes, one during each call. The attribute ``warnings`` of the function lists
    the warnings of its last call.
    """
    def run(*results, node2=(), started=("node1", "node2"), stopped=None, check_mode=False, **variables):
        plan = valid_group("data_parallel")["node1"]
        records, clock, node, notes_of_node2 = Records(tmp_path), [0.0], FakeNode(*results), list(node2)
        notes = {host: GroupNotes(records, dict(plan["group"], host=host)) for host in ("node1", "node2")}
        for host in started:
            notes[host].write("started")
        monkeypatch.setattr(serving_ready.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(serving_ready.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        modules = []

        def execute(name, module_args, task_vars):
            modules.append((name, module_args.get("state")))
            clock[0] += 10
            if name != "ascend.vllm.serving_info":
                return FakeNode(stopped or {"changed": True}).execute(name, module_args, task_vars)
            if notes_of_node2:
                notes["node2"].write(*notes_of_node2.pop(0))
            return node.execute(name, module_args, task_vars)

        action = new_action(serving_ready, {"plan": plan}, execute, check_mode)
        result = action.run(task_vars={"inventory_hostname": "node1", "inventory_dir": str(tmp_path),
                                       "report_path": str(tmp_path), **variables})
        assert node.results == []
        run.warnings = warnings(action)
        note = notes["node1"].read()["node1"]
        return result, modules, (note["state"], note["reason"])
    return run


STOPPED = ("community.docker.docker_container", "stopped")


def test_group_is_ready_when_all_members_are_ready(wait_in_group):
    result, modules, note = wait_in_group(observed("starting"), observed("ready"), observed("ready"),
                                          node2=[("starting",), ("starting",), ("ready",)])
    assert (result["failed_members"], result["changed"], result["ready"], note) == ([], False, True, ("ready", None))
    assert STOPPED not in modules


def test_failed_peer_is_named_and_the_container_is_stopped(wait_in_group):
    result, modules, _note = wait_in_group(observed("starting"), observed("starting"),
                                           node2=[("starting",), ("failed", "exit code 137")])
    assert result["failed_members"] == [{"host": "node2", "state": "failed", "reason": "exit code 137"}]
    assert modules[-1] == STOPPED
    assert result["changed"]


def test_failed_instance_is_reported_and_the_container_is_stopped(wait_in_group):
    result, modules, note = wait_in_group(observed("failed"), node2=[("starting",)])
    assert [(member["host"], member["causes"]) for member in result["failed_members"]] == [("node1", [])]
    assert note[0] == "failed"
    assert [instance["state"] for instance in result["failed_instances"]] == ["failed"]
    assert modules[-1] == STOPPED


def test_container_that_cannot_be_stopped_causes_a_warning(wait_in_group):
    result, modules, _note = wait_in_group(observed("missing"), node2=[("starting",)],
                                           stopped={"failed": True, "msg": "no such image"})
    assert ([member["host"] for member in result["failed_members"]], result["changed"]) == (["node1"], False)
    assert modules[-1] == STOPPED
    assert wait_in_group.warnings == [
        f"node1 {NAME} was not stopped: community.docker.docker_container failed: no such image"]


def test_module_failure_is_reported_even_if_the_node_then_becomes_unreachable(wait_in_group):
    with pytest.raises(AnsibleActionFail, match="no python"):
        wait_in_group({"failed": True, "msg": "no python"}, stopped=AnsibleConnectionFailure("timed out"))


def test_member_that_was_never_started_fails_the_group_at_once(wait_in_group):
    result, modules, _note = wait_in_group(observed("starting"), started=("node1",))
    assert [member["host"] for member in result["failed_members"]] == ["node2"]
    assert modules == [("ascend.vllm.serving_info", None), STOPPED]


def test_unreachable_node_is_reported_to_the_other_members(wait_in_group):
    result, modules, note = wait_in_group(AnsibleConnectionFailure("timed out"), node2=[("starting",)])
    assert note == ("failed", "the node is no longer reachable")
    assert [member["host"] for member in result["failed_members"]] == ["node1"]
    assert STOPPED not in modules


def test_container_is_not_stopped_after_the_timeout(wait_in_group):
    result, modules, note = wait_in_group(observed("starting"), node2=[("ready",)], serving_ready_timeout_s=5)
    assert (note[0], [member["state"] for member in result["failed_members"]]) == ("late", ["late"])
    assert STOPPED not in modules


def test_wait_for_a_peer_that_does_not_report_ends_at_the_timeout(wait_in_group):
    result, _modules, _note = wait_in_group(*[observed("ready")] * 5, serving_ready_timeout_s=5)
    assert [(member["host"], member["state"]) for member in result["failed_members"]] == [("node2", "late")]
    assert not result["ready"]


def test_check_mode_stops_nothing(wait_in_group):
    result, modules, _note = wait_in_group(observed("missing", settled=True), check_mode=True)
    assert (result["failed_members"], modules) == ([], [("ascend.vllm.serving_info", None)])


def test_module_failure_is_reported_to_the_other_members(wait_in_group, tmp_path):
    with pytest.raises(AnsibleActionFail, match="no python"):
        wait_in_group({"failed": True, "msg": "no python"})
    note = Records(tmp_path).read_notes(["node1"], "serving_group")["node1"]
    assert (note["state"], "no python" in note["reason"]) == ("failed", True)
