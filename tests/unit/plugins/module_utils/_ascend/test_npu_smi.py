# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All layouts of npu-smi are parsed. The texts in npu_smi/ were written for these tests, in the vendor's format."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import npu_smi
from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_smi import ParseError, parse_blocks, parse_info
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._ascend.npu_smi_listings import (
    parse_listing,
    parse_mapping,
)

SAMPLES = Path(__file__).parent / "npu_smi"
A2, A3_WIDE, DUO, A5, A1_OLD, MAPPING, TOPO = (
    (SAMPLES / f"{name}.txt").read_text("utf-8")
    for name in ("910b", "a3_wide", "310p_duo", "950", "910a_first", "mapping", "topo"))


def chip(**values):
    """Return a chip with these values; all other fields are None."""
    fields = ("npu chip phy_id name health power_w temperature_c hugepages_used hugepages_total bus_id aicore_percent "
              "memory_used_mb memory_total_mb hbm_used_mb hbm_total_mb")
    return dict(dict.fromkeys(fields.split()), **values)


NO_PAGES = {"hugepages_used": 0, "hugepages_total": 0}
NO_DDR = {"memory_used_mb": 0, "memory_total_mb": 0}
A2_CHIPS = [
    chip(npu=0, chip=0, name="910B3", health="OK", power_w=93.4, temperature_c=41, bus_id="0000:C1:00.0",
         aicore_percent=0, hbm_used_mb=3390, hbm_total_mb=65536, **NO_PAGES, **NO_DDR),
    chip(npu=3, chip=0, name="910B3", health="Alarm", power_w=312.8, temperature_c=96, bus_id="0000:82:00.0",
         hugepages_used=16, hugepages_total=32, aicore_percent=87, hbm_used_mb=61002, hbm_total_mb=65536, **NO_DDR),
]


def process(npu, pid, name, memory, number=0, inside=None):
    return {"npu": npu, "chip": number, "pid": pid, "name": name, "memory_mb": memory, "pid_in_container": inside}


@pytest.mark.parametrize(("text", "versions", "chips", "processes"), [
    (A2, ("25.3.rc1", "25.3.rc1"), A2_CHIPS,
     [process(3, 48213, "VLLMEngineCor", 57611), process(3, 48377, "python3.11", 104)]),
    (A3_WIDE, ("26.0.rc1", "25.5.1"), [
        chip(npu=6, chip=0, phy_id=12, name="Ascend910", health="OK", power_w=171.3, temperature_c=44,
             bus_id="0000:81:00.0", aicore_percent=0, hbm_used_mb=3120, hbm_total_mb=65536, **NO_PAGES, **NO_DDR),
        chip(npu=6, chip=1, phy_id=13, name="Ascend910", health="OK", temperature_c=43,
             bus_id="0000:83:00.0", aicore_percent=0, hbm_used_mb=2871, hbm_total_mb=65536, **NO_PAGES, **NO_DDR),
    ], [process(6, 90417, "python3", 1208, number=1, inside=311)]),
    (DUO, ("25.2.0", "25.2.0"), [
        chip(npu=32768, chip=0, name="310P3", health="OK", temperature_c=38, bus_id="0000:05:00.0",
             aicore_percent=3, memory_used_mb=1622, memory_total_mb=44280, **NO_PAGES),
        chip(npu=32768, chip=1, name="310P3", health="Warning", temperature_c=39, aicore_percent=0,
             memory_used_mb=1480, memory_total_mb=43693, **NO_PAGES),
    ], []),
    (A5, ("26.0.rc1", "26.0.rc1"), [
        chip(npu=1, name="Ascend950", health="OK", power_w=231.0, temperature_c=51, bus_id="0000:92:00.0",
             hbm_used_mb=5120, hbm_total_mb=131072, **NO_PAGES, **NO_DDR),
    ], [process(1, 777, "python", None, number=None)]),
    (A1_OLD, ("20.2.0", "20.2.0"), [
        chip(npu=2, chip=0, name="910A", health="OK", power_w=66.5, temperature_c=37, bus_id="0000:42:00.0",
             aicore_percent=0, memory_used_mb=591, memory_total_mb=15307, hbm_used_mb=0, hbm_total_mb=32255),
    ], []),
], ids=["910B", "A3 wide", "310P Duo", "950", "first 910A"])
def test_table_is_parsed_in_every_layout(text, versions, chips, processes):
    parsed = parse_info(text)
    assert parsed["chips"] == chips
    assert parsed["processes"] == processes
    assert (parsed["tool_version"], parsed["driver_version"]) == versions
    assert parsed["complete"] is True


