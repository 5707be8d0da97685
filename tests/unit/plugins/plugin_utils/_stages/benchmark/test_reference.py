# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""benchmark_reference sends the load of a published result and compares with it."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import judge, reference, targets
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    group_plans,
    plan_with,
    valid,
)
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults


def plan(model, **inputs):
    return valid(plan_model=model, plan_release="v0.23.0", **inputs)


def load(plan, **inputs):
    found = reference.applied(plan, {**defaults("benchmark"), "benchmark_reference": True, **inputs})
    return [found[f"benchmark_{name}"] for name in (
        "num_prompts", "max_concurrency", "random_input_len_tokens", "random_output_len_tokens", "request_rate",
        "dataset")]


def test_load_is_that_of_the_published_result():
    assert load(plan("qwen3_32b_w8a8")) == [288, 72, 3500, 1500, "inf", "random"]
    assert load(plan("qwen3_32b_w8a8", plan_hardware="atlas_800_a3"), benchmark_dataset="custom") == [
        304, 76, 3500, 1500, "inf", "random"]
    group = group_plans("data_parallel", plan_model="qwen3_235b_a22b", plan_release="v0.23.0")["node1"]
    assert load(group) == [2800, 256, 3500, 1500, 4.8, "random"]


def test_other_inputs_are_kept():
    inputs = {**defaults("benchmark"), "benchmark_num_prompts": 7}
    assert reference.applied(plan("qwen3_32b_w8a8"), inputs) == inputs
    assert load(plan("qwen3_8b"), benchmark_num_prompts=7)[0] == 7
    assert load(plan_with(plan_model="unknown"), benchmark_num_prompts=7)[0] == 7


@pytest.mark.parametrize(("model", "mistakes"), [
    ("qwen3_32b_w8a8", 0), ("qwen3_8b", 1), ("qwen3_235b_a22b_w8a8", 1), ("qwq_32b", 1)])
def test_model_without_a_complete_result_for_the_product_is_refused(model, mistakes):
    inputs = {**defaults("benchmark"), "benchmark_reference": True, "benchmark_targets": ["instance"]}
    found = [each for each in judge.check_inputs(context(plan(model), inputs=inputs)) if "benchmark_reference" in each]
    assert len(found) == mistakes
    assert all("set it to false" in each for each in found)


@pytest.mark.parametrize(("throughput", "enabled", "statuses"), [
    (1033.3, True, ["passed"]), (1033.1, True, ["failed"]), (1033.1, False, [])])
def test_throughput_is_compared_with_97_percent_of_the_published_one(throughput, enabled, statuses):
    tokens = 288 * 1500
    run = {"id": "r", "repeat": 1, "seed": 0, "target": "instance", "kind": "serve", "file": "r.json", "services": {},
           "overlap_percent": None, "others": 0, "metrics": {
               "completed": 288, "num_prompts": 288, "failed": 0, "total_output_tokens": tokens,
               "output_throughput": throughput}}
    measured = {"name": "m", "target": "instance", "tool": "vllm", "urls": [], "instances": 1, "hosts": ["node1"],
                "num_prompts": 288, "output_tokens": tokens, "warm_up": None, "runs": [run], "baseline": None,
                "sweep": None,
                "summary": {"output_throughput": {"median": throughput, "minimum": throughput, "maximum": throughput,
                                                  "cv_percent": None}}}
    resolved = plan("qwen3_32b_w8a8")
    inputs = reference.applied(resolved, {**defaults("benchmark"), "benchmark_reference": True})
    inputs = {**inputs, "benchmark_reference": enabled}
    found = judge.judge(context(resolved, {"measurements": [measured], "snapshots": [{}]}, inputs))
    assert [check["status"] for check in found if check["id"] == "reference"] == statuses


def test_only_models_that_generate_text_are_measured():
    assert targets.unmeasurable(plan("qwen3_8b")) == ""
    assert targets.unmeasurable(plan("qwen3_embedding_8b")) == "Qwen3-Embedding-8B generates no text."
    assert targets.unmeasurable(plan("qwen3_reranker_0_6b")) == "Qwen3-Reranker-0.6B generates no text."
