# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of the simulator has the format of real output. These tests need a corpus of real output."""

from __future__ import annotations

import json
import re

import pytest
from ascend_simulator import npu_smi, tables
from ascend_simulator import state as node_state

SIMULATED_SERIES = ("24.1", "25.", "26.")


def table_lines(text: str) -> list[str]:
    """Return the lines of the table in pasted terminal output, without prompts, noise and truncated lines."""
    return [line.rstrip() for line in text.splitlines() if re.fullmatch(r"[+|].*[+|]", line.rstrip())]


def info_samples(folder) -> list[tuple[str, list[str], dict]]:
    """Return (name, table lines, labels) of each sample with a simulated layout and without omissions or edits."""
    found = []
    for path in sorted(folder.glob("npu-smi-info/*.txt")):
        text = path.read_text(encoding="utf-8")
        label = json.loads(path.with_suffix(".expected.json").read_text(encoding="utf-8"))
        simulated = (label.get("tool_version") or SIMULATED_SERIES[0]).startswith(SIMULATED_SERIES)
        lines = table_lines(text)
        comparable = "HBM-Usage(MB)" in text and "NPU ID" not in text and "..." not in text and "mcdoc" not in path.name
        if simulated and comparable and label["chips"]:
            found.append((path.name, lines, label))
    return found


def device_rows(lines: list[str]) -> list[str]:
    """Return a truncated table without its process table, and without a last border that no chip follows."""
    end = next((number - 1 for number, line in enumerate(lines) if "Process id" in line), len(lines))
    return lines[:end - 1] if lines[end - 1].startswith("+-") else lines[:end]


def rendered(label: dict, lines: list[str]) -> list[str]:
    """Return the simulator's table of the labeled values, in the layout of the sample."""
    chips = [{**chip, "hugepages_used": 0, "power_w": chip["power_w"] or 0.0,
              "holders": [(process["pid"], process["name"], process["memory_mb"]) for process in label["processes"]
                          if (process["npu"], process["chip"]) == (chip["npu"], chip["chip"])]}
             for chip in label["chips"]]
    layout = tables.WIDE if len(lines[0]) == 116 else tables.NARROW
    versions = {"tool": label["tool_version"] or "", "driver": label["driver_version"] or ""}
    return tables.render(layout, versions, chips).splitlines()


def test_info_tables_are_identical_to_the_vendors(corpus):
    samples = info_samples(corpus)
    for name, lines, label in samples:
        printed = rendered(label, lines)
        if not label["complete"]:
            lines = device_rows(lines)
        assert any(printed[at:at + len(lines)] == lines for at in range(len(printed))), difference(name, lines, printed)
    layouts = {(len(lines[0]), any(chip["chip"] for chip in label["chips"])) for _name, lines, label in samples}
    assert layouts == {(98, False), (98, True), (116, False), (116, True)}, "no sample has one of the layouts"


def difference(name: str, lines: list[str], simulated: list[str]) -> str:
    unknown = [line for line in lines if line not in simulated]
    return f"{name}: not printed by the simulator:\n" + "\n".join(unknown or ["(order)"])


# Blocks of `key : value` lines: keys, columns of the colons, and kinds of values are compared.

BLOCKS = [
    ("11-board-910a", None, ("board",)),
    ("56-board-910b-25.5.1", "25.5.1", ("board",)),
    ("09-board-chip-910a", "25.5.1", ("board", "-c", "0")),
    ("13-health-ok-tab", "25.5.1", ("health", "-c", "0")),
    ("15-health-alarm-multi-error", "25.5.1", ("health", "-c", "0")),
    ("10-usages-910a", None, ("usages",)),
    ("44-usages-910b1", "24.1.0.3", ("usages",)),
    ("55-usages", "25.5.1", ("usages",)),
    ("45-common-910b1-with-mcu", "25.5.1", ("common",)),
    ("01-ecc-23.0.5-910a", "24.1.0.3", ("ecc",)),
    ("57-temp-910b-with-mcu", "25.5.1", ("temp",)),
    ("58-power-910b", "25.5.1", ("power",)),
]


def kind(value: str) -> str:
    """Return the kind of a value: number, hexadecimal, bus …, or text."""
    for name, pattern in (("number", r"-?\d+(\.\d+)?"), ("hexadecimal", r"0x[0-9A-Fa-f]+"),
                          ("bus", r"[0-9A-F]{4}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-9A-F]"), ("dies", r"([0-9A-F]{8} ?){2,}"),
                          ("version", r"\d+(\.(rc)?\d+)+"), ("NA", "NA")):
        if re.fullmatch(pattern, value, re.IGNORECASE):
            return name
    return "text"


