# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics over several runs: spread, baselines, comparisons, and the next point of a sweep."""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import types

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.benchmark import ServiceContainer

BASELINE_SCHEMA = "ascend.vllm/benchmark-baseline/v2"

# {metric: (label, unit, whether higher is better)}, in the order of the report.
METRICS = {
    "request_throughput": ("Request throughput", "req/s", True),
    "output_throughput": ("Output token throughput", "tok/s", True),
    "total_token_throughput": ("Total token throughput", "tok/s", True),
    "median_ttft_ms": ("Time to first token, median", "ms", False),
    "p99_ttft_ms": ("Time to first token, p99", "ms", False),
    "median_tpot_ms": ("Time per output token, median", "ms", False),
    "p99_tpot_ms": ("Time per output token, p99", "ms", False),
    "median_e2el_ms": ("End-to-end latency, median", "ms", False),
    "p99_e2el_ms": ("End-to-end latency, p99", "ms", False),
}
# The metric that every result has, and whose variation `benchmark_max_cv_percent` limits.
THROUGHPUT = "output_throughput"

# Two measurements can be compared only if these inputs are the same.
WORKLOAD = (
    "benchmark_dataset", "benchmark_dataset_path", "benchmark_num_prompts", "benchmark_request_rate",
    "benchmark_max_concurrency", "benchmark_random_input_len_tokens", "benchmark_random_output_len_tokens",
    "benchmark_images_per_request", "benchmark_image_width_px", "benchmark_image_height_px", "benchmark_seed",
    "benchmark_args")
SPECIAL = {"benchmark_burstiness": 1, "benchmark_trace_path": "", "benchmark_trace_speed": 1}

_SLO_METRIC = re.compile(r"(?:mean|median|p(\d+(?:\.\d+)?))_(?:ttft|tpot|itl|e2el)_ms$")


def summarize(runs: Collection[types.Outcome]) -> dict[str, types.Spread]:
    """Return ``{metric: spread}``. ``cv_percent`` is the sample standard deviation in percent of the mean."""
    found: dict[str, types.Spread] = {}
    measured = {metric for run in runs for metric in run["metrics"] if metric.endswith(("_throughput", "_ms"))}
    for metric in sorted(measured):
        values = [run["metrics"][metric] for run in runs if metric in run["metrics"]]
        mean = statistics.mean(values)
        cv = 100 * statistics.stdev(values) / mean if len(values) > 1 and mean else None
        found[metric] = {"median": statistics.median(values), "minimum": min(values), "maximum": max(values),
                         "cv_percent": None if cv is None else round(cv, 2)}
    return found


def medians(repeats: Collection[types.Metrics]) -> types.Metrics:
    """Return the median of each metric over the repeats that have it."""
    return {metric: statistics.median(repeat[metric] for repeat in repeats if metric in repeat)
            for metric in METRICS if any(metric in repeat for repeat in repeats)}


def bad_slo(slo: Mapping[str, Any], percentiles: Iterable[float]) -> str | None:
    """Return a sentence about the first mistake in benchmark_slo, ``{metric: limit in milliseconds}``, or None."""
    for metric, limit in slo.items():
        match = _SLO_METRIC.match(metric)
        if not match:
            return ("benchmark_slo has the unknown metric '%s'; use mean, median or p<percentile> of ttft, tpot, itl "
                    "or e2el, such as p99_ttft_ms." % metric)
        if match.group(1) and float(match.group(1)) not in [float(percentile) for percentile in percentiles]:
            return "benchmark_slo has %s, but benchmark_percentiles does not contain %s." % (metric, match.group(1))
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0:
            return "benchmark_slo: %s must be a number of milliseconds above 0, but is %r." % (metric, limit)
    return None


def missed(slo: Mapping[str, float], metrics: types.Metrics) -> types.Missed:
    """Return ``{metric: value}`` for the metrics that exceed their limit or are missing."""
    return {metric: metrics.get(metric) for metric, limit in slo.items()
            if metrics.get(metric) is None or metrics[metric] > limit}


