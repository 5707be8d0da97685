# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Model folders as the hubs (bf16) and msModelSlim (w8a8, static per-tensor inputs, per-channel weights) lay them out.

W8A8 of one linear layer, as vLLM Ascend computes it (rows = output channels):
    q      = clamp(round(x / input_scale + input_offset), -128, 127)          int8, per tensor
    weight = round(w / weight_scale)                                          int8, per row; weight_offset is 0
    y      = (q @ weight.T + quant_bias) * deq_scale                          int32 accumulation
    deq_scale  = input_scale * weight_scale
    quant_bias = round(bias / deq_scale - input_offset * weight.sum(rows))
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import Qwen2_5_VLForConditionalGeneration

# msModelSlim's recipe for Qwen2.5-VL keeps other layers in floating point: down_proj, the merger, embeddings, lm_head.
QUANTIZED = re.compile(
    r"(model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up)_proj)"
    r"|visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(gate|up)_proj))$"
)
SHARDS = 4


def published_name(name: str) -> str:
    """Return the name in published and msModelSlim's files, `model.*`, for `model.language_model.*` of transformers."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def linear_layers(model) -> dict[str, torch.nn.Linear]:
    """Return the layers that become int8, by published name."""
    named = {published_name(name): module for name, module in model.named_modules()}
    return {name: module for name, module in named.items() if QUANTIZED.fullmatch(name)}


def input_ranges(model, exercise: Callable[[], object]) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest input of each int8 layer while `exercise` runs the model."""
    ranges: dict[str, tuple[float, float]] = {}

    def watch(name: str) -> Callable:
        def hook(_module, inputs, _output) -> None:
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = min(low, inputs[0].min().item()), max(high, inputs[0].max().item())

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in linear_layers(model).items()]
    exercise()
    for hook in hooks:
        hook.remove()
    return ranges


def quantize(weight: torch.Tensor, bias: torch.Tensor | None, low: float, high: float) -> dict[str, torch.Tensor]:
    """Return the tensors of one int8 layer; weight is [rows, columns], `low`..`high` the range of its inputs."""
    input_scale = (high - low) / 255 or 1.0
    input_offset = float(round(-128 - low / input_scale))
    weight_scale = (weight.abs().amax(1, keepdim=True) / 127).clamp(min=1e-8)
    integers = torch.round(weight / weight_scale).to(torch.int8)
    deq_scale = input_scale * weight_scale.squeeze(1)
    quant_bias = -input_offset * integers.float().sum(1)
    if bias is not None:
        quant_bias = quant_bias + bias / deq_scale
    return {
        "weight": integers,
        "weight_scale": weight_scale.to(torch.float32),
        "weight_offset": torch.zeros_like(weight_scale),
        "input_scale": torch.tensor([input_scale], dtype=torch.float32),
        "input_offset": torch.tensor([input_offset], dtype=torch.float32),
        "quant_bias": torch.round(quant_bias).to(torch.int32),
        "deq_scale": deq_scale.to(torch.float32),
    }


def write_bf16(model, common: Path, folder: Path) -> None:
    tensors = {published_name(name): tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    _write(tensors, common, folder, "model-%05d-of-%05d.safetensors", "model.safetensors.index.json")


def write_w8a8(model, ranges: dict[str, tuple[float, float]], common: Path, folder: Path) -> None:
    layers = linear_layers(model)
    tensors = {}
    description = {"model_quant_type": "W8A8", "version": "1.0.0", "group_size": 0, "kv_quant_type": None}
    for name, tensor in model.state_dict().items():
        layer, _dot, kind = published_name(name).rpartition(".")
        if layer not in layers:
            tensors["%s.%s" % (layer, kind)] = tensor.to(torch.bfloat16)
            description["%s.%s" % (layer, kind)] = "FLOAT"
        elif kind == "weight":
            bias = layers[layer].bias
            for part, value in quantize(tensor, None if bias is None else bias.detach(), *ranges[layer]).items():
                tensors["%s.%s" % (layer, part)] = value
                description["%s.%s" % (layer, part)] = "W8A8"
        else:
            # The layer's bias is included in quant_bias; msModelSlim also keeps the float one.
            tensors["%s.%s" % (layer, kind)] = tensor.to(torch.bfloat16)
            description["%s.%s" % (layer, kind)] = "W8A8"
    stem = "quant_model_weight_w8a8"
    _write(tensors, common, folder, stem + "-%05d-of-%05d.safetensors", stem + ".safetensors.index.json")
    (folder / "quant_model_description.json").write_text(json.dumps(description, indent=2) + "\n")


def _write(tensors: dict[str, torch.Tensor], common: Path, folder: Path, shard_name: str, index_name: str) -> None:
    """Write the tensors in SHARDS files, their index, and the files that both layouts share."""
    folder.mkdir(parents=True)
    for path in common.iterdir():
        shutil.copyfile(path, folder / path.name)
    names = list(tensors)
    weight_map = {}
    for number in range(SHARDS):
        shard = names[number * len(names) // SHARDS : (number + 1) * len(names) // SHARDS]
        file = shard_name % (number + 1, SHARDS)
        save_file({name: tensors[name].contiguous() for name in shard}, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)
        weight_map.update(dict.fromkeys(shard, file))
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / index_name).write_text(json.dumps(index, indent=2) + "\n")


def load(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    """Load a folder of either layout into transformers, with int8 layers dequantized to float."""
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    config = Qwen2_5_VLForConditionalGeneration.config_class.from_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration(config).float()
    state = {}
    for name in model.state_dict():
        published = published_name(name)
        value = tensors[published]
        if value.dtype == torch.int8:
            value = value * tensors[published.removesuffix("weight") + "weight_scale"]
        state[name] = value.to(torch.float32)
    model.load_state_dict(state)
    return model.eval()
