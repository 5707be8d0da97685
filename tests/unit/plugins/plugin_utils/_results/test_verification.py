# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict is the worst of all findings of a run."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, verification

STAGES = ("npu_driver", "benchmark", "accuracy")


def check(stage, name, status, actual=None, subject=None):
    return {"id": f"{stage}.{name}", "status": status, "subject": subject, "message": None, "expected": "a verdict",
            "actual": actual}


def verdict(*checks, run_id="now", stages=STAGES, hosts=("node1",)):
    found = {host: {stage: {"stage": stage, "run_id": run_id, "checks": [
        each for each in checks if each["id"].startswith(stage)]} for stage in stages} for host in hosts}
    return verification.judge(found, STAGES, "now", "/report.html")


REGRESSION = check("benchmark", "regression", "failed")
NO_BASELINE = check("benchmark", "verdict", "failed", "no baseline")
INCONCLUSIVE = check("benchmark", "verdict", "failed", "the repeats vary too much")
UNREACHABLE = check("npu_driver", "node_reachable", "failed")


@pytest.mark.parametrize(("checks", "expected", "exit_code"), [
    ([], "healthy", 0),
    ([check("benchmark", "regression", "passed"), check("npu_driver", "kernel", "warned"),
      check("npu_driver", "alarm", "waived"), check("benchmark", "baseline", "not_run")], "healthy", 0),
    ([check("npu_driver", "npu_count", "failed")], "failed", 2),
    ([check("benchmark", "verdict", "failed", "an invalid run: tokens")], "failed", 2),
    ([REGRESSION], "regression", 3), ([check("accuracy", "delta", "failed")], "regression", 3),
    ([check("accuracy", "gate", "failed")], "regression", 3),
    ([UNREACHABLE], "unreachable", 4),
    ([NO_BASELINE], "no_baseline", 5),
    ([check("accuracy", "reference", "not_run", subject="own")], "no_baseline", 5),
    ([check("accuracy", "reference", "not_run", subject="own"), check("accuracy", "delta", "passed", subject="own")],
     "healthy", 0),
    ([INCONCLUSIVE], "inconclusive", 6), ([check("accuracy", "delta", "not_run")], "inconclusive", 6),
    ([INCONCLUSIVE, NO_BASELINE, UNREACHABLE, REGRESSION], "regression", 3),
    ([INCONCLUSIVE, NO_BASELINE, UNREACHABLE], "unreachable", 4), ([INCONCLUSIVE, NO_BASELINE], "no_baseline", 5),
])
def test_each_finding_has_its_verdict_and_the_worst_one_counts(checks, expected, exit_code):
    found = verdict(*checks)
    assert (found["verdict"], found["exit_code"], found["report"]) == (expected, exit_code, "/report.html")
    assert bool(found["reasons"]) is (expected != "healthy")


def test_reasons_name_host_check_and_subject():
    found = verdict(INCONCLUSIVE, check("benchmark", "regression", "failed", "p99 TPOT", subject="vllm"))
    assert found["reasons"] == ["node1: benchmark.regression (vllm): expected a verdict, found p99 TPOT",
                                "node1: benchmark.verdict: expected a verdict, found the repeats vary too much"]


@pytest.mark.parametrize("arguments", [{"run_id": "last week"}, {"stages": ["npu_driver", "accuracy"]}])
def test_stage_without_a_result_of_this_run_does_not_count_as_healthy(arguments):
    found = verdict(**arguments)
    assert found["verdict"] == "failed"
    assert "benchmark" in found["reasons"][0]


def test_missing_results_of_an_unreachable_node_do_not_count_again():
    assert verdict(UNREACHABLE, stages=["npu_driver"])["reasons"] == [
        "node1: npu_driver.node_reachable: expected a verdict, found None"]


def test_run_without_nodes_is_not_healthy():
    assert verdict(hosts=())["verdict"] == "failed"


def test_ids_of_the_checks_exist():
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.registry import JUDGES
    ids = {f"{stage}.{each.id}" for stage, judge in JUDGES.items() for each in judge.CHECKS}
    assert {*verification._COMPARING, "benchmark.verdict", "accuracy.reference"} <= ids
    assert "node_reachable" in {each.id for each in contract.COMMON}
