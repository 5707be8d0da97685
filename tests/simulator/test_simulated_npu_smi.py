# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated npu-smi prints the state of the node, and fails like the real tool."""

from __future__ import annotations

import pytest


def rows(text: str) -> dict[int, tuple[str, str]]:
    """Return {NPU: its two lines} of an A2 table."""
    lines = text.splitlines()
    return {int(line.split()[1]): (line, lines[number + 1]) for number, line in enumerate(lines)
            if line[2:3].isdigit() and line.count("|") == 4 and "0000:" in lines[number + 1]}


@pytest.mark.parametrize(("generation", "hardware", "width", "header", "last_column"), [
    ("24.1.0.3", "atlas_800_a2", 98, "| Chip                      |", "| Process memory(MB)      |"),
    ("25.5.1", "atlas_800_a2", 98, "| Chip                      |", "| Process memory(MB)      |"),
    ("26.0.rc1", "atlas_800_a2", 116, "| Chip                      |", "| Process id in container |"),
    ("25.3.rc1", "atlas_800_a3", 98, "| Chip  Phy-ID              |", "| Process memory(MB)      |"),
    ("26.1.0", "atlas_800_a3", 116, "| Chip  Phy-ID              |", "| Process id in container |"),
])
def test_layout_follows_generation_and_hardware(make_node, generation, hardware, width, header, last_column):
    text = make_node(generation, hardware).npu_smi("info").stdout
    lines = text.splitlines()
    assert {len(line) for line in lines} == {width}
    assert lines[1].split() == ["|", "npu-smi", generation, "Version:", generation, "|"]
    assert lines[4].startswith(header)
    assert [line.endswith(last_column) for line in lines].count(True) == 1
    assert text.count("0000:") == (16 if hardware == "atlas_800_a3" else 8)
    assert text.count("No running processes found in NPU") == 8


def test_second_chip_of_an_npu_shows_no_power_and_its_own_phy_id(make_node):
    lines = make_node("25.3.rc1", "atlas_800_a3").npu_smi("info").stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| 1     Ascend910"))
    assert lines[first + 2] == "+" + "-" * 96 + "+"  # between the chips of one NPU
    assert lines[first + 3].split()[6] == "-"
    assert lines[first + 4].split()[1:3] == ["1", "3"]


@pytest.mark.parametrize(("words", "line", "expected"), [
    (["name=910B4"], 0, "| 3     910B4               |"),
    (["health=Alarm"], 0, "| Alarm         |"),
    (["temperature=106"], 0, " 106 "),
    (["aicore=87"], 1, "| 87          0    / 0"),
    (["hbm_total=32768"], 1, "/ 32768 "),
    (["hbm_used=56315"], 1, " 59724/ 65536 "),
])
def test_fault_is_only_shown_on_its_npu(node, words, line, expected):
    healthy = rows(node.npu_smi("info").stdout)
    node.fault("set", "npu=3", *words)
    faulty = rows(node.npu_smi("info").stdout)
    assert expected in faulty[3][line]
    assert expected not in healthy[3][line]
    assert {npu for npu in healthy if healthy[npu] != faulty[npu]} == {3}


def test_absent_npu_leaves_a_gap(node):
    node.fault("set", "npu=2,5", "present=no")
    text = node.npu_smi("info").stdout
    assert sorted(rows(text)) == [0, 1, 3, 4, 6, 7]
    assert "NPU 5" not in text
    mapping = [line.split() for line in node.npu_smi("info", "-m").stdout.splitlines()[1:]]
    assert [cells[:3] for cells in mapping if "Mcu" not in cells] == [
        ["0", "0", "0"], ["1", "0", "1"], ["3", "0", "2"], ["4", "0", "3"], ["6", "0", "4"], ["7", "0", "5"]]
    assert "Total Count                    : 6" in node.npu_smi("info", "-l").stdout
    absent = node.npu_smi("info", "-t", "board", "-i", "5")
    assert (absent.returncode, absent.stdout.splitlines()[:2]) == (215, ["Invalid card id.", "Error parameter of -i"])


