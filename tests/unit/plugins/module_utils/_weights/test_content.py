# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shards, index, configuration and quantization description of a model are checked."""

from __future__ import annotations

import json
import struct

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import (
    QUANTIZATION_FILE,
    describe_config,
    describe_index,
    describe_quantization,
    inspect,
)
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import open_existing

INDEX = "model.safetensors.index.json"


def shard(*tensors):
    """Return a safetensors file with tensors of one byte."""
    header = json.dumps({name: {"dtype": "U8", "shape": [1], "data_offsets": [number, number + 1]}
                         for number, name in enumerate(tensors)}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(len(tensors))


def inspect_files(folder, **files):
    """Write files (bytes, or values that are written as JSON) to a folder, and return the inspected content."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name).write_bytes(data)
    with open_existing(str(folder)) as opened:
        return inspect(opened, sorted(path.name for path in folder.iterdir()))


def model(weight_map, total_size=3):
    return {"a.safetensors": shard("x", "y"), "b.safetensors": shard("z"),
            INDEX: {"metadata": {"total_size": total_size}, "weight_map": weight_map}}


COMPLETE = {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}


def test_complete_model_has_no_faults(tmp_path):
    content = inspect_files(tmp_path, **model(COMPLETE), **{
        "config.json": {"architectures": ["Qwen"], "vision_config": {}, "transformers_version": "4.49.0"},
        "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"}})
    assert content["shards"]["a.safetensors"] == {"tensor_bytes": 2, "error": None}
    assert content["index"] == [{"path": INDEX, "shards": ["a.safetensors", "b.safetensors"], "total_size": 3,
                                 "tensor_bytes": 3, "faults": []}]
    assert content["config"] == {"architectures": ["Qwen"], "vision": True, "transformers": "4.49.0"}
    assert (content["tokenizer_class"], content["quantization"]) == ("Qwen2Tokenizer", None)
    assert content["content_faults"] == []


@pytest.mark.parametrize(("weight_map", "fault", "tensor_bytes"), [
    ({"x": "a.safetensors", "z": "b.safetensors"}, "a.safetensors has tensors that model.safetensors.index.json does "
     "not assign to it (1, first: y)", 3),
    ({**COMPLETE, "w": "b.safetensors"}, "b.safetensors lacks tensors that model.safetensors.index.json assigns to it "
     "(1, first: w)", 3),
    ({**COMPLETE, "w": "c.safetensors"}, "model.safetensors.index.json names the shard c.safetensors, which does not "
     "exist", None),
    ({}, "model.safetensors.index.json has no weight_map", None),
])
def test_index_that_differs_from_the_shards_is_a_fault(tmp_path, weight_map, fault, tensor_bytes):
    (index,) = inspect_files(tmp_path, **model(weight_map))["index"]
    assert index["faults"] == [fault]
    assert index["tensor_bytes"] == tensor_bytes


def test_file_that_cannot_be_read_is_a_fault(tmp_path):
    content = inspect_files(tmp_path, **{"a.safetensors": b"short", "config.json": b"{", QUANTIZATION_FILE: []})
    assert content["shards"]["a.safetensors"]["error"].startswith("it has 5 bytes")
    assert content["config"] is None
    assert content["content_faults"][0].startswith("config.json cannot be read: ")
    assert content["content_faults"][1] == f"{QUANTIZATION_FILE} is not a JSON object"
    assert content["quantization"] == {"type": None, "version": None, "types": {}, "prefixes": {}, "mixed": []}


def test_fused_layer_with_parts_of_different_types_is_reported():
    description = {"model_quant_type": "W8A8", "version": "1.0.0", "group_size": 0}
    for number, kinds in enumerate((("W8A8", "W8A8", "W8A8"), ("W8A8", "FLOAT", "W8A8"))):
        for part, kind in zip(("q_proj", "k_proj", "v_proj"), kinds):
            description[f"model.layers.{number}.self_attn.{part}.weight"] = kind
    description["visual.blocks.0.mlp.up_proj.weight"] = "FLOAT"
    found = describe_quantization(description)
    assert (found["type"], found["version"]) == ("W8A8", "1.0.0")
    assert found["types"] == {"W8A8": 5, "FLOAT": 2}
    assert found["prefixes"] == {"model.layers": 6, "visual": 1}
    assert found["mixed"] == [
        "model.layers.1.self_attn: q_proj, k_proj, v_proj have the types FLOAT, W8A8"]


@pytest.mark.parametrize("config", [
    {"architectures": 5}, {"architectures": [5, None]}, {"architectures": "x"}])
def test_values_of_a_wrong_type_in_the_configuration_are_omitted(config):
    assert describe_config(config)["architectures"] == []


@pytest.mark.parametrize("index", [{"weight_map": {"x": 5}}, {"weight_map": [1]}, {"weight_map": {"x": None}}])
def test_index_with_values_of_a_wrong_type_is_a_fault(index):
    assert describe_index("i", index, {}, {})["faults"] == ["i has no weight_map"]


def test_metadata_of_a_wrong_type_in_an_index_is_ignored():
    assert describe_index("i", {"weight_map": {"x": "a"}, "metadata": 5}, {}, {})["total_size"] is None