# --- baselines -------------------------------------------------------------------------------------------------------


def workload(inputs: Mapping[str, Any]) -> dict[str, object]:
    """Return the inputs of `WORKLOAD` without their prefix, as in a baseline file.

    Those of `SPECIAL` are left out if they have the default, so that the keys of earlier baselines are still valid.
    """
    names = [*WORKLOAD, *(name for name, default in SPECIAL.items() if inputs[name] != default)]
    found = {name[len("benchmark_"):]: inputs[name] for name in names}
    if inputs["benchmark_trace_path"]:
        found["trace_path"] = hashlib.sha256(Path(inputs["benchmark_trace_path"]).read_bytes()).hexdigest()
    return found


def baseline_key(plan: Plan, measured: types.Measurement, service: ServiceContainer,
                 inputs: Mapping[str, Any], host: str) -> types.BaselineKey:
    """Return the key of the baseline with which a measurement is compared."""
    return {
        "model": plan["model"]["id"], "release": plan["release"]["id"], "hardware": plan["hardware"]["id"],
        "npus": len(plan["instances"][0]["npus"]), "host": "" if measured["target"] == "balancer" else host,
        "name": measured["name"], "target": measured["target"], "instances": measured["instances"],
        "tool": measured["tool"], "image": service["image"], "driver": service["driver"],
        "workload": workload(inputs),
    }


