# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores are judged, and so is their difference from the scores of another model."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import judge as accuracy
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context

INPUTS = {"accuracy_enabled": True, "accuracy_datasets": [{"name": "own", "path": "/own.jsonl", "minimum": 70}],
          "accuracy_references": [], "accuracy_maximum_drop": 1}
SCORE = {"dataset": "own", "metric": "accuracy", "version": "1a", "score": 80.0, "printed": "80.00", "answered": 10,
         "failed": 0, "interval": None}
OBSERVED = {"problem": None, "scores": [SCORE], "answers": {"own": {"answered": 10, "failed": 0}}, "log": ["the end"],
            "comparison": [], "compared_with": None}
PLAN = {"model": {"id": "m", "references": []}, "hardware": {"series": "A2"}}


def judge(inputs=None, **observed):
    found = accuracy.judge(context(PLAN, dict(OBSERVED, **observed), dict(INPUTS, **(inputs or {}))))
    return {check["id"]: check for check in found}


def statuses(**arguments):
    return {name: check["status"] for name, check in judge(**arguments).items()}


def test_score_above_the_minimum_passes():
    assert statuses() == dict.fromkeys(("data", "answered", "score", "reference", "gate"), "passed")


def test_disabled_measurement_is_not_run():
    assert statuses(not_run="accuracy_enabled is false") == {"score": "not_run"}


def test_nothing_else_is_judged_without_the_data():
    assert statuses(problem="gsm8k lacks test.jsonl") == {"data": "failed"}


@pytest.mark.parametrize("scores", [[], [dict(SCORE, score=None, printed="-")]])
def test_dash_does_not_count_as_a_score(scores):
    found = judge(scores=scores, answers={}, log=["warmup failed", "Task state is error"])
    assert (found["score"]["status"], found["answered"]["status"]) == ("failed", "failed")
    assert "Task state is error" in found["score"]["actual"]
    assert "gate" not in found


def test_failed_requests_fail_the_checks_with_any_score():
    found = statuses(answers={"own": {"answered": 9, "failed": 1}})
    assert (found["answered"], found["gate"]) == ("failed", "failed")


@pytest.mark.parametrize(("score", "status"), [(70.0, "passed"), (69.9, "failed")])
def test_score_is_compared_with_the_minimum(score, status):
    assert statuses(scores=[dict(SCORE, score=score)])["gate"] == status


def test_gate_is_not_judged_without_a_reference():
    found = statuses(inputs={"accuracy_datasets": [{"name": "own", "path": "/own.jsonl"}]})
    assert found["reference"] == "not_run"
    assert "gate" not in found


def test_answers_to_the_parts_of_a_dataset_are_counted():
    found = judge(inputs={"accuracy_datasets": [{"name": "mmlu", "path": "/d", "minimum": 70}]},
                  scores=[dict(SCORE, dataset="mmlu")],
                  answers={"lukaemon_mmlu_law": {"answered": 3, "failed": 0},
                           "lukaemon_mmlu_virology": {"answered": 4, "failed": 1},
                           "other": {"answered": 9, "failed": 0}})
    assert found["answered"]["actual"] == "7 answered, 1 failed"
    assert found["score"]["status"] == "passed"


def comparison(verdict, answers):
    return [{"dataset": "own", "metric": "accuracy", "before": 90.0, "after": 80.0, "delta": -10.0, "paired": answers,
             "verdict": verdict}]


PAIRED = {"questions": 100, "lost": 12, "gained": 2, "delta": -10.0, "low": -17.0, "high": -3.0, "p": 0.013}
COMPARED = {"model": "bf16", "release": "v1", "host": "node1"}


@pytest.mark.parametrize(("verdict", "status"), [
    ("passed", "passed"), ("failed", "failed"), ("inconclusive", "not_run")])
def test_difference_from_another_model_is_judged(verdict, status):
    found = judge(comparison=comparison(verdict, PAIRED), compared_with=COMPARED)["delta"]
    assert found["status"] == status
    assert "12 answers lost and 2 gained in 100 questions" in str(found["actual"]) + str(found["message"])


def test_scores_without_outcomes_are_not_compared():
    found = judge(comparison=comparison("inconclusive", None), compared_with=COMPARED)["delta"]
    assert found["status"] == "not_run"
    assert "lacks the outcomes of the questions" in found["message"]


def test_score_is_shown_with_its_interval():
    assert judge(scores=[dict(SCORE, interval=(44.4, 97.5))])["score"]["actual"] == (
        "80 (accuracy, 95 % interval 44.4 to 97.5)")


def test_scores_on_different_data_are_not_compared():
    found = statuses(compared_with={"model": "bf16", "release": "v1", "host": "node1"})
    assert found["delta"] == "not_run"
