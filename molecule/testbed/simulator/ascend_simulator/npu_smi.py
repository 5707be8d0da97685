# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""npu-smi: the subcommand `info` with its queries, in the vendor's formats."""
from __future__ import annotations

import sys

from . import holders, tables
from . import state as node_state
from .hardware import HARDWARE, series_of
from .tool import Failure, ToolError, finish, missing_library, start

_INVALID_PARAMETER = -9001 & 0xFF
_INNER_ERROR = -9005 & 0xFF
_USAGE = "Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n"
_MAIN_USAGE = "Usage: npu-smi <Command|-h|-v> [Options...]\n"

FAILURES = {
    "dcmi-8005": Failure(-8005 & 0xFF, "DrvMngGetConsoleLogLevel failed. (ret=4)\n"
                                       "dcmi module initialize failed. ret is -8005\n"),
    "dcmi-8020": Failure(-8020 & 0xFF, "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
                                       "dcmi model initialized failed, because the device is used. ret is -8020\n"),
    "library": missing_library("npu-smi"),
}

# Texts of the vendor's library for error codes; all other codes get _UNKNOWN_ERROR.
ERROR_INFORMATION = {
    "80E01801": "node type=HBM, sensor type=Memory, event state=Multi-bit ECC error.",
    "80C98000": "node type=L2BUFF, sensor type=Memory, event state=Multi-bit ECC error.",
    "80CD8008": "node type=AI Core, sensor type=Heartbeat Sensor, event state=Heartbeat Lost.",
    "81078603": "node type=RoCE, sensor type=Link Sensor, event state=Link down.",
    "8C084E00": "node type=process-manager, sensor type=General Software, event state=Abnormal exit.",
}
_UNKNOWN_ERROR = "node type=SoC, sensor type=NA, event state=Abnormal."

_TOPOLOGY_LEGEND = (
    ("X", "Self"),
    ("SYS", "Path traversing PCIe and NUMA nodes. Nodes are connected through SMP, such as QPI, UPI."),
    ("PHB", "Path traversing PCIe and the PCIe host bridge of a CPU."),
    ("PIX", "Path traversing a single PCIe switch"),
    ("PXB", "Path traversing multiple PCIe switches"),
    ("HCCS", "Connection traversing HCCS."),
    ("NA", "Unknown relationship."),
)


def main(argv: list[str], root: str = "/") -> int:
    """Run one command line with the state under `root`; return the exit code."""
    try:
        sys.stdout.write(output(argv[1:], root))
    except ToolError as error:
        return finish(error.failure)
    return 0


def output(arguments: list[str], root: str) -> str:
    """Return the standard output of npu-smi; raise ToolError if npu-smi fails."""
    if not arguments:
        raise ToolError(Failure(_INVALID_PARAMETER, _MAIN_USAGE))
    state = node_state.load(root)
    start("npu-smi", state, FAILURES)
    if arguments[0] in ("-h", "--help"):
        return _MAIN_USAGE
    if arguments[0] == "-v":
        return f"npu-smi version: {state['versions']['tool']}\n"
    if arguments[0] != "info":
        raise ToolError(Failure(_INNER_ERROR, "Command or option is not found.\n" + _MAIN_USAGE))
    if len(arguments) == 1:
        layout = tables.WIDE if _series(state).wide else tables.NARROW
        return tables.render(layout, state["versions"], _observed(state, root))
    return _query(_parse(arguments[1:], state), state, root)


def _series(state: dict):
    return series_of(state["setup"]["generation"])


def _hardware(state: dict):
    return HARDWARE[state["setup"]["hardware"]]


def _parse(arguments: list[str], state: dict) -> dict[str, str]:
    """Return {option: value}. Raise the vendor's error for an unknown option, a missing value or a wrong value."""
    if arguments[0] in ("-h", "--help"):
        return {"-h": ""}
    if arguments[0] == "proc":
        raise ToolError(Failure(0, "This device does not support querying proc info.\n"))
    options: dict[str, str] = {}
    position = 0
    while position < len(arguments):
        option = arguments[position]
        if option in ("-m", "-l"):
            options[option] = ""
            position += 1
            continue
        value = arguments[position + 1] if position + 1 < len(arguments) else ""
        problem = _problem(option, value, options, state)
        if problem is not None:
            raise ToolError(Failure(_INVALID_PARAMETER, f"{problem}Error parameter of {option}\n{_USAGE}"))
        options[option] = value
        position += 2
    return options


