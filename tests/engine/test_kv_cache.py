# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan counts the bytes of the KV cache as the real vLLM does."""

from __future__ import annotations

import json
import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.memory import BLOCK_TOKENS, kv_bytes_per_token

pytestmark = [pytest.mark.engine, pytest.mark.long]

# Prints [{mla, bytes_per_block}] for a list of {config, size, stages} on standard input: whether vLLM uses MLA for a
# config.json, and the bytes of a block of all layers of the first stage on each device. The cache has the type of
# 16-bit weights.
SIZES = """
import json, sys, tempfile
from pathlib import Path
import torch
from vllm.config import ModelConfig, ParallelConfig
from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec

found = []
for case in json.load(sys.stdin):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]))
        model = ModelConfig(model=folder, skip_tokenizer_init=True, dtype="bfloat16")
    parallel = ParallelConfig(tensor_parallel_size=case["size"], pipeline_parallel_size=case["stages"],
                              distributed_executor_backend="external_launcher")
    kind = MLAAttentionSpec if model.use_mla else FullAttentionSpec
    spec = kind(block_size=%d, num_kv_heads=model.get_num_kv_heads(parallel), head_size=model.get_head_size(),
                dtype=torch.bfloat16)
    start, end = model.get_layers_start_end_indices(parallel)
    found.append({"mla": model.use_mla, "bytes_per_block": spec.page_size_bytes * (end - start)})
print(json.dumps(found))
""" % BLOCK_TOKENS

TINY = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 16, "intermediate_size": 512,
        "vocab_size": 512, "max_position_embeddings": 256}
DENSE = {**TINY, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32}
CONFIGS = {
    "GQA": {**DENSE, "num_key_value_heads": 4},
    "MHA": {**DENSE, "num_key_value_heads": 16},
    "MLA": {**TINY, "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "num_key_value_heads": 16,
            "kv_lora_rank": 64, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32},
}
ENTRIES = {
    "GQA": {"kv_heads": 4, "head_size": 32, "layers": 6},
    "MHA": {"kv_heads": 16, "head_size": 32, "layers": 6},
    "MLA": {"latent_size": 80, "layers": 6},
}
CASES = [(kind, size, stages) for kind in CONFIGS for size in (1, 2, 8) for stages in (1, 2)]


@pytest.fixture(scope="module")
def sizes(environment, tmp_path_factory):
    """Return the figures of vLLM for all cases at once, because importing vLLM takes seconds."""
    cases = [{"config": CONFIGS[kind], "size": size, "stages": stages} for kind, size, stages in CASES]
    done = subprocess.run(
        [environment / "bin" / "python", "-c", SIZES], input=json.dumps(cases), text=True, capture_output=True,
        check=False, cwd="/", env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR",
                                   "HOME": str(tmp_path_factory.mktemp("home"))})
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_kv_cache_has_the_same_size_as_in_vllm(sizes, case):
    kind, size, stages = case
    assert sizes[case]["mla"] is (kind == "MLA")
    assert kv_bytes_per_token(ENTRIES[kind], size, {}, stages) * BLOCK_TOKENS == sizes[case]["bytes_per_block"]
