# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import targets
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.vllm_bench import identity

URL = "http://10.0.0.9:8080"


@pytest.mark.parametrize(("wanted", "url", "instances", "expected"), [
    (["auto"], "", 1, ["instance"]),
    (["auto"], "", 4, ["instance", "node"]),
    (["auto"], URL, 1, ["instance", "balancer"]),
    (["node", "instance"], URL, 1, ["instance", "node"]),
    (["balancer"], URL, 4, ["balancer"]),
])
def test_inputs_and_plan_determine_the_targets(wanted, url, instances, expected):
    plan = {"instances": [{"serves": True}] * instances + [{"serves": False}]}
    assert targets.chosen(plan, {"benchmark_targets": wanted, "benchmark_balancer_url": url}) == expected


@pytest.mark.parametrize(("wanted", "url"), [(["balancer"], ""), (["auto"], "10.0.0.9:8080"), (["auto"], URL + "/v1")])
def test_balancer_needs_a_url(wanted, url):
    with pytest.raises(BadInput, match="benchmark_balancer_url"):
        targets.chosen({"instances": [{"serves": True}]}, {"benchmark_targets": wanted, "benchmark_balancer_url": url})


@pytest.mark.parametrize(("rate", "expected"), [(1, "4"), ("0.5", "2"), ("inf", "inf")])
def test_load_is_multiplied_by_the_number_of_instances(rate, expected):
    inputs = targets.multiply_load({"benchmark_num_prompts": 10, "benchmark_request_rate": rate,
                                    "benchmark_max_concurrency": 2, "benchmark_trace_speed": 0.5}, 4)
    assert inputs == {"benchmark_num_prompts": 40, "benchmark_request_rate": expected, "benchmark_max_concurrency": 8,
                      "benchmark_trace_speed": 2}


def client(ended_at, duration, **metrics):
    return {"kind": "serve", "ended_at": ended_at, "metrics": dict({
        "duration": duration, "completed": 10.0, "num_prompts": 10.0, "total_input_tokens": 100.0,
        "total_output_tokens": 50.0, "p99_ttft_ms": 5.0, "output_throughput": 1e9}, **metrics)}


def test_concurrent_clients_are_merged_into_one_run():
    kind, metrics, overlap = targets.merged([client(110.0, 10.0), client(112.0, 10.0, p99_ttft_ms=9.0, completed=9.0)])
    assert (kind, overlap) == ("serve", 66.7)
    assert {name: metrics[name] for name in ("completed", "num_prompts", "p99_ttft_ms", "duration")} == {
        "completed": 19, "num_prompts": 20, "p99_ttft_ms": 9, "duration": 12}
    assert metrics["output_throughput"] == pytest.approx(100 / 12)
    assert metrics["total_token_throughput"] == pytest.approx(300 / 12)
    assert "failed" not in metrics  # not in results of vLLM 0.11


def test_consecutive_clients_have_no_higher_throughput():
    _kind, metrics, overlap = targets.merged([client(110.0, 10.0), client(120.0, 10.0)])
    assert overlap == 0
    assert metrics["output_throughput"] == pytest.approx(100 / 20)


def test_failed_requests_are_summed():
    assert targets.merged([client(1.0, 1.0, failed=2.0), client(1.0, 1.0, failed=0.0)])[1]["failed"] == 2


def test_run_has_no_result_if_one_client_has_none():
    assert targets.merged([client(1.0, 1.0), {"kind": None, "metrics": {}}]) == (None, {}, None)


SERVICE = {"id": "c", "image": "i", "running": True, "started_at": "now", "restarts": 0,
           "labels": {labels.INSTANCE: "h"}, "weights": "w", "driver": "d"}


@pytest.mark.parametrize(("service", "serves"), [(SERVICE, True), (None, False), (dict(SERVICE, running=False), False),
                                                 (dict(SERVICE, labels={}), False)])
def test_only_the_planned_container_serves(service, serves):
    assert targets.serves_as_planned({"service": service, "hash": "h", "serves": True}) is serves
    assert targets.serves_as_planned({"service": service, "hash": "h", "serves": False}) is False


def test_differences_between_snapshots_are_described():
    before = targets.snapshot([{"name": "a", "service": SERVICE}, {"name": "b", "service": SERVICE}])
    after = {"a": identity(dict(SERVICE, restarts=1)), "b": identity(SERVICE)}
    assert targets.differences(before, before) == []
    assert targets.differences(before, after) == ["a: restarts 0 → 1"]
    assert len(targets.differences(before, {"a": before["a"]})) == len(identity(SERVICE))


def traffic(active, finished):
    return {"active": active, "finished": finished}


@pytest.mark.parametrize(("before", "after", "others"), [
    (traffic(0, 100), traffic(0, 112), 0),   # 10 requests, and at most 2.4 that are not part of the load
    (traffic(0, 100), traffic(0, 120), 8),
    (traffic(3, 100), traffic(0, 112), 3), (traffic(0, 100), traffic(4, 112), 4),
    (traffic(0, 100), traffic(0, 0), 0),     # restarted, which another check reports
    (None, traffic(0, 0), None), (traffic(0, 0), None, None)])
def test_requests_that_are_not_ours_are_counted(before, after, others):
    assert targets.others(before, after, 12.4) == others
