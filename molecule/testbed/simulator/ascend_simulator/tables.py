# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of `npu-smi info`: column formats per layout, and rendering of the device and process tables."""
from __future__ import annotations

from .record import Record


class Layout(Record):
    """One printed layout. The formats, and therefore the widths, are those of the vendor's printf calls."""

    columns: tuple[int, int, int]  # inner widths of the three boxes
    title: str
    head: tuple[str, str]          # third box of the two header rows
    first: str                     # third box: power, temperature, hugepages used, total
    second: str                    # third box: AICore, memory used, total, HBM used, total
    processes: str                 # NPU, chip, pid, name, memory[, pid in container]
    process_head: tuple[str, ...]


NARROW = Layout(
    (27, 15, 52),
    "| npu-smi {:<24} Version: {:<52} |",
    ("Power(W)    Temp(C)           Hugepages-Usage(page)", "AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        "),
    "{:<11} {:<17} {:<5}/ {:<14}",
    "{:<11} {:<5}/ {:<10} {:<5}/ {:<14}",
    "| {:<7} {:<18}| {:<13} | {:<24} | {:<24}|",
    ("NPU", "Chip", "Process id", "Process name", "Process memory(MB)"),
)
WIDE = Layout(
    (27, 15, 70),
    "| npu-smi {:<35} Version: {:<59} |",
    ("Power(W)             Temp(C)                 Hugepages-Usage(page)   ",
     "AICore(%)            Memory-Usage(MB)        HBM-Usage(MB)           "),
    "{:<20} {:<23} {:<5}/ {:<17}",
    "{:<20} {:<5}/ {:<16} {:<5}/ {:<17}",
    "| {:<7} {:<18}| {:<13} | {:<18} | {:<21} | {:<24}|",
    ("NPU", "Chip", "Process id", "Process name", "Process memory(MB)", "Process id in container"),
)


def render(layout: Layout, versions: dict, chips: list[dict]) -> str:
    """Return the complete output of `npu-smi info`.

    Each chip has the keys of the state, `hbm_used_mb` and `holders` ([(pid, name, MB)]); chips are in table order.
    """
    thin, thick, solid = (_border(layout, *characters) for characters in ("-+", "=+", "--"))
    two_chips = any(chip["chip"] for chip in chips)
    lines = [solid, layout.title.format(versions["tool"], versions["driver"]), thin]
    lines.append(_row(f"{'NPU':<5} Name", "Health", layout.head[0]))
    lines.append(_row("Chip  Phy-ID" if two_chips else "Chip", "Bus-Id", layout.head[1]))
    lines.append(thick)
    for position, chip in enumerate(chips):
        lines += _chip_rows(layout, chip, two_chips)
        same_npu = position + 1 < len(chips) and chips[position + 1]["npu"] == chip["npu"]
        lines.append(solid if same_npu else thick)
    lines += [thin, layout.processes.format(*layout.process_head), thick]
    for npu in dict.fromkeys(chip["npu"] for chip in chips):
        lines += _process_rows(layout, npu, [chip for chip in chips if chip["npu"] == npu])
        lines.append(thick)
    return "\n".join(lines) + "\n"


def _border(layout: Layout, line: str, joint: str) -> str:
    return "+" + joint.join(line * width for width in layout.columns) + "+"


def _row(first: str, second: str, third: str) -> str:
    return f"| {first:<26}| {second:<13} | {third}|"


def _chip_rows(layout: Layout, chip: dict, two_chips: bool) -> list[str]:
    power = "-" if chip["chip"] else f"{chip['power_w']:.1f}"  # the second chip of an NPU has a dash
    identity = f"{chip['chip']:<5} {chip['phy_id']}" if two_chips else str(chip["chip"])
    return [
        _row(f"{chip['npu']:<5} {chip['name']}", chip["health"],
             layout.first.format(power, chip["temperature_c"], 0, 0)),
        _row(identity, chip["bus_id"],
             layout.second.format(chip["aicore_percent"], 0, 0, chip["hbm_used_mb"], chip["hbm_total_mb"])),
    ]


def _process_rows(layout: Layout, npu: int, chips: list[dict]) -> list[str]:
    rows = [layout.processes.format(npu, chip["chip"], pid, name[:15], memory, "NA")  # NA, as on the host
            for chip in chips for pid, name, memory in chip["holders"]]
    inner = sum(layout.columns) + 2
    return rows or [f"| {f'No running processes found in NPU {npu}':<{inner - 1}}|"]
