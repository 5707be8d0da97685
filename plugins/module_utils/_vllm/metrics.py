# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read vLLM's Prometheus metrics."""

from __future__ import annotations

import re

_SAMPLE = re.compile(r"^vllm:(\w+)(?:\{[^}]*\})?\s+([0-9.eE+-]+)\s*$", re.MULTILINE)

# Newer name first.
_KV_CACHE = ("kv_cache_usage_perc", "gpu_cache_usage_perc")


def load(metrics):
    """Return what a server has to do, from its ``/metrics``.

    :returns: ``{"running": int, "waiting": int, "kv_cache_usage": 0..1|None}``, over all engines; None where the text
        tells nothing of requests.
    """
    samples = {}
    for name, value in _SAMPLE.findall(metrics):
        samples.setdefault(name, []).append(float(value))
    if "num_requests_running" not in samples:
        return None
    usage = next((max(samples[name]) for name in _KV_CACHE if name in samples), None)
    return {"running": int(sum(samples["num_requests_running"])),
            "waiting": int(sum(samples.get("num_requests_waiting", ()))), "kv_cache_usage": usage}
