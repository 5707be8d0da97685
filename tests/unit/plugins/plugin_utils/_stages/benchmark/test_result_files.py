# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import result_files
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.result_files import parse

SERVE = """\
INFO 11-20 10:00:00 [x.py:1] Starting main benchmark run: 4
100%|##########| 4/4 [00:02<00:00]
============ Serving Benchmark Result ============
Successful requests:                     3
Failed requests:                         1
Benchmark duration (s):                  2.50
Output token throughput (tok/s):         48.00
---------------Time to First Token----------------
P99 TTFT (ms):                           12.75
==================================================
Trailing note:                           7
"""


def test_last_of_several_appended_results_counts():
    lines = "".join(json.dumps({"completed": count, "num_prompts": 4}) + "\n" for count in (1, 3))
    assert parse(lines) == {"kind": "serve", "metrics": {"completed": 3.0, "num_prompts": 4.0}}


# Keys that versions after 0.11.0 add (0.23.0: failed, rtfx; 0.33.0: latencies, probes, which are null if disabled).
NEWER = {
    "completed": 4, "num_prompts": 4, "failed": 0, "request_rate": "inf", "request_goodput": None, "rtfx": 0.0,
    "latencies": [0.1], "queue_times": None, "server_ttfts": [0.1], "probe_p99_ttft_ms": 5.5, "probe_enabled": False,
    "spec_decode_acceptance_rate": float("nan"), "diffusion_stats": {"committed_throughput": 2.5},
    "p99_client_queue_time_ms": 0.25, "p99.9_e2el_including_client_queue_ms": 9.0,
}


def test_keys_of_newer_versions_are_accepted():
    assert parse(json.dumps(NEWER)) == {"kind": "serve", "metrics": {
        "completed": 4.0, "num_prompts": 4.0, "failed": 0.0, "rtfx": 0.0, "probe_p99_ttft_ms": 5.5,
        "diffusion_stats.committed_throughput": 2.5, "p99_client_queue_time_ms": 0.25,
        "p99.9_e2el_including_client_queue_ms": 9.0}}


def test_only_the_result_block_is_read():
    assert parse(SERVE) == {"kind": "serve", "metrics": {
        "Successful requests": 3.0, "Failed requests": 1.0, "Benchmark duration (s)": 2.5,
        "Output token throughput (tok/s)": 48.0, "P99 TTFT (ms)": 12.75}}


def test_last_of_two_printed_results_counts():
    assert parse(SERVE + SERVE.replace("48.00", "50.00"))["metrics"]["Output token throughput (tok/s)"] == 50.0


@pytest.mark.parametrize(("data", "kind", "metrics"), [
    ({"num_prompts": 2, "completed": 0, "request_rate": "inf", "label": None, "tp": "2", "request_goodput": None},
     "serve", {"num_prompts": 2.0, "completed": 0.0}),
    ({"avg_latency": 1.5, "latencies": [1, 2], "percentiles": {"99": 2.5}}, "latency",
     {"avg_latency": 1.5, "percentiles.99": 2.5}),
    ({"elapsed_time": 2, "requests_per_second": 4.5, "good": True}, "throughput",
     {"elapsed_time": 2.0, "requests_per_second": 4.5}),
    ({"num_prompts": 2, "completed": 2, "mean_ttft_ms": float("nan")}, "serve", {"num_prompts": 2.0, "completed": 2.0}),
    ({"something": 1}, "unknown", {}),
])
def test_kind_of_a_json_result_is_recognized(data, kind, metrics):
    assert parse(json.dumps(data)) == {"kind": kind, "metrics": metrics}


def test_printed_latency_and_throughput_are_read():
    assert parse("x\nAvg latency: 2.5 seconds\n99% percentile latency: 3 seconds\nTraceback (most recent") == {
        "kind": "latency", "metrics": {"Avg latency": 2.5, "99% percentile latency": 3.0}}
    assert parse("Throughput: 2.50 requests/s, 640.00 total tokens/s, 320.00 output tokens/s\n"
                 "Total num prompt tokens:  128\n") == {
        "kind": "throughput", "metrics": {"requests/s": 2.5, "total tokens/s": 640.0, "output tokens/s": 320.0,
                                          "Total num prompt tokens": 128.0}}


FRAGMENTS = (
    "{", '{"completed": 1e999, "num_prompts": 1', "}", '"', "[" * 5000, "Avg latency: 1 seconds", "Throughput: a/s",
    "==== Serving Benchmark Result ====", "Successful requests: 1",
)


@given(st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("\n".join))
def test_any_text_is_accepted(text):
    result = parse(text)
    assert all(isinstance(value, float) for value in result["metrics"].values())


def test_outputs_in_the_corpus_are_parsed_as_expected(corpus):
    labels = sorted((corpus / "vllm-bench").glob("*.expected.json"))
    assert labels
    wrong = {}
    for label in labels:
        sample = next(path for path in (label.with_name(label.name.replace(".expected.json", ending))
                                        for ending in (".txt", ".json")) if path.exists())
        found = parse(sample.read_text("utf-8"))
        if found != json.loads(label.read_text("utf-8")):
            wrong[label.name] = found
    assert wrong == {}


def test_results_recorded_from_the_real_tools_are_recognized(corpus):
    found = {path.name: result_files.parse(path.read_text("utf-8"))
             for path in (corpus / "recorded").glob("*.json")}
    assert len(found) >= 4
    assert "unknown" not in {result["kind"] for result in found.values()}
    assert found["vllm_bench_serve_allfailed_v0.11.0.json"]["metrics"]["completed"] == 0.0
