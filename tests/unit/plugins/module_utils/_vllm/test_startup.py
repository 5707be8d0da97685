# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a start is read from the server log."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._vllm import startup


@pytest.mark.parametrize(("log", "step"), [
    ("", None),
    ("INFO vLLM API server version 0.11.0", None),
    ("Loading safetensors checkpoint shards:  25% Completed | 1/4\n"
     "Loading safetensors checkpoint shards:  50% Completed | 2/4", "loading weights, 50 %"),
    ("Loading safetensors checkpoint shards: 100% Completed | 4/4\nINFO Loading weights took 12.3 seconds",
     "weights loaded"),
    ("Loading model weights took 21.1 GB\nAvailable memory: 30064771072, total memory: 65452113920", "KV cache sized"),
    ("Available KV cache memory: 30.12 GiB", "KV cache sized"),
    ("Loading safetensors using Fastsafetensor loader:  30% Completed | 3/10", "loading weights, 30 %"),
    ("Loading weights took 9 seconds\nDynamo bytecode transform time: 5.1 s", "compiling"),
    ("NPU KV cache size: 1,024 tokens\nCapturing ACL graphs (decode, FULL):  40%|####      | 4/10",
     "capturing graphs, 40 %"),
    ("GPU KV cache size: 458,752 tokens\nGraph capturing finished in 21 secs, took 0.61 GiB", "graphs captured"),
    ("init engine (profile, create kv cache, warmup model) took 33.21 seconds", "engine initialized"),
    ("Application startup complete.", "API server started"),
])
def test_progress_is_the_last_step_in_the_log(log, step):
    assert startup.progress(log) == step


@pytest.mark.parametrize(("log", "tokens"), [
    ("INFO 08-16 12:59:08 [kv_cache_utils.py:2203] GPU KV cache size: 42,368 tokens", 42368),
    ("NPU KV cache size: 1,024 tokens\n(EngineCore_DP1) GPU KV cache size: 896 tokens", 896),
    ("To maintain the same effective KV cache size as before, increase", None), ("", None)])
def test_size_of_the_kv_cache_is_read_from_the_log(log, tokens):
    assert startup.kv_cache_tokens(log) == tokens