def _problem(option: str, value: str, options: dict[str, str], state: dict) -> str | None:
    """Return None if the option is valid, otherwise the text that the real tool prints before `Error parameter of`."""
    chips = [chip for chip in state["chips"] if chip["present"]]
    if option == "-t" and value:
        return None
    if option == "-i":
        return None if any(value == str(chip["npu"]) for chip in chips) else "Invalid card id.\n"
    if option == "-c":
        of_card = [chip for chip in chips if options.get("-i", str(chip["npu"])) == str(chip["npu"])]
        known = {str(chip["chip"]) for chip in of_card} | {str(_hardware(state).chips_per_npu)}  # the last is the MCU
        return None if value in known else "Invalid chip id.\n"
    return ""


def _query(options: dict[str, str], state: dict, root: str) -> str:
    if "-h" in options:
        return _USAGE
    if "-m" in options:
        return _mapping(state)
    if "-l" in options:
        return _list(state)
    kind = options.get("-t")
    if kind is None:
        raise ToolError(Failure(_INVALID_PARAMETER, "Must input parameter of type.\n" + _USAGE))
    if kind == "topo":
        return _topology(state)
    if kind not in _CHIP_QUERIES and kind != "board":
        return f"This device does not support querying {kind}.\n"
    if "-i" not in options:
        raise ToolError(Failure(_INVALID_PARAMETER, "\nThis command must input card id.\n\n" + _USAGE))
    chips = [chip for chip in _observed(state, root) if str(chip["npu"]) == options["-i"]]
    if "-c" not in options:
        return _card_board(state, chips) if kind == "board" else _card_query(kind, state, chips)
    if options["-c"] == str(_hardware(state).chips_per_npu):
        return f"This device does not support querying {kind}.\n"
    chip = next(chip for chip in chips if str(chip["chip"]) == options["-c"])
    if kind == "board":
        return _lines(_chip_board(state, chip))
    if kind == "health":
        return _diagnosis(chip)
    return _lines(_CHIP_QUERIES[kind](state, chip), _width(kind))


def _observed(state: dict, root: str) -> list[dict]:
    """Return the chips that are present, with their processes and the HBM in use."""
    used_by = holders.find(root)
    return [{**chip, **_load(chip, used_by.get(chip["phy_id"], []))} for chip in state["chips"] if chip["present"]]


def _load(chip: dict, processes: list[tuple[int, str]]) -> dict:
    static = [(process["pid"], process["name"], process["memory_mb"]) for process in chip["processes"]]
    used = chip["hbm_idle_mb"] + chip["hbm_extra_mb"] + sum(memory for _pid, _name, memory in static)
    free = max(0, chip["hbm_total_mb"] - used)
    share = min(chip["process_memory_mb"], free // len(processes)) if processes else 0
    found = static + [(pid, name, share) for pid, name in processes]
    return {"holders": found, "hbm_used_mb": min(chip["hbm_total_mb"], used + share * len(processes))}


def _lines(pairs: list[tuple[str, object]], width: int = 30) -> str:
    return "".join(f"\t{key:<{width}} : {value}\n" for key, value in pairs)


def _width(kind: str) -> int:
    return 40 if kind == "ecc" else 30


# -m, -l, -t topo: all NPUs at once

def _mapping(state: dict) -> str:
    two_chips = _hardware(state).chips_per_npu > 1
    header = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if two_chips else []), "Chip Name"]
    rows = ["\t" + " ".join(f"{cell:<30}" for cell in header)]
    present = [chip for chip in state["chips"] if chip["present"]]
    for logic_id, chip in enumerate(present):
        cells = [chip["npu"], chip["chip"], logic_id, *([chip["phy_id"]] if two_chips else [])]
        name = _hardware(state).mapping_name.replace(_hardware(state).chip_name, chip["name"])
        rows.append("\t" + " ".join(f"{cell:<30}" for cell in cells) + f" {name}")
        if chip["chip"] == _hardware(state).chips_per_npu - 1:  # the board controller follows the NPU's last chip
            cells = [chip["npu"], _hardware(state).chips_per_npu, "-", *(["-"] if two_chips else []), "Mcu"]
            rows.append("\t" + " ".join(f"{cell:<30}" for cell in cells))
    return "\n".join(rows) + "\n"


def _list(state: dict) -> str:
    npus = list(dict.fromkeys(chip["npu"] for chip in state["chips"] if chip["present"]))
    if not npus:
        return "There is no NPU card on this server.\n"
    blocks = [_lines([("NPU ID", npu), ("Chip Count", _hardware(state).chips_per_npu)]) for npu in npus]
    return "\n".join([_lines([("Total Count", len(npus))]), *blocks]) + "\n"


