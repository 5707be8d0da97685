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
    #: The files that must exist in the folder of the dataset, with wildcards.
    files: tuple[str, ...]
    #: The file that AISBench reads, or empty for the whole folder.
    path: str = ""
    #: The prefix of the task names, if AISBench divides the dataset into many tasks.
    parts: str = ""
    #: The name of the task, or empty for the name of the dataset.
    task: str = ""


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
    "aime2024": Preset(_PRESETS + "aime2024.aime2024_gen_0_shot_chat_prompt", "aime2024_datasets", ("aime.jsonl",),
                       "aime.jsonl"),
    "aime2025": Preset(_PRESETS + "aime2025.aime2025_gen_0_shot_chat_prompt", "aime2025_datasets",
                       ("aime2025.jsonl",), "aime2025.jsonl"),
    "gpqa": Preset(_PRESETS + "gpqa.gpqa_gen_0_shot_cot_chat_prompt", "gpqa_datasets", ("gpqa_diamond.csv",),
                   task="GPQA_diamond"),
    "math500": Preset(_PRESETS + "math.math500_gen_0_shot_cot_chat_prompt", "math_datasets",
                      ("test_prm800k_500.jsonl",), task="math_prm800k_500"),
    "mmmu": Preset(_PRESETS + "mmmu.mmmu_gen", "mmmu_datasets", ("*/validation-*.parquet",)),
}


def is_part(task: str, name: str) -> bool:
    """Return whether an AISBench task belongs to the dataset with this name."""
    preset = PRESETS.get(name, Preset("", "", ()))
    return task == (preset.task or name) or bool(preset.parts and task.startswith(preset.parts))


def summary_row(name: str) -> str:
    """Return the name of the summary row that contains the score of the whole dataset."""
    preset = PRESETS.get(name, Preset("", "", ()))
    return name + "-weighted" if preset.parts else preset.task or name
