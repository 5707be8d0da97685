# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load with which the CI of vLLM Ascend measures a model, and the throughput that it has published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan

#: The share of the published throughput that a run must reach. The CI of vLLM Ascend has the same limit.
SHARE = 0.97
_SHAPE = {"prompts": "benchmark_num_prompts", "concurrency": "benchmark_max_concurrency",
          "input_tokens": "benchmark_random_input_len_tokens", "output_tokens": "benchmark_random_output_len_tokens"}


def published(plan: Plan) -> dict[str, Any] | None:
    """Return the published result of the model on the product of the node, or None if none states its whole load."""
    return next((each for each in plan["model"]["throughput"]
                 if each["series"] == plan["hardware"]["series"] and set(_SHAPE) <= set(each)), None)


def applied(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs, with the load of the published result if benchmark_reference is true."""
    found = published(plan) if inputs["benchmark_reference"] and plan["model"] else None
    if not found:
        return dict(inputs)
    return {**inputs, **{name: found[key] for key, name in _SHAPE.items()}, "benchmark_dataset": "random",
            "benchmark_dataset_path": "", "benchmark_trace_path": "",
            "benchmark_request_rate": found.get("request_rate") or "inf"}
