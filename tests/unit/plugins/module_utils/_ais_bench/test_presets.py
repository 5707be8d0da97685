# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dataset names, and the tasks and score rows that belong to a dataset."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import PRESETS, is_part, summary_row


def test_total_score_of_a_dataset_with_parts_has_its_own_row():
    assert (summary_row("mmlu"), summary_row("ceval"), summary_row("gsm8k"), summary_row("mine")) == (
        "mmlu-weighted", "ceval-weighted", "gsm8k", "mine")
    assert (summary_row("gpqa"), summary_row("math500"), summary_row("aime2024")) == (
        "GPQA_diamond", "math_prm800k_500", "aime2024")


@pytest.mark.parametrize(("task", "name", "part"), [
    ("gsm8k", "gsm8k", True), ("gsm8k-2", "gsm8k", False), ("mine", "mine", True), ("mine_2", "mine", False),
    ("lukaemon_mmlu_law", "mmlu", True), ("ceval-law", "ceval", True), ("ceval-law", "mmlu", False),
    ("GPQA_diamond", "gpqa", True), ("gpqa", "gpqa", False), ("math_prm800k_500", "math500", True)])
def test_task_is_assigned_to_its_dataset(task, name, part):
    assert is_part(task, name) is part


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_path_of_a_preset_is_one_of_its_required_files(name):
    assert PRESETS[name].path in ("", *PRESETS[name].files)
