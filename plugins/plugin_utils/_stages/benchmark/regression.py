# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Determine whether a run is slower than an earlier one, with one test for all metrics of all its measurements.

The statistic of a metric is the difference of the medians of the logarithms over the repeats, divided by its standard
error. Only differences above the floor count. The permutation test of Westfall and Young (Resampling-Based Multiple
Testing, 1993) compares the largest statistic of the run with its values for other assignments of the same repeats to
"before" and "after". So the limits are derived from the spread of the repeats, whatever its distribution is, and the
probability of a false alarm is at most `ALARM` for the whole run. The floor allows for differences between runs that
the repeats of one run do not show, such as the temperature. tests/benchmarks/regression_gate.py counts false alarms and
undetected doublings.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.statistics import METRICS, compare, medians
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.types import Metrics, Regression

# With five repeats on either side, the smallest probability is 1/252. With four, it is 1/70, which is above ALARM.
REPEATS = 5
ALARM = 0.01
# A limit beyond this ratio is too far away: a doubling must fail even if the run is otherwise faster by chance. A
# single request determines the other p99 latencies, so they are excepted.
FAR = 1.5
EXCEPTED = ("p99_ttft_ms", "p99_e2el_ms")
# All assignments are used if there are not more than these. Otherwise, the same number is drawn with a fixed seed.
_ASSIGNMENTS = 1000
PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
_Name = TypeVar("_Name", bound=Hashable)


class Pair(NamedTuple):
    """A measurement and an earlier one: the metrics of each repeat."""

    before: Sequence[Metrics]
    after: Sequence[Metrics]
    #: The floor. A metric that remains this good is not a regression. For times to the first token and p99 latencies,
    #: which vary more between runs, the difference may be twice as large.
    minimum_ratio: float


class _Samples(NamedTuple):
    """The values of a metric in all repeats, as logarithms that increase as the metric becomes worse."""

    values: list[float]
    before: int
    floor: float


def judge(pairs: Mapping[_Name, Pair]) -> dict[_Name, Regression]:
    """Return the verdict on each measurement of a run."""
    samples = {name: _samples(pair) for name, pair in pairs.items() if min(map(len, pair[:2])) >= REPEATS}
    highest = sorted((max((_statistic(each, chosen[len(each.values), each.before])
                           for metrics in samples.values() for each in metrics.values()), default=0.0)
                      for chosen in _assignments(samples)), reverse=True)
    # At most this share of the assignments has a higher statistic.
    critical = highest[int(ALARM * len(highest))] if highest else 0.0
    return {name: _verdict(pair, samples.get(name), critical) for name, pair in pairs.items()}


def _samples(pair: Pair) -> dict[str, _Samples]:
    found = {}
    for metric, (_label, _unit, more_is_better) in METRICS.items():
        values = [repeat.get(metric, 0.0) for repeat in (*pair.before, *pair.after)]
        if min(values) > 0:
            floor = -math.log(pair.minimum_ratio) * (2 if "p99" in metric or "ttft" in metric else 1)
            sign = -1 if more_is_better else 1
            found[metric] = _Samples([sign * math.log(value) for value in values], len(pair.before), floor)
    return found


def _assignments(samples: Mapping[_Name, Mapping[str, _Samples]]) -> list[dict[tuple[int, int], tuple[int, ...]]]:
    """Return assignments, the true one first, as ``{(repeats, repeats before): repeats that are after}``.

    Measurements of the same size have the same assignment, because their repeats ran at similar times.
    """
    sizes = sorted({(len(each.values), each.before) for metrics in samples.values() for each in metrics.values()})
    each_size = []
    for total, before in sizes:
        true, after, draw = tuple(range(before, total)), total - before, random.Random(0)
        if math.comb(total, after) <= _ASSIGNMENTS:
            others = [chosen for chosen in itertools.combinations(range(total), after) if chosen != true]
            draw.shuffle(others)
        else:
            others = [tuple(draw.sample(range(total), after)) for _number in range(_ASSIGNMENTS - 1)]
        each_size.append([true, *others])
    count = max(map(len, each_size), default=0)
    return [{size: chosen[number % len(chosen)] for size, chosen in zip(sizes, each_size)} for number in range(count)]


def _sides(samples: _Samples, after: Sequence[int]) -> tuple[list[float], list[float], float]:
    """Return the values before and after for an assignment, and the difference of their medians."""
    chosen = set(after)
    first = [value for index, value in enumerate(samples.values) if index not in chosen]
    second = [samples.values[index] for index in after]
    return first, second, statistics.median(second) - statistics.median(first)


def _error(first: Sequence[float], second: Sequence[float], floor: float) -> float:
    """Return the standard error of the difference."""
    squares = 0.0
    for side in (first, second):
        mean = sum(side) / len(side)
        squares += sum((value - mean) ** 2 for value in side)
    error = math.sqrt(squares / (len(first) + len(second) - 2) * (1 / len(first) + 1 / len(second)))
    # Without the addition, a few values that are equal by chance would have no error.
    return error + floor / 10 + 1e-9


def _statistic(samples: _Samples, after: Sequence[int]) -> float:
    first, second, difference = _sides(samples, after)
    return difference / _error(first, second, samples.floor) if difference > samples.floor else 0.0


def _verdict(pair: Pair, samples: Mapping[str, _Samples] | None, critical: float) -> Regression:
    rows = compare(medians(pair.before), medians(pair.after))
    if samples is None:
        return {"verdict": INCONCLUSIVE, "rows": rows, "reason": "the runs have %d and %d repeats, and at least %d are "
                "needed on both sides" % (len(pair.before), len(pair.after), REPEATS)}
    worse, vague = [], []
    for row in rows:
        if row["metric"] not in samples:
            continue
        each = samples[row["metric"]]
        first, second, difference = _sides(each, range(each.before, len(each.values)))
        spread = critical * _error(first, second, each.floor)
        limit = max(each.floor, spread)
        row["limit"] = row["before"] * math.exp(-limit if METRICS[row["metric"]][2] else limit)
        row["worse"] = difference > limit
        if row["worse"]:
            worse.append(row["metric"])
        elif spread > math.log(FAR) and row["metric"] not in EXCEPTED:
            vague.append(row["metric"])
    if worse:
        return {"verdict": FAILED, "reason": ", ".join(worse), "rows": rows}
    if vague or not samples:
        return {"verdict": INCONCLUSIVE, "rows": rows, "reason": "the repeats vary so much that an increase by half "
                "would not be detected (%s)" % ", ".join(vague) if vague else "no metric is in all repeats"}
    return {"verdict": PASSED, "reason": "", "rows": rows}
