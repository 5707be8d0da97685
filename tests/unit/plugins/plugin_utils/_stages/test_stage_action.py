# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage writes a valid result and report for any observation that a node returns."""

from __future__ import annotations

import copy
import json
import random
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import jsonschema
import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.action.stage import ActionModule
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, forms, report
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, Records, timestamp
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages import stage_action
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.registry import JUDGES
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.accuracy import test_judge as accuracy
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.benchmark import test_judge as benchmark
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.functional import test_judge as functional
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.hccl import hccl_case
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.image import test_judge as image
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.npu_driver import npu_case
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.serving import test_judge as serving
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.weights import test_judge as weights

MUTATIONS = 1000
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "docs" / "schemas" / "stage-result-v1.json").read_text("utf-8")))
model = weights.model

# Values of unexpected types; some cannot be written as JSON or UTF-8.
VALUES = (None, True, 0, -1, 5, 10**400, 0.5, float("nan"), float("inf"), "", "x", "\ud800", "a\0b\x1b[2J", "9" * 5000,
          [], [None], [5], [[]], {}, {"x": None}, {"": {}}, b"bytes", object)


def deep(levels):
    found = []
    for _level in range(levels):
        found = [found]
    return found


def mutate(value, chance):
    """Return a copy of an observation in which up to three values are replaced, removed, repeated or deeply nested."""
    found = copy.deepcopy(value)
    for _change in range(chance.randint(1, 3)):
        target = found
        while True:
            keys = list(target if isinstance(target, dict) else range(len(target)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(target[key], (dict, list)) and target[key] and chance.random() < 0.8:
                target = target[key]
                continue
            change = chance.random()
            if change < 0.15:
                del target[key]
            elif change < 0.2 and isinstance(target, list):
                target.extend(list(target))
            elif change < 0.25:
                target[key] = deep(chance.choice((3, 90, 2000)))
            elif change < 0.35 and isinstance(target[key], str):
                at = chance.randrange(len(target[key]) + 1)
                target[key] = target[key][:at] + chance.choice("\ud800\0\n|%{") + target[key][at:]
            else:
                target[key] = copy.deepcopy(chance.choice(VALUES))
            break
    return found


class SurveyOfTwo(Records):
    """Records with the observation of this host and the healthy observation of another host."""

    observations = {}

    def survey(self, host, hosts, stage, purpose, make, phase=""):
        return json.loads(json.dumps(make(self.observations)))[host]


@pytest.fixture
def recorded(model, monkeypatch):
    """Return ``{stage: (healthy observation, plan, inputs, values of other tasks)}``."""
    plan = valid(serving_api_key="set", image_digest="sha256:" + 64 * "0", plan_release="v0.18.0",
                 plan_architecture="aarch64")
    image_observed = copy.deepcopy(image.CONTEXT["observed"])
    probe = json.dumps(image_observed.pop("probe"))
    weights_context = weights.context(model)
    measured = copy.deepcopy(benchmark.MEASURED)
    measured["summary"] = benchmark.statistics.summarize(measured["runs"])
    snapshots = [{"vllm": benchmark.identity(benchmark.SERVICE)}] * 2
    return {
        "npu_driver": (npu_case.healthy(), npu_case.PLAN, npu_case.INPUTS, {}),
        "hccl": (hccl_case.observation(1, 2), valid(), dict(hccl_case.INPUTS, hccl_host_port=22), {}),
        "image": (image_observed, image.CONTEXT["plan"], image.CONTEXT["inputs"], {"probe": probe}),
        "weights": (dict(weights_context.observed), weights_context.plan,
                    dict(defaults("weights"), **weights_context.inputs), {}),
        "serving": (serving.node_observation(plan), plan, defaults("serving"), {}),
        "functional": ({"servers": [functional.SERVER]}, functional.PLAN, functional.INPUTS, {}),
        "accuracy": (accuracy.OBSERVED, accuracy.PLAN, accuracy.INPUTS, {}),
        "benchmark": ({"instances": [dict(benchmark.INSTANCE)], "measurements": [measured], "snapshots": snapshots},
                      {"model": {"served_name": "qwen25_vl"}}, benchmark.INPUTS, {}),
    }


@pytest.fixture
def new_action(recorded, tmp_path, monkeypatch):
    """Return a function (stage, observation of n1) -> the action on n1. The observation of n2 is healthy."""
    monkeypatch.setattr(stage_action, "checked", lambda stage, context: (context.inputs, {}))

    def make(stage, observed):
        healthy, plan, inputs, measured = recorded[stage]
        action = ActionModule.__new__(ActionModule)
        action.stage, action.host, action.judge, action.inputs = stage, "n1", JUDGES[stage], inputs
        action.task_vars, action.play_hosts, action.clock = {}, ["n1", "n2"], 0.0
        action.observer, action.plans = "n1", SimpleNamespace(observer=lambda host, *_others: host)
        action._task, action.secrets, action.need_python = SimpleNamespace(_uuid="t"), [], lambda: None
        action.context = context(plan, measured, inputs, "n1")
        action.records = SurveyOfTwo(tmp_path)
        action.records.observations = {"n1": observed, "n2": healthy}
        return action
    return make


def record_of(action, observed, tmp_path):
    """Observe, judge and record; return (the task's return value, the result in the file)."""
    record = action.add_to(ObservationRecord(started_at=timestamp()), lambda: observed)
    outcome = action.judge_and_record(record, surveyed=not record.failure)
    text = (tmp_path / "n1" / f"{action.stage}.json").read_bytes().decode("utf-8")
    return outcome, json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("stage", contract.STAGES)
def test_every_mutated_observation_results_in_a_valid_result_and_report(recorded, new_action, tmp_path, stage):
    healthy, chance, last = recorded[stage][0], random.Random(stage), None
    outcome, result = record_of(new_action(stage, healthy), healthy, tmp_path)
    assert result["error"] is None, "the recorded observation itself has to be judged"
    judged, refused = 0, 0
    for number in range(MUTATIONS):
        observed = mutate(healthy, chance)
        outcome, result = record_of(new_action(stage, observed), observed, tmp_path)
        assert result["checks"], "a result has at least one check"
        assert (result["stage"], result["host"], outcome["status"]) == (stage, "n1", result["status"])
        if result["error"]:
            assert (result["status"], [check["id"] for check in result["checks"]]) == (
                "failed", [f"{stage}.observation"])
            assert outcome["failed"]
        judged, refused = judged + (not result["error"]), refused + bool(result["error"])
        if number % 25 == 0 or refused == 1:
            SCHEMA.validate(result)  # slow
        if number % 4 == 0:
            last = report.summarize({"n1": {stage: result}}, ["n1", "n2"], timestamp(), "1", last)
            written = forms.forms(last, {"n1": {stage: result}}) if number % 20 == 0 else []
            assert all("n1" in text for _name, text in written[:4])
    assert judged > MUTATIONS / 20, "too few mutated observations reach the judge"


@pytest.mark.parametrize("stage", contract.STAGES)
def test_result_names_its_run_and_what_a_stage_of_the_service_has_tested(new_action, recorded, tmp_path, stage):
    earlier = Records(tmp_path)
    earlier.write_result(contract.stage_result("image", "n1", [], observed={"image": {"id": "sha256:i"}}))
    earlier.write_result(contract.stage_result("weights", "n1", [], observed={"digest": "d"}))
    earlier.write_result(contract.stage_result("serving", "n1", [], finished_at="2026-11-30T00:00:00Z", observed={
        "instances": [{"name": "vllm", "container": {"started_at": "yesterday"}}]}))
    action = new_action(stage, recorded[stage][0])
    _outcome, result = record_of(action, recorded[stage][0], tmp_path)
    assert result["run_id"] == action.records.run_id
    deployed = result.get("deployed")
    if stage in ("serving", "functional", "accuracy", "benchmark"):
        assert (deployed["image"], deployed["weights"]) == ("sha256:i", "d")
        assert (deployed["containers"] == {"vllm": "yesterday"}) == (stage in ("functional", "accuracy"))
        assert deployed["containers"]
    else:
        assert deployed is None


def test_error_in_the_judge_is_reported_with_host_error_and_line(new_action, recorded, tmp_path):
    observed = dict(recorded["weights"][0], config={"architectures": 5})
    outcome, result = record_of(new_action("weights", observed), observed, tmp_path)
    assert outcome["failed"]
    assert result["error"].startswith("The observation of n1 cannot be judged: ")
    assert "judge.py, line" in result["error"]
    assert result["observed"]["config"] == {"architectures": 5}


@pytest.mark.parametrize("error", [TypeError("no iterable"), RecursionError("maximum depth"), KeyError("npus"),
                                   MemoryError(), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates")])
def test_error_in_the_observation_is_recorded_as_a_failed_check(new_action, recorded, tmp_path, error):
    def observation():
        raise error

    action = new_action("weights", recorded["weights"][0])
    record = action.add_to(ObservationRecord(started_at="2026-11-30T00:00:00Z"), observation)
    action.judge_and_record(record)
    result = json.loads((tmp_path / "n1" / "weights.json").read_text("utf-8"))
    SCHEMA.validate(result)
    assert result["checks"][0]["id"] == "weights.observation"
    assert type(error).__name__ in result["error"] or str(error) in result["error"]


@pytest.mark.parametrize("stage", contract.STAGES)
def test_failure_of_another_task_is_recorded_as_a_failed_check_by_every_stage(new_action, recorded, tmp_path, stage):
    action = new_action(stage, recorded[stage][0])
    action.context = replace(action.context, failure="pip could not reach the index")
    for observed in ({}, recorded[stage][0]):
        outcome, result = record_of(action, observed, tmp_path)
        assert (outcome["failed"], result["status"]) == (True, "failed")
        assert any("pip could not reach the index" in str(check["message"]) for check in result["checks"]), observed


def test_module_that_hangs_is_named_in_the_result(new_action, recorded, tmp_path, monkeypatch):
    def hang(*_args, **_options):
        try:
            time.sleep(60)
        except Exception:  # a connection plugin retries after any Exception
            time.sleep(60)

    monkeypatch.setattr(stage_action, "CALL_S", 0.3)
    action = new_action("functional", recorded["functional"][0])
    action._execute_module = hang
    started = time.monotonic()
    record = action.add_to(ObservationRecord(started_at="2026-11-30T00:00:00Z"),
                           lambda: action.call("ascend.vllm.npu_info"))
    action.judge_and_record(record)
    assert time.monotonic() - started < 10
    result = json.loads((tmp_path / "n1" / "functional.json").read_text("utf-8"))
    assert result["status"] == "failed"
    assert result["error"].startswith("ascend.vllm.npu_info did not return on n1 within 0 s; ")
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_timeout_of_the_task_is_not_replaced(monkeypatch):
    raised = []
    monkeypatch.setattr(signal, "getsignal", lambda _number: raised.append)
    monkeypatch.setattr(signal, "setitimer", lambda *_: pytest.fail("the timer of Ansible was replaced"))
    with stage_action.deadline(1):
        pass


@pytest.mark.parametrize(("module", "arguments", "limit_s"), [
    ("ascend.vllm.npu_info", {}, 600), ("ascend.vllm.serving_info", {"wait_s": 15, "completion_timeout_s": 60.0}, 675),
    ("ascend.vllm.weights_info", {}, 21600),
    ("ascend.vllm.chat_info", {"servers": [1, 2], "requests": [1, 2, 3], "timeout_s": 120}, 600 + 8 * 120)])
def test_time_limit_of_a_call_depends_on_its_arguments(module, arguments, limit_s):
    assert stage_action.call_limit_s(module, arguments) == limit_s


def test_host_that_cannot_be_surveyed_is_left_out(new_action, recorded, tmp_path):
    healthy = recorded["hccl"][0]
    other = hccl_case.observation(2, 2)
    faulty = dict(healthy, npus=5)
    action = new_action("hccl", healthy)
    action.records.observations = {"n1": healthy, "n2": faulty}
    _outcome, result = record_of(action, healthy, tmp_path)
    assert result["error"] is None
    action = new_action("hccl", faulty)
    action.records.observations = {"n1": faulty, "n2": other}
    _outcome, result = record_of(action, faulty, tmp_path)
    assert "AttributeError: 'int' object has no attribute" in result["error"]


def test_task_cannot_be_asynchronous():
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(async_val=60, action="ascend.vllm.stage")
    with pytest.raises(AnsibleActionFail, match="async"):
        action.begin(None, {})


@pytest.fixture
def action_with_shell(tmp_path):
    """Return a function (output of the shell, delegate) -> (action on n1, commands that it sent)."""
    def make(output, delegate=None, **variables):
        sent = []

        def send(command, sudoable):
            sent.append(command)
            if isinstance(output, Exception):
                raise output
            return {"stdout": output}

        action = ActionModule.__new__(ActionModule)
        action.host, action.records, action.secrets = "n1", Records(tmp_path), []
        action._task, action._templar = SimpleNamespace(delegate_to=delegate), SimpleNamespace(template=str)
        action._low_level_execute_command = send
        action._execute_module = lambda *args, **options: {"changed": False}
        action.task_vars = {"ansible_python_interpreter": "/opt/python", **variables}
        return action, sent
    return make


def test_python_is_checked_once_per_host_and_run(action_with_shell):
    action, sent = action_with_shell("Welcome!\n<ascend-vllm-python /opt/python 3.11.2>\nBye")
    for _call in range(3):
        action.call("ascend.vllm.npu_info")
    assert len(sent) == 1
    assert "/opt/python" in sent[0]
    action_with_shell("<ascend-vllm-python /opt/python 3.11.2>")[0].need_python()
    delegated = {"localhost": {"ansible_python_interpreter": "/opt/python3"}}
    action, sent = action_with_shell("<ascend-vllm-python /opt/python3 3.11.2>", "localhost",
                                     ansible_delegated_vars=delegated)
    action.need_python()
    assert "/opt/python3" in sent[0]


def test_no_module_is_sent_to_a_python_that_is_too_old(action_with_shell):
    action, sent = action_with_shell("<ascend-vllm-python /opt/python 3.6.8>")
    for _call in range(2):
        with pytest.raises(AnsibleActionFail, match=r"n1 has Python 3\.6\.8 \(/opt/python\)"):
            action.call("ascend.vllm.npu_info")
    assert len(sent) == 1


def test_unreachable_host_is_not_a_python_that_is_too_old(action_with_shell):
    action, _sent = action_with_shell(AnsibleConnectionFailure("no route"))
    with pytest.raises(AnsibleConnectionFailure):
        action.call("ascend.vllm.npu_info")


def test_interpreter_is_discovered_as_ansible_does(action_with_shell, monkeypatch):
    discovered = []
    monkeypatch.setattr(stage_action, "discover_interpreter",
                        lambda action, name, mode, variables: discovered.append((name, mode)) or "/usr/bin/python3.9")
    action, sent = action_with_shell("<ascend-vllm-python /usr/bin/python3.9 3.9.2>", ansible_python_interpreter="auto")
    action.need_python()
    assert discovered == [("python", "auto_silent")]
    assert "/usr/bin/python3.9" in sent[0]