def block_shape(text: str) -> list[tuple]:
    lines = [line.strip(" \t\n") if not re.match(r"\s+:", line) else ":" + line.split(":", 1)[1]
             for line in text.rstrip().splitlines() if "npu-smi" not in line]
    return [(line.split(" : ")[0].rstrip(), line.find(" : "), kind(line.split(" : ")[-1])) if " : " in line
            else line[:1] for line in lines]


@pytest.mark.parametrize(("sample", "generation", "arguments"), BLOCKS)
def test_blocks_have_the_vendors_format(corpus, make_node, sample, generation, arguments):
    paths = list(corpus.glob(f"npu-smi-other/{sample}*.txt"))
    if not paths:
        pytest.skip(f"the corpus has no sample {sample}")
    real = block_shape(paths[0].read_text(encoding="utf-8"))
    node = make_node(generation or "24.1.0.3")
    if "alarm" in sample:
        node.fault("set", "npu=0", "health=Alarm", "code=0xA4025021,0x8C03A000,0x8C084E00")
    simulated = block_shape(node.npu_smi("info", "-t", arguments[0], "-i", "0", *arguments[1:]).stdout)
    if generation is None:  # another chip: the simulator prints the keys of the sample in their order, and more keys
        assert [row for row in simulated if row[:2] in {other[:2] for other in real}] == real
    else:
        assert simulated == real


def test_mapping_and_topology_have_the_vendors_columns(corpus, node):
    def columns(text: str) -> list[list[int]]:
        return [[match.start() for match in re.finditer(r"\S+( \S+)*", line.expandtabs(8))]
                for line in text.splitlines()]

    real = (corpus / "npu-smi-other/08-m-910a-x8.txt").read_text(encoding="utf-8")
    simulated = node.npu_smi("info", "-m").stdout
    assert columns(simulated)[0] == columns(real)[0]
    assert simulated.splitlines()[0].rstrip() == real.splitlines()[0].rstrip()
    assert columns(simulated)[1::2] == columns(real)[1:]  # the sample has no lines for microcontrollers (Mcu)
    real = (corpus / "npu-smi-other/47-topo-8x-hccs-swift.txt").read_text(encoding="utf-8").split("\n", 1)[1]
    simulated = node.npu_smi("info", "-t", "topo").stdout
    assert re.sub(r"\d+-\d+", "", simulated).rstrip() == re.sub(r"\d+-\d+", "", real).rstrip()


# hccn_tool: lines are compared without their numbers.

HCCN_SAMPLES = [
    ("03-link-up", "25.5.1", "link", []),
    ("25-950doc-link-down", "25.5.1", "link", ["link=down"]),
    ("41-net_health-success", "25.5.1", "net_health", []),
    ("02-net_health-init", "25.5.1", "net_health", ["netdetect=none"]),
    ("07-net_health-socket-failed", "24.1.0.3", "net_health", ["net_health=Socket fail"]),
    ("10-ip-get", "25.5.1", "ip", []),
    ("42-netdetect", "25.5.1", "netdetect", []),
    ("43-gateway-8dev", "25.5.1", "gateway", []),
    ("05-fec-rs", "25.5.1", "fec", []),
    ("08-fec-none", "25.5.1", "fec", ["fec=no FEC mode"]),
    ("30-950doc-vnic-up", "25.5.1", "vnic", []),
    ("15-tls-switch-mismatch", "25.5.1", "tls", ["tls=1"]),
    ("16-link_stat-with-down-count", "25.5.1", "link_stat", []),
    ("11-link_stat-flap", "24.1.0.3", "link_stat", []),
    ("12-stat-short", "25.5.1", "stat", []),
    ("09-optical-4lane", "24.1.0.3", "optical", ["optics=absent"]),
    ("34-lldp-elided", "25.5.1", "lldp", []),
    ("39-lldp-ifname", "25.5.1", "lldp", []),
    ("46-status-netdev-full-200G", "25.5.1", "status", []),
    ("47-route-table", "25.5.1", "route", []),
]
FREE_TEXT = re.compile(  # site-specific, not part of the format
    r"^(vendor (name|part number)|manufact|xsfp)|end3v0|MAC: |base\w+/Full|Port: |Platform|VRP|Huarong|^$")


