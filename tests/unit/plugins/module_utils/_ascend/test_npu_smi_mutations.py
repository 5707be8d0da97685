# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parsers of npu-smi output report damage or read the rest, and never invent a value."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_smi import ParseError, parse_info
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._ascend.npu_smi_listings import (
    parse_listing,
    parse_mapping,
)

SAMPLES = {path.stem: path.read_text("utf-8") for path in (Path(__file__).parent / "npu_smi").glob("*.txt")}
TABLES = [SAMPLES[name] for name in ("910b", "a3_wide", "310p_duo", "950", "910a_first")]
LISTINGS = [SAMPLES[name] for name in ("mapping", "topo")] + [
    "\tTotal Count : 2\n\n\tNPU ID : 0\n\tChip Count : 1\n\n\tNPU ID : 1\n\tChip Count : 1\n",
    "\tNPU ID : 0\n\n\tChip ID : 0\n\tAicore Count : 20\n\tTemperature(C) : 50\n\n\tChip Name : mcu\n"
    "\tTemperature(C) : 41\n",
    "\tHealth Status : Alarm\n\tError Code : 80E18401 8C084E00\n\tError Information : a\n\n\t : b\n",
]
NOISE = st.text(max_size=20) | st.sampled_from([
    "...", "| ... |", "", "+", "|", "||||", "+------+", "grep: warning: stray", "\x1b[31m", "错误", " : ", "\x00",
    "| No running processes found in NPU 9 |"])


def delete_line(lines, where, _noise):
    del lines[where]


def repeat_line(lines, where, _noise):
    lines.insert(where, lines[where])


def swap_lines(lines, where, _noise):
    lines[where], lines[-1] = lines[-1], lines[where]


def insert_line(lines, where, noise):
    lines.insert(where, noise)


def truncate_text(lines, where, noise):
    lines[where] = lines[where][:len(noise) * 7]
    del lines[where + 1:]


def flip_character(lines, where, noise):
    if lines[where]:
        column = len(noise) * 5 % len(lines[where])
        lines[where] = lines[where][:column] + (noise[:1] or "7") + lines[where][column + 1:]


def remove_blanks(lines, where, _noise):
    lines[where] = lines[where].replace(" ", "", 3)


MUTATIONS = [delete_line, repeat_line, swap_lines, insert_line, truncate_text, flip_character, remove_blanks]


def mutated(texts, mutations):
    """Return a strategy that makes one to five mutations in one of the texts."""
    step = st.tuples(st.sampled_from(mutations), st.integers(0, 40), NOISE)

    def apply(text, steps, line_end):
        lines = text.splitlines()
        for mutate, where, noise in steps:
            if lines:
                mutate(lines, where % len(lines), noise)
        return line_end.join(lines)
    return st.builds(apply, st.sampled_from(texts), st.lists(step, min_size=1, max_size=5),
                     st.sampled_from(["\n", "\r\n", " \n"]))


def leaves(value):
    """Return every text and number in a result."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [] if value is None or isinstance(value, bool) else [value]


def printed(leaf, text):
    """Return whether a value of a result is in the text."""
    if isinstance(leaf, str):
        return all(part in text for part in leaf.split("\n"))
    return any(float(number) == leaf for number in re.findall(r"-?[0-9]+(?:\.[0-9]+)?", text))


@settings(max_examples=400)
@given(mutated(TABLES, MUTATIONS))
def test_damaged_table_causes_no_crash_and_no_invented_value(text):
    try:
        parsed = parse_info(text)
    except ParseError:
        return
    clean = re.sub("\x1b\\[[0-9;?]*[A-Za-z]|[\ufeff\u200b\x00]", "", text).replace("\xa0", " ").expandtabs()
    assert [leaf for leaf in leaves(parsed) if not printed(leaf, clean)] == []


@pytest.mark.parametrize("text", TABLES, ids=["910B", "A3", "310P Duo", "950", "first 910A"])
def test_missing_lines_never_mix_two_chips(text):
    """All combinations of one or two missing lines are tried. Rows of different chips are never paired."""
    undamaged, lines, read = parse_info(text), text.splitlines(), 0
    for missing in itertools.combinations_with_replacement(range(len(lines)), 2):
        try:
            parsed = parse_info("\n".join(line for number, line in enumerate(lines) if number not in missing))
        except ParseError:
            continue
        read += 1
        assert [chip for chip in parsed["chips"] if chip not in undamaged["chips"]] == []
        assert [process for process in parsed["processes"] if process not in undamaged["processes"]] == []
        assert parsed["chips"] == undamaged["chips"] or not parsed["complete"]
    assert read > 20


@pytest.mark.parametrize("text", TABLES, ids=["910B", "A3", "310P Duo", "950", "first 910A"])
def test_repeated_line_adds_nothing(text):
    undamaged, lines = parse_info(text), text.splitlines()
    for number, line in enumerate(lines):
        try:
            parsed = parse_info("\n".join([*lines[:number], line, *lines[number:]]))
        except ParseError:
            continue
        assert parsed["chips"] == undamaged["chips"]


@settings(max_examples=400)
@given(mutated(LISTINGS, MUTATIONS))
def test_damaged_blocks_cause_no_crash_and_no_invented_value(text):
    for parse in (parse_listing, parse_mapping):
        try:
            parsed = parse(text)
        except ParseError:
            continue
        clean = re.sub("\x1b\\[[0-9;?]*[A-Za-z]|[\ufeff\u200b\x00]", "", text).replace("\xa0", " ").expandtabs()
        assert [leaf for leaf in leaves(parsed["blocks"]) if not printed(leaf, clean)] == []


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text_is_parsed_or_raises_parse_error(text):
    for parse in (parse_info, parse_listing, parse_mapping):
        try:
            parse(text)
        except ParseError:
            pass
