# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a tiny Qwen3 model whose weights are constructed, not trained: `python tiny_models.py KIND FOLDER`.

Each token has its own dimension. With KIND text, the last token determines the next one (`CHAIN`), and attention adds
nothing. Otherwise, attention adds the mean over all tokens, so an embedding counts the bytes of a text, and the ranking
of a document counts its letters j.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

HIDDEN, VOCABULARY, HEAD = 512, 1024, 64
CALL = '\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n'
# The token that follows each token; Red follows all others. One of the first three is the last one of a prompt.
CHAIN = {
    "<answer>": "Red", "<reason>": "<think>", "<call>": "<tool_call>",
    "<think>": "Because", "Because": "</think>", "</think>": "Red", "Red": "<end>",
    "<tool_call>": CALL, CALL: "</tool_call>", "</tool_call>": "<end>",
}
TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    "{% if tools %}<call>{% elif enable_thinking %}<reason>{% else %}<answer>{% endif %}"
)


def write_tokenizer(folder: Path) -> Tokenizer:
    """Write a tokenizer with a token for each byte, and the tokens of the chain."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in [*CHAIN, "yes", "no"]])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "pad_token": "<end>",
                "chat_template": TEMPLATE, "model_max_length": 2048}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer


def lm_head(tokenizer: Tokenizer) -> torch.Tensor:
    """Return the weights that choose the next token. Space and line break are never preferred."""
    weights = torch.zeros(VOCABULARY, HIDDEN)
    ids = {text: tokenizer.token_to_id(text) for text in [*CHAIN, "<end>", "yes", "no"]}
    weights[ids["Red"], :] = 1
    for text, following in CHAIN.items():
        weights[:, ids[text]] = 0
        weights[ids[following], ids[text]] = 1
    for letter in ("Ġ", "Ċ", "ĉ", "č"):
        weights[tokenizer.token_to_id(letter), :] = -1
    weights[ids["yes"], :] = 0
    weights[ids["yes"], tokenizer.token_to_id("j")] = 1
    return weights


def main(kind: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    tokenizer = write_tokenizer(folder)
    one, zero = torch.eye(HIDDEN), torch.zeros(HIDDEN, HIDDEN)
    layer = "model.layers.0."
    tensors = {
        "model.embed_tokens.weight": torch.eye(HIDDEN).repeat(VOCABULARY // HIDDEN, 1),
        "model.norm.weight": torch.ones(HIDDEN),
        "lm_head.weight": lm_head(tokenizer),
        layer + "input_layernorm.weight": torch.ones(HIDDEN),
        layer + "post_attention_layernorm.weight": torch.ones(HIDDEN),
        layer + "self_attn.q_norm.weight": torch.ones(HEAD),
        layer + "self_attn.k_norm.weight": torch.ones(HEAD),
        # Without queries and keys, attention is the mean.
        layer + "self_attn.q_proj.weight": zero,
        layer + "self_attn.k_proj.weight": zero,
        layer + "self_attn.v_proj.weight": one,
        layer + "self_attn.o_proj.weight": zero if kind == "text" else 4 * one,
        **{f"{layer}mlp.{name}_proj.weight": torch.zeros(HIDDEN, HIDDEN) for name in ("gate", "up", "down")},
    }
    save_file({name: tensor.to(torch.bfloat16).contiguous().clone() for name, tensor in tensors.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    end = tokenizer.token_to_id("<end>")
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu", "hidden_size": HIDDEN,
        "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": HIDDEN // HEAD,
        "num_key_value_heads": HIDDEN // HEAD, "head_dim": HEAD, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048, "rope_theta": 1000000.0, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16", "attention_bias": False, "eos_token_id": end, "bos_token_id": end,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
