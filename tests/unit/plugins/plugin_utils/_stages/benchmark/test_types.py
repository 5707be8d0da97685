# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of the benchmark stage have the same keys as real values."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import (
    regression,
    statistics,
    targets,
    types,
    vllm_bench,
)
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import defaults


def test_types_have_the_keys_of_real_values():
    inputs, plan = defaults("benchmark"), valid()
    service = {"id": "c", "image": "i", "started_at": "now", "restarts": 0, "labels": {}, "weights": "w", "driver": "d"}
    measured = targets.measurement("vllm", targets.INSTANCE, targets.VLLM, [], 1, ["node1"], inputs)
    summary = statistics.summarize([{"metrics": {"output_throughput": 1.0}}])
    key = statistics.baseline_key(plan, measured, service, inputs, "node1")
    baseline = statistics.baseline(key, [{"metrics": {"output_throughput": 1.0}}] * 5, "node1", "2026-01-01T00:00:00Z")
    verdict = regression.judge({"vllm": regression.Pair(baseline["repeats"], baseline["repeats"], 0.95)})["vllm"]
    found = {
        types.Identity: vllm_bench.identity(service), types.PlannedRun: vllm_bench.runs("a", "instance", inputs)[0],
        types.Measurement: measured, types.Spread: summary["output_throughput"], types.BaselineKey: key,
        types.Baseline: baseline, types.Change: verdict["rows"][0], types.Regression: verdict,
        types.Figure: vllm_bench.figures([dict(measured, summary=summary)])[0],
    }
    assert {kind.__name__: sorted(value) for kind, value in found.items()} == {
        kind.__name__: sorted(kind.__annotations__) for kind in found}
    assert list(vllm_bench.identity(None)) == list(vllm_bench.identity(service))
