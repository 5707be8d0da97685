# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the progress of a starting vLLM server from its log."""

from __future__ import annotations

import re

# The stages in the order in which a starting server logs them. The last stage in the log is the progress.
_STAGES = (
    (re.compile(r"Loading \S+ (?:checkpoint shards|using [^:\n]*):\s+(\d+)% Completed"), "loading weights, %s %%"),
    (re.compile(r"Loading (?:model )?weights took"), "weights loaded"),
    (re.compile(r"Compiling a graph for|Dynamo bytecode transform time"), "compiling"),
    (re.compile(r"Available (?:KV cache )?memory:|\bKV cache size"), "KV cache sized"),
    (re.compile(r"Capturing (?:CUDA|ACL|NPU)? ?graphs?.*?(\d+)%"), "capturing graphs, %s %%"),
    (re.compile(r"Graph capturing finished"), "graphs captured"),
    (re.compile(r"init engine .* took"), "engine initialized"),
    (re.compile(r"Application startup complete"), "API server started"),
)


# One line for each engine, as of vLLM 0.8 (vllm/v1/core/kv_cache_utils.py).
_KV_CACHE = re.compile(r"\bKV cache size: ([0-9,]+) tokens")


def kv_cache_tokens(log: str) -> int | None:
    """Return the size of the smallest KV cache of an engine in tokens, or None if the log does not contain any size."""
    return min((int(found.replace(",", "")) for found in _KV_CACHE.findall(log)), default=None)


def progress(log: str) -> str | None:
    """Return the last stage in the log of a starting server, such as ``loading weights, 45 %``, or None."""
    found = None
    for pattern, text in _STAGES:
        matches = pattern.findall(log)
        if matches:
            found = text % matches[-1] if "%s" in text else text
    return found
