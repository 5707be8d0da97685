# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import statistics
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.statistics import (
    Sweep,
    bracket,
    knee,
    next_load,
    next_point,
    power,
)


def run(**metrics):
    return {"metrics": metrics}


def test_spread_of_repeated_runs_is_computed():
    runs = [*(run(output_throughput=value) for value in (90.0, 100.0, 110.0)), run()]
    assert statistics.summarize(runs) == {
        "output_throughput": {"median": 100.0, "minimum": 90.0, "maximum": 110.0, "cv_percent": 10.0}}


def test_one_run_has_no_spread():
    assert statistics.summarize([run(p99_ttft_ms=5.0)])["p99_ttft_ms"]["cv_percent"] is None


@pytest.mark.parametrize(("slo", "mistake"), [
    ({"p99_ttft_ms": 100, "mean_tpot_ms": 5.5, "p99.9_e2el_ms": 1}, None),
    ({"ttft": 100}, "unknown metric 'ttft'"),
    ({"p95_ttft_ms": 100}, "does not contain 95"),
    ({"p99_ttft_ms": 0}, "above 0"),
    ({"p99_ttft_ms": "fast"}, "above 0"),
    ({"p99_ttft_ms": True}, "above 0"),
])
def test_mistake_in_an_objective_is_reported(slo, mistake):
    found = statistics.bad_slo(slo, [50, 99, 99.9])
    assert found is None if mistake is None else mistake in found


def test_metric_without_a_value_does_not_meet_the_objective():
    assert statistics.missed({"p99_ttft_ms": 10, "p99_tpot_ms": 10, "p99_e2el_ms": 10},
                             {"p99_ttft_ms": 10.0, "p99_tpot_ms": 10.1}) == {"p99_tpot_ms": 10.1, "p99_e2el_ms": None}


PLAN = {"model": {"id": "m"}, "release": {"id": "v1"}, "hardware": {"id": "a2"}, "instances": [{"npus": [0, 1]}]}
MEASURED = {"name": "vllm", "target": "instance", "tool": "vllm", "instances": 1}
INPUTS = {**dict.fromkeys(statistics.WORKLOAD, 1), **statistics.SPECIAL}


@pytest.mark.parametrize("change", [
    {"plan": dict(PLAN, release={"id": "v2"})}, {"plan": dict(PLAN, instances=[{"npus": [0]}])},
    {"measured": dict(MEASURED, target="node")}, {"measured": dict(MEASURED, instances=2)},
    {"measured": dict(MEASURED, tool="ais_bench")},
    {"measured": dict(MEASURED, name="vllm-1")}, {"host": "node2"}, {"service": {"image": "i", "driver": "e"}},
    {"service": {"image": "j", "driver": "d"}}, {"inputs": dict(INPUTS, benchmark_num_prompts=2)}])
def test_baseline_belongs_to_one_deployment_and_workload(change):
    arguments = {"plan": PLAN, "measured": MEASURED, "service": {"image": "i", "driver": "d"}, "inputs": INPUTS,
                 "host": "node1"}
    names = {statistics.baseline_name(statistics.baseline_key(**each)) for each in (arguments, {**arguments, **change})}
    assert len(names) == 2
    assert all(name.startswith("m-v") and name.endswith(".json") for name in names)


def good_run(recorded_at, **key):
    return {"recorded_at": recorded_at, "key": {"release": "v2", "image": "i", "driver": "d", "host": "node1", **key}}


@pytest.mark.parametrize(("found", "expected"), [
    ([], None), ([None], None), ([good_run("1")], None),  # the deployment itself
    ([good_run("1", release="v1"), good_run("2", release="v0"), good_run("3", release="v1", host="node2")], "2"),
    ([good_run("1", image="j"), good_run("0", driver="e")], "1"),
])
def test_last_good_run_is_of_another_deployment_with_the_same_workload(found, expected):
    last = statistics.last_of_another_deployment(good_run("")["key"], found)
    assert (last and last["recorded_at"]) == expected


