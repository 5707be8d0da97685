# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of an NPU: weights, KV cache, and over how many NPUs a model can be split."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.memory import (
    RESERVE_GIB,
    USABLE_HBM,
    kv_bytes_per_token,
    split_problem,
)
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    BF16,
    CATALOGUE,
    ROOT,
    group_plans,
    plan_with,
    refusal,
    valid,
)

GQA = {"name": "Gqa", "attention_heads": 32, "kv_heads": 4, "head_size": 128, "layers": 10}
MHA = {"name": "Mha", "attention_heads": 32, "kv_heads": 32, "head_size": 128, "layers": 10}
MLA = {"name": "Mla", "attention_heads": 128, "latent_size": 576, "layers": 61}
PUBLISHED = yaml.safe_load((ROOT / "tests/data/published.yml").read_text("utf-8"))


def small(**keys):
    """Return an overlay with a model of 32 GiB on one NPU, whose tokens need 32 KiB."""
    return {"models": {"small": {
        **CATALOGUE["models"][BF16], "name": "Small", "weights_bytes": 32 << 30, "npus": 1, "attention_heads": 32,
        "kv_heads": 8, "head_size": 128, "layers": 8,
        "arguments": {"max-model-len": 8192, "max-num-seqs": 16}, **keys}}}


def small_plan(overlay=None, **inputs):
    return valid(overlay or small(), plan_model="small", **inputs)


# (model, tensor parallel size, arguments, stages of a pipeline, bytes)
@pytest.mark.parametrize(("model", "size", "arguments", "stages", "expected"), [
    (GQA, 1, {}, 1, 2 * 4 * 128 * 2 * 10),
    (GQA, 2, {}, 1, 2 * 2 * 128 * 2 * 10),
    (GQA, 8, {}, 1, 2 * 1 * 128 * 2 * 10),
    (GQA, 2, {"kv-cache-dtype": "fp8"}, 1, 2 * 2 * 128 * 10),
    (GQA, 2, {"kv-cache-dtype": "auto"}, 1, 2 * 2 * 128 * 2 * 10),
    (GQA, 1, {}, 3, 2 * 4 * 128 * 2 * 4),
    (MHA, 8, {}, 1, 2 * 4 * 128 * 2 * 10),
    (MLA, 1, {}, 1, 576 * 2 * 61),
    (MLA, 8, {"speculative-config": {"method": "mtp", "num_speculative_tokens": 3}}, 1, 576 * 2 * 62),
])
def test_bytes_of_the_kv_cache_per_token_are_computed(model, size, arguments, stages, expected):
    assert kv_bytes_per_token(model, size, arguments, stages) == expected


@pytest.mark.parametrize(("model", "size", "arguments", "problem"), [
    (GQA, 3, {}, "divide the 32 attention heads of Gqa"),
    (GQA, 8, {}, None),
    ({**GQA, "kv_heads": 6}, 4, {}, "divide the 6 KV heads of Gqa or be a multiple of them"),
    ({**GQA, "kv_heads": 6, "attention_heads": 48}, 12, {}, None),
    ({**GQA, "vision_heads": 12}, 8, {}, "divide the 12 heads of the vision encoder of Gqa"),
    ({**GQA, "vision_heads": 12}, 8, {"mm-encoder-tp-mode": "data"}, None),
    ({**GQA, "maximum_npus": 8}, 16, {}, "be at most 8 with Gqa"),
    (MLA, 16, {}, None),
])
def test_tensor_parallel_size_must_suit_the_model(model, size, arguments, problem):
    assert split_problem(model, size, arguments) == problem


def test_model_that_cannot_be_split_is_refused():
    assert refusal(small(kv_heads=6), plan_model="small", serving_tensor_parallel_size=4) == (
        "serving_tensor_parallel_size must divide the 6 KV heads of Small or be a multiple of them, but is 4.")


def test_kv_cache_has_the_memory_that_weights_and_reserve_do_not_use():
    memory = small_plan()["memory"]
    remaining = 64 * USABLE_HBM * 0.9 - 32 - RESERVE_GIB
    assert memory == {"weights_gib": 32.0, "reserve_gib": RESERVE_GIB, "kv_cache_gib": round(remaining, 2),
                      "bytes_per_token": 32768, "tokens": memory["tokens"],
                      "sequences": round(memory["tokens"] / 8192, 1)}
    assert memory["tokens"] % 128 == 0
    assert memory["tokens"] * 32768 <= memory["kv_cache_gib"] * 2**30 < (memory["tokens"] + 128) * 32768