@pytest.mark.parametrize("text", [
    A2.replace("\n", "\r\n"),
    A2.replace("\n", "   \n"),
    A2.replace("\n", "\n\n"),
    "\ufeff" + A2,
    "    " + A2.replace("\n", "\n    "),
    "".join("\x1b[0m%s\x1b[K\n" % line for line in A2.splitlines()),
    A2.replace("| 0     910B3     ", "| 0\t910B3\t"),
    "root@node:~# npu-smi info | head -40\ngrep: 警告：/ 前有多余的 \\\n" + A2 + "root@node:~# npu-smi info | wc -l\n",
    A2.replace("AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)", "AICore(%) Memory-Usage(MB) HBM-Usage(MB)"),
    A2.replace("| Alarm         |", "| Alarm             |"),
    A2 + A3_WIDE,
], ids=["CR LF", "trailing blanks", "empty lines", "BOM", "indented", "colors", "tabs", "prompts with pipes",
        "header columns one blank apart", "misaligned row", "another output at the end"])
def test_noise_does_not_change_the_result(text):
    assert parse_info(text) == parse_info(A2)
    assert parse_info(text)["chips"] == A2_CHIPS


@pytest.mark.parametrize(("text", "complete", "chips"), [
    ("".join(A2.splitlines(True)[:12]), True, A2_CHIPS),
    ("".join(A2.splitlines(True)[3:]), True, A2_CHIPS),
    ("".join(A2.splitlines(True)[:11]), False, A2_CHIPS),
    ("".join(A2.splitlines(True)[:10]), False, A2_CHIPS[:1]),
    ("".join(A2.splitlines(True)[:10]) + "| 0                         | 0000:82:00.0  | 8", False, A2_CHIPS[:1]),
    ("".join(A2.splitlines(True)[:10]) + "| 0                         | 0000:82:00.0  |", False, A2_CHIPS[:1]),
    ("".join(A2.splitlines(True)[6:]), False, A2_CHIPS),
    ("".join(A2.splitlines(True)[7:]), False, A2_CHIPS[1:]),
    (A2[A2.index("| OK "):], False, A2_CHIPS[1:]),
    (A2.replace(A2.splitlines(True)[9] + A2.splitlines(True)[10], "......\n"), False, A2_CHIPS[:1]),
    (A2.replace(A2.splitlines(True)[10], ""), False, A2_CHIPS[:1]),
    ("".join(A2.splitlines(True)[:17]), True, A2_CHIPS),
], ids=["no process table", "no title", "no last border", "second row missing at the end", "second row truncated",
        "second row truncated at a bar", "no header", "starts at a second row", "starts within a row",
        "rows omitted", "second row missing in the middle", "process table truncated"])
def test_complete_rows_of_an_incomplete_table_are_read(text, complete, chips):
    parsed = parse_info(text)
    assert parsed["complete"] is complete
    assert parsed["chips"] == chips


def test_inner_divider_at_the_end_means_that_chips_are_missing():
    parsed = parse_info("".join(A3_WIDE.splitlines(True)[:9]))
    assert len(parsed["chips"]) == 1
    assert parsed["complete"] is False


def test_a3_physical_ids_are_read_without_a_header():
    parsed = parse_info("".join(A3_WIDE.splitlines(True)[6:11]))
    assert [each["phy_id"] for each in parsed["chips"]] == [12, 13]
    assert parsed["complete"] is False


def test_310p_device_is_not_read_as_a_physical_id_without_a_header():
    parsed = parse_info("".join(DUO.splitlines(True)[6:]))
    assert [each["phy_id"] for each in parsed["chips"]] == [None, None]
    assert [each["hbm_total_mb"] for each in parsed["chips"]] == [None, None]


def test_blank_cell_is_identified_by_the_position_of_its_header():
    parsed = parse_info(A2.replace("| 93.4        41  ", "|             41  "))
    assert parsed["chips"][0] == dict(A2_CHIPS[0], power_w=None)
    parsed = parse_info(A2.replace("| 0     910B3 ", "| 0           "))
    assert parsed["chips"][0] == dict(A2_CHIPS[0], name=None)


def test_truncated_process_row_is_omitted():
    truncated = A2[:A2.index("48377") + 3]
    assert parse_info(truncated)["processes"] == [process(3, 48213, "VLLMEngineCor", 57611)]


