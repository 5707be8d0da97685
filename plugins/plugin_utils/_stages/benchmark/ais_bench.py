# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AISBench's performance mode: what it is asked for, and its tables under the names of ``vllm bench serve``. Pure.

So both tools are judged by one judge. AISBench always speaks the chat endpoint and streams.
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import tables
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput

# AISBench takes eight statistics, four of which are always asked for, and whole percentiles only.
_PERCENTILES = 4
_WARM_UP = 1
# Without these a run has no result.
NEEDED = frozenset(("num_prompts", "completed", "failed", "total_output_tokens", "output_throughput"))
_LATENCIES = {"TTFT": "ttft", "TPOT": "tpot", "ITL": "itl", "E2EL": "e2el"}
_STATISTICS = {"Average": "mean", "Median": "median"}
# label of AISBench: (name of vllm bench serve, unit that it has to be printed in, factor)
_TOTALS = {
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


def check_inputs(inputs):
    """Refuse what AISBench cannot measure. :raises BadInput: with one sentence."""
    if inputs["benchmark_dataset"] == "random-mm":
        raise BadInput("benchmark_tools has ais_bench, which has no random pictures; set benchmark_dataset to random "
                       "or custom, or leave it to vllm.")
    odd = ["%g" % value for value in inputs["benchmark_percentiles"] if value != int(value) or not 1 <= value <= 99]
    if odd or len(inputs["benchmark_percentiles"]) > _PERCENTILES:
        raise BadInput("benchmark_tools has ais_bench, which takes at most %d whole percentiles from 1 to 99, but "
                       "benchmark_percentiles has %s." % (
                           _PERCENTILES, ", ".join("%g" % value for value in inputs["benchmark_percentiles"])))


def load(plan, inputs):
    """The load as ``ascend.vllm.ais_bench`` takes it; a rate of 0 sends all at once."""
    rate = str(inputs["benchmark_request_rate"])
    return {
        "requests": inputs["benchmark_num_prompts"], "request_rate": 0 if rate == "inf" else float(rate),
        "input_tokens": inputs["benchmark_random_input_len_tokens"],
        "output_tokens": inputs["benchmark_random_output_len_tokens"],
        "statistics": ["Average", "Min", "Max", "Median",
                       *("P%d" % value for value in inputs["benchmark_percentiles"])],
        "tokenizer": inputs["benchmark_ais_bench_tokenizer"] or plan["model"]["path"],
        "file": inputs["benchmark_dataset_path"],
        "warm_up": max(inputs["benchmark_warmup_prompts"], _WARM_UP),
    }


def server(plan, url, inputs):
    """The server as ``ascend.vllm.ais_bench`` takes it; without a limit every request may be under way at once."""
    return {"url": url, "model": plan["model"]["served_name"],
            "concurrency": inputs["benchmark_max_concurrency"] or inputs["benchmark_num_prompts"],
            "maximum_tokens": inputs["benchmark_random_output_len_tokens"]}


def metrics(totals, latencies):
    """The numbers of one run under the names of ``vllm bench serve``; what is no number in its unit is left out.

    :param totals: the text of ``performances/<model>/<data set>.json``. :param latencies: that of the ``.csv``.
    """
    found = {}
    for row in tables.performance(totals or ""):
        name, unit, factor = _TOTALS.get(row.get("Common Metric"), (None, None, 1))
        value = _number(row.get("Value", ""), unit)
        if name and row.get("Stage") == "total" and value is not None:
            found[name] = value * factor
    for row in tables.performance(latencies or ""):
        metric = _LATENCIES.get(row.get("Performance Parameters"))
        for column, cell in row.items():
            percentile = column.lower() if column[:1] == "P" and column[1:].isdigit() else None
            statistic = _STATISTICS.get(column, percentile)
            value = _number(cell, "ms")
            if metric and row.get("Stage") == "total" and statistic and value is not None:
                found["%s_%s_ms" % (statistic, metric)] = value
    return found


def _number(cell, unit):
    try:
        value, printed = tables.number(cell)
    except ValueError:
        return None
    return value if printed == unit else None
