# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe the content of a model: shards, index, quantization, tokenizer, architecture.

Only small JSON files and the headers of the shards are read. Index files are recognized by their suffix, because their
names differ between tools (``model``, ``quant_model_weight_w8a8``, ``quant_model_weights`` and so on).
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import MAX_JSON_CHARACTERS, Folder
from ansible_collections.ascend.vllm.plugins.module_utils._weights.safetensors import SafetensorsError, read_header

if TYPE_CHECKING:
    from typing import Any, Collection, Mapping, TypedDict

    class Shard(TypedDict):
        """The header of a shard, or the ``error`` if the header could not be read."""

        tensor_bytes: int | None
        error: str | None

    class Index(TypedDict):
        """An index file. ``faults`` are sentences."""

        path: str
        shards: list[str]
        #: The size according to the index, and the size of the tensors in the shards (None if a shard is missing).
        total_size: int | None
        tensor_bytes: int | None
        faults: list[str]

    class Config(TypedDict):
        """Values of ``config.json``. ``vision`` is true for a model with a vision encoder."""

        architectures: list[str]
        vision: bool
        transformers: str | None

    class Quantization(TypedDict):
        """Values of the description that msModelSlim writes (see `describe_quantization`)."""

        type: str | None
        version: str | None
        types: dict[str, int]
        prefixes: dict[str, int]
        mixed: list[str]

    class Content(TypedDict):
        """The content of a model. ``content_faults`` are sentences about JSON files that cannot be read."""

        shards: dict[str, Shard]
        index: list[Index]
        config: Config | None
        tokenizer_class: str | None
        quantization: Quantization | None
        content_faults: list[str]

INDEX_SUFFIX = ".safetensors.index.json"
SHARD_SUFFIX = ".safetensors"
QUANTIZATION_FILE = "quant_model_description.json"

# The layers that vLLM fuses into one layer. They must be quantized to the same type.
FUSED = (("self_attn", ("q_proj", "k_proj", "v_proj")), ("mlp", ("gate_proj", "up_proj")),
         ("attn", ("q_proj", "k_proj", "v_proj")))
_LINEAR = re.compile(r"^(?P<block>.*\.(?:self_attn|mlp|attn))\.(?P<part>\w+)\.weight$")


def inspect(folder: Folder | None, paths: Collection[str]) -> Content:
    """Describe the model in a folder (None if it does not exist). ``paths`` are its files, relative to the folder."""
    faults: list[str] = []
    shards: dict[str, Shard] = {}
    tensors: dict[str, set[str]] = {}
    for path in sorted(path for path in paths if path.endswith(SHARD_SUFFIX)):
        try:
            header = read_header(path, folder)
            tensors[path] = header.tensors
            shards[path] = {"tensor_bytes": header.tensor_bytes, "error": None}
        except (SafetensorsError, OSError) as error:
            shards[path] = {"tensor_bytes": None, "error": str(error)}
    index = [describe_index(path, _load(folder, path, faults), shards, tensors)
             for path in sorted(path for path in paths if path.endswith(INDEX_SUFFIX))]
    config = _load(folder, "config.json", faults) if "config.json" in paths else None
    tokenizer = _load(folder, "tokenizer_config.json", faults) if "tokenizer_config.json" in paths else None
    description = _load(folder, QUANTIZATION_FILE, faults) if QUANTIZATION_FILE in paths else None
    return {"shards": shards, "index": index, "config": describe_config(config),
            "tokenizer_class": tokenizer.get("tokenizer_class") if tokenizer else None,
            "quantization": describe_quantization(description) if QUANTIZATION_FILE in paths else None,
            "content_faults": faults}