def _topology(state: dict) -> str:
    numbers = [chip["phy_id"] for chip in state["chips"] if chip["present"]]
    names = [f"NPU{number}" for number in numbers]
    lines = ["\t   " + "".join(f"{cell:<11}" for cell in [*names, "CPU Affinity"]).rstrip()]
    for number, name in zip(numbers, names):
        links = ["X" if other == name else "HCCS" for other in names]
        cpus = 24 * ((6, 6, 4, 4, 0, 0, 2, 2)[number % 8])
        lines.append("".join(f"{cell:<11}" for cell in [name, *links]) + f"{cpus}-{cpus + 23}")
    lines += ["", "Legend:", "", *(f"  {key:<4} = {text}" for key, text in _TOPOLOGY_LEGEND)]
    return "\n".join(lines) + "\n"


# -t KIND -i NPU [-c CHIP]

def _card_query(kind: str, state: dict, chips: list[dict]) -> str:
    """Return the output of a query for all chips of an NPU, and for its board controller if it supports the query."""
    width = _width(kind)
    header = [("NPU ID", chips[0]["npu"]), ("Chip Count", len(chips))]
    if kind == "product":
        return _lines(_product(state, chips[0]))
    if kind == "common":
        blocks = [_lines([("Chip ID", chip["chip"]), *_common(state, chip)]) for chip in chips]
        controller = [("Chip Name", "mcu"), ("Temperature(C)", _board_temp(chips))]
        return "\n".join([_lines(header), *blocks, _lines(controller)])
    blocks = [_lines([*_CHIP_QUERIES[kind](state, chip), ("Chip ID", chip["chip"])], width) for chip in chips]
    if kind in _MCU_QUERIES:
        blocks.append(_lines([*_MCU_QUERIES[kind](chips), ("Chip Name", "MCU")]))
    return "\n".join([_lines(header, width), *blocks]) + "\n"


def _board_temp(chips: list[dict]) -> int:
    return chips[0]["temperature_c"] - 6


def _card_board(state: dict, chips: list[dict]) -> str:
    chip, versions, hardware = chips[0], state["versions"], _hardware(state)
    return _lines([
        ("NPU ID", chip["npu"]),
        ("Product Name", hardware.product_name),
        ("Model", "NA"),
        ("Manufacturer", "Huawei"),
        ("Serial Number", chip["serial"]),
        ("Software Version", versions["driver"]),
        ("Firmware Version", versions["firmware"]),
        ("Compatibility", "OK" if versions["driver_package"] == versions["firmware_package"] else "NOK"),
        ("Board ID", "0x60"),
        ("PCB ID", "A"),
        ("BOM ID", 1),
        ("PCIe Bus Info", chip["bus_id"]),
        ("Slot ID", 0),
        ("Class ID", "NA"),
        ("PCI Vendor ID", "0x19E5"),
        ("PCI Device ID", hardware.pci_device),
        ("Subsystem Vendor ID", "0x19E5"),
        ("Subsystem Device ID", "0x3003"),
        ("Chip Count", len(chips)),
    ])


def _chip_board(state: dict, chip: dict) -> list[tuple[str, object]]:
    die = " ".join(f"{(chip['phy_id'] + 1) * 0x1F2E3D4C * step & 0xFFFFFFFF:08X}" for step in (3, 5, 7, 11, 13))
    two_chips = _hardware(state).chips_per_npu > 1
    return [
        ("NPU ID", chip["npu"]),
        *([("NPU Name", "NA"), ("Chip ID", chip["chip"])] if two_chips
          else [("Chip ID", chip["chip"]), ("Chip Type", "Ascend")]),
        ("Chip Name", chip["name"]),
        ("Chip Version", "V1"),
        ("Board ID", "0x60"),
        ("PCB ID", "NA"),
        ("BOM ID", 1),
        ("VDie ID", die),
        ("NDie ID", die[::-1]),
        ("Chip Position ID", chip["chip"]),
        ("PCIe Bus Info", chip["bus_id"]),
        ("Firmware Version", state["versions"]["firmware"]),
    ]


def _diagnosis(chip: dict) -> str:
    codes = [code.upper().removeprefix("0X") for code in chip["error_codes"]]
    texts = [ERROR_INFORMATION.get(code, _UNKNOWN_ERROR) for code in codes] or ["NA"]
    more = "".join("\n" + _lines([("", text)]) for text in texts[1:])
    return _lines([("Health Status", chip["health"]), ("Error Code", " ".join(codes) or "NA"),
                   ("Error Information", texts[0])]) + more


