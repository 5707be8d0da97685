# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the numbers of several runs: spread, baselines, comparisons, and the next point of a sweep. Pure.

Metrics have the names of ``vllm bench serve``; times are in milliseconds, throughputs per second.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from typing import NamedTuple

BASELINE_SCHEMA = "ascend.vllm/benchmark-baseline/v1"

# metric: (label, unit, whether more is better). In the order of reports.
METRICS = {
    "request_throughput": ("Request throughput", "req/s", True),
    "output_throughput": ("Output token throughput", "tok/s", True),
    "total_token_throughput": ("Total token throughput", "tok/s", True),
    "median_ttft_ms": ("Time to first token, median", "ms", False),
    "p99_ttft_ms": ("Time to first token, p99", "ms", False),
    "median_tpot_ms": ("Time per output token, median", "ms", False),
    "p99_tpot_ms": ("Time per output token, p99", "ms", False),
    "p99_e2el_ms": ("End-to-end latency, p99", "ms", False),
}
# What a regression is judged by (the gate of vLLM Ascend's own nightly tests).
GATE = "output_throughput"

# The inputs that make two measurements comparable.
WORKLOAD = (
    "benchmark_dataset", "benchmark_dataset_path", "benchmark_num_prompts", "benchmark_request_rate",
    "benchmark_max_concurrency", "benchmark_random_input_len_tokens", "benchmark_random_output_len_tokens",
    "benchmark_images_per_request", "benchmark_image_width_px", "benchmark_image_height_px", "benchmark_seed",
    "benchmark_args")

_SLO_METRIC = re.compile(r"(?:mean|median|p(\d+(?:\.\d+)?))_(?:ttft|tpot|itl|e2el)_ms$")


def summarise(runs):
    """``{metric: {"median", "minimum", "maximum", "cv_percent"}}`` of throughputs and latencies over the runs.

    The coefficient of variation is the sample's standard deviation over its mean; None for a single run.
    """
    found = {}
    measured = {metric for run in runs for metric in run["metrics"] if metric.endswith(("_throughput", "_ms"))}
    for metric in sorted(measured):
        values = [run["metrics"][metric] for run in runs if metric in run["metrics"]]
        mean = statistics.mean(values)
        cv = 100 * statistics.stdev(values) / mean if len(values) > 1 and mean else None
        found[metric] = {"median": statistics.median(values), "minimum": min(values), "maximum": max(values),
                         "cv_percent": None if cv is None else round(cv, 2)}
    return found


def bad_slo(slo, percentiles):
    """The sentence on what is wrong with ``{metric: milliseconds}``, None when nothing is."""
    for metric, limit in slo.items():
        match = _SLO_METRIC.match(metric)
        if not match:
            return ("benchmark_slo names '%s'; give such as p99_ttft_ms: mean, median or p<percentile> of ttft, tpot, "
                    "itl or e2el." % metric)
        if match.group(1) and float(match.group(1)) not in [float(percentile) for percentile in percentiles]:
            return "benchmark_slo names %s, but benchmark_percentiles lacks %s." % (metric, match.group(1))
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0:
            return "benchmark_slo: %s has to be a number of milliseconds above 0, but is %r." % (metric, limit)
    return None


def missed(slo, metrics):
    """The parts of the objective that the metrics miss, as ``{metric: value}``; a value that is not there is a miss."""
    return {metric: metrics.get(metric) for metric, limit in slo.items()
            if metrics.get(metric) is None or metrics[metric] > limit}


# --- baselines -------------------------------------------------------------------------------------------------------


def workload(inputs):
    """The inputs of `WORKLOAD` as baselines and sweeps keep them, by the names that they have had since 0.1.0."""
    return {name[len("benchmark_"):]: inputs[name] for name in WORKLOAD}


def baseline_key(plan, measured, service, inputs):
    """What a baseline holds for: model, release, image, driver, topology, what was measured with what, and workload."""
    return {
        "model": plan["model"]["id"],
        "release": plan["release"]["id"],
        "hardware": plan["hardware"]["id"],
        "npus": len(plan["instances"][0]["npus"]),
        "target": measured["target"],
        "instances": measured["instances"],
        "tool": measured["tool"],
        "image": service["image"],
        "driver": service["driver"],
        "workload": workload(inputs),
    }


def baseline_name(key):
    """The file name of the baseline of a key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode("utf-8")).hexdigest()
    return "%s-%s-%s.json" % (key["model"], key["release"], digest[:12])


def baseline(key, summary, host, recorded_at):
    """The baseline to keep."""
    return {"schema": BASELINE_SCHEMA, "key": key, "host": host, "recorded_at": recorded_at,
            "metrics": {metric: values["median"] for metric, values in summary.items()}}


def compare(before, after):
    """``[{"metric", "label", "unit", "before", "after", "ratio", "better"}]`` of ``{metric: value}`` twice.

    ``ratio`` is after / before; ``better`` tells the direction, None where both are equal.
    """
    rows = []
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


class Sweep(NamedTuple):
    """A search for the highest value that meets an objective.

    :param whole: whether only whole numbers are tried. :param tolerance: the search ends when the lowest value that
        fails is at most this share above the highest that meets.
    """

    minimum: float
    maximum: float
    tolerance: float
    whole: bool


def next_point(sweep, points):
    """The value to measure next, None when the search is over.

    The maximum comes first: when it meets, one run was enough. Then the interval is halved, geometrically, since rates
    span orders of magnitude; the minimum is measured only when everything above it fails.

    :param points: ``{value: whether it met the objective}`` of what has been measured.
    """
    low, high = bracket(sweep, points)
    if high is None:
        return None if low == sweep.maximum else sweep.maximum
    floor = sweep.minimum if low is None else low
    if high <= floor:
        return None
    if high > floor * (1 + sweep.tolerance) and not (sweep.whole and high - floor <= 1):
        middle = _tried(sweep, math.sqrt(floor * high))
        if floor < middle < high:
            return middle
    return sweep.minimum if low is None and sweep.minimum not in points else None


def bracket(sweep, points):
    """``(highest value that met, lowest that failed)``; a value that met above a failed one does not count."""
    failed = [value for value, met in points.items() if not met]
    high = min(failed) if failed else None
    met = [value for value, met in points.items() if met and (high is None or value < high)]
    return (max(met) if met else None), high


def _tried(sweep, value):
    return round(value) if sweep.whole else float("%.3g" % value)
