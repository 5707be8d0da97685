# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each model of the catalogue can be planned wherever its entry says, and has the figures that were published."""

from __future__ import annotations

import json

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import SWITCH, releases_of, serve_options
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    CATALOGUE,
    ROOT,
    group_plans,
    options,
    refusals,
    valid,
    valid_group,
)

MODELS, RELEASES = CATALOGUE["models"], CATALOGUE["releases"]
PUBLISHED = yaml.safe_load((ROOT / "tests/data/published.yml").read_text("utf-8"))


def plans(model, **inputs):
    """Return the plans of a model: of one node, or of each node of its group."""
    nodes = MODELS[model]["minimum_nodes"]
    if nodes == 1:
        return [valid(plan_model=model, **inputs)]
    hosts = [f"node{number}" for number in range(nodes)]
    return list(valid_group("data_parallel", hosts=hosts, plan_model=model, **inputs).values())


HARDWARE = {"A2": "atlas_800_a2", "A3": "atlas_800_a3"}


@pytest.mark.parametrize(("model", "hardware"), [
    (name, HARDWARE[series]) for name, entry in MODELS.items() for series in entry["series"]])
def test_every_model_is_planned_with_every_release_for_its_hardware(model, hardware):
    entry, profile = MODELS[model], CATALOGUE["hardware"][hardware]
    supported = releases_of(CATALOGUE, profile, entry)
    assert supported
    for release in supported:
        for resolved in plans(model, plan_release=release, plan_hardware=hardware):
            (instance,) = resolved["instances"]
            assert resolved["memory"]["kv_cache_gib"] > 1
            assert entry["environment"].items() <= instance["environment"].items()
            known = serve_options(CATALOGUE, RELEASES[release]["vllm"])
            for option in options(resolved):
                assert option[2:] in known or known[option[5:]] == SWITCH, option
            assert not [found for found in resolved["warnings"]
                        if found["id"].startswith(("memory.", "serving_args."))]
            if "compilation-config" in resolved["model"]["arguments"]:
                assert "cudagraph" in options(resolved)["--compilation-config"][0]


@pytest.mark.parametrize("model", [model for model, entry in MODELS.items() if entry["minimum_nodes"] > 1])
def test_model_that_needs_several_nodes_is_refused_on_one(model):
    name, release = MODELS[model]["name"], MODELS[model]["releases"]["documented"]["since"]
    case = {"plan_model": model, "plan_release": release}
    message = next(text for text in refusals(**case) if text.startswith(f"{name} needs at least 2 nodes"))
    assert "set it to data_parallel, and serving_hosts to 2 nodes." in message
    for resolved in group_plans("data_parallel", **case).values():
        assert resolved["refusals"] == []
        assert resolved["group"]["size"] == 2 * MODELS[model]["replicas"]


def test_product_without_documentation_causes_a_warning():
    case = {"plan_model": "qwen3_vl_235b_a22b_w8a8", "plan_release": "v0.18.0"}
    found = [each["message"] for each in valid(**case)["warnings"] if each["id"] == "plan_hardware"]
    assert found == ["Upstream documents Qwen3-VL-235B-A22B-Instruct-w8a8-QuaRot for A3, but plan_hardware is "
                     "atlas_800_a2."]
    assert "plan_hardware" not in [each["id"] for each in valid(plan_hardware="atlas_800_a3", **case)["warnings"]]


@pytest.mark.parametrize(("model", "release", "hardware", "option", "value"), [
    ("qwen3_next_80b_a3b", "v0.11.0", "atlas_800_a2", "--enforce-eager", []),
    ("qwen3_next_80b_a3b", "v0.12.0rc1", "atlas_800_a2", "--enforce-eager", None),
    ("qwen3_235b_a22b_w8a8", "v0.12.0rc1", "atlas_800_a2", "--max-model-len", ["40960"]),
    ("qwen3_235b_a22b_w8a8", "v0.13.0", "atlas_800_a2", "--max-model-len", ["131072"]),
    ("qwen3_32b_w4a4", "v0.18.0", "atlas_800_a2", "--additional-config", None),
    ("qwen3_32b_w4a4", "v0.23.0", "atlas_800_a2", "--additional-config",
     ['{"ascend_compilation_config":{"fuse_norm_quant":false}}']),
])
def test_overrides_apply_only_to_their_releases(model, release, hardware, option, value):
    resolved = valid(plan_model=model, plan_release=release, plan_hardware=hardware)
    assert options(resolved).get(option) == value


