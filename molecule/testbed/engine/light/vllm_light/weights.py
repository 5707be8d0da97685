# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a model folder and its headers: missing or damaged files prevent the start, as with the real server."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from .errors import StartError


def context_length(folder: Path) -> int:
    """Return `max_position_embeddings` of the model; like vLLM, read the config before anything else."""
    if not folder.is_dir():
        raise StartError(
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            "'namespace/repo_name': '%s'. Use `repo_type` argument if needed." % folder
        )
    config = folder / "config.json"
    if not config.is_file():
        raise StartError("ValueError: No supported config format found in %s." % folder)
    try:
        content = json.loads(config.read_text())
        if "architectures" not in content:
            raise StartError("ValueError: No model architectures are specified")
        return int(content.get("text_config", content)["max_position_embeddings"])
    except (ValueError, KeyError) as error:
        raise StartError("OSError: It looks like the config file at '%s' is not valid: %r" % (config, error)) from error


def check_quantization(folder: Path, method: str | None) -> None:
    """Refuse unknown methods; `ascend` needs msModelSlim's description."""
    if method is None:
        return
    if method != "ascend":
        raise StartError("ValueError: Unknown quantization method: %s." % method)
    description = folder / "quant_model_description.json"
    if not description.is_file():
        raise StartError("ValueError: Cannot find the config file for ascend")
    json.loads(description.read_text())


def shards(folder: Path) -> list[Path]:
    """Return the safetensors files that the index names, or all if there is no index."""
    found = sorted(folder.glob("*.safetensors"))
    for index in sorted(folder.glob("*.safetensors.index.json")):
        named = {folder / name for name in json.loads(index.read_text())["weight_map"].values()}
        found = sorted(named & set(found))
        missing = sorted(path.name for path in named - set(found))
        if missing:
            raise StartError(
                "ValueError: Following weights were not initialized from checkpoint: those in %s" % ", ".join(missing)
            )
    if not found:
        raise StartError("RuntimeError: Cannot find any model weights with `%s`" % folder)
    return found


def tensor_bytes(path: Path) -> int:
    """Return the size of a safetensors file's tensors in bytes, from its header; refuse a file of another size."""
    with open(path, "rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("header of %d bytes" % length)
            header = json.loads(file.read(length))
        except (struct.error, ValueError) as error:
            raise StartError(
                "safetensors_rust.SafetensorError: Error while deserializing header: %s: %s" % (path.name, error)
            ) from error
    header.pop("__metadata__", None)
    data_bytes = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if path.stat().st_size != 8 + length + data_bytes:
        raise StartError(
            "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, "
            "file not fully covered: %s" % path.name
        )
    return data_bytes