@pytest.mark.parametrize(("model", "arguments", "inputs", "warning", "parts"), [
    ({}, {}, {}, None, []),
    ({}, {"max-model-len": 1000000}, {}, "memory.sequence", ["less than max-model-len (1000000)"]),
    ({"context_length": 1000000}, {"max-model-len": None}, {}, "memory.sequence", ["max-model-len (1000000)"]),
    ({}, {"max-num-seqs": 400}, {}, "memory.sequences", ["less than 400 requests (max-num-seqs) of 2048 tokens"]),
    ({}, {"max-num-seqs": 400}, {"plan_request_tokens": 500}, None, []),
    ({}, {"gpu-memory-utilization": 0.55}, {}, "memory.sequence", ["room for about 0 tokens"]),
    ({"layers": 800}, {}, {}, "memory.sequence", ["room for about"]),
])
def test_kv_cache_that_is_too_small_causes_a_warning(model, arguments, inputs, warning, parts):
    found = {each["id"]: each["message"] for each in small_plan(
        small(context_length=2000000) if not model else small(**{"context_length": 2000000, **model}),
        serving_args=arguments, **inputs)["warnings"]}
    assert {name for name in found if name.startswith("memory")} == ({warning} if warning else set())
    assert [part for part in parts if part not in found[warning]] == []


@pytest.mark.parametrize(("keys", "reason"), [
    ({"kv_cache_unknown": "its layers differ"}, "its layers differ"),
    ({"layers": None}, "the catalogue does not state the layers and heads of the model"),
    ({"kv_heads": None}, "the catalogue does not state the layers and heads of the model"),
])
def test_kv_cache_that_cannot_be_computed_is_unsupported(keys, reason):
    overlay = small(**{key: value for key, value in keys.items() if value})
    for key in [key for key, value in keys.items() if value is None]:
        del overlay["models"]["small"][key]
    memory = small_plan(overlay)["memory"]
    assert memory["unsupported"] == reason
    assert "tokens" not in memory


def test_kv_cache_of_latent_attention_needs_no_number_of_heads():
    overlay = small(latent_size=576)
    for key in ("kv_heads", "head_size"):
        del overlay["models"]["small"][key]
    assert small_plan(overlay)["memory"]["bytes_per_token"] == 576 * 2 * 8


@pytest.mark.parametrize(("keys", "inputs", "parts"), [
    ({"weights_bytes": 60 << 30}, {}, ["need 60.0 GiB on each of 1 NPUs", "only 54.9 GiB", "; set it to 2."]),
    ({"weights_bytes": 60 << 30, "attention_heads": 4, "kv_heads": 4, "maximum_npus": 1}, {}, [
        "; serve it on several nodes (serving_topology)."]),
    ({"weights_bytes": 900 << 30}, {"serving_tensor_parallel_size": 8}, ["; serve it on several nodes"]),
    ({}, {"serving_args": {"gpu-memory-utilization": 0.5}}, ["only 30.5 GiB", "; set it to 2."]),
])
def test_weights_that_exceed_their_share_are_refused(keys, inputs, parts):
    message = refusal(small(**keys), plan_model="small", **inputs)
    assert [part for part in parts if part not in message] == []
    assert plan_with(small(**keys), plan_model="small", **inputs)["memory"] is None


@pytest.mark.parametrize(("arguments", "part"), [
    ({"max-model-len": "many"}, "max-model-len must be an integer above 0"),
    ({"max-num-seqs": 0}, "max-num-seqs must be an integer above 0"),
    ({"gpu-memory-utilization": "most"}, "gpu-memory-utilization must be above 0 and at most 1"),
    ({"gpu-memory-utilization": [0.9]}, "gpu-memory-utilization must be above 0 and at most 1"),
])
def test_options_that_are_not_numbers_are_refused_once(arguments, part):
    assert part in refusal(small(), plan_model="small", serving_args=arguments)


@pytest.mark.parametrize(("topology", "arguments", "weights_gib"), [
    ("data_parallel", {}, 32), ("data_parallel", {"enable-expert-parallel": True}, 8 + 24 / 2), ("ray", {}, 16)])
def test_memory_on_the_nodes_of_a_group_depends_on_the_topology(topology, arguments, weights_gib):
    overlay = small(expert_bytes=24 << 30, unsupported={})
    plans = group_plans(topology, overlay, plan_model="small", plan_release="v0.23.0", serving_args=arguments)
    assert [plan["memory"]["weights_gib"] for plan in plans.values()] == [weights_gib, weights_gib]
    layers = 4 if topology == "ray" else 8
    assert [plan["memory"]["bytes_per_token"] for plan in plans.values()] == 2 * [2 * 8 * 128 * 2 * layers]


@pytest.mark.parametrize("log", PUBLISHED["memory"], ids=lambda log: log["source"])
def test_memory_figures_agree_with_published_logs(log):
    """The share of the HBM, the reserve and the weights agree with what vLLM Ascend printed on NPUs."""
    if "total_gib" in log:
        assert pytest.approx(64 * USABLE_HBM, rel=0.01) == log["total_gib"]
    if "other_gib" in log:
        assert sum(log["other_gib"]) <= RESERVE_GIB
    if "weights_gib" in log:
        model = CATALOGUE["models"][log["model"]]
        assert pytest.approx(model["weights_bytes"] / log["npus"] / 2**30, rel=0.02) == log["weights_gib"]
