# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action import benchmark_compare
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import statistics

RAW = {"num_prompts": 2, "completed": 2, "output_throughput": 50.0, "p99_ttft_ms": 20.0}


def stage(**targets):
    return {"stage": "benchmark", "observed": {"measurements": [
        {"name": name, "runs": [{"metrics": metrics, "others": 0, "overlap_percent": None}] * 5}
        for name, metrics in targets.items()]}}


def scores(**found):
    return {"stage": "accuracy", "observed": {"scores": [
        {"dataset": name, "metric": "accuracy", "version": "1a", "answered": 10, "data": "5ha", "score": score,
         "outcomes": outcomes} for name, (score, outcomes) in found.items()]}}


FORMATS = {"raw": RAW, "baseline": {"schema": statistics.BASELINE_SCHEMA, "repeats": [RAW] * 5},
           "stage": stage(vllm=RAW)}
FEW = "Inconclusive: the runs have {} and {} repeats, and at least 5 are needed on both sides."
PASSED = "Passed: no metric is worse by more than its limit."


@pytest.fixture
def compare(tmp_path):
    """Return a function (before, after, **options) -> (the return value of the action, the printed lines)."""
    def run(before, after, **options):
        for name, data in (("before", before), ("after", after)):
            (tmp_path / name).write_text(data if isinstance(data, str) else json.dumps(data))
        task = Mock(args={"before": str(tmp_path / "before"), "after": str(tmp_path / "after"), **options}, async_val=0)
        action = benchmark_compare.ActionModule(task, Mock(), Mock(), Mock(), Mock(), Mock())
        action._display = Mock()
        result = action.run(task_vars={})
        return result, [" ".join(line.split()) for line in action._display.display.call_args.args[0].splitlines()]
    return run


@pytest.mark.parametrize("before", sorted(FORMATS))
@pytest.mark.parametrize("after", sorted(FORMATS))
def test_measurements_in_any_two_formats_are_compared(compare, before, after):
    result, lines = compare(FORMATS[before], FORMATS[after])
    assert [row["ratio"] for row in result["rows"]] == [1.0, 1.0]
    counts = [1 if name == "raw" else 5 for name in (before, after)]
    assert (result["verdict"], lines[-1]) == (("passed", PASSED) if min(counts) == 5 else (
        "inconclusive", FEW.format(*counts)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stage": "benchmark", "observed": {}}', '{"stage": "hccl"}'])
def test_file_that_is_not_a_measurement_is_refused(compare, text, tmp_path):
    with pytest.raises(AnsibleActionFail, match=str(tmp_path / "after")):
        compare(RAW, text)


def test_performance_is_compared_in_a_table(compare):
    slower = stage(vllm=dict(RAW, output_throughput=40.0))
    result, lines = compare(FORMATS["baseline"], slower)
    assert lines == [
        "metric before after after/before limit",
        "Output token throughput (tok/s) 50 40 0.800 47.5 beyond the limit",
        "Time to first token, p99 (ms) 20 20 1.000 22.16 same",
        "", "Failed: worse by more than the limit: output_throughput."]
    assert result["verdict"] == "failed"
    assert compare(FORMATS["baseline"], slower, minimum_ratio=0.75)[0]["verdict"] == "passed"
    lines = compare(RAW, dict(RAW, output_throughput=40.0))[1]
    assert lines[1] == "Output token throughput (tok/s) 50 40 0.800 – worse"


def test_run_with_requests_of_other_clients_is_inconclusive(compare):
    after = stage(vllm=dict(RAW, output_throughput=40.0))
    after["observed"]["measurements"][0]["runs"][0] = dict(
        after["observed"]["measurements"][0]["runs"][0], others=3)
    result, lines = compare(FORMATS["stage"], after)
    assert (result["verdict"], lines[-1]) == (
        "inconclusive", "Inconclusive: the engines had 3 requests of other clients.")


def test_hosts_of_two_folders_are_compared_as_one_run(compare, tmp_path):
    for folder, throughput in (("before", 50.0), ("after", 40.0)):
        for host, value in (("node1", 50.0), ("node2", throughput)):
            path = tmp_path / f"{folder}.results" / host / "benchmark.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(stage(vllm=dict(RAW, output_throughput=value))))
    task = Mock(args={name: str(tmp_path / f"{name}.results") for name in ("before", "after")}, async_val=0)
    action = benchmark_compare.ActionModule(task, Mock(), Mock(), Mock(), Mock(), Mock())
    action._display = Mock()
    assert action.run(task_vars={})["verdict"] == "failed"
    assert "node2, vllm: output_throughput." in action._display.display.call_args.args[0]


def test_targets_with_the_same_name_are_compared(compare):
    slower = dict(RAW, output_throughput=10.0)
    _result, lines = compare(stage(node=RAW, balancer=RAW), stage(balancer=slower, other=RAW, node=RAW))
    assert "balancer: Output token throughput (tok/s) 50 10 0.200 47.5 beyond the limit" in lines
    assert lines[-1] == "Failed: worse by more than the limit: balancer: output_throughput."
    assert not [line for line in lines if line.startswith("other")]


def test_scores_are_compared_in_a_table(compare):
    right = "1" * 100
    result, lines = compare(scores(textvqa=(80, right), gsm8k=(100, right)),
                            scores(textvqa=(79, "0" + right[1:]), gsm8k=(70, "0" * 30 + right[30:])))
    assert lines == [
        "dataset before after difference 95 % interval",
        "textvqa, accuracy 80 79 -1 -5.45 to +2.79 inconclusive",
        "gsm8k, accuracy 100 70 -30 -39.6 to -21.1 failed",
        "", "A score dropped by more than the limit (1)."]
    assert result["verdict"] == "failed"


@pytest.mark.parametrize(("maximum_drop", "before", "verdict", "text"), [
    (6, "1" * 100, "passed", "No score dropped by more than the limit (6)."),
    (1, "1" * 100, "inconclusive", "The answers do not show whether a score dropped by more than the limit (1)."),
    (6, None, "inconclusive", "The answers do not show whether a score dropped by more than the limit (6)."),
])
def test_verdict_depends_on_the_answers(compare, maximum_drop, before, verdict, text):
    result, lines = compare(scores(gsm8k=(100, before)), scores(gsm8k=(100, "1" * 100)), maximum_drop=maximum_drop)
    assert (result["verdict"], lines[-1]) == (verdict, text)


def test_performance_is_not_compared_with_accuracy(compare):
    with pytest.raises(AnsibleActionFail, match="different kinds"):
        compare(RAW, scores(textvqa=(76.2, None)))


def test_stage_that_was_not_run_is_refused(compare):
    with pytest.raises(AnsibleActionFail, match="has no measurement, because the accuracy stage was not run"):
        compare(RAW, '{"stage": "accuracy", "status": "not_run", "observed": {"not_run": "accuracy_enabled is false"}}')


def test_measurements_without_a_common_metric_are_refused(compare):
    with pytest.raises(AnsibleActionFail, match="no metric in common"):
        compare(scores(textvqa=(76.2, None)), scores(gsm8k=(88.0, None)))
