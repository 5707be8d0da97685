# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The datasets for which AISBench includes a configuration."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """A dataset for which AISBench includes a configuration."""

    #: The Python module of the configuration, and the variable with the dataset in this module.
    module: str
    variable: str
    #: The files that must exist in the folder of the dataset.
    files: tuple[str, ...]
    #: The file that AISBench reads, or empty for the whole folder.
    path: str = ""
    #: The prefix of the task names, if AISBench divides the dataset into many tasks.
    parts: str = ""


_PRESETS = "ais_bench.benchmark.configs.datasets."

PRESETS = {
    "textvqa": Preset(_PRESETS + "textvqa.textvqa_gen_base64", "textvqa_datasets",
                      ("textvqa_json/textvqa_val.jsonl", "textvqa_json/textvqa_val_annotations.json", "train_images"),
                      "textvqa_json/textvqa_val.jsonl"),
    "gsm8k": Preset(_PRESETS + "gsm8k.gsm8k_gen_0_shot_cot_chat_prompt", "gsm8k_datasets",
                    ("train.jsonl", "test.jsonl")),
    "mmlu": Preset(_PRESETS + "mmlu.mmlu_gen_0_shot_cot_chat_prompt", "mmlu_datasets", ("dev", "test"),
                   parts="lukaemon_mmlu_"),
    "ceval": Preset(_PRESETS + "ceval.ceval_gen_0_shot_cot_chat_prompt", "ceval_datasets",
                    ("dev", "val", "test"), parts="ceval-"),
}


def is_part(task: str, name: str) -> bool:
    """Return whether an AISBench task belongs to the dataset with this name."""
    parts = PRESETS[name].parts if name in PRESETS else ""
    return task == name or bool(parts and task.startswith(parts))


def sum_of(name: str) -> str:
    """Return the name of the summary row that contains the score of the whole dataset."""
    return name + "-weighted" if name in PRESETS and PRESETS[name].parts else name
