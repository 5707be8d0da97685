# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accuracy stage: whether the scores are scores, and whether they are good enough.

AISBench exits with 0 when every request failed and writes ``-`` as the score, so its exit code is not looked at.
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import is_part
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, INFO, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy.scores import reference

CHECKS = (
    Check("data", CRITICAL, "The data sets and AISBench are where they have to be",
          "Put the data where the message says (roles/accuracy/README.md has the layouts), then run again."),
    Check("answered", CRITICAL, "Every request was answered",
          "Read the server's log (playbooks/diagnostics.yml); failed requests count as wrong answers in the score."),
    Check("score", CRITICAL, "There is a score for each data set",
          "Set accuracy_enabled to true to measure; the end of the logs in the result file says why one is missing."),
    Check("reference", INFO, "There is something to hold the score against",
          "Give the data set a minimum, or a baseline and a tolerance, in accuracy_datasets."),
    Check("gate", CRITICAL, "The score is good enough",
          "Compare release, patches, weights and quantisation with the run that the reference comes from."),
    Check("delta", CRITICAL, "The score is not below that of the compared model by more than is allowed",
          "Quantise again with other calibration data or fewer quantised layers, or serve the compared model."),
)


RETURNED = ()
survey = None


def request(context):
    """Nothing: the action ``ascend.vllm.accuracy`` measures."""
    return


def judge(context):
    """Judge every score; subject is the data set."""
    checks = Checks(CHECKS)
    observed, inputs = context.observed, context.inputs
    if observed.get("not_run"):
        checks.not_run("score", observed["not_run"])
        return checks.as_list()
    checks.expect("data", not observed["problem"], "data sets and tool", observed["problem"] or "both")
    if observed["problem"]:
        return checks.as_list()
    for dataset in inputs["accuracy_datasets"]:
        _judge_dataset(checks, dataset, observed, context.plan["model"]["id"], inputs)
    if inputs["accuracy_compare_with"]:
        _judge_comparison(checks, observed, inputs)
    return checks.as_list()


def _judge_dataset(checks, dataset, observed, model, inputs):
    name = dataset["name"]
    counts = [count for task, count in observed["answers"].items() if is_part(task, name)]
    answered, failed = sum(count["answered"] for count in counts), sum(count["failed"] for count in counts)
    checks.expect("answered", answered > 0 and failed == 0, "all, at least one",
                  "%d answered, %d failed" % (answered, failed), subject=name)
    whole = next((score for score in observed["scores"] if score["dataset"] == name), None)
    if whole is None or whole["score"] is None:
        why = " / ".join(observed["log"][-2:]) or "no log"
        checks.expect("score", False, "a number", "%s; the log ends: %s" % (
            "'%s'" % whole["printed"] if whole else "no row in the summary", why), subject=name)
        return
    checks.expect("score", True, "a number", "%g (%s)" % (whole["score"], whole["metric"]), subject=name)
    held = reference(dataset, model, inputs["accuracy_references"])
    if held is None:
        checks.not_run("reference", "neither accuracy_datasets nor accuracy_references has a number for it",
                       subject=name)
        return
    checks.expect("reference", True, "a reference", held["why"], subject=name)
    checks.expect("gate", whole["score"] >= held["at_least"] and failed == 0, "at least %g (%s)" % (
        held["at_least"], held["why"]), "%g" % whole["score"], subject=name)


def _judge_comparison(checks, observed, inputs):
    """One row per data set: both scores and the difference."""
    compared = observed["compared_with"]
    for dataset in inputs["accuracy_datasets"]:
        row = next((row for row in observed["comparison"] if row["dataset"] == dataset["name"]), None)
        if row is None:
            checks.not_run("delta", "%s of %s was not measured on the same data" % (
                compared["model"], compared["host"]), subject=dataset["name"])
        else:
            checks.expect("delta", row["within"],
                          "at most %g below the %g of %s" % (
                              inputs["accuracy_maximum_drop"], row["before"], compared["model"]),
                          "%g (%+g)" % (row["after"], row["delta"]), subject=dataset["name"])