REPLACEMENTS = (  # in this order: the last one would hide the number of decimal places
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3}\b", "Day Month"),
    (r"0x[0-9a-f]+|V8BD6H\d+|TB\d+S\d+", "<id>"),
    (r"\b\w+\.\w+\.\w+\.\w+\b", "<address>"),
    (r"\d+\.(\d{4,6})(?![\d.])", lambda match: "<decimal, %d places>" % len(match[1])),
    (r"\d+", "<n>"),
)


def line_shapes(text: str) -> set[str]:
    """Return lines with numbers and addresses replaced, without commands, omissions and names chosen by a site."""
    shapes = set()
    for line in text.splitlines():
        bare = re.sub(r"\s+", " ", line).strip()
        if re.match(r"[#$] ?|\.\.\.$", bare) or FREE_TEXT.search(bare):
            continue
        for pattern, replacement in REPLACEMENTS:
            bare = re.sub(pattern, replacement, bare)
        shapes.add(bare)
    return shapes


@pytest.mark.parametrize(("sample", "generation", "query", "words"), HCCN_SAMPLES)
def test_hccn_output_has_the_vendors_format(corpus, make_node, sample, generation, query, words):
    paths = list(corpus.glob(f"hccn_tool/{sample}*.txt"))
    if not paths:
        pytest.skip(f"the corpus has no sample {sample}")
    node = make_node(generation)
    if words:
        node.fault("set", "npu=0", *words)
    real = line_shapes(paths[0].read_text(encoding="utf-8"))
    simulated = line_shapes(node.hccn(0, query).stdout)
    assert real, "nothing is left of the sample"
    assert real <= simulated


def test_ping_has_the_vendors_format(corpus, node, monkeypatch, capsys):
    from ascend_simulator import hccn_tool, npu_network

    real = {sample: line_shapes(next(corpus.glob(f"hccn_tool/{sample}*.txt")).read_text(encoding="utf-8"))
            for sample in ("36-ping-ok", "48-ping-lost")}
    for sample, times in (("36-ping-ok", [1.418, 0.034, 0.04]), ("48-ping-lost", [None, 0.097, 0.066])):
        monkeypatch.setattr(npu_network, "ping", lambda *_arguments, times=times: times)
        hccn_tool.main(["hccn_tool", "-i", "0", "-ping", "-g", "address", "10.78.0.12"], str(node.root))
        simulated = line_shapes(capsys.readouterr().out)
        assert {shape.replace("seq=O", "seq=<n>") for shape in real[sample]} <= simulated


@pytest.mark.parametrize(("sample", "path"), [
    ("16-driver-version.info", "usr/local/Ascend/driver/version.info"),
    ("02-firmware-version.info", "usr/local/Ascend/firmware/version.info"),
    ("15-hccn.conf", "etc/hccn.conf"),
    ("14-hccn.conf", "etc/hccn.conf"),
    ("25-ascend_install.info", "etc/ascend_install.info"),
])
def test_files_have_the_vendors_keys_in_order(corpus, node, sample, path):
    real = re.findall(r"^(\w+)=", next(corpus.glob(f"files/{sample}*.txt")).read_text(encoding="utf-8"), re.MULTILINE)
    simulated = re.findall(r"^(\w+)=", node.read(path), re.MULTILINE)
    assert [key for key in simulated if key in real] == real


def test_errors_are_identical_to_the_vendors(corpus):
    real = {path.read_text(encoding="utf-8").strip() for path in corpus.glob("npu-smi-info/*-err-*.txt")}
    simulated = {failure.stdout.strip() for failure in npu_smi.FAILURES.values() if failure.stdout}
    assert simulated == {text for text in real if text.startswith("DrvMng")}


def test_state_defaults_look_like_an_idle_chip_of_the_corpus(corpus):
    idle = [chip["hbm_used_mb"] for _name, _lines, label in info_samples(corpus) for chip in label["chips"]
            if chip["name"].startswith("910B") and chip["hbm_total_mb"] == 65536 and not label["processes"]
            and chip["hbm_used_mb"] < 4096]
    chips = node_state.new_state("25.3.rc1", "atlas_800_a2", 8, 1)["chips"]
    assert min(idle) - 100 < min(chip["hbm_idle_mb"] for chip in chips)
    assert max(chip["hbm_idle_mb"] for chip in chips) < max(idle) + 100