def test_comparison_shows_which_value_is_better():
    rows = statistics.compare({"output_throughput": 100., "p99_ttft_ms": 10., "median_tpot_ms": 1., "p99_tpot_ms": 0.},
                              {"output_throughput": 97., "p99_ttft_ms": 9., "median_tpot_ms": 1., "p99_tpot_ms": 1.})
    assert [(row["metric"], row["ratio"], row["better"]) for row in rows] == [
        ("output_throughput", 0.97, False), ("p99_ttft_ms", 0.9, True), ("median_tpot_ms", 1.0, None),
        ("p99_tpot_ms", None, False)]


def search(sweep, limit, points=None):
    """Search with a server that passes up to ``limit``, and return the measured points."""
    points = dict(points or {})
    while True:
        value = next_point(sweep, points)
        if value is None:
            return points
        assert sweep.minimum <= value <= sweep.maximum
        assert value not in points, "measured twice"
        points[value] = value <= limit


RATES = Sweep(0.5, 32, 0.1, False)


def test_search_needs_one_run_if_the_maximum_passes():
    assert search(RATES, 100) == {32: True}


def test_search_without_a_passing_value_ends_at_the_minimum():
    assert bracket(search(RATES, 0.1)) == (None, 0.5)


def test_search_finds_the_highest_rate_in_few_runs():
    points = search(RATES, 7.3)
    low, high = bracket(points)
    assert low <= 7.3 < high
    assert high <= low * 1.1 * 1.01
    assert len(points) <= 1 + math.ceil(math.log2(math.log(64) / math.log(1.1)))


def test_search_without_a_tolerance_is_exact():
    assert bracket(search(Sweep(1, 256, 0.0, True), 37)) == (37, 38)


def test_interrupted_search_continues():
    complete = search(RATES, 7.3)
    part = dict(list(complete.items())[:3])
    assert search(RATES, 7.3, part) == complete


def test_passing_value_above_a_failing_value_does_not_count():
    assert bracket({4: True, 8: False, 16: True, 32: False}) == (4, 8)


def power_of_closed_system(load, capacity, latency=1.0, noise=0.0, draw=None):
    """Return the power of a closed system. Load raises the throughput up to the capacity, and the latency beyond it.

    :param noise: the largest relative error of the throughput and the latency. ``draw`` (random.Random) draws them.
    """
    def with_noise(value):
        return value * draw.uniform(1 - noise, 1 + noise) if draw else value
    return power({"output_throughput": with_noise(min(load, capacity) / latency),
                  "median_e2el_ms": with_noise(latency * max(1, load / capacity))})


def curve(sweep, power_at, limit=math.inf):
    """Run a sweep on a server that meets the objective up to ``limit``, and return ``{measured load: power}``."""
    points, powers = {}, {}
    while True:
        value = next_load(sweep, points, powers)
        if value is None:
            return powers
        assert value not in points, "measured twice"
        points[value], powers[value] = value <= limit, power_at(value)


@pytest.mark.parametrize("capacity", [3, 8, 20, 55])
@pytest.mark.parametrize("noise", [0, 0.05])
def test_knee_of_a_closed_system_is_its_capacity(capacity, noise):
    draw = random.Random(capacity)
    powers = curve(Sweep(1, 128, 0.1, True, 8), lambda load: power_of_closed_system(load, capacity, 0.7, noise, draw))
    assert len(powers) == 8
    assert capacity / 1.5 <= knee(powers) <= capacity * 1.5


def test_knee_of_a_queue_is_at_half_its_capacity():
    """The latency of an M/M/1 queue is 1 / (capacity - rate)."""
    powers = curve(Sweep(0.1, 9.9, 0.05, False, 14), lambda rate: rate * (10 - rate))
    assert knee(powers) == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("capacity", [0.5, 1, 128, 1000])
