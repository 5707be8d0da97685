# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of vLLM Ascend that serving on several nodes needs, as a vLLM general plugin."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from vllm.platforms import current_platform
from vllm.v1.worker.gpu_model_runner import GPUModelRunner


def with_tensors(gather: Callable) -> Callable:
    """Wrap `gather` to allocate the receive buffers of later pipeline stages, since a CPU skips the memory profile."""

    @functools.wraps(gather)
    def wrapper(runner: GPUModelRunner, *positional: Any, **named: Any) -> Any:
        if runner.intermediate_tensors is None:
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
            )
        return gather(runner, *positional, **named)

    wrapper.has_tensors = True
    return wrapper


def register() -> None:
    """Entry point in the group vllm.general_plugins; called in every process of the server."""
    # Ray itself counts /dev/davinci* as its resource NPU; vLLM for CPUs does not name its devices.
    type(current_platform).ray_device_key = "NPU"
    type(current_platform).ray_noset_device_env_vars = ["RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES"]
    if not hasattr(GPUModelRunner.sync_and_gather_intermediate_tensors, "has_tensors"):
        GPUModelRunner.sync_and_gather_intermediate_tensors = with_tensors(
            GPUModelRunner.sync_and_gather_intermediate_tensors
        )
