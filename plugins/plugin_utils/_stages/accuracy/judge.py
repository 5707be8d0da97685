# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the accuracy stage. It checks whether there are scores, and whether they are high enough.

The exit code of AISBench is ignored: it is 0 even if every request failed and the score is ``-``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import is_part
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, INFO, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import paired, scores
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context, Outcomes

CHECKS = (
    Check("data", CRITICAL, "AISBench and the datasets are complete",
          "Copy the missing files (roles/accuracy/README.md lists them), then run again."),
    Check("answered", CRITICAL, "Every request was answered",
          "Read the log of the server (playbooks/diagnostics.yml). The score counts failed requests as wrong answers."),
    Check("score", CRITICAL, "There is a score for each dataset",
          "Set accuracy_enabled to true to measure. The result file contains the last lines of the logs."),
    Check("reference", INFO, "There is a score to compare with",
          "Add a minimum, or a baseline and a tolerance, to the dataset in accuracy_datasets."),
    Check("gate", CRITICAL, "The score is high enough",
          "Compare release, patches, weights and quantization with those of the run that the reference is from."),
    Check("delta", CRITICAL, "The score is at most accuracy_maximum_drop points below that of the compared model",
          "If it failed, quantize again with other calibration data or fewer quantized layers, or serve the compared "
          "model. If it is inconclusive, measure both models with more questions."),
)

RETURNED = ()
check_inputs = scores.check_inputs
survey = None


def request(context: Context) -> None:
    """Return None, because the action ``ascend.vllm.accuracy`` makes the measurement itself."""


def judge(context: Context) -> Outcomes:
    """Return the outcomes of the checks of an AccuracyObservation. The subject of each check is the dataset."""
    checks = Checks(CHECKS)
    observed, inputs = cast("scores.AccuracyObservation", context.observed), context.inputs
    if observed.get("not_run"):
        checks.not_run("score", observed["not_run"])
        return checks.as_list()
    checks.expect("data", not observed["problem"], "datasets and AISBench", observed["problem"] or "complete")
    if observed["problem"]:
        return checks.as_list()
    for dataset in inputs["accuracy_datasets"]:
        _judge_dataset(checks, dataset, context)
    if observed["compared_with"]:
        _judge_comparison(checks, observed["comparison"], observed["compared_with"], inputs)
    return checks.as_list()


def _judge_dataset(checks: Checks, dataset: scores.DatasetInput, context: Context) -> None:
    name, observed = dataset["name"], cast("scores.AccuracyObservation", context.observed)
    counts = [count for task, count in observed["answers"].items() if is_part(task, name)]
    answered, failed = sum(count["answered"] for count in counts), sum(count["failed"] for count in counts)
    checks.expect("answered", answered > 0 and failed == 0, "all, at least one",
                  "%d answered, %d failed" % (answered, failed), subject=name)
    found = next((score for score in observed["scores"] if score["dataset"] == name), None)
    if found is None or found["score"] is None:
        log = " / ".join(observed["log"][-2:]) or "none"
        checks.expect("score", False, "a number", "%s; last lines of the log: %s" % (
            "'%s'" % found["printed"] if found else "no row in the summary", log), subject=name)
        return
    spread = ", 95 %% interval %g to %g" % found["interval"] if found["interval"] else ""
    checks.expect("score", True, "a number", "%g (%s%s)" % (found["score"], found["metric"], spread), subject=name)
    compared = scores.reference(dataset, context.plan, context.inputs["accuracy_references"])
    if compared is None:
        checks.not_run("reference", "accuracy_datasets and accuracy_references contain no score for this dataset.",
                       subject=name)
        return
    checks.expect("reference", True, "a reference", compared[1], subject=name)
    checks.expect("gate", found["score"] >= compared[0] and failed == 0, "at least %g (%s)" % compared,
                  "%g" % found["score"], subject=name)


def _judge_comparison(checks: Checks, changes: Sequence[scores.ScoreChange], compared: scores.ComparedModel,
                      inputs: Mapping[str, Any]) -> None:
    """Compare the score of each dataset with the score of the other model."""
    for dataset in inputs["accuracy_datasets"]:
        change = next((change for change in changes if change["dataset"] == dataset["name"]), None)
        if change is None:
            checks.not_run("delta", "%s on %s was not measured with the same data." % (
                compared["model"], compared["host"]), subject=dataset["name"])
            continue
        answers, drop = change["paired"], inputs["accuracy_maximum_drop"]
        if answers is None:
            checks.not_run("delta", "At least one of the results lacks the outcomes of the questions; measure both "
                           "models with this version.", subject=dataset["name"])
        elif change["verdict"] == paired.INCONCLUSIVE:
            checks.not_run("delta", "%s. These questions do not show whether the drop is at most %g points." % (
                paired.sentence(answers), drop), subject=dataset["name"])
        else:
            checks.expect("delta", change["verdict"] == paired.PASSED, "at most %g below the %g of %s" % (
                drop, change["before"], compared["model"]), "%g (%s)" % (change["after"], paired.sentence(answers)),
                subject=dataset["name"])
