# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how often the regression gate detects simulated effects, and how often it raises a false alarm without one.

    .venv/bin/python tests/benchmarks/regression_gate.py [--runs N] [--repeats N] [--minimum-ratio R] [--drift SD]

Simulated runs: a server with continuous batching (step time = fixed part + part per sequence + prefill). Its speed
varies between runs (standard deviation --drift), between repeats and from step to step, each correlated in time, and
some steps stall. Both runs of a comparison have the same arrivals, as two runs of the role have.

Recorded runs: tests/data/benchmark_repeats.jsonl contains repeats of the real vLLM with the tiny model, whose steps
take at least 60 ms, on two shared cores. While they were recorded, the load average of other programs rose from 13 to
33, so the server really became slower. Therefore, consecutive repeats are assigned alternately to the two runs. This
includes the real noise between repeats, but no drift between runs. Simulated effects multiply the recorded latencies.

Exits with 1 if there are significantly more than 1 % false alarms, or if a doubling passes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
from collections import Counter, deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import regression

RECORDED = ROOT / "tests" / "data" / "benchmark_repeats.jsonl"
RATES = (1, 4, 8, math.inf)
REQUESTS, TOKENS = 100, 48
STEP_S, SEQUENCE_S, PREFILL_S = 0.020, 0.0006, 0.030
TAIL = "p99 TPOT x 2"
# {simulated effect: (speed of the server, share of the requests whose tokens a proxy delays by another TPOT)}
EFFECTS = {"none": (1, 0), "-5 %": (0.95, 0), "-10 %": (0.9, 0), "-20 %": (0.8, 0), TAIL: (1, 0.04),
           "TTFT, TPOT x 2": (0.5, 0)}


def simulated_repeat(rate, seed, speed, tail, rng, level):
    """Return the metrics of a repeat. ``level``: logarithm of the step time of this repeat."""
    arrivals = random.Random(seed)
    times = list(itertools.accumulate(0 if rate == math.inf else arrivals.expovariate(rate) for _n in range(REQUESTS)))
    slow = {index for index in range(REQUESTS) if random.Random(1000 * seed + index).random() < tail}
    waiting, running, now, wander = deque(enumerate(times)), [], 0.0, 0.0
    ttft, tpot, itl, e2el = [], [], [], []
    while waiting or running:
        if not running:
            now = max(now, waiting[0][1])
        wander = 0.98 * wander + rng.gauss(0, 0.004)
        joined = 0
        while waiting and waiting[0][1] <= now and joined < 4 and len(running) < 64:
            index, arrived = waiting.popleft()
            running.append([index, arrived, None, 0, now])
            joined += 1
        step = (STEP_S + SEQUENCE_S * len(running) + PREFILL_S * joined) / speed * math.exp(level + wander)
        if rng.random() < 0.0005:
            step += rng.expovariate(1 / 0.15)
        now += step
        for each in running:
            if each[2] is None:
                each[2] = now
            elif len(itl) < 20000:
                itl.append(now - each[4])
            each[3] += 1
            each[4] = now
        for each in [each for each in running if each[3] == TOKENS]:
            index, arrived, first, _count, _last = each
            mean = (now - first) / (TOKENS - 1) * (2.2 if index in slow else 1)
            ttft.append(first - arrived)
            tpot.append(mean)
            e2el.append(first - arrived + mean * (TOKENS - 1))
        running = [each for each in running if each[3] < TOKENS]
    found = {"output_throughput": REQUESTS * TOKENS / now}
    for name, values in (("ttft", ttft), ("tpot", tpot), ("itl", itl), ("e2el", e2el)):
        values.sort()
        found["median_%s_ms" % name] = 1000 * values[len(values) // 2]
        found["p99_%s_ms" % name] = 1000 * values[int(0.99 * len(values))]
    return found


def simulated_run(rate, effect, rng, options):
    """Return the metrics of the repeats of a run."""
    speed, tail = EFFECTS[effect]
    level, between = rng.gauss(0, options.drift), 0.0
    repeats = []
    for seed in range(options.repeats):
        between = 0.5 * between + rng.gauss(0, 0.005)
        repeats.append(simulated_repeat(rate, seed, speed, tail, rng, level + between))
    return repeats


def slowed(repeats, effect):
    """Return recorded repeats with a simulated effect."""
    speed, tail = EFFECTS[effect]
    if tail:
        return [{name: value * (2 if name == "p99_tpot_ms" else 1) for name, value in each.items()} for each in repeats]
    return [{name: value / speed if name.endswith("_ms") else value for name, value in each.items()}
            for each in repeats]


def recorded_pairs(options):
    """Return ``{rate: pairs of runs}``."""
    by_rate = {}
    for line in RECORDED.read_text("utf-8").splitlines():
        repeat = json.loads(line)
        by_rate.setdefault(repeat.pop("rate"), []).append(
            {name: value for name, value in repeat.items() if name.endswith(("_ms", "_throughput"))})
    return {rate: [(repeats[start + first:start + 2 * options.repeats:2],
                    repeats[start + 1 - first:start + 2 * options.repeats:2])
                   for start in range(0, len(repeats) - 2 * options.repeats + 1, 2) for first in (0, 1)]
            for rate, repeats in by_rate.items()}


def verdict(before, after, options):
    return regression.judge({"run": regression.Pair(before, after, options.minimum_ratio)})["run"]["verdict"]


def show(source, rate, effect, verdicts):
    """Print a row, and return whether it is acceptable."""
    count = Counter(verdicts)
    total = len(verdicts)
    print("| %s | %s/s | %s | %d | %s |" % (source, rate, effect, total, " | ".join(
        "%.1f %%" % (100 * count[name] / total)
        for name in (regression.FAILED, regression.PASSED, regression.INCONCLUSIVE))), flush=True)
    if effect == "none":  # 1 % plus three standard errors
        return count[regression.FAILED] <= 0.01 * total + 3 * math.sqrt(0.0099 * total)
    return "x 2" not in effect or not count[regression.PASSED]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="comparisons per row; three times as many without effect")
    parser.add_argument("--repeats", type=int, default=regression.REPEATS)
    parser.add_argument("--minimum-ratio", type=float, default=0.95)
    parser.add_argument("--drift", type=float, default=0.01)
    options = parser.parse_args()
    print("| runs | rate | effect | comparisons | failed | passed | inconclusive |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    met = True
    for rate, effect in itertools.product(RATES, EFFECTS):
        rng = random.Random("%s %s" % (rate, effect))
        verdicts = [verdict(simulated_run(rate, "none", rng, options), simulated_run(rate, effect, rng, options),
                            options) for _number in range(options.runs * (3 if effect == "none" else 1))]
        met &= show("simulated", rate, effect, verdicts)
    for (rate, pairs), effect in itertools.product(recorded_pairs(options).items(), EFFECTS):
        met &= show("recorded", rate, effect, [verdict(first, slowed(second, effect), options)
                                               for first, second in pairs])
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
