# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the Prometheus metrics of vLLM."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    class Load(TypedDict):
        """The number of requests in all engines of a server, and the highest KV cache usage of an engine (0 to 1)."""

        running: int
        waiting: int
        finished: int  # since the start of the server
        kv_cache_usage: float | None

MAX_VALUE = 1e15
_SAMPLE = re.compile(r"^vllm:(\w+)(?:\{[^}]*\})?\s+([0-9.eE+-]+)\s*$", re.MULTILINE)

# The names of this metric in different vLLM releases, newest first.
_KV_CACHE = ("kv_cache_usage_perc", "gpu_cache_usage_perc")


def load(metrics: str) -> Load | None:
    """Return the load in the metrics of a server, or None if they do not contain the number of running requests."""
    samples: dict[str, list[float]] = {}
    for name, value in _SAMPLE.findall(metrics):
        # Other values cannot be a number of requests or a usage.
        with contextlib.suppress(ValueError):
            if 0 <= float(value) <= MAX_VALUE:
                samples.setdefault(name, []).append(float(value))
    if "num_requests_running" not in samples:
        return None
    usage = next((max(samples[name]) for name in _KV_CACHE if name in samples), None)
    return {"running": int(sum(samples["num_requests_running"])),
            "waiting": int(sum(samples.get("num_requests_waiting", ()))),
            "finished": int(sum(samples.get("request_success_total", ()))), "kv_cache_usage": usage}