@pytest.mark.parametrize(("kind", "keys", "colon"), [
    ("board", ["NPU ID", "Product Name", "Model", "Manufacturer", "Serial Number", "Software Version",
               "Firmware Version", "Compatibility", "Board ID", "PCB ID", "BOM ID", "PCIe Bus Info", "Slot ID",
               "Class ID", "PCI Vendor ID", "PCI Device ID", "Subsystem Vendor ID", "Subsystem Device ID",
               "Chip Count"], 32),
    ("health", ["NPU ID", "Chip Count", "", "Health", "Chip ID", "", "Health", "Chip Name", ""], 32),
    ("power", ["NPU ID", "Chip Count", "", "NPU Real-time Power(W)", "Chip ID", ""], 32),
    ("temp", ["NPU ID", "Chip Count", "", "NPU Temperature (C)", "Chip ID", "", "LM75A_TE (C)", "LM75B_TE (C)",
              "Chip Name", ""], 32),
    ("memory", ["NPU ID", "Chip Count", "", "DDR Capacity(MB)", "DDR Clock Speed(MHz)", "HBM Capacity(MB)",
                "HBM Clock Speed(MHz)", "HBM Temperature(C)", "HBM Manufacturer ID", "Chip ID", ""], 32),
    ("product", ["Product Type"], 32),
    ("ecc", ["NPU ID", "Chip Count", "",
             *(f"HBM {bits} Bit {what}" for what in ("Error Count", "Aggregate Total Err Cnt", "Isolated Pages Count",
                                                     "Next-Isolated Pages Count") for bits in ("Single", "Double")),
             "Chip ID", ""], 42),
])
def test_details_of_a_card_have_the_keys_and_columns_of_the_vendor_tool(node, kind, keys, colon):
    lines = node.npu_smi("info", "-t", kind, "-i", "3").stdout.splitlines()
    assert [line.split(" : ")[0].strip() for line in lines] == keys
    assert {line.index(" : ") for line in lines if line} == {colon - 1}


def test_usages_and_common_show_the_load(node):
    node.fault("set", "npu=3", "aicore=60", "hbm_used=29359", "temperature=71")  # 32768 of 65536 MB
    usages = node.npu_smi("info", "-t", "usages", "-i", "3").stdout
    for key, value in (("HBM Usage Rate(%)", 50), ("Aicore Usage Rate(%)", 60), ("NPU Utilization(%)", 60)):
        assert f"\t{key:<30} : {value}\n" in usages
    common = node.npu_smi("info", "-t", "common", "-i", "3").stdout
    chip, controller = (line.split(" : ")[1] for line in common.splitlines() if "Temperature(C)" in line)
    assert (chip, controller) == ("71", "65")


@pytest.mark.parametrize(("generation", "memories", "extended"), [("24.1.0.3", {"DDR", "HBM"}, False),
                                                                  ("26.0.rc1", {"HBM"}, True)])
def test_series_differ_in_their_details(make_node, generation, memories, extended):
    node = make_node(generation)
    ecc = node.npu_smi("info", "-t", "ecc", "-i", "0").stdout
    assert {line.split()[0] for line in ecc.splitlines() if "Isolated" in line} == memories
    assert ("Next-Isolated" in ecc) is extended
    assert ("Aicube" in node.npu_smi("info", "-t", "usages", "-i", "0").stdout) is extended


def test_every_error_code_has_its_own_line_of_text(node):
    node.fault("set", "npu=3", "health=Alarm", "code=0x80E01801,0x81078603,0xA4025021")
    lines = node.npu_smi("info", "-t", "health", "-i", "3", "-c", "0").stdout.splitlines()
    assert lines[0].split(" : ") == ["\tHealth Status                 ", "Alarm"]
    assert lines[1].split(" : ")[1] == "80E01801 81078603 A4025021"
    assert [line.split(" : ")[0].strip() for line in lines[2:]] == ["Error Information", "", "", "", ""]
    assert [bool(line) for line in lines[2:]] == [True, False, True, False, True]


def test_isolated_pages_are_shown(node):
    node.fault("set", "npu=3", "isolated_pages=64")
    text = node.npu_smi("info", "-t", "ecc", "-i", "3").stdout
    assert "HBM Double Bit Isolated Pages Count      : 64" in text
    assert "HBM Double Bit Error Count               : 0" in text


@pytest.mark.parametrize(("fault", "status", "stdout", "stderr"), [
    ("dcmi-8005", 187, "DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n", ""),
    ("dcmi-8020", 172, "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
                       "dcmi model initialized failed, because the device is used. ret is -8020\n", ""),
    ("library", 127, "", "npu-smi: error while loading shared libraries: libdcmi.so: "
                         "cannot open shared object file: No such file or directory\n"),
])
def test_fault_of_the_tool_makes_every_query_fail(node, fault, status, stdout, stderr):
    node.fault("set", f"npu_smi={fault}")
    done = node.npu_smi("info", "-l")
    assert (done.returncode, done.stdout, done.stderr) == (status, stdout, stderr)


@pytest.mark.parametrize(("arguments", "status", "words"), [
    ((), 215, "Usage: npu-smi <Command"),
    (("inform",), 211, "Command or option is not found."),
    (("info", "-z"), 215, "Error parameter of -z"),
    (("info", "-t"), 215, "Error parameter of -t"),
    (("info", "-t", "board"), 215, "This command must input card id."),
    (("info", "-t", "board", "-i", "0", "-c", "7"), 215, "Invalid chip id."),
    (("info", "-i", "0"), 215, "Must input parameter of type."),
    (("info", "-t", "nonsense", "-i", "0"), 0, "This device does not support querying nonsense."),
    (("info", "proc"), 0, "This device does not support querying proc info."),
])
def test_invalid_command_line_prints_the_vendors_error(node, arguments, status, words):
    done = node.npu_smi(*arguments)
    assert words in done.stdout
    assert done.returncode == status
