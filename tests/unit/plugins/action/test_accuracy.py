# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first planned instance is measured with AISBench, and the result is judged and recorded."""

from __future__ import annotations

import json
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import accuracy
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import input_digests
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import HostVars
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid, valid_group

JOB = "/var/tmp/ascend-vllm-accuracy-x"
OUTCOMES = "1" * 80 + "0" * 20
ROW = {"dataset": "own", "version": "1a", "metric": "accuracy", "mode": "gen", "model": "80.00"}
FINISHED = {"running": False, "exit_code": 0, "rows": [ROW], "answers": {"own": {"answered": 10, "failed": 0}},
            "outcomes": {"own": OUTCOMES}, "performance": {"totals": None, "latencies": None}, "log": []}
DATASETS = [{"name": "own", "path": "/own.jsonl", "minimum": 70}]


@pytest.fixture
def act(tmp_path):
    """Return a function that runs the action, and returns what the action returned and the recorded result, or None.

    It takes a plan or ``{host: plan}``, and variables. Its attribute ``calls`` lists the module calls.
    """
    def run(plan, check_mode=False, **variables):
        def execute(name, module_args, task_vars):
            arguments = validated(name, module_args)
            run.calls.append((name, arguments["state"], arguments))
            if run.unreachable:
                raise AnsibleConnectionFailure("timed out")
            return {"started": {"job": JOB, "problem": None, "data": {"own": "5ha"}}, "watched": run.job,
                    "absent": {"changed": True}}[arguments["state"]]

        loader = DataLoader()
        action = accuracy.ActionModule(Mock(args=run.args, async_val=0, check_mode=check_mode), Mock(), Mock(), loader,
                                       Templar(loader=loader, variables={}), Mock())
        action._execute_module = execute
        variables = {"inventory_dir": str(tmp_path), "inventory_hostname": "node1", "accuracy_enabled": True,
                     "accuracy_datasets": DATASETS, "report_path": str(tmp_path), **variables}
        host = variables["inventory_hostname"]
        plans = plan if "node1" in plan else {host: plan}
        variables["hostvars"] = HostVars({name: dict(variables) for name in plans})
        for name, each in plans.items():
            Records(tmp_path).write_plan(name, each, input_digests(variables))
        returned, path = action.run(task_vars=variables), tmp_path / host / "accuracy.json"
        return returned, json.loads(path.read_text("utf-8")) if path.exists() else None

    run.args, run.calls, run.unreachable, run.job = {}, [], False, FINISHED
    return run


def statuses(result):
    return {check["id"].partition(".")[2]: check["status"] for check in result["checks"]}


def test_first_instance_is_measured_and_judged(act):
    plan = valid()
    returned, result = act(plan, accuracy_concurrency=4, accuracy_num_prompts="10")
    assert (returned["failed"], result["status"]) == (False, "passed")
    assert statuses(result) == dict.fromkeys(("data", "answered", "score", "reference", "gate"), "passed")
    assert [(name, state) for name, state, _arguments in act.calls] == [
        ("ascend.vllm.ais_bench", state) for state in ("started", "watched", "absent")]
    started = act.calls[0][2]
    assert started["server"] == {"url": plan["instances"][0]["url"], "model": plan["model"]["served_name"],
                                 "concurrency": 4, "maximum_tokens": 2048}
    assert (started["datasets"], started["num_prompts"]) == ([{"name": "own", "path": "/own.jsonl"}], 10)
    assert result["observed"]["instance"] == plan["instances"][0]["name"]
    assert result["observed"]["figures"] == [{"name": "own, accuracy", "value": 80.0, "unit": "points"}]


@pytest.mark.parametrize(("before", "variables", "status"), [
    ("1" * 100, {}, "failed"), ("1" * 100, {"accuracy_maximum_drop": 30}, "passed"),
    (OUTCOMES, {"accuracy_maximum_drop": 5}, "passed"),
    (OUTCOMES, {}, "not_run"),
    ("1" * 82 + "0" * 18, {}, "not_run"), (None, {}, "not_run")])
