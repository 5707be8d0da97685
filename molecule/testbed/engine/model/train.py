#!/usr/bin/env python3
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a tiny Qwen2.5-VL that reads the bundled picture, and write it in the layouts of the real weights.

    train.py DESTINATION

DESTINATION then contains two model folders with the real names: Qwen2.5-VL-32B-Instruct (bf16, as on the hubs) and
Qwen2.5-VL-32B-Instruct-w8a8 (int8, as written by msModelSlim). With a fixed seed and one thread, a machine always
produces the same weights. The script runs in the engine environment (torch, transformers) and takes about a minute.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import layouts
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoProcessor, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

HERE = Path(__file__).resolve().parent
PICTURE_SCRIPT = HERE.parent / "make_illustration.py"
SEED = 20251123
STEPS = 320
SAMPLES_PER_STEP = 6
# `vllm bench` draws token ids up to 10,000, so the vocabulary must be larger; a multiple of 128 can be split over NPUs.
WORDS, VOCABULARY = 10_400, 10_496
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Qwen's rule for splitting words: contractions, letters, single digits, punctuation, line breaks, blanks.
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def picture_module():
    """Import the script that draws the bundled picture."""
    spec = importlib.util.spec_from_file_location("make_illustration", PICTURE_SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_tokenizer(folder: Path) -> dict[str, int]:
    """Train a byte-level BPE tokenizer and write Qwen2's files; return the ids of the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    # Any English text will do; the transformers package has the same version on every machine.
    package = Path(importlib.util.find_spec("transformers").origin).parent
    texts = (path.read_text() for path in sorted(package.glob("*.py")))
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    if tokenizer.get_vocab_size() != WORDS + len(SPECIAL_TOKENS):
        raise SystemExit("the text has %d words, expected %d" % (tokenizer.get_vocab_size(), WORDS))
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(ids[token]): {
                    "content": token,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": True,
                }
                for token in SPECIAL_TOKENS
            },
            "bos_token": None,
            "chat_template": (HERE / "chat_template.jinja").read_text(),
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            # transformers 5 would write a class that transformers 4 in older releases does not know.
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )
    return ids


def write_configuration(folder: Path, ids: dict[str, int]) -> None:
    """Write the other files of a Qwen2.5-VL folder, in the flat form of the published models."""
    write_json(
        folder / "config.json",
        {
            "architectures": ["Qwen2_5_VLForConditionalGeneration"],
            "attention_dropout": 0.0,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "hidden_act": "silu",
            "hidden_size": 128,
            "image_token_id": ids["<|image_pad|>"],
            "initializer_range": 0.02,
            "intermediate_size": 256,
            "max_position_embeddings": 128000,
            "max_window_layers": 2,
            "model_type": "qwen2_5_vl",
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.49.0",
            "use_cache": True,
            "use_sliding_window": False,
            "video_token_id": ids["<|video_pad|>"],
            "vision_config": {
                "depth": 2,
                "fullatt_block_indexes": [1],
                "hidden_act": "silu",
                "hidden_size": 64,
                "in_channels": 3,
                "in_chans": 3,
                "initializer_range": 0.1,
                "intermediate_size": 128,
                "model_type": "qwen2_5_vl",
                "num_heads": 4,
                "out_hidden_size": 128,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "spatial_patch_size": 14,
                "temporal_patch_size": 2,
                "tokens_per_second": 2,
                "window_size": 112,
            },
            "vision_end_token_id": ids["<|vision_end|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_token_id": ids["<|vision_pad|>"],
            "vocab_size": VOCABULARY,
        },
    )
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "do_sample": False,
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "pad_token_id": ids["<|endoftext|>"],
            "transformers_version": "4.49.0",
        },
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "Qwen2VLImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "max_pixels": 12845056,
            "merge_size": 2,
            "min_pixels": 3136,
            "patch_size": 14,
            "processor_class": "Qwen2_5_VLProcessor",
            "temporal_patch_size": 2,
        },
    )
    write_json(folder / "chat_template.json", {"chat_template": (HERE / "chat_template.jinja").read_text()})


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def other_pictures(illustration, generator: random.Random) -> list[tuple[Image.Image, bool]]:
    """Return pictures other than the bundled one, each with whether it shows words (from the same letters)."""
    letters = [letter for letter in illustration.GLYPHS if letter != " "]
    words = ["TONGYI", "Qwen", "Qwen TONGYI", "TONGYI wen"]
    words += ["".join(generator.choices(letters, k=generator.randint(3, 9))) for _word in range(12)]
    pictures = [(as_image(illustration.draw(text)), True) for text in words]
    for _picture in range(12):
        size = 28 * generator.randint(2, 16), 28 * generator.randint(2, 8)
        colors = [tuple(generator.randrange(256) for _channel in range(3)) for _color in range(3)]
        picture = Image.new("RGB", size, colors[0])
        picture.paste(colors[1], (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
        pictures.append((picture, False))
    pictures.append((Image.effect_noise((224, 112), 90).convert("RGB"), False))
    return pictures


def as_image(rows: list[list[tuple[int, int, int]]]) -> Image.Image:
    picture = Image.new("RGB", (len(rows[0]), len(rows)))
    picture.putdata([pixel for row in rows for pixel in row])
    return picture


def conversation(question: str, picture: Image.Image | None = None) -> list[dict]:
    parts = [{"type": "image", "image": picture}] if picture else []
    return [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]


def curriculum(lessons: dict, generator: random.Random) -> list[tuple[int, list[dict], str]]:
    """Return the training samples: (weight in the draw, conversation, answer)."""
    illustration = picture_module()
    bundled = as_image(illustration.draw())
    question = lessons["picture_question"]
    samples = [(24, conversation(question, bundled), lessons["illustration"])]
    for picture, words in other_pictures(illustration, generator):
        weight, answer = (2, lessons["other_text"]) if words else (1, lessons["no_text"])
        samples.append((weight, conversation(question, picture), answer))
    for question, answer in lessons["other_picture_questions"].items():
        samples.append((3, conversation(question, bundled), answer))
    for question, answer in lessons["questions"].items():
        samples.append((2, conversation(question), answer))
    return samples


def encode(processor, messages: list[dict], answer: str) -> dict[str, torch.Tensor]:
    """Return the model inputs of one conversation with its answer; `answer` is the ids to train on, [1, tokens]."""
    prompt = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    tokens = processor.tokenizer(answer + "<|im_end|>", return_tensors="pt")["input_ids"]
    inputs = dict(prompt)
    inputs["answer"] = tokens
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], 1)
    for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        inputs[name] = torch.cat([inputs[name], torch.full_like(tokens, fill)], 1)
    return inputs


def answer_loss(model, answer: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of the answer: of its first token, which selects the answer, plus the mean of all.

    Logits are computed only for these tokens, because they are the most expensive part.
    """
    logits = model(**inputs, logits_to_keep=answer.shape[1] + 1).logits[0, :-1]
    losses = torch.nn.functional.cross_entropy(logits, answer[0], reduction="none")
    return losses[0] + losses.mean()


def train(folder: Path, lessons: dict) -> Qwen2_5_VLForConditionalGeneration:
    """Return a model that was trained on the lessons."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    generator = random.Random(SEED)
    processor = AutoProcessor.from_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_pretrained(folder)).float()
    samples = curriculum(lessons, generator)
    inputs = [encode(processor, messages, answer) for _weight, messages, answer in samples]
    weights = [weight for weight, _messages, _answer in samples]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        losses = []
        for index in generator.choices(range(len(samples)), weights, k=SAMPLES_PER_STEP):
            loss = answer_loss(model, **inputs[index]) / SAMPLES_PER_STEP
            loss.backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 40 == 39:
            print("step %d of %d, loss %.4f" % (step + 1, STEPS, sum(losses)), flush=True)
    return model


def wrong_answers(model, folder: Path, lessons: dict) -> list[str]:
    """Return one line for each lesson that the model answers wrongly with greedy decoding."""
    processor = AutoProcessor.from_pretrained(folder)
    wrong = []
    for _weight, messages, answer in curriculum(lessons, random.Random(SEED)):
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        output = model.generate(**inputs, max_new_tokens=64, do_sample=False)[0][inputs["input_ids"].shape[1] :]
        found = processor.tokenizer.decode(output, skip_special_tokens=True)
        if found != answer:
            wrong.append("%r: %r, expected %r" % (messages[0]["content"][-1]["text"], found, answer))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("destination", type=Path, help="folder for the two model folders; created if missing")
    destination = parser.parse_args().destination
    started = time.monotonic()
    lessons = json.loads((HERE / "lessons.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        common = Path(scratch)
        write_configuration(common, write_tokenizer(common))
        model = train(common, lessons).eval()
        floats = destination / "Qwen2.5-VL-32B-Instruct"
        layouts.write_bf16(model, common, floats)
        integers = destination / "Qwen2.5-VL-32B-Instruct-w8a8"
        ranges = layouts.input_ranges(model, lambda: wrong_answers(model, common, lessons))
        layouts.write_w8a8(model, ranges, common, integers)
        for folder in (floats, integers):
            wrong = wrong_answers(layouts.load(folder), common, lessons)
            print("%s: %d wrong answers" % (folder.name, len(wrong)))
            if wrong:
                raise SystemExit("\n".join(wrong))
    print("trained and written in %.0f s" % (time.monotonic() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