@pytest.mark.parametrize(("text", "message", "code"), [
    ("DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n",
     "dcmi module initialize failed. ret is -8005", -8005),
    ("dcmi model initialized failed, because the device is used. ret is -8020",
     "dcmi model initialized failed, because the device is used. ret is -8020", -8020),
    ("npu-smi: error while loading shared libraries: libdrvdsmi_host.so: cannot open shared object file",
     "npu-smi: error while loading shared libraries: libdrvdsmi_host.so: cannot open shared object file", None),
    ("root@node:~# npu-smi info\nbash: npu-smi: 未找到命令\n", "bash: npu-smi: 未找到命令", None),
])
def test_tool_error_is_returned(text, message, code):
    assert parse_info(text) == {"error": {"message": message, "code": code}, "tool_version": None,
                                "driver_version": None, "complete": False, "chips": [], "processes": []}


@pytest.mark.parametrize(("text", "line"), [
    ("", ""),
    ("all is well\n", "all is well"),
    ("| nothing here |\n", "| nothing here |"),
    (A2.replace("3390 / 65536", "3390 . 65536"), "3390 . 65536"),
    (A2.replace("93.4        41 ", "93.4        4I "), "4I"),
    (A2.replace("| OK            |", "| 0K            |"), "0K"),
    (A2.replace("0000:C1:00.0", "0000:G1:00.0"), "0000:G1:00.0"),
    (A2.replace("| 0                         | 0000:C1", "  0                         | 0000:C1"), "0000:C1"),
    (A2.replace("3390 / 65536         |", "3390 / 6553"), "3390 / 6553"),
    (A2.replace("| 3     910B3", "| 0     910B3"), "0000:82:00.0"),
    (A2.replace("| 3       0 ", "| 3         "), "48213"),
    (A2.replace("| No running processes found in NPU 0 ", "| Failed to query the processes of NPU 0 "), "Failed"),
], ids=["empty", "prose", "foreign table", "no slash", "letter in a number", "digit in a word", "bus id",
        "left border missing", "row truncated in the middle", "chip twice", "process without chip",
        "unknown process line"])
def test_error_quotes_the_line_that_does_not_fit_the_layout(text, line):
    with pytest.raises(ParseError) as raised:
        parse_info(text)
    assert line in raised.value.line


def rows(*pairs):
    return "".join("\t%-30s : %s\n" % pair if pair else "\n" for pair in pairs)


NPU_4 = (("NPU ID", "4"), ("Chip Count", "1"))


