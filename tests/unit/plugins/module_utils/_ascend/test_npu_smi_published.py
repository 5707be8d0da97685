# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published outputs of npu-smi info are parsed, and tables that npu-smi does not print are refused.

published/INDEX.tsv lists the sources. A code search id identifies a file in a public GitHub repository. The expected
values were read from the texts by eye.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_smi import ParseError, parse_info

SAMPLES = Path(__file__).parent / "published"

# {file: (version of the tool, version of the driver, complete, chips)}. The values of a chip are in the order of the
# keys in the result. A dash stands for None.
TABLES = {
    "01-310-two-chips-cut.txt": ("21.0.3.1", "21.0.3.1", False, [
        "1,0,-,310,OK,12.8,49,-,-,0000:01:00.0,0,2621,8192,-,-"]),
    "02-910a-without-hugepages.txt": ("21.0.2", "21.0.2", True, [
        "1,0,-,910A,OK,64.3,56,-,-,0000:3B:00.0,0,1809,15079,0,32768",
        "4,0,-,910A,OK,65.6,58,-,-,0000:86:00.0,0,1809,15079,0,32768"]),
    "03-910a-hugepages-cut.txt": ("21.0.4", "21.0.4", False, [
        "0,0,-,910A,OK,70.9,42,15,15,0000:C1:00.0,0,839,15170,1,32768"]),
    "04-910a-cut-border.txt": ("1.8.21", "20.2.2.spc001", False, [
        "0,0,-,910A,OK,68.6,36,-,-,0000:C1:00.0,0,591,14795,0,32768",
        "1,0,-,910A,OK,63.7,31,-,-,0000:81:00.0,0,303,15177,0,32768"]),
    "05-910b4-text-below-a-cut-row.txt": ("23.0.6", "23.0.6", False, []),
    "06-310b4-sudo-prompt.txt": ("23.0.rc3", "23.0.rc3", True, ["0,0,-,310B4,OK,7.2,37,15,15,-,0,1797,3513,-,-"]),
    "07-910b4-1-masked-bus-id.txt": ("25.2.0", "25.2.0", False, [
        "0,0,-,910B4-1,OK,91.3,33,0,0,0000:xx:00.0,0,0,0,3197,65536",
        "1,0,-,910B4-1,OK,88.1,32,0,0,0000:xx:00.0,0,0,0,3197,65536"]),
    "08-a3-wide-cut-border.txt": ("26.0.rc2", "26.0.rc2", False, [
        "0,0,0,Ascend910,OK,162.6,34,0,0,0000:9D:00.0,0,0,0,3419,65536",
        "0,1,1,Ascend910,OK,-,34,0,0,0000:9F:00.0,0,0,0,2874,65536"]),
    "09-310p3-closed-by-dashes.txt": ("22.0.4", "22.0.4", False, [
        "7,0,-,310P3,OK,-,28,0,0,0000:00:07.0,0,1805,21527,-,-"]),
    "10-950-processes-of-an-idle-npu.txt": (None, None, False, []),
    "11-a3-rows-without-borders.txt": (None, None, False, [
        "0,0,0,Ascend910,OK,161.9,32,0,0,0000:9D:00.0,0,0,0,3101,65536",
        "0,1,1,Ascend910,Warning,-,32,0,0,0000:9F:00.0,0,0,0,2887,65536",
        "1,0,2,Ascend910,OK,164.2,32,0,0,0000:99:00.0,0,0,0,3101,65536",
        "1,1,3,Ascend910,OK,-,32,0,0,0000:9B:00.0,0,0,0,2887,65536"]),
    "12-310p3-without-borders.txt": ("24.1.rc2.b010", "24.1.rc2.b010", False, [
        "0,0,-,310P3,OK,9.6,56,15,15,-,-,3398,11578,-,-"]),
    # npu-smi has no column HBM(MB), so the memory is unknown.
    "13-invented-memory-column.txt": ("21.0.2", "21.0.2", False, [
        "0,0,-,Ascend 910B,OK,110.0,45,-,-,0000:C1:00.0,0,-,-,-,-",
        "1,0,-,Ascend 910B,OK,108.0,44,-,-,0000:C2:00.0,0,-,-,-,-"]),
}
REFUSED = ("14-invented-one-row-per-npu.txt", "15-invented-bus-id-in-first-row.txt", "16-invented-single-cell.txt")
ERRORS = {
    "17-error-card-list.txt": "Failed to get card number.",
    "18-error-no-card.txt": "There is no NPU card on this server.",
}


def text(name):
    return (SAMPLES / name).read_text("utf-8")


def test_every_sample_of_the_index_has_a_test():
    with open(SAMPLES / "INDEX.tsv", encoding="utf-8") as stream:
        names = [row["file"] for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)]
    assert names == [*TABLES, *REFUSED, *ERRORS] == sorted(path.name for path in SAMPLES.glob("*.txt"))


@pytest.mark.parametrize("name", TABLES)
def test_published_table_is_parsed(name):
    parsed = parse_info(text(name))
    chips = [",".join("-" if value is None else str(value) for value in chip.values()) for chip in parsed["chips"]]
    found = parsed["tool_version"], parsed["driver_version"], parsed["complete"], chips
    assert found == TABLES[name]


def test_npu_without_a_process_has_no_process():
    processes = parse_info(text("10-950-processes-of-an-idle-npu.txt"))["processes"]
    assert [(each["npu"], each["pid"], each["memory_mb"]) for each in processes] == [
        (0, 107303, 39852), (1, 107304, 39912)]


@pytest.mark.parametrize("name", REFUSED)
def test_table_of_an_unknown_layout_is_refused(name):
    with pytest.raises(ParseError, match="does not fit its header"):
        parse_info(text(name))


@pytest.mark.parametrize("name", ERRORS)
def test_published_error_is_returned(name):
    assert parse_info(text(name))["error"] == {"message": ERRORS[name], "code": None}
