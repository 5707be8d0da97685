# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of an NPU in a plan: the weights, the KV cache, and the number of tokens in the KV cache."""

from __future__ import annotations

from math import ceil
from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings

GIB = 2.0**30
# The share of the HBM that PyTorch reports as total memory: 60.96 of 64 GiB (vllm-ascend issues 19, 1617 and 6611).
# gpu-memory-utilization is a part of this share.
USABLE_HBM = 60.96 / 64
# GiB per NPU for activations, graphs and communication buffers. The largest published sum is 2.76 (docs/models.md).
RESERVE_GIB = 3.0
# Tokens per block of the KV cache in vLLM Ascend, unless block-size is set.
BLOCK_TOKENS = 128
_BYTE_DTYPES = ("fp8", "int8")


def split_problem(model: types.ModelEntry, size: int, arguments: dict[str, Any]) -> str | None:
    """Return the condition that the number of NPUs of an instance violates, as a verb phrase, or None."""
    heads, kv_heads, vision_heads = model["attention_heads"], model.get("kv_heads"), model.get("vision_heads")
    if heads % size:
        return "divide the %d attention heads of %s" % (heads, model["name"])
    if kv_heads and kv_heads % size and size % kv_heads:
        return "divide the %d KV heads of %s or be a multiple of them" % (kv_heads, model["name"])
    if vision_heads and vision_heads % size and arguments.get("mm-encoder-tp-mode") != "data":
        return "divide the %d heads of the vision encoder of %s" % (vision_heads, model["name"])
    if size > model.get("maximum_npus", size):
        return "be at most %d with %s" % (model["maximum_npus"], model["name"])
    return None


def kv_bytes_per_token(model: types.ModelEntry, size: int, arguments: dict[str, Any], stages: int = 1) -> int:
    """Return the size of one token in the KV cache of each NPU, in bytes.

    This is the page size of vLLM (vllm/v1/kv_cache_interface.py) divided by its tokens, for all layers. With MLA, each
    NPU has the whole latent vector of a token. Otherwise, it has its share of the KV heads, at least one.

    :param size: the tensor parallel size.
    :param stages: the number of stages of the pipeline, among which the layers are divided.
    """
    width = model["latent_size"] if "latent_size" in model else (
        2 * max(1, model["kv_heads"] // size) * model["head_size"])
    layers = ceil(model["layers"] / stages) + ("mtp" in str(arguments.get("speculative-config")))
    return layers * width * (1 if str(arguments.get("kv-cache-dtype")).startswith(_BYTE_DTYPES) else 2)


def resolve_memory(hardware: types.Hardware, model: types.Model, group: types.Group | None, size: int,
                   request_tokens: int, findings: Findings) -> types.Memory | None:
    """Return the memory of an NPU. Return None if the plan is refused because the weights do not fit.

    :param size: the tensor parallel size.
    :param request_tokens: the usual number of tokens of a request.
    """
    share = _share(model, findings)
    if share is None:
        return None
    stages = len(group["members"]) if group and group["topology"] != "data_parallel" else 1
    ranks = group.get("size", 1) if group and model["arguments"].get("enable-expert-parallel") else 1
    available, needed = hardware["hbm_mb"] / 1024 * USABLE_HBM * share, _weights_gib(model, size * stages, ranks)
    if needed >= available:
        sufficient = [each for each in range(size + 1, len(hardware["npu_devices"]) + 1)
                      if not split_problem(model, each, model["arguments"])
                      and _weights_gib(model, each * stages, ranks) < available]
        findings.refuse("serving_tensor_parallel_size", "serving_tensor_parallel_size: the weights of %s need %.1f GiB "
                        "on each of %d NPUs, but vLLM may use only %.1f GiB of an NPU (%s); %s.", model["name"], needed,
                        size * stages, available, hardware["name"],
                        "set it to %d" % sufficient[0] if sufficient
                        else "serve it on several nodes (serving_topology)")
        return None
    memory: types.Memory = {"weights_gib": round(needed, 2), "reserve_gib": RESERVE_GIB,
                            "kv_cache_gib": round(max(0.0, available - needed - RESERVE_GIB), 2)}
    if "kv_cache_unknown" in model:
        memory["unsupported"] = model["kv_cache_unknown"]
    elif "layers" not in model or not ("latent_size" in model or {"kv_heads", "head_size"} <= set(model)):
        memory["unsupported"] = "the catalogue does not state the layers and heads of the model"
    else:
        _add_tokens(memory, model, size, stages, request_tokens, findings)
    return memory


def _add_tokens(memory: types.Memory, model: types.Model, size: int, stages: int, request_tokens: int,
                findings: Findings) -> None:
    """Add the number of tokens in the KV cache, and warn if it is too small."""
    arguments = model["arguments"]
    length = _count(arguments, "max-model-len", model["context_length"])
    block = _count(arguments, "block-size", BLOCK_TOKENS)
    memory["bytes_per_token"] = per_token = kv_bytes_per_token(model, size, arguments, stages)
    memory["tokens"] = tokens = int(memory["kv_cache_gib"] * GIB / per_token / block) * block
    memory["sequences"] = round(tokens / length, 1)
    wanted = _count(arguments, "max-num-seqs", 1)
    if tokens < length:
        findings.warn("memory.sequence", "The KV cache of %s has room for about %d tokens, which is less than "
                      "max-model-len (%d), so vLLM may not start; lower max-model-len in serving_args, or use more "
                      "NPUs.", model["name"], tokens, length)
    elif tokens < wanted * request_tokens:
        findings.warn("memory.sequences", "The KV cache of %s has room for about %d tokens, which is less than %d "
                      "requests (max-num-seqs) of %d tokens (plan_request_tokens), so requests may wait; lower "
                      "max-num-seqs in serving_args, or use more NPUs.", model["name"], tokens, wanted, request_tokens)


def _count(arguments: dict[str, Any], name: str, default: int) -> int:
    """Return the value of an option, or the default if it is missing or invalid (see `check_arguments`)."""
    text = str(arguments.get(name))
    return int(text) if text.isdigit() and int(text) else default


def _weights_gib(model: types.ModelEntry, npus: int, ranks: int) -> float:
    """Return the size of the weights on each NPU in GiB.

    :param npus: the number of NPUs of a rank.
    :param ranks: the number of data parallel ranks, among whose NPUs expert parallelism divides the experts.
    """
    experts = model.get("expert_bytes", model["weights_bytes"]) if ranks > 1 else 0
    return ((model["weights_bytes"] - experts) / npus + experts / npus / ranks) / GIB


def _share(model: types.Model, findings: Findings) -> float | None:
    """Return gpu-memory-utilization, or None if it is refused."""
    value = model["arguments"].get("gpu-memory-utilization", 0.9)
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = 0.0
    if 0 < share <= 1:
        return share
    findings.refuse("serving_args.type", "serving_args: gpu-memory-utilization must be above 0 and at most 1, but is "
                    "%r.", value)
    return None