@pytest.mark.parametrize(("text", "kind", "blocks"), [
    (rows(*NPU_4, None, ("HBM Single Bit Isolated Pages Count", "17"), ("Chip ID", "0")), "ecc",
     [{"NPU ID": "4", "Chip Count": "1", "HBM Single Bit Isolated Pages Count": "17", "Chip ID": "0"}]),
    (rows(("Health Status", "OK"), ("Error Code", "NA")), "health", [{"Health Status": "OK", "Error Code": "NA"}]),
    (rows(("Health Status", "Alarm"), ("Error Code", "80E18401 8C084E00"), ("Error Information", "page isolated"),
          None, ("", "node type=adda"), None, ("", "sensor type=Heartbeat")), "health",
     [{"Health Status": "Alarm", "Error Code": "80E18401 8C084E00",
       "Error Information": "page isolated\nnode type=adda\nsensor type=Heartbeat"}]),
    (rows(*NPU_4, None, ("Chip ID", "0"), ("Aicore Count", "20"), ("Temperature(C)", "50"), None,
          ("Chip Name", "mcu"), ("Temperature(C)", "41")), "common",
     [{"NPU ID": "4", "Chip Count": "1", "Chip ID": "0", "Aicore Count": "20", "Temperature(C)": "50"},
      {"Chip Name": "mcu", "Temperature(C)": "41"}]),
    (rows(("NPU ID", "0"), ("Chip Count", "2"), None, ("HBM Usage Rate(%)", "3"), ("Chip ID", "0"), None,
          ("HBM Usage Rate(%)", "4"), ("Chip ID", "1")), "usages",
     [{"NPU ID": "0", "Chip Count": "2", "HBM Usage Rate(%)": "3", "Chip ID": "0"},
      {"HBM Usage Rate(%)": "4", "Chip ID": "1"}]),
    # print_diagnosis_info in npu_info_print.c of github.com/hicann/driver
    ("\tHealth Status : Alarm\n\tError Code                     : 80E01801\n\tError Information              :"
     "Failed to get error information for error code : 0x80e01801\n", "health",
     [{"Health Status": "Alarm", "Error Code": "80E01801", "Error Information":
       "Failed to get error information for error code : 0x80e01801"}]),
    (rows(("NPU ID", "0"), ("Software Version", "25.5.1"), ("PCIe Bus Info", "0000:C1:00.0")), "board",
     [{"NPU ID": "0", "Software Version": "25.5.1", "PCIe Bus Info": "0000:C1:00.0"}]),
    (rows(*NPU_4, None, ("NPU Temperature (C)", "39"), ("Chip ID", "0")), "temp",
     [{"NPU ID": "4", "Chip Count": "1", "NPU Temperature (C)": "39", "Chip ID": "0"}]),
    (rows(*NPU_4, None, ("NPU Real-time Power(W)", "99.1"), ("Chip ID", "0")), "power",
     [{"NPU ID": "4", "Chip Count": "1", "NPU Real-time Power(W)": "99.1", "Chip ID": "0"}]),
    (rows(("NPU ID", "0"), ("HBM Capacity(MB)", "65536"), ("HBM Clock Speed(MHz)", "1600"),
          ("HBM Temperature(C)", "40")), "other",
     [{"NPU ID": "0", "HBM Capacity(MB)": "65536", "HBM Clock Speed(MHz)": "1600", "HBM Temperature(C)": "40"}]),
    ("npu-smi info -t health -i 0 -c 0\n" + rows(("Health Status", "OK")) +
     "npu-smi info -t health -i 1 -c 0\n" + rows(("Health Status", "Warning")), "health",
     [{"Health Status": "OK"}, {"Health Status": "Warning"}]),
    ("Usage: npu-smi info [Options...]\n", "other", []),
])
def test_listing_is_parsed_into_blocks(text, kind, blocks):
    assert parse_blocks(text) == blocks
    assert parse_listing(text) == {"type": kind, "blocks": blocks}


def test_list_of_npus_is_parsed():
    text = rows(("Total Count", "2"), None, *NPU_4, None, ("NPU ID", "5"), ("Chip Count", "1"))
    assert parse_listing(text) == {
        "type": "list", "header": {"Total Count": "2"},
        "blocks": [{"NPU ID": "4", "Chip Count": "1"}, {"NPU ID": "5", "Chip Count": "1"}]}


@pytest.mark.parametrize("message", [
    "This device does not support querying ecc.", "Invalid card id.", "dcmi module initialize failed. ret is -8005"])
def test_error_message_instead_of_a_listing_is_returned(message):
    text = message + "\nUsage: npu-smi info <watch|-t type>\n"
    assert parse_blocks(text) == []
    parsed = parse_listing(text)
    assert parsed["error"]["message"] == message
    assert parsed["blocks"] == []


def test_empty_text_is_an_error():
    with pytest.raises(ParseError):
        parse_blocks("\n")


def test_mapping_is_parsed():
    assert parse_mapping(MAPPING) == {"type": "mapping", "blocks": [
        {"NPU ID": "0", "Chip ID": "0", "Chip Logic ID": "0", "Chip Name": "Ascend 910B3"},
        {"NPU ID": "0", "Chip ID": "1", "Chip Logic ID": "-", "Chip Name": "Mcu"},
    ]}


@pytest.mark.parametrize("text", ["", "Invalid card id.\n", MAPPING.replace("\t0      ", "\t0   0  ", 1)])
def test_text_without_a_mapping_is_an_error(text):
    with pytest.raises(ParseError):
        parse_mapping(text)


def test_topology_is_parsed():
    blocks = [{"": "NPU0", "NPU0": "X", "NPU1": "HCCS", "CPU Affinity": "0-23"},
              {"": "NPU1", "NPU0": "HCCS", "NPU1": "X", "CPU Affinity": "24-47,96-119"}]
    assert parse_listing(TOPO) == {"type": "topo", "blocks": blocks}
    blocks[0].pop("CPU Affinity")
    assert parse_listing(TOPO.replace("0-23", "")) == {"type": "topo", "blocks": blocks}
    with pytest.raises(ParseError):
        parse_listing(TOPO.replace("0-23", "0 - 23"))


@pytest.mark.parametrize("text", ["-", "--", "NA"])
def test_placeholders_are_not_values(text):
    assert npu_smi._value("Process name", text) == {"process": None}