def _health(_state: dict, chip: dict) -> list[tuple[str, object]]:
    return [("Health", chip["health"])]


def _ecc(state: dict, chip: dict) -> list[tuple[str, object]]:
    def rows(memory: str, counts: dict) -> list[tuple[str, object]]:
        return [(f"{memory} {label}", counts[key]) for label, key in (
            ("Single Bit Error Count", "single_bit_errors"),
            ("Double Bit Error Count", "double_bit_errors"),
            ("Single Bit Aggregate Total Err Cnt", "single_bit_total"),
            ("Double Bit Aggregate Total Err Cnt", "double_bit_total"),
            ("Single Bit Isolated Pages Count", "single_bit_isolated_pages"),
            ("Double Bit Isolated Pages Count", "double_bit_isolated_pages"))]
    if _series(state).ddr_ecc:
        return rows("DDR", dict.fromkeys(node_state.ECC_COUNTERS, 0)) + rows("HBM", chip["ecc"])
    pending = [(f"HBM {bits} Bit Next-Isolated Pages Count", 0) for bits in ("Single", "Double")]
    return rows("HBM", chip["ecc"]) + pending


def _usages(state: dict, chip: dict) -> list[tuple[str, object]]:
    aicore = chip["aicore_percent"]
    rows = [
        ("DDR Capacity(MB)", 0),
        ("DDR Usage Rate(%)", 0),
        ("DDR Hugepages Total(page)", 0),
        ("DDR Hugepages Usage Rate(%)", 0),
        ("HBM Capacity(MB)", chip["hbm_total_mb"]),
        ("HBM Usage Rate(%)", _hbm_rate(chip)),
        ("Aicore Usage Rate(%)", aicore),
        ("Aivector Usage Rate(%)", aicore // 2),
        ("Aicpu Usage Rate(%)", 0),
        ("Ctrlcpu Usage Rate(%)", 0),
        ("DDR Bandwidth Usage Rate(%)", 0),
        ("HBM Bandwidth Usage Rate(%)", aicore // 3),
    ]
    return rows + ([("NPU Utilization(%)", aicore), ("Aicube Usage Rate(%)", aicore)]
                   if _series(state).extended_usages else [])


def _hbm_rate(chip: dict) -> int:
    return chip["hbm_used_mb"] * 100 // chip["hbm_total_mb"]


def _common(state: dict, chip: dict) -> list[tuple[str, object]]:
    return [
        ("Memory Usage Rate(%)", 0),
        ("HBM Usage Rate(%)", _hbm_rate(chip)),
        ("Aicore Usage Rate(%)", chip["aicore_percent"]),
        ("Aicore Freq(MHZ)", 1800),
        ("Aicore curFreq(MHZ)", 1800 if chip["aicore_percent"] else 800),
        ("Aicore Count", _hardware(state).aicore_count),
        ("Temperature(C)", chip["temperature_c"]),
        ("NPU Real-time Power(W)", f"{chip['power_w']:.1f}"),
    ]


def _power(_state: dict, chip: dict) -> list[tuple[str, object]]:
    return [("NPU Real-time Power(W)", f"{chip['power_w']:.1f}")]


def _temperature(_state: dict, chip: dict) -> list[tuple[str, object]]:
    return [("NPU Temperature (C)", chip["temperature_c"])]


def _memory(_state: dict, chip: dict) -> list[tuple[str, object]]:
    return [
        ("DDR Capacity(MB)", 0),
        ("DDR Clock Speed(MHz)", 0),
        ("HBM Capacity(MB)", chip["hbm_total_mb"]),
        ("HBM Clock Speed(MHz)", 1600),
        ("HBM Temperature(C)", chip["temperature_c"] - 1),
        ("HBM Manufacturer ID", "0x57"),
    ]


def _product(_state: dict, _chip: dict) -> list[tuple[str, object]]:
    return [("Product Type", "NA")]


_CHIP_QUERIES = {
    "health": _health, "ecc": _ecc, "usages": _usages, "common": _common, "power": _power, "temp": _temperature,
    "memory": _memory, "product": _product,
}
_MCU_QUERIES = {
    "health": lambda chips: [("Health", "OK")],
    "temp": lambda chips: [(f"LM75{sensor}_TE (C)", _board_temp(chips)) for sensor in "AB"],
}
