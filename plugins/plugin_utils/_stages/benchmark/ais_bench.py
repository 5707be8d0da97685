# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AISBench's performance mode: build the load, and return the metrics under their ``vllm bench serve`` names.

Because the names are the same, the same checks can judge the results of both tools. AISBench always uses the chat
endpoint with streaming.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import tables
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.types import Metrics

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.config import AisBenchLoad, AisBenchServer
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan

# AISBench accepts eight statistics, of which four are always requested. It accepts only integer percentiles.
_PERCENTILES = 4
_WARM_UP = 1
# A run without all of these metrics has no result.
NEEDED = frozenset(("num_prompts", "completed", "failed", "total_output_tokens", "output_throughput"))
_LATENCIES = {"TTFT": "ttft", "TPOT": "tpot", "ITL": "itl", "E2EL": "e2el"}
_STATISTICS = {"Average": "mean", "Median": "median"}
# {label of AISBench: (name of vllm bench serve, required unit, factor)}
_TOTALS: dict[str, tuple[str, str | None, float]] = {
    "Benchmark Duration": ("duration", "ms", 0.001),
    "Total Requests": ("num_prompts", None, 1),
    "Success Requests": ("completed", None, 1),
    "Failed Requests": ("failed", None, 1),
    "Total Input Tokens": ("total_input_tokens", None, 1),
    "Total Generated Tokens": ("total_output_tokens", None, 1),
    "Request Throughput": ("request_throughput", "req/s", 1),
    "Output Token Throughput": ("output_throughput", "token/s", 1),
    "Total Token Throughput": ("total_token_throughput", "token/s", 1),
}


def check_inputs(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error message for each input that AISBench does not support."""
    if inputs["benchmark_dataset"] not in ("random", "custom", "textvqa"):
        yield ("benchmark_tools contains ais_bench, which does not send requests of benchmark_dataset %s; set it to "
               "random, custom or textvqa, or remove ais_bench." % inputs["benchmark_dataset"])
    percentiles = inputs["benchmark_percentiles"]
    if len(percentiles) > _PERCENTILES or any(value != int(value) or not 1 <= value <= 99 for value in percentiles):
        yield ("benchmark_tools contains ais_bench, which accepts at most %d whole percentiles from 1 to 99, but "
               "benchmark_percentiles is %s." % (_PERCENTILES, ", ".join("%g" % value for value in percentiles)))


def load(plan: Plan, inputs: Mapping[str, Any]) -> AisBenchLoad:
    """Return the option ``load`` of ``ascend.vllm.ais_bench``."""
    rate = str(inputs["benchmark_request_rate"])
    return {
        "requests": inputs["benchmark_num_prompts"], "request_rate": 0 if rate == "inf" else float(rate),
        "input_tokens": inputs["benchmark_random_input_len_tokens"],
        "output_tokens": inputs["benchmark_random_output_len_tokens"],
        "statistics": ["Average", "Min", "Max", "Median",
                       *("P%d" % value for value in inputs["benchmark_percentiles"])],
        "tokenizer": inputs["benchmark_ais_bench_tokenizer"] or plan["model"]["path"],
        "file": inputs["benchmark_dataset_path"],
        "warm_up": warm_ups(inputs),
    }


def warm_ups(inputs: Mapping[str, Any]) -> int:
    """Return the number of requests that AISBench sends before the load."""
    return max(int(inputs["benchmark_warmup_prompts"]), _WARM_UP)


def server(plan: Plan, url: str, inputs: Mapping[str, Any]) -> AisBenchServer:
    """Return the option ``server`` of ``ascend.vllm.ais_bench``; by default, all requests may run concurrently."""
    return {"url": url, "model": plan["model"]["served_name"],
            "concurrency": inputs["benchmark_max_concurrency"] or inputs["benchmark_num_prompts"],
            "maximum_tokens": inputs["benchmark_random_output_len_tokens"]}


def metrics(totals: str | None, latencies: str | None) -> Metrics:
    """Return the metrics of a run; values that are not numbers in the required unit are skipped.

    :param totals: the text of ``performances/<model>/<dataset>.json``.
    :param latencies: the text of ``performances/<model>/<dataset>.csv``.
    """
    found = {}
    for row in tables.performance(totals or ""):
        name, unit, factor = _TOTALS.get(row.get("Common Metric", ""), ("", None, 1))
        value = _number(row.get("Value", ""), unit)
        if name and row.get("Stage") == "total" and value is not None:
            found[name] = value * factor
    for row in tables.performance(latencies or ""):
        metric = _LATENCIES.get(row.get("Performance Parameters", ""))
        for column, cell in row.items():
            percentile = column.lower() if column[:1] == "P" and column[1:].isdigit() else None
            statistic = _STATISTICS.get(column, percentile)
            value = _number(cell, "ms")
            if metric and row.get("Stage") == "total" and statistic and value is not None:
                found["%s_%s_ms" % (statistic, metric)] = value
    return found


def _number(cell: str, unit: str | None) -> float | None:
    try:
        value, printed = tables.number(cell)
    except ValueError:
        return None
    return value if printed == unit else None
