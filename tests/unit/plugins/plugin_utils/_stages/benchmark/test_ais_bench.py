# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The performance tables of AISBench 3.1 are converted to the metric names of ``vllm bench serve``."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import ais_bench

TOTALS = {
    "Benchmark Duration": {"total": "2000.5 ms"}, "Total Requests": {"total": 6}, "Failed Requests": {"total": 1},
    "Success Requests": {"total": 5}, "Concurrency": {"total": 1.8}, "Max Concurrency": {"total": 2},
    "Request Throughput": {"total": "44.4455 req/s"}, "Total Input Tokens": {"total": 60},
    "Prefill Token Throughput": {"total": "291.5 token/s"}, "Total Generated Tokens": {"total": 18},
    "Input Token Throughput": {"total": "444.4 token/s"}, "Output Token Throughput": {"total": "133.3 token/s"},
    "Total Token Throughput": {"total": "577.7 token/s"},
}
LATENCIES = """\
Performance Parameters,Stage,Average,Min,Max,Median,P90,P99,N
E2EL,total,41.3 ms,33.7 ms,48.3 ms,43.3 ms,46.7 ms,48.1 ms,6
TTFT,total,34.3 ms,13.0 ms,48.2 ms,43.2 ms,46.6 ms,48.0 ms,6
TPOT,total,3.5 ms,0.0 ms,10.5 ms,0.1 ms,10.4 ms,10.5 ms,6
InputTokens,total,10.0,10.0,10.0,10.0,10.0,10.0,6
OutputTokenThroughput,total,74.0 token/s,62.1 token/s,89.1 token/s,69.2 token/s,88.6 token/s,89.0 token/s,6
"""
INPUTS = {"benchmark_dataset": "random", "benchmark_dataset_path": "", "benchmark_percentiles": [50.0, 99.0],
          "benchmark_num_prompts": 6, "benchmark_request_rate": 2,
          "benchmark_max_concurrency": 0, "benchmark_random_input_len_tokens": 8,
          "benchmark_random_output_len_tokens": 3, "benchmark_warmup_prompts": 2,
          "benchmark_ais_bench_tokenizer": ""}
PLAN = {"model": {"path": "/data/model", "served_name": "m"}}


def test_metrics_have_the_names_of_vllm_bench():
    found = ais_bench.metrics(json.dumps(TOTALS), LATENCIES)
    assert {name: found[name] for name in ("num_prompts", "completed", "failed", "total_output_tokens",
                                           "total_input_tokens", "request_throughput", "output_throughput",
                                           "total_token_throughput")} == {
        "num_prompts": 6, "completed": 5, "failed": 1, "total_output_tokens": 18, "total_input_tokens": 60,
        "request_throughput": 44.4455, "output_throughput": 133.3, "total_token_throughput": 577.7}
    assert found["duration"] == pytest.approx(2.0005)
    assert (found["mean_e2el_ms"], found["median_ttft_ms"], found["p99_ttft_ms"], found["p90_tpot_ms"]) == (
        41.3, 43.2, 48.0, 10.4)
    assert not [name for name in found if "token" in name and name.endswith("_ms")]


@pytest.mark.parametrize(("label", "cell"), [
    ("Output Token Throughput", "-"), ("Output Token Throughput", "133.3"), ("Output Token Throughput", "133.3 req/s"),
    ("Benchmark Duration", "2.0 s"), ("Success Requests", "")])
def test_cell_without_a_number_in_the_required_unit_is_ignored(label, cell):
    complete = ais_bench.metrics(json.dumps(TOTALS), LATENCIES)
    found = ais_bench.metrics(json.dumps(dict(TOTALS, **{label: {"total": cell}})), LATENCIES)
    assert len(found) == len(complete) - 1


@pytest.mark.parametrize(("totals", "latencies"), [(None, None), ("", ""), ("{}", "x"), ("[1]", "TTFT,1\n")])
def test_no_metrics_are_returned_without_tables(totals, latencies):
    assert ais_bench.metrics(totals, latencies) == {}


def test_stages_other_than_total_are_ignored():
    totals = {"Total Requests": {"stable": 6}, "Benchmark Duration": {}}
    assert ais_bench.metrics(json.dumps(totals), "") == {}


def test_inputs_determine_load_and_concurrency():
    load = ais_bench.load(PLAN, INPUTS)
    assert (load["requests"], load["request_rate"], load["tokenizer"], load["statistics"][-2:]) == (
        6, 2.0, "/data/model", ["P50", "P99"])
    assert ais_bench.load(PLAN, dict(INPUTS, benchmark_request_rate="inf"))["request_rate"] == 0
    assert ais_bench.server(PLAN, "http://a:1", INPUTS)["concurrency"] == 6
    assert ais_bench.server(PLAN, "http://a:1", dict(INPUTS, benchmark_max_concurrency=2))["concurrency"] == 2


@pytest.mark.parametrize(("name", "value"), [
    ("dataset", "random-mm"), ("percentiles", [99.9]), ("percentiles", [0]), ("percentiles", [10, 50, 75, 90, 99])])
def test_unsupported_inputs_are_refused(name, value):
    (sentence,) = ais_bench.check_inputs(dict(INPUTS, **{"benchmark_" + name: value}))
    assert "benchmark_" + name in sentence


def test_latencies_of_stages_other_than_total_are_ignored():
    stable = LATENCIES.replace(",total,", ",stable,")
    assert ais_bench.metrics(json.dumps(TOTALS), stable) == ais_bench.metrics(json.dumps(TOTALS), "")
