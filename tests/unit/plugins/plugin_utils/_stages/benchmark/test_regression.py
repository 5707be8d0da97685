# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on simulated runs with fixed seeds. tests/benchmarks/regression_gate.py measures more runs."""

from __future__ import annotations

import math
import random

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import regression
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.regression import Pair
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.statistics import METRICS

# {metric: (value, standard deviation of its logarithm over the repeats, exponent with which the slowness of the server
# changes it)}. If requests arrive slowly, the throughput depends only on the arrivals, so the exponent is 0.
SLOW_ARRIVALS = {"output_throughput": (128, 0.001, 0), "median_ttft_ms": (80, 0.03, 1), "p99_ttft_ms": (200, 0.15, 1),
                 "median_tpot_ms": (25, 0.005, 1), "p99_tpot_ms": (30, 0.05, 1), "median_e2el_ms": (3300, 0.01, 1),
                 "p99_e2el_ms": (4000, 0.04, 1)}
SATURATED = {**SLOW_ARRIVALS, "output_throughput": (2000, 0.006, -1)}


def repeats(load, rng, slowdown=1.0, drift=0.01, count=5, only=None):
    """Return the metrics of repeats. The speed varies between runs (``drift``), and a little between repeats."""
    level, wander, found = rng.gauss(0, drift), 0.0, []
    for _number in range(count):
        wander = 0.5 * wander + rng.gauss(0, 0.005)
        slowness = level + wander + (0 if only else math.log(slowdown))
        found.append({metric: value * math.exp(exponent * slowness + rng.gauss(0, spread)) * (
            slowdown if metric == only else 1) for metric, (value, spread, exponent) in load.items()})
    return found


def share(verdict, load, runs=100, hosts=1, **effect):
    """Return the share of runs with a verdict on at least one host."""
    rng, count = random.Random(1), 0
    for _number in range(runs):
        found = regression.judge({host: Pair(repeats(load, rng), repeats(load, rng, **effect), 0.95)
                                  for host in range(hosts)})
        count += verdict in {each["verdict"] for each in found.values()}
    return count / runs


LOADS = pytest.mark.parametrize("load", [SLOW_ARRIVALS, SATURATED], ids=["slow arrivals", "saturated"])


@LOADS
@pytest.mark.parametrize(("hosts", "runs"), [(1, 100), (8, 10)])
def test_at_most_one_run_in_a_hundred_is_a_false_alarm(load, hosts, runs):
    assert share(regression.FAILED, load, hosts=hosts, runs=runs) <= regression.ALARM


@LOADS
def test_slower_server_is_detected(load):
    """A server that is 5 % slower is exactly at the limit, so it is detected in about half of the runs."""
    assert 0.2 < share(regression.FAILED, load, slowdown=1 / 0.95, runs=30) < 0.8
    assert share(regression.FAILED, load, slowdown=1 / 0.9, runs=30) >= 0.9
    assert share(regression.FAILED, load, slowdown=1 / 0.8, runs=20) == 1


@LOADS
def test_doubled_p99_of_the_time_per_token_is_always_detected(load):
    assert share(regression.FAILED, load, slowdown=2, only="p99_tpot_ms", runs=30) == 1


@LOADS
def test_faster_server_passes(load):
    assert share(regression.PASSED, load, slowdown=0.5, runs=10) == 1


def test_noise_that_is_the_same_in_both_runs_is_not_a_regression():
    """If repeats vary this much, most runs are inconclusive, because an increase by half would not be detected."""
    noisy = {metric: (value, 0.4, part) for metric, (value, _spread, part) in SATURATED.items()}
    assert share(regression.FAILED, noisy) <= 0.01
    assert share(regression.INCONCLUSIVE, noisy, runs=20) > 0.9


@pytest.mark.parametrize(("before", "after"), [(5, 4), (4, 5), (1, 1), (0, 5)])
def test_fewer_than_five_repeats_are_inconclusive(before, after):
    rng = random.Random(1)
    pair = Pair(repeats(SATURATED, rng, count=before), repeats(SATURATED, rng, slowdown=3, count=after), 0.95)
    found = regression.judge({"run": pair})["run"]
    assert (found["verdict"], found["reason"]) == (
        regression.INCONCLUSIVE, f"the runs have {before} and {after} repeats, and at least 5 are needed on both sides")
    assert not [row for row in found["rows"] if "limit" in row]


@pytest.mark.parametrize("sizes", [(5, 5), (10, 5), (7, 7), (12, 12)])
def test_number_of_repeats_may_differ(sizes):
    rng = random.Random(1)
    before, after = (repeats(SATURATED, rng, count=count) for count in sizes)
    slower = repeats(SATURATED, rng, slowdown=1.3, count=sizes[1])
    found = regression.judge({"same": Pair(before, after, 0.95), "slower": Pair(before, slower, 0.95)})
    assert {name: each["verdict"] for name, each in found.items()} == {"same": "passed", "slower": "failed"}


def test_limit_is_the_floor_or_more_and_has_the_direction_of_the_metric():
    before = [dict.fromkeys(METRICS, 100.0)] * 5
    after = [dict.fromkeys(METRICS, 96.0)] * 5
    found = regression.judge({"run": Pair(before, after, 0.95)})["run"]
    rows = {row["metric"]: row for row in found["rows"]}
    assert found["verdict"] == "passed"
    assert rows["output_throughput"]["limit"] == pytest.approx(95)
    assert rows["median_tpot_ms"]["limit"] == pytest.approx(100 / 0.95)
    assert rows["median_ttft_ms"]["limit"] == rows["p99_tpot_ms"]["limit"] == pytest.approx(100 / 0.95 ** 2)
    slower = regression.judge({"run": Pair(before, [{**after[0], "output_throughput": 94.9}] * 5, 0.95)})["run"]
    assert (slower["verdict"], slower["reason"]) == ("failed", "output_throughput")


@pytest.mark.parametrize("ratio", [1, 0.5])
def test_every_minimum_ratio_can_be_judged(ratio):
    before, after = [{"output_throughput": 100.0}] * 5, [{"output_throughput": 60.0}] * 5
    assert regression.judge({"run": Pair(before, after, ratio)})["run"]["verdict"] == (
        "failed" if ratio == 1 else "passed")


def test_metrics_that_are_zero_or_missing_are_not_judged():
    before = [{"output_throughput": 100.0, "median_tpot_ms": 0.0, "p99_tpot_ms": 1.0}] * 5
    after = [{"output_throughput": 100.0, "median_tpot_ms": 5.0}] * 5
    found = regression.judge({"run": Pair(before, after, 0.95)})["run"]
    assert found["verdict"] == "passed"
    assert [row["metric"] for row in found["rows"] if "limit" in row] == ["output_throughput"]
    empty = regression.judge({"run": Pair([{}] * 5, [{}] * 5, 0.95)})["run"]
    assert (empty["verdict"], empty["reason"]) == ("inconclusive", "no metric is in all repeats")


def test_no_runs_have_no_verdict():
    assert regression.judge({}) == {}
