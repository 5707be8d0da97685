# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage reads its plan and inputs. An invalid input is recorded as a failure, without a request to the node."""

from __future__ import annotations

import json
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import stage
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import from_inventory
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import input_digests
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import FakeNode, new_action
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid

PLAN = valid()
ILLUSTRATION = str(ROOT / "roles/functional/files/illustration.png")


@pytest.fixture
def run_stage(tmp_path):
    """Return a function (saved, response, **variables) -> (outcome, recorded result, arguments of each module call).

    ``saved``: whether this run has saved a plan. ``response``: the return value of the module.
    """
    def run(saved=True, response=None, **variables):
        requests = []

        def execute(name, module_args, task_vars):
            requests.append(module_args)
            return response or {"servers": []}

        variables = {"inventory_hostname": "node1", "report_path": str(tmp_path), "functional_image": ILLUSTRATION,
                     **variables}
        if saved:
            Records(tmp_path).write_plan("node1", PLAN, input_digests(variables))
        task = Mock(args={"stage": "functional"}, async_val=0, check_mode=False)
        loader = DataLoader()
        action = stage.ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module, action._display = execute, Mock(verbosity=0)
        outcome = action.run(task_vars=variables)
        return outcome, json.loads((tmp_path / "node1" / "functional.json").read_text("utf-8")), requests
    return run


@pytest.mark.parametrize(("variables", "message"), [
    ({"functional_image": "/none.png"}, "functional_image has to be a"),
    ({"functional_max_tokens": "many"}, "functional_max_tokens"),
])
def test_invalid_input_is_recorded_as_a_failed_observation(run_stage, variables, message):
    outcome, result, requests = run_stage(**variables)
    assert (outcome["failed"], result["status"], requests) == (True, "failed", [])
    assert [check["id"] for check in result["checks"]] == ["functional.observation"]
    assert message in result["error"]


def test_inputs_from_the_command_line_are_converted_to_their_types(run_stage):
    _outcome, _result, (request,) = run_stage(functional_timeout_s="7", functional_max_tokens="5")
    assert request["timeout_s"] == 7.0
    tokens = {each["id"]: each["body"]["max_tokens"] for each in request["requests"] if "messages" in each["body"]}
    assert {tokens[name] for name in ("text_answer", "image_answer", "several_images", "streaming")} == {5}


def test_plan_is_resolved_if_this_run_has_not_saved_one(run_stage, tmp_path):
    _outcome, result, (request,) = run_stage(saved=False, ansible_host="192.0.2.11", serving_port=9000, hostvars={})
    assert [server["url"] for server in request["servers"]] == ["http://192.0.2.11:9000"]
    assert result["plan_hash"] not in (None, PLAN["hash"])
    assert json.loads((tmp_path / "node1" / "plan.json").read_text("utf-8"))["plan"]["hash"] == result["plan_hash"]


def test_saved_plan_is_not_resolved_again(run_stage, monkeypatch):
    monkeypatch.setattr(from_inventory, "resolve", Mock(side_effect=AssertionError("resolved again")))
    assert run_stage()[1]["plan_hash"] == PLAN["hash"]


@pytest.mark.parametrize("change", [{"serving_port": 9000}, {"serving_api_key": "sesame"}])
def test_plan_that_was_saved_with_other_inputs_is_not_used(run_stage, tmp_path, change):
    run_stage(ansible_host="192.0.2.11", hostvars={})
    _outcome, result, _requests = run_stage(saved=False, ansible_host="192.0.2.11", hostvars={}, **change)
    assert result["plan_hash"] != PLAN["hash"]
    assert "sesame" not in (tmp_path / "node1" / "plan.json").read_text("utf-8")


def test_refused_plan_stops_the_stage(run_stage, tmp_path):
    with pytest.raises(AnsibleActionFail, match="nothing was changed"):
        run_stage(saved=False, plan_release="v9.9.9", hostvars={})
    assert not (tmp_path / "node1").exists()


@pytest.mark.parametrize("name", ["npu_driver", "hccl", "image", "weights", "serving", "functional"])
@pytest.mark.parametrize(("failure", "check", "message"), [
    (AnsibleConnectionFailure("timed out"), "node_reachable", "node1 is not reachable: timed out"),
    ({"failed": True, "msg": "no module"}, "observation", "failed: no module"),
])
def test_node_that_cannot_be_observed_fails_every_stage(tmp_path, name, failure, check, message):
    node = FakeNode(failure)
    Records(tmp_path).write_plan("node1", PLAN, input_digests({}))
    action = new_action(stage, {"stage": name, "plan": PLAN}, node.execute)
    outcome = action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path),
                                    "functional_image": ILLUSTRATION, "hccl_baseline_path": ""})
    (found,) = json.loads((tmp_path / "node1" / f"{name}.json").read_text("utf-8"))["checks"]
    assert (outcome["failed"], outcome["reachable"]) == (True, check == "observation")
    assert (found["id"], found["status"]) == (f"{name}.{check}", "failed")
    assert message in found["message"]


@pytest.mark.parametrize(("waive", "status"), [([], "failed"), (["node_reachable"], "waived")])
@pytest.mark.parametrize("name", ["npu_driver", "hccl", "image", "weights", "serving", "functional"])
def test_every_stage_accepts_waivers(tmp_path, name, waive, status):
    action = new_action(stage, {"stage": name, "plan": PLAN}, FakeNode(AnsibleConnectionFailure("x")).execute)
    outcome = action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path),
                                    "functional_image": ILLUSTRATION, "hccl_baseline_path": "",
                                    f"{name}_waive": waive})
    assert (outcome["status"], outcome["failed"]) == (status, status == "failed")


SECRET = "hunter22-of-this-run"


@pytest.mark.parametrize("response", [
    {"failed": True, "msg": f"no response to {SECRET}\x1b[2J"},
    {"failed": True, "msg": "HTTP 401 Authorization: Bearer another-s3cret"},
])
def test_secrets_in_a_response_reach_neither_result_nor_terminal(run_stage, tmp_path, response):
    outcome, result, _requests = run_stage(response=response, serving_api_key=SECRET)
    assert outcome["failed"]
    assert "(redacted)" in json.dumps(result)
    texts = [json.dumps(result), outcome["msg"], *(path.read_text("utf-8") for path in tmp_path.rglob("*.json"))]
    assert not [text for text in texts if SECRET in text or "another-s3cret" in text]
    assert "\x1b" not in outcome["msg"]


def test_host_name_that_escapes_the_results_folder_is_refused(run_stage, tmp_path):
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(AnsibleActionFail, match="rename the host"):
        run_stage(saved=False, inventory_hostname="../../x")
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_secrets_in_a_module_failure_are_masked_for_every_caller():
    loader = DataLoader()
    action = stage.ActionModule(Mock(), Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
    action.secrets, action.task_vars = [SECRET], {}
    action._execute_module = lambda *_args, **_options: {
        "failed": True, "msg": f"sent {SECRET} and Bearer s3cret-value"}
    with pytest.raises(AnsibleActionFail) as caught:
        action.call("ascend.vllm.serving_info")
    assert str(caught.value) == "ascend.vllm.serving_info failed: sent (redacted) and Bearer (redacted)"