def test_answers_are_compared_with_those_of_another_model(act, tmp_path, before, variables, status):
    scores = [{"dataset": "own", "metric": "accuracy", "version": "1a", "score": 90.0, "answered": 10, "data": "5ha",
               "outcomes": before}]
    path = tmp_path / "bf16.json"
    path.write_text(json.dumps({"model": "bf16", "release": "v1", "host": "node9", "observed": {"scores": scores}}))
    returned, result = act(valid(), accuracy_compare_with=str(path), **variables)
    assert (returned["failed"], statuses(result)["delta"]) == (status == "failed", status)
    assert result["observed"]["compared_with"] == {"model": "bf16", "release": "v1", "host": "node9"}
    assert result["observed"]["scores"][0]["outcomes"] == OUTCOMES
    assert "outcomes" not in result["observed"]


def test_each_deployment_is_measured_once(act, tmp_path):
    """Of three hosts, the second serves the same as the first, and the third serves another model."""
    plans = {"node1": valid(), "node2": valid(), "node3": valid(plan_model="qwen2_5_vl_32b_instruct")}
    found = {}
    for name in plans:
        _returned, result = act(plans, inventory_hostname=name, ansible_play_hosts=list(plans))
        found[name] = (result["status"], result["observed"].get("not_run") or result["error"])
    assert found == {"node1": ("passed", None), "node3": ("passed", None), "node2": (
        "not_run", "node1 has the same deployment and is measured instead of this host.")}
    act.args = {"step": "choose"}
    assert [act(plans, inventory_hostname=name, ansible_play_hosts=list(plans))[0]["measured"] for name in plans] == [
        True, False, True]
    assert act(plans, inventory_hostname="node2", ansible_play_hosts=["node2", "node3"])[0]["measured"]


def test_file_that_is_not_a_measurement_is_refused_before_the_run(act, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    returned, _result = act(valid(), accuracy_compare_with=str(tmp_path / "other.json"))
    assert "accuracy_compare_with has to be the accuracy.json of an earlier measurement" in returned["msg"]
    assert (returned["failed"], act.calls) == (True, [])


@pytest.mark.parametrize(("plan", "variables", "reason"), [
    (valid(), {"accuracy_enabled": False}, "accuracy_enabled is false"),
    (valid_group("data_parallel")["node2"], {}, "node1 serves the whole group and is tested instead of this host"),
])
def test_stage_is_recorded_as_not_run_if_nothing_is_measured(act, plan, variables, reason):
    returned, result = act(plan, **variables)
    assert returned["status"] == result["status"] == "not_run"
    assert result["observed"]["not_run"].startswith(reason)
    assert act.calls == []


def test_check_mode_measures_and_records_nothing(act):
    returned, result = act(valid(), check_mode=True)
    assert (returned["status"], result, act.calls) == ("not_run", None, [])


def test_unreachable_node_fails_the_stage(act):
    act.unreachable = True
    returned, result = act(valid())
    assert (returned["failed"], returned["reachable"], statuses(result)) == (True, False, {"node_reachable": "failed"})


def test_measurement_that_exceeds_the_timeout_fails(act):
    act.job = {**FINISHED, "running": True, "progress": {}}
    _returned, result = act(valid(), accuracy_timeout_s=1)
    (failed,) = [check for check in result["checks"] if check["status"] == "failed"]
    assert failed["actual"] == "AISBench took longer than accuracy_timeout_s (1 s)"


@pytest.mark.parametrize(("waive", "status"), [([], "failed"), (["gate"], "waived")])
def test_failed_check_can_be_waived(act, waive, status):
    datasets = [dict(DATASETS[0], minimum=90)]
    _returned, result = act(valid(), accuracy_datasets=datasets, accuracy_waive=waive)
    assert statuses(result)["gate"] == status