def test_overrides_apply_only_to_their_products():
    entry = {**MODELS["qwen3_32b"], "npus": 4, "overrides": [
        {"series": "A3", "npus": 8, "environment": {"SITE_A3": "1"}},
        {"series": "A2", "until": "v0.12.0rc1", "npus": 2}]}
    overlay = {"models": {"mine": entry}}

    def planned(hardware, release):
        (instance,) = valid(overlay, plan_model="mine", plan_hardware=hardware, plan_release=release)["instances"]
        return len(instance["npus"]), instance["environment"].get("SITE_A3")

    assert planned("atlas_800_a3", "v0.18.0") == (8, "1")
    assert planned("atlas_800_a2", "v0.18.0") == (4, None)
    assert planned("atlas_800_a2", "v0.11.0") == (2, None)


def test_patches_and_bugs_apply_only_to_the_models_that_they_name():
    assert valid(plan_release="v0.11.0rc1")["patch"]["id"] == "mrotary_embedding"
    resolved = valid(plan_release="v0.11.0rc1", plan_model="qwen3_8b")
    assert resolved["patch"] is None
    assert "serving_patches" not in [found["id"] for found in resolved["warnings"]]
    for model, expected in (("qwen3_30b_a3b", True), ("qwen3_8b", False)):
        found = [each["id"] for each in valid(plan_release="v0.23.0", plan_model=model)["warnings"]]
        assert ("known_bug.qwen3_30b_tpot" in found) == expected


@pytest.mark.parametrize(("source", "endpoint", "staged", "draft_endpoint"), [
    ("modelscope", "", "modelscope", ""), ("modelscope", "https://mirror", "modelscope", "https://mirror"),
    ("huggingface", "https://mirror", "modelscope", ""), ("local", "", "local", ""),
    ("http", "http://site/weights/m/", "http", "http://site/weights/MiniMax-M2.5-eagle-model-0318")])
def test_draft_model_is_mounted_and_named_in_the_arguments(source, endpoint, staged, draft_endpoint):
    resolved = valid(plan_model="minimax_m2_5_w8a8", plan_release="v0.23.0", weights_source=source,
                     weights_hub_endpoint=endpoint)
    path = "/data/MiniMax-M2.5-eagle-model-0318"
    draft = resolved["model"]["draft"]
    assert (draft["path"], draft["source"], draft["endpoint"]) == (path, staged, draft_endpoint)
    assert draft["repository"] == ("vllm-ascend/MiniMax-M2.5-eagle-model-0318" if staged == "modelscope" else "")
    (config,) = options(resolved)["--speculative-config"]
    assert json.loads(config) == {"method": "eagle3", "num_speculative_tokens": 3, "model": path}
    (instance,) = resolved["instances"]
    assert [mount["source"] for mount in instance["mounts"] if mount["origin"] == "weights"] == [
        "/data/MiniMax-M2.5-w8a8-QuaRot", path]


@pytest.mark.parametrize("config", [None, {"method": "ngram", "num_speculative_tokens": 2},
                                    {"method": "eagle3", "model": "/mine", "num_speculative_tokens": 1}])
def test_plan_has_no_draft_model_if_the_arguments_do_not_use_it(config):
    resolved = valid(plan_model="minimax_m2_5_w8a8", plan_release="v0.23.0",
                     serving_args={"speculative-config": config})
    assert "draft" not in resolved["model"]
    assert resolved["model"]["arguments"].get("speculative-config") == config
    (instance,) = resolved["instances"]
    assert len([mount for mount in instance["mounts"] if mount["origin"] == "weights"]) == 1
    assert "draft" in MODELS["minimax_m2_5_w8a8"]


@pytest.mark.parametrize(("inputs", "name"), [
    ({}, "vllm-ascend-qwen25-vl"), ({"plan_model": "qwen3_5_27b_w8a8", "plan_release": "v0.18.0"},
                                    "vllm-ascend-qwen3.5-27b"), ({"serving_container_name": "mine"}, "mine")])