def baseline_name(key: types.BaselineKey) -> str:
    """Return the file name of the baseline with this key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode("utf-8")).hexdigest()
    return "%s-%s-%s.json" % (key["model"], key["release"], digest[:12])


def baseline(key: types.BaselineKey, runs: Iterable[types.Outcome], host: str, recorded_at: str) -> types.Baseline:
    """Return the content of a baseline file."""
    return {"schema": BASELINE_SCHEMA, "key": key, "host": host, "recorded_at": recorded_at, "repeats": repeats(runs)}


def repeats(runs: Iterable[types.Outcome]) -> list[types.Metrics]:
    """Return, for each run, the metrics that are compared with a baseline."""
    return [{metric: run["metrics"][metric] for metric in METRICS if metric in run["metrics"]} for run in runs]


def last_of_another_deployment(key: types.BaselineKey, found: Iterable[Mapping[str, Any] | None]
                               ) -> Mapping[str, Any] | None:
    """Return the last good run whose key differs, but only in the release, image or driver, or None."""
    def same(other: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: value for name, value in other.items() if name not in ("release", "image", "driver")}

    own = json.loads(json.dumps(key))  # as it is in a file
    others = [each for each in found if each and each["key"] != own and same(each["key"]) == same(own)]
    return max(others, key=lambda each: str(each["recorded_at"]), default=None)


def compare(before: types.Metrics, after: types.Metrics) -> list[types.Change]:
    """Return the changes of the metrics in `METRICS` that both measurements have."""
    rows: list[types.Change] = []
    for metric, (label, unit, more_is_better) in METRICS.items():
        if metric in before and metric in after:
            first, second = before[metric], after[metric]
            rows.append({
                "metric": metric, "label": label, "unit": unit, "before": first, "after": second,
                "ratio": round(second / first, 4) if first else None,
                "better": None if first == second else (second > first) == more_is_better,
            })
    return rows


# --- sweep -----------------------------------------------------------------------------------------------------------


# The number of points that show the shape of a curve. More points are measured only near its knee.
CURVE = 5
# The power at the knee must be this many times that at both ends, so that noise is not taken for a knee.
KNEE = 1.25


class Sweep(NamedTuple):
    """A curve over the load, and the search for the highest load that meets an objective."""

    minimum: float
    maximum: float
    #: The search ends when the lowest failing value exceeds the highest passing value by at most this fraction.
    tolerance: float
    #: Whether values are integers.
    integers: bool
    #: The maximum number of runs.
    runs: int = 60
    #: Whether there is an objective.
    objective: bool = True


def next_load(sweep: Sweep, points: Mapping[float, bool], powers: Mapping[float, float]) -> float | None:
    """Return the next value to measure, see `next_point`. `powers` are those of the points, see `knee`."""
    values, top = sorted(points), knee(powers)
    gaps = [gap for gap in zip(values, values[1:]) if len(points) < CURVE or top in gap]
    gaps.sort(key=lambda gap: gap[0] / gap[1])
    # The search for the objective comes first, because its points are on the curve, too.
    found = [next_point(sweep, points) if sweep.objective else None,
             *(end for end in (sweep.maximum, sweep.minimum) if end not in points),
             *(_between(sweep, *gap) for gap in gaps)]
    return next((value for value in found if value is not None), None) if len(points) < sweep.runs else None


def power(metrics: types.Metrics) -> float | None:
    """Return the throughput divided by the median latency, or None if one of them is unknown."""
    throughput, latency = metrics.get(THROUGHPUT), metrics.get("median_e2el_ms")
    return throughput / latency if throughput and latency else None


def knee(powers: Mapping[float, float]) -> float | None:
    """Return the load with the highest power (throughput divided by latency), or None without a clear maximum.

    Beyond this load, latency increases by a larger factor than throughput (Kleinrock, Power and deterministic rules of
    thumb for probabilistic problems in computer communications, ICC 1979).
    """
    if len(powers) < 3:
        return None
    best = max(powers, key=lambda load: powers[load])
    ends = max(powers[min(powers)], powers[max(powers)])
    return best if powers[best] >= KNEE * ends else None


def earlier_sweep(inputs: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """Return the keys ``earlier`` and ``earlier_name`` of a `SweepResult`, or raise BadInput.

    :param name: the measurement. If the file has only one sweep of the variable, the name does not matter.
    """
    path, variable = inputs["benchmark_sweep_compare_with"], inputs["benchmark_sweep"]
    try:
        result = json.loads(Path(path).read_text("utf-8"))
        swept = {each["name"]: each["sweep"]["points"] for each in result["observed"]["measurements"]
                 if each["sweep"] and each["sweep"]["variable"] == variable}
        points = next(iter(swept.values())) if len(swept) == 1 or name is None else swept[name]
        return {"earlier": [(point["value"], point["run"]["metrics"]) for point in points],
                "earlier_name": "%s, %s, %s" % (result["model"], result["release"], result["finished_at"][:10])}
    except (OSError, ValueError, LookupError, TypeError, StopIteration) as error:
        raise BadInput("benchmark_sweep_compare_with must be a benchmark.json on the controller with a sweep of %s, "
                       "but %s has none: %s." % (variable, path, str(error) or "no such sweep")) from error


def next_point(sweep: Sweep, points: Mapping[float, bool]) -> float | None:
    """Return the next value to measure, None at the end. ``points`` is ``{value: whether it meets the objective}``.

    The maximum is measured first: if it passes, one run is enough. Then the interval is bisected geometrically, because
    rates span orders of magnitude. The minimum is measured only if all higher values fail.
    """
    low, high = bracket(points)
    if high is None:
        return None if low == sweep.maximum else sweep.maximum
    floor = sweep.minimum if low is None else low
    if high <= floor:
        return None
    middle = _between(sweep, floor, high)
    if middle is not None:
        return middle
    return sweep.minimum if low is None and sweep.minimum not in points else None


def _between(sweep: Sweep, low: float, high: float) -> float | None:
    """Return a value between two others; None if these are closer than the tolerance."""
    if high > low * (1 + sweep.tolerance) and not (sweep.integers and high - low <= 1):
        mean = math.sqrt(low * high)
        middle = round(mean) if sweep.integers else float("%.3g" % mean)
        if low < middle < high:
            return middle
    return None


def bracket(points: Mapping[float, bool]) -> tuple[float | None, float | None]:
    """Return the highest value that passes and is below all values that fail, and the lowest value that fails."""
    high = min((value for value, passes in points.items() if not passes), default=None)
    low = max((value for value, passes in points.items() if passes and (high is None or value < high)), default=None)
    return low, high