def describe_index(path: str, content: dict[str, Any] | None, shards: Mapping[str, Shard],
                   tensors: Mapping[str, set[str]]) -> Index:
    """Compare an index with the shards. Every tensor must be in the shard to which the index assigns it.

    :param content: the content of the index, or None if it cannot be read.
    :param tensors: ``{path of a shard: names of its tensors}``.
    """
    weight_map = content.get("weight_map") if content else None
    if not content or not isinstance(weight_map, dict) or not weight_map or not all(
            isinstance(shard, str) for shard in weight_map.values()):
        return {"path": path, "shards": [], "total_size": None, "tensor_bytes": None,
                "faults": ["%s has no weight_map" % path]}
    prefix = os.path.dirname(path)
    expected: dict[str, set[str]] = {}
    for tensor, shard in weight_map.items():
        expected.setdefault(os.path.join(prefix, shard), set()).add(tensor)
    faults: list[str] = []
    for shard in sorted(expected):
        if shard not in shards:
            faults.append("%s names the shard %s, which does not exist" % (path, shard))
        elif shard in tensors:
            faults.extend(_difference(path, shard, expected[shard], tensors[shard]))
    metadata = content.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    sizes = [shards[shard]["tensor_bytes"] if shard in shards else None for shard in expected]
    tensor_bytes = None if None in sizes else sum(size or 0 for size in sizes)
    return {"path": path, "shards": sorted(expected), "total_size": total, "tensor_bytes": tensor_bytes,
            "faults": faults}


def _difference(index: str, shard: str, expected: set[str], found: set[str]) -> list[str]:
    faults = []
    if expected - found:
        faults.append("%s lacks tensors that %s assigns to it (%d, first: %s)" % (
            shard, index, len(expected - found), min(expected - found)))
    if found - expected:
        faults.append("%s has tensors that %s does not assign to it (%d, first: %s)" % (
            shard, index, len(found - expected), min(found - expected)))
    return faults


def describe_config(config: dict[str, Any] | None) -> Config | None:
    """Return the values that the checks need from ``config.json``."""
    if not config:
        return None
    architectures = config.get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return {"architectures": [name for name in names if isinstance(name, str)], "vision": "vision_config" in config,
            "transformers": config.get("transformers_version")}


def describe_quantization(description: dict[str, Any] | None) -> Quantization:
    """Return the values that the checks need from msModelSlim's description.

    :param description: the content of the file, or None if it cannot be read.
    :returns: ``{"type", "version", "types": {type: number of tensors}, "prefixes": {first two parts of the name: number
        of tensors}, "mixed": [sentence about a fused layer with several types]}``.
    """
    entries = {name: kind for name, kind in (description or {}).items() if isinstance(kind, str) and "." in name}
    prefixes = ("visual" if name.startswith("visual.") else ".".join(name.split(".")[:2]) for name in entries)
    parts: dict[str, dict[str, str]] = {}
    for name, kind in entries.items():
        linear = _LINEAR.match(name)
        if linear:
            parts.setdefault(linear.group("block"), {})[linear.group("part")] = kind
    return {"type": (description or {}).get("model_quant_type"), "version": (description or {}).get("version"),
            "types": Counter(entries.values()), "prefixes": Counter(prefixes), "mixed": _mixed(parts)}


def _mixed(parts: dict[str, dict[str, str]]) -> list[str]:
    found = []
    for block in sorted(parts):
        for ending, names in FUSED:
            kinds = {parts[block][name] for name in names if name in parts[block]}
            if block.endswith("." + ending) and len(kinds) > 1:
                found.append("%s: %s have the types %s" % (block, ", ".join(names), ", ".join(sorted(kinds))))
    return found


def _load(folder: Folder | None, path: str, faults: list[str]) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8", opener=folder.opener if folder else None) as stream:
            content = json.loads(stream.read(MAX_JSON_CHARACTERS))
    except (OSError, ValueError, RecursionError) as error:
        faults.append("%s cannot be read: %s" % (path, error))
        return None
    if not isinstance(content, dict):
        faults.append("%s is not a JSON object" % path)
        return None
    return content