def test_container_name_is_that_of_the_model_or_the_input(inputs, name):
    assert valid(**inputs)["instances"][0]["name"] == name


# --- Published figures, which published.yml repeats independently


def weights_bytes(model, shape):
    """Return the bytes of the weights of a text model in BF16."""
    heads, kv_heads, size, layers = (MODELS[model][key] for key in (
        "attention_heads", "kv_heads", "head_size", "layers"))
    hidden, experts = shape["hidden"], shape.get("experts", 0)
    attention = 2 * hidden * heads * size + 2 * hidden * kv_heads * size
    attention += (heads + 2 * kv_heads) * size if shape.get("bias") else 0
    feed_forward = 3 * hidden * shape["intermediate"] * max(1, experts) + experts * hidden
    norms = 2 * hidden + (2 * size if shape.get("qk_norm") else 0)
    embeddings = shape.get("embeddings", 2) * shape["vocabulary"] * hidden
    return 2 * (layers * (attention + feed_forward + norms) + embeddings + hidden)


@pytest.mark.parametrize("model", PUBLISHED["weights"])
def test_weights_have_the_published_size_and_the_size_of_their_shape(model):
    shape = PUBLISHED["weights"][model]
    assert MODELS[model]["weights_bytes"] == shape["bytes"]
    assert MODELS[model]["weights_bytes_estimated"] is False
    if "hidden" in shape:
        assert weights_bytes(model, shape) + shape.get("vision_bytes", 0) == shape["bytes"]
    if "experts" in shape and "expert_bytes" in MODELS[model]:
        experts = MODELS[model]["layers"] * shape["experts"] * 3 * shape["hidden"] * shape["intermediate"]
        assert MODELS[model]["expert_bytes"] == 2 * experts


@pytest.mark.parametrize("model", PUBLISHED["heads"])
def test_heads_and_context_are_the_published_ones(model):
    entry = MODELS[model]
    assert [entry["attention_heads"], entry.get("kv_heads"), entry["context_length"]] == PUBLISHED["heads"][model]


@pytest.mark.parametrize("model", MODELS)
def test_pictures_and_embeddings_have_the_published_sizes(model):
    entry, picture = MODELS[model], PUBLISHED["images"].get(model.removesuffix("_w8a8"), PUBLISHED["images"].get(model))
    side = picture and picture["patch"] * picture["merge"]
    assert (entry.get("image_token_px"), entry.get("image_tokens")) == (side, picture and picture["pixels"] // side**2)
    assert entry.get("embedding_size") == PUBLISHED["embeddings"].get(model)


def test_every_model_with_its_own_shape_has_published_heads():
    quantized = {"qwen2_5_vl_32b_instruct_w8a8", "qwen3_8b_w8a8", "qwen3_32b_w8a8", "qwen3_32b_w4a4",
                 "qwen3_30b_a3b_w8a8", "qwen3_235b_a22b_w8a8", "qwen3_vl_8b_w8a8", "qwen3_vl_32b_w8a8",
                 "qwen3_vl_235b_a22b_w8a8"}
    assert set(MODELS) == quantized | set(PUBLISHED["heads"])


@pytest.mark.parametrize("model", MODELS)
def test_scores_and_throughput_are_the_published_ones(model):
    entry = MODELS[model]
    scores = [[each["dataset"], each["score"], each.get("tolerance"), *[each.get("series")] * ("tolerance" in each)]
              for each in entry["references"]]
    assert scores == PUBLISHED["scores"].get(model, [])
    keys = ("series", "output_tokens_per_s", "concurrency", "prompts", "input_tokens", "output_tokens", "request_rate")
    throughput = [[each.get(key) for key in keys] for each in entry["throughput"]]
    assert throughput == PUBLISHED["throughput"].get(model, [])
    assert all(each["source"] for each in entry["references"] + entry["throughput"] + entry["ci"])


@pytest.mark.parametrize("release", PUBLISHED["releases"])
def test_releases_have_the_published_versions(release):
    entry = RELEASES[release]
    keys = ("vllm", "python", "cann", "torch", "torch_npu", "transformers")
    assert [entry[key] for key in keys] == PUBLISHED["releases"][release]
