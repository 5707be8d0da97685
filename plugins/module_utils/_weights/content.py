# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a model say of themselves: shards, index, quantization, tokenizer, architecture.

Only small JSON files and the headers of the shards are read. Index files are known by their ending, since the writers
differ in the stem (``model``, ``quant_model_weight_w8a8``, ``quant_model_weights`` …).
"""

from __future__ import annotations

import json
import os
import re

from ansible_collections.ascend.vllm.plugins.module_utils._weights.safetensors import SafetensorsError, read_header

INDEX_ENDING = ".safetensors.index.json"
SHARD_ENDING = ".safetensors"
QUANTIZATION_FILE = "quant_model_description.json"

# Layers that vLLM fuses into one: msModelSlim has to give the parts the same type.
FUSED = (("self_attn", ("q_proj", "k_proj", "v_proj")), ("mlp", ("gate_proj", "up_proj")),
         ("attn", ("q_proj", "k_proj", "v_proj")))
_LINEAR = re.compile(r"^(?P<block>.*\.(?:self_attn|mlp|attn))\.(?P<part>\w+)\.weight$")


def inspect(folder, paths):
    """Read what the model in the folder says of itself.

    :param paths: the model's files, relative to the folder.
    :returns: ``{"shards": {path: {"tensor_bytes", "tensors", "error"}}, "index": [{"path", "shards", "tensors",
        "total_size", "tensor_bytes", "faults"}], "config", "tokenizer_class", "quantization", "faults"}``; every
        fault and error is a sentence, ``faults`` are those of the small files.
    """
    faults, shards, tensors = [], {}, {}
    for path in sorted(path for path in paths if path.endswith(SHARD_ENDING)):
        try:
            header = read_header(os.path.join(folder, path))
            tensors[path] = set(header.tensors)
            shards[path] = {"tensor_bytes": header.tensor_bytes, "tensors": len(header.tensors), "error": None}
        except (SafetensorsError, OSError) as error:
            shards[path] = {"tensor_bytes": None, "tensors": None, "error": str(error)}
    index = [describe_index(path, _load(folder, path, faults), shards, tensors)
             for path in sorted(path for path in paths if path.endswith(INDEX_ENDING))]
    config = _load(folder, "config.json", faults) if "config.json" in paths else None
    tokenizer = _load(folder, "tokenizer_config.json", faults) if "tokenizer_config.json" in paths else None
    description = _load(folder, QUANTIZATION_FILE, faults) if QUANTIZATION_FILE in paths else None
    return {
        "shards": shards,
        "index": index,
        "config": describe_config(config),
        "tokenizer_class": tokenizer.get("tokenizer_class") if tokenizer else None,
        "quantization": describe_quantization(description) if QUANTIZATION_FILE in paths else None,
        "faults": faults,
    }


def describe_index(path, content, shards, tensors):
    """An index held against the shards: every tensor where the index says, every shard named, and the sum of bytes."""
    weight_map = content.get("weight_map") if content else None
    if not isinstance(weight_map, dict) or not weight_map:
        return {"path": path, "shards": [], "tensors": 0, "total_size": None, "tensor_bytes": None,
                "faults": ["%s has no weight_map" % path]}
    prefix = os.path.dirname(path)
    expected = {}
    for tensor, shard in weight_map.items():
        expected.setdefault(os.path.join(prefix, shard), set()).add(tensor)
    faults = []
    for shard in sorted(expected):
        if shard not in shards:
            faults.append("%s names the shard %s, which is missing" % (path, shard))
        elif shard in tensors:
            faults.extend(_difference(path, shard, expected[shard], tensors[shard]))
    total = (content.get("metadata") or {}).get("total_size")
    sizes = [shards.get(shard, {}).get("tensor_bytes") for shard in expected]
    tensor_bytes = None if None in sizes else sum(sizes)
    return {"path": path, "shards": sorted(expected), "tensors": len(weight_map), "total_size": total,
            "tensor_bytes": tensor_bytes, "faults": faults}


def _difference(index, shard, expected, found):
    faults = []
    if expected - found:
        faults.append("%s lacks %d tensors that %s places in it (first: %s)" % (
            shard, len(expected - found), index, min(expected - found)))
    if found - expected:
        faults.append("%s holds %d tensors that %s does not place in it (first: %s)" % (
            shard, len(found - expected), index, min(found - expected)))
    return faults


def describe_config(config):
    """What the checks need of ``config.json``."""
    if not config:
        return None
    return {
        "architectures": config.get("architectures") or [],
        "vision": "vision_config" in config,
        "quantization_method": (config.get("quantization_config") or {}).get("quant_method"),
        "transformers": config.get("transformers_version"),
    }


def describe_quantization(description):
    """What the checks need of msModelSlim's description: types per tensor, name prefixes, parts that do not match.

    :returns: ``{"type", "version", "types": {type: tensors}, "prefixes": {first two parts of the name: tensors},
        "mixed": [sentence]}``, or all empty when the file is not a JSON object.
    """
    entries = {name: kind for name, kind in (description or {}).items() if isinstance(kind, str) and "." in name}
    types, prefixes, parts = {}, {}, {}
    for name, kind in entries.items():
        types[kind] = types.get(kind, 0) + 1
        prefix = ".".join(name.split(".")[:2]) if not name.startswith("visual.") else "visual"
        prefixes[prefix] = prefixes.get(prefix, 0) + 1
        linear = _LINEAR.match(name)
        if linear:
            parts.setdefault(linear.group("block"), {})[linear.group("part")] = kind
    return {
        "type": (description or {}).get("model_quant_type"),
        "version": (description or {}).get("version"),
        "types": types,
        "prefixes": prefixes,
        "mixed": _mixed(parts),
    }


def _mixed(parts):
    found = []
    for block in sorted(parts):
        for ending, names in FUSED:
            kinds = {parts[block][name] for name in names if name in parts[block]}
            if block.endswith("." + ending) and len(kinds) > 1:
                found.append("%s: %s have the types %s" % (block, ", ".join(names), ", ".join(sorted(kinds))))
    return found


def _load(folder, path, faults):
    try:
        with open(os.path.join(folder, path), encoding="utf-8") as stream:
            content = json.load(stream)
    except (OSError, ValueError) as error:
        faults.append("%s cannot be read: %s" % (path, error))
        return None
    if not isinstance(content, dict):
        faults.append("%s is not a JSON object" % path)
        return None
    return content