def test_knee_at_or_beyond_an_end_of_the_range_is_not_reported(capacity):
    powers = curve(Sweep(1, 128, 0.1, True, 8), lambda load: power_of_closed_system(load, capacity))
    assert (knee(powers), len(powers)) == (None, 5)


def test_noise_alone_has_no_knee():
    for seed in range(200):
        draw = random.Random(seed)
        assert knee({load: draw.gauss(1, 0.05) for load in range(8)}) is None


@given(st.floats(0.01, 50), st.floats(1.01, 1000), st.integers(1, 12), st.booleans(), st.floats(0.001, 1e5))
def test_sweep_is_bounded(minimum, span, runs, objective, limit):
    sweep = Sweep(minimum, minimum * span, 0.1, False, runs, objective)
    powers = curve(sweep, lambda load: power_of_closed_system(load, minimum * span / 2), limit)
    assert 1 <= len(powers) <= runs
    assert min(powers) >= minimum
    assert max(powers) == sweep.maximum


def test_power_needs_throughput_and_latency():
    assert power({"output_throughput": 8.0, "median_e2el_ms": 2.0}) == 4
    assert power({"output_throughput": 8.0}) is None


def write_sweeps(path, *names, variable="request_rate"):
    """Write a result with sweeps of these targets, and return the inputs that refer to it."""
    points = [{"value": 1, "run": {"metrics": {"output_throughput": 5}}}]
    measurements = [{"name": name, "sweep": {"variable": variable, "points": points}} for name in names]
    path.write_text(json.dumps({"model": "m", "release": "v1", "finished_at": "2026-11-30T12:00:21Z", "observed": {
        "measurements": [*measurements, {"name": "none", "sweep": None}]}}))
    return {"benchmark_sweep_compare_with": str(path), "benchmark_sweep": "request_rate"}


def test_earlier_sweep_is_found_by_name_or_is_the_only_one(tmp_path):
    found = {"earlier": [(1, {"output_throughput": 5})], "earlier_name": "m, v1, 2026-11-30"}
    assert statistics.earlier_sweep(write_sweeps(tmp_path / "f", "a"), "other") == found
    assert statistics.earlier_sweep(write_sweeps(tmp_path / "f", "a", "b"), "b") == found
    for inputs, name in ((write_sweeps(tmp_path / "f", "a", "b"), "c"),
                         (write_sweeps(tmp_path / "f", "a", variable="x"), "a")):
        with pytest.raises(BadInput, match=r"with a sweep of request_rate, but .*/f has none"):
            statistics.earlier_sweep(inputs, name)


def test_workload_contains_the_burstiness_and_the_content_of_the_trace_if_they_are_set(tmp_path):
    trace = tmp_path / "t"
    trace.write_text("1")
    assert set(statistics.workload(INPUTS)) == {name[len("benchmark_"):] for name in statistics.WORKLOAD}
    first = statistics.workload({**INPUTS, "benchmark_trace_path": str(trace), "benchmark_burstiness": 0.5})
    assert first["burstiness"] == 0.5
    trace.write_text("2")
    assert statistics.workload({**INPUTS, "benchmark_trace_path": str(trace)})["trace_path"] != first["trace_path"]


@given(st.floats(0.01, 50), st.floats(1.01, 1000), st.floats(0, 1), st.booleans(), st.floats(0.001, 1e5))
def test_every_search_ends_at_a_passing_and_a_failing_value_if_any(minimum, span, tolerance, integers, limit):
    sweep = Sweep(minimum, minimum * span, tolerance, integers)
    if integers:
        sweep = Sweep(math.ceil(minimum), math.ceil(minimum) + math.ceil(span), tolerance, True)
    points = search(sweep, limit)
    assert len(points) <= 60
    low, high = bracket(points)
    assert (low is None) == (limit < sweep.minimum)
    assert (high is None) == (limit >= sweep.maximum)
