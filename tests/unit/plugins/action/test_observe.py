# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations and failures are saved, and the stage judges them without a second request to the node."""

from __future__ import annotations

import json
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import observe, stage
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

OBSERVED = {"path": "/data/model", "files": [], "identity": "1", "_ansible_x": 1, "invocation": {}, "changed": False}


@pytest.fixture
def act(tmp_path):
    """Return a function (plugin, host, result of the module) -> the return value of the action.

    Its attribute ``modules`` lists the names of the modules that were run.
    """
    def run(plugin, host, response=None, check_mode=False, **args):
        def execute(name, module_args, task_vars):
            run.modules.append(name)
            validated(name, module_args)
            if isinstance(response, Exception):
                raise response
            return response

        loader = DataLoader()
        task = Mock(args={"stage": "weights", "plan": valid(), **args}, async_val=0, check_mode=check_mode, _uuid="t")
        action = plugin.ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module, action._display = execute, Mock()
        returned = action.run(task_vars={"inventory_hostname": host, "ansible_play_hosts": ["node1", "node2"],
                                         "report_path": str(tmp_path), **run.variables})
        run.shown = [call.args[0] for call in action._display.display.call_args_list]
        return returned

    run.modules, run.records, run.variables = [], Records(tmp_path), {}
    run.result = lambda host: json.loads((tmp_path / host / "weights.json").read_text("utf-8"))
    return run


def test_observation_is_saved_as_plain_data(act):
    outcome = act(observe, "node1", OBSERVED)
    assert (outcome["failure"], outcome["reachable"], outcome["observed"]) == (None, True, {})
    record = act.records.read_observation("node1", "weights")
    assert sorted(record.observed) == ["files", "identity", "model", "path", "round_trip"]
    assert record.spent_s >= 0


def test_stage_judges_the_saved_observation(act):
    act(observe, "node1", OBSERVED)
    outcome = act(stage, "node1", AssertionError("observed again"))
    assert act.modules == ["ascend.vllm.weights_info"]
    assert (outcome["status"], act.result("node1")["observed"]["path"]) == ("failed", "/data/model")


def test_stage_observes_again_if_the_observation_is_from_another_phase(act):
    act(observe, "node1", OBSERVED, phase="before")
    act(stage, "node1", OBSERVED)
    assert act.modules == ["ascend.vllm.weights_info"] * 2


@pytest.mark.parametrize(("response", "check", "message"), [
    (AnsibleConnectionFailure("timed out\nmore"), "weights.node_reachable", "node1 is not reachable: timed out"),
    ({"failed": True, "msg": "no python"}, "weights.observation", "ascend.vllm.weights_info failed: no python"),
])
def test_failure_is_saved_and_recorded_by_the_stage(act, response, check, message):
    outcome = act(observe, "node1", response)
    assert "failed" not in outcome
    assert outcome["failure"] == message
    outcome = act(stage, "node1", AssertionError("observed again"))
    assert (outcome["failed"], outcome["reachable"]) == (True, outcome["status"] != "failed" or "python" in message)
    (found,) = act.result("node1")["checks"]
    assert (found["id"], found["status"], found["message"]) == (check, "failed", message)


def test_stage_compares_the_host_with_other_observed_hosts(act):
    manifest = {"digest": "d" * 64, "files": [], "bytes": 0, "source": "hub", "repository": "r", "revision": "1"}
    complete = {**OBSERVED, "files": ["x"], "manifest": manifest, "manifest_path": "/m", "outside": [], "faults": [],
                "digest": "d" * 64, "shards": {}, "index": [], "config": None, "content_faults": [],
                "quantization": None, "tokenizer_class": None}
    act(observe, "node1", complete)
    act(observe, "node2", {**complete, "manifest": {**manifest, "digest": "e" * 64}})
    act(stage, "node1")
    (check,) = (check for check in act.result("node1")["checks"] if check["id"] == "weights.same_on_all_nodes")
    assert (check["status"], check["message"]) == ("failed", "the model differs from that of node2")


def test_check_mode_saves_the_observation_but_no_result(act):
    act(observe, "node1", OBSERVED, check_mode=True)
    act(stage, "node1", AssertionError("observed again"), check_mode=True)
    assert act.records.read_observation("node1", "weights")
    assert not (act.records.root / "node1" / "weights.json").exists()


def test_check_mode_shows_what_the_stage_would_do(act):
    returned = act(stage, "node1", AssertionError("observed"), check_mode=True, measured={"pending": True})
    assert (returned["failed"], returned["path"]) == (False, None)
    (line,) = act.shown
    assert line.startswith("[node1] weights: Without --check, the run would stage the model in /data/")
    act(stage, "node1", {**OBSERVED, "changed": False}, stage="functional", check_mode=True)
    assert act.shown == ["[node1] functional: Without --check, the run would send requests to the model."]
    act(observe, "node1", OBSERVED)
    act(stage, "node1")
    assert act.shown == []


class HostVars(dict):
    raw_get = dict.__getitem__


def test_stage_judges_the_observation_of_another_deployment_on_the_node(act):
    known = HostVars(node1={"inventory_hostname": "node1"}, node2={
        "inventory_hostname": "node2", "plan_node": "node1", "ansible_host": "node1", "serving_port": 9000,
        "serving_hccl_port_base": 61000})
    act.variables = {"hostvars": known, "groups": {"npu_nodes": list(known)}}
    plan = {**valid(), "neighbors": {"node2": "text"}}
    assert not act(observe, "node1", OBSERVED, plan=plan).get("skipped")
    act.variables.update(known["node2"])
    assert act(observe, "node2", AssertionError("observed again"), plan=plan)["skipped"]
    act(stage, "node2", AssertionError("observed again"), plan=plan)
    assert act.modules == ["ascend.vllm.weights_info"]
    assert act.result("node2")["host"] == "node2"
    assert act.result("node2")["observed"]["path"] == "/data/model"
    assert not [check for check in act.result("node2")["checks"] if check["id"] == "weights.same_on_all_nodes"]
