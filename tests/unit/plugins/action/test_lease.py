# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that change something acquire leases for their run. The leases are released when the run ends."""

from __future__ import annotations

import json
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.action import lease as lease_action
from ansible_collections.ascend.vllm.plugins.action import (
    report,
    serving_status,
    stage,
    weights_progress,
    weights_staging,
)
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import FakeNode, new_action
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid

PLAN = valid()
ILLUSTRATION = str(ROOT / "roles/functional/files/illustration.png")
DEAD = {**run.RUN, "run": "dead", "pid": 2**22 + 1}
ALIVE = {**run.RUN, "run": "alive"}
REFUSED = "This node is in use by run"


@pytest.fixture
def act(tmp_path):
    """Return a function (action plugin, arguments, *responses) -> the return value of the action.

    Its attribute ``requests`` lists the lease request of each module call. None means that the call had no request.
    """
    def call(plugin, args, *responses, check_mode=False, delegate_to=None):
        node = FakeNode(*responses)

        def execute(name, module_args, task_vars):
            passed = [each[lease.VARIABLE] for each in action._task.environment or () if lease.VARIABLE in each]
            call.requests.append(json.loads(passed[-1]) if passed else None)
            return node.execute(name, module_args, task_vars)

        call.requests = []
        action = call.action = new_action(plugin, args, execute, check_mode)
        action._task.environment, action._task.delegate_to = [{"no_proxy": "x"}], delegate_to
        return action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path), "hostvars": {},
                                     "hccl_baseline_path": "", "functional_image": ILLUSTRATION})
    return call


def image_stage():
    return {"stage": "image", "plan": PLAN}


def test_modules_of_a_stage_that_changes_the_node_request_the_lease(act, tmp_path):
    act(stage, image_stage(), {"failed": True, "msg": "x"})
    assert act.requests == [{**run.RUN, "docker_socket": PLAN["docker_socket"], "gone": []}]
    assert json.loads((tmp_path / ".lease.json").read_text("utf-8")) == run.RUN


@pytest.mark.parametrize(("name", "options", "requested"), [
    ("npu_driver", {}, False), ("functional", {}, False), ("image", {"check_mode": True}, False),
    ("image", {"delegate_to": "another"}, False), ("image", {"delegate_to": "node1"}, True), ("hccl", {}, True),
    ("weights", {}, True), ("serving", {}, True)])
def test_lease_is_requested_only_if_the_node_may_be_changed(act, name, options, requested):
    act(stage, {"stage": name, "plan": PLAN}, {"failed": True, "msg": "x"}, **options)
    assert [request is not None for request in act.requests] == [requested]


def test_lease_of_a_run_that_has_ended_is_taken_over(act):
    refused = [{"failed": True, "msg": REFUSED, "holder": {**DEAD, "run": name}} for name in ("dead", "older")]
    result = act(stage, image_stage(), *refused, {"failed": True, "msg": "the real response"})
    assert [request["gone"] for request in act.requests] == [[], ["dead"], ["dead", "older"]]
    assert "the real response" in result["msg"]


@pytest.mark.parametrize("holder", [ALIVE, {**DEAD, "processes": "another controller"}])
def test_run_that_may_still_be_active_keeps_the_lease(act, holder):
    result = act(stage, image_stage(), {"failed": True, "msg": REFUSED, "holder": holder})
    assert result["failed"]
    assert f"node1: {REFUSED}" in result["msg"]
    assert len(act.requests) == 1


def test_module_that_refuses_again_is_not_called_a_third_time(act):
    result = act(stage, image_stage(), *[{"failed": True, "msg": REFUSED, "holder": DEAD}] * 9)
    assert (result["failed"], len(act.requests)) == (True, 2)


@pytest.mark.parametrize("plugin_and_args", [
    (stage, image_stage()), (report, {"phase": "begin", "hosts": ["node1"]}),
    (weights_staging, {"path": "/data/m", "state": "held", "source": "local"})])
def test_results_folder_in_use_by_another_run_is_not_changed(act, tmp_path, plugin_and_args):
    (tmp_path / ".lease.json").write_text(json.dumps(ALIVE))
    (tmp_path / "node1").mkdir()
    (tmp_path / "node1" / "image.json").write_text("{}")
    with pytest.raises(AnsibleActionFail, match=r"Nothing was changed\. The results folder .* in use by run alive"):
        act(*plugin_and_args)
    assert act.requests == []
    assert (tmp_path / "node1" / "image.json").read_text() == "{}"


@pytest.mark.parametrize("plugin_and_args", [
    (report, {"phase": "end", "hosts": []}), (serving_status, {"show": []})])
def test_final_report_and_status_do_not_need_the_lease(act, tmp_path, plugin_and_args):
    (tmp_path / ".lease.json").write_text(json.dumps(ALIVE))
    act(*plugin_and_args)
    assert json.loads((tmp_path / ".lease.json").read_text()) == ALIVE


def test_results_folder_that_is_not_writable_is_refused(act, tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(AnsibleActionFail, match="set report_path to a folder of this user"):
        act(stage, image_stage())


def test_weights_staging_returns_what_the_module_returns(act):
    arguments = {"path": "/data/m", "state": "held", "source": "local"}
    assert act(weights_staging, arguments, {"changed": False, "holds": True}) == {"changed": False, "holds": True}
    assert act.requests[0]["run"] == run.RUN_ID


def test_progress_of_a_transfer_renews_the_lease(act):
    act(weights_progress, {"container": "c", "folder": "/f"}, {"running": False, "exit_code": 0})
    assert act.requests[0]["run"] == run.RUN_ID


def release(tmp_path, command, check_mode=False, planned=True):
    """Return the return value of the action that releases the leases of this run.

    :param command: the function that runs a command on the node.
    :param planned: whether this run has a plan for the node.
    """
    (tmp_path / ".lease.json").write_text(json.dumps(run.RUN))
    if planned:
        Records(tmp_path).write_plan("node1", PLAN, {})
    action = new_action(lease_action, {"state": "absent"}, check_mode=check_mode)
    action._low_level_execute_command = command
    return action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path)})


@pytest.mark.parametrize("check_mode", [False, True])
def test_leases_are_released(tmp_path, check_mode):
    command = Mock(return_value={"rc": 0})
    assert release(tmp_path, command, check_mode) == {"changed": False}
    assert [call.args for call in command.call_args_list] == (
        [] if check_mode else [(f"rm -rf {lease.ROOT}/{run.RUN_ID}",)])
    assert not (tmp_path / ".lease.json").exists()


def test_node_without_a_plan_of_this_run_is_not_contacted(tmp_path):
    """A node has no plan if its plan was refused, for example. A plan of another run does not count."""
    Records(tmp_path, run_id="another").write_plan("node1", PLAN, {})
    assert release(tmp_path, Mock(side_effect=AssertionError), planned=False) == {"changed": False}
    assert not (tmp_path / ".lease.json").exists()


def test_lease_that_cannot_be_removed_is_reported(tmp_path):
    result = release(tmp_path, Mock(return_value={"rc": 1, "stderr": "rm: cannot remove"}))
    assert result == {"changed": False, "msg": "The lease on the node could not be removed (rm: cannot remove); the "
                                               "next run removes it."}


def test_release_without_a_lease_creates_no_folder(tmp_path):
    Records(tmp_path / "results").release()
    assert not (tmp_path / "results").exists()


def test_unreachable_node_does_not_fail_the_release(tmp_path):
    result = release(tmp_path, Mock(side_effect=AnsibleConnectionFailure("x")))
    assert "the next run removes its lease" in result["msg"]
    assert not result["changed"]
