# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of vLLM Ascend that the test bed needs on a CPU, as a vLLM general plugin.

`--quantization ascend`: msModelSlim's W8A8 layers, computed in floating point, with the formula of the NPU kernels
(see model/layouts.py). A missing or damaged tensor has the same effect as on an NPU: a failed load or a wrong answer.

At startup, it skips the steps that would take minutes on a CPU and are only worthwhile on an accelerator: profiling the
memory with the largest pictures, capturing graphs, and allocating a KV cache of tens of gigabytes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter
from torch.nn.functional import linear
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers.linear import LinearBase, LinearMethodBase, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization import register_quantization_config
from vllm.model_executor.layers.quantization.base_config import QuantizationConfig
from vllm.model_executor.utils import set_weight_attrs

# For each layer that vLLM fuses, the part that is looked up in quant_model_description.json. All parts have one type.
FUSED = {"qkv_proj": "q_proj", "gate_up_proj": "gate_proj"}

CACHE_BYTES = 256 * 2**20  # per rank; 500,000 tokens of the tiny model


class AscendConfig(QuantizationConfig):
    """The types in quant_model_description.json, by tensor name."""

    def __init__(self, types: dict[str, Any]) -> None:
        super().__init__()
        self.types = types

    @classmethod
    def get_name(cls) -> str:
        return "ascend"

    @classmethod
    def get_supported_act_dtypes(cls) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16, torch.float32]

    @classmethod
    def get_min_capability(cls) -> int:
        return 0

    @staticmethod
    def get_config_filenames() -> list[str]:
        return ["quant_model_description.json"]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AscendConfig:
        return cls(config)

    def get_quant_method(self, layer: torch.nn.Module, prefix: str) -> LinearMethodBase | None:
        """Return the method of one layer.

        Raises:
            KeyError: the description does not name the layer's weight. vLLM Ascend raises the same error.
        """
        if not isinstance(layer, LinearBase):
            return None
        parent, _dot, name = prefix.removeprefix("language_model.").rpartition(".")
        kind = self.types["%s.%s.weight" % (parent, FUSED.get(name, name))]
        return AscendW8A8LinearMethod() if kind == "W8A8" else UnquantizedLinearMethod()


class AscendW8A8LinearMethod(LinearMethodBase):
    """Static W8A8: inputs int8 per tensor, weights int8 per output channel."""

    def create_weights(
        self,
        layer: torch.nn.Module,
        input_size_per_partition: int,
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,
        params_dtype: torch.dtype,
        **attributes: Any,
    ) -> None:
        rows, parts = sum(output_partition_sizes), len(output_partition_sizes)
        # RowParallelLinear only splits columns; every rank has all rows, and therefore the complete vectors below.
        by_row = {"output_dim": 0}
        self._add(layer, "weight", (rows, input_size_per_partition), torch.int8, {"input_dim": 1, **by_row}, attributes)
        for name, dtype in (("weight_scale", torch.float32), ("weight_offset", torch.float32)):
            self._add(layer, name, (rows, 1), dtype, by_row, attributes)
        for name, dtype in (("quant_bias", torch.int32), ("deq_scale", torch.float32)):
            self._add(layer, name, (rows,), dtype, by_row, attributes)
        for name in ("input_scale", "input_offset"):
            self._add(layer, name, (parts,), torch.float32, {"needs_scalar_to_array": True}, attributes)

    @staticmethod
    def _add(layer, name: str, shape: tuple[int, ...], dtype: torch.dtype, special: dict, attributes: dict) -> None:
        parameter = Parameter(torch.empty(shape, dtype=dtype), requires_grad=False)
        set_weight_attrs(parameter, {**attributes, **special})
        layer.register_parameter(name, parameter)

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        # Only the first rank of a row-parallel layer adds the bias, so that the sum over all ranks contains it once.
        if getattr(layer, "input_is_parallel", False) and layer.tp_rank:
            layer.quant_bias.data.zero_()

    def apply(self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        # `bias` is included in quant_bias. Sums of int8 products in float32 are exact here: rows are short.
        q = torch.clamp(torch.round(x.float() / layer.input_scale[0] + layer.input_offset[0]), -128, 127)
        y = (linear(q, layer.weight.float()) + layer.quant_bias) * layer.deq_scale
        return y.to(x.dtype)


def start_lightly(create: Callable) -> Callable:
    """Wrap EngineArgs.create_engine_config to skip the steps that are only worthwhile on an accelerator."""

    @functools.wraps(create)
    def wrapper(arguments: EngineArgs, *positional: Any, **named: Any) -> Any:
        arguments.enforce_eager = True
        arguments.skip_mm_profiling = True
        arguments.kv_cache_memory_bytes = arguments.kv_cache_memory_bytes or CACHE_BYTES
        config = create(arguments, *positional, **named)
        # The CPU platform sets `spawn`, which imports everything again in each process and takes 4 to 8 s.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        return config

    wrapper.starts_lightly = True
    return wrapper


def register() -> None:
    """Entry point in the group vllm.general_plugins; called in every process of the server."""
    register_quantization_config("ascend")(AscendConfig)
    if not hasattr(EngineArgs.create_engine_config, "starts_lightly"):
        EngineArgs.create_engine_config = start_lightly(EngineArgs.create_engine_config)
