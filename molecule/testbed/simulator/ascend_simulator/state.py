# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state file, a JSON document with all values that real vendor tools would read from the hardware of a node."""
from __future__ import annotations

import json
import os

from .hardware import HARDWARE, Hardware, release_of, series_of

SCHEMA = "ascend-simulator/state/v1"
PATH = "etc/ascend-simulator/state.json"
_BOOT = 1760000000  # in 2025, so that no link event is recent
ECC_COUNTERS = ("single_bit_errors", "double_bit_errors", "single_bit_total", "double_bit_total",
                "single_bit_isolated_pages", "double_bit_isolated_pages")


def new_state(generation: str, hardware: str, npus: int | None, node: int) -> dict:
    """Return the state of a healthy node. `node` counts from 1; NPU addresses are 10.78.<chip>.<10 + node>."""
    series_of(generation)
    if hardware not in HARDWARE:
        raise ValueError(f"hardware {hardware} is not simulated; use one of {', '.join(HARDWARE)}")
    profile = HARDWARE[hardware]
    count = profile.npus if npus is None else npus
    if not 1 <= count <= profile.npus:
        raise ValueError(f"npus is {count}, expected 1 to {profile.npus} for {hardware}")
    if not 1 <= node <= 244:
        raise ValueError(f"node-index is {node}, expected 1 to 244")
    release = release_of(generation)
    return {
        "schema": SCHEMA,
        "setup": {"generation": generation, "hardware": hardware, "npus": count, "node_index": node},
        "versions": {"tool": generation, "driver": generation, "driver_package": generation,
                     "firmware_package": generation, "firmware": release.firmware},
        "tools": {tool: {"delay_s": 0.0, "fault": None} for tool in ("npu-smi", "hccn_tool")},
        "chips": [_new_chip(profile, npu, chip, node)
                  for npu in range(count) for chip in range(profile.chips_per_npu)],
        "undo": [],
    }


def _new_chip(profile: Hardware, npu: int, chip: int, node: int) -> dict:
    phy_id = npu * profile.chips_per_npu + chip
    spread = (7 * phy_id + 3 * node) % 9  # real chips differ slightly
    return {
        "npu": npu,
        "chip": chip,
        "phy_id": phy_id,
        "present": True,
        "name": profile.chip_name,
        "health": "OK",
        "error_codes": [],
        "power_w": profile.power_idle_w + spread + spread / 10,
        "temperature_c": 39 + spread,
        "bus_id": f"0000:{profile.buses[phy_id]:02X}:00.0",
        "serial": f"1025S{node:03d}{npu:04d}",
        "aicore_percent": 0,
        "hbm_idle_mb": profile.hbm_idle_mb[chip] + spread,
        "hbm_extra_mb": 0,
        "hbm_total_mb": profile.hbm_total_mb,
        "process_memory_mb": 45000 * profile.hbm_total_mb // 65536,
        "ecc": dict.fromkeys(ECC_COUNTERS, 0),
        "processes": [],
        "nic": _new_nic(phy_id, node),
    }


def _new_nic(phy_id: int, node: int) -> dict:
    return {
        "link": "UP",
        "net_health": "Success",
        "address": f"10.78.{phy_id}.{10 + node}",
        "netmask": "255.255.255.0",
        "gateway": f"10.78.{phy_id}.1",
        "netdetect": f"10.78.{phy_id}.1",
        "lldp": {"chassis": f"02:1e:af:00:00:{phy_id:02x}", "system": f"leaf-{phy_id}", "port": f"400GE1/0/{node}:1"},
        "tls": 0,
        "speed_mbps": 200000,
        "duplex": "Full",
        "mtu": 1500,
        "fec": "rs FEC mode",
        "mac": f"02:78:{phy_id:02x}:00:{node >> 8:02x}:{node & 255:02x}",
        "optical": {"present": True, "temperature_c": 47, "tx_power_mw": [1.1968, 1.2140, 1.1988, 1.2035],
                    "rx_power_mw": [1.0189, 0.9954, 0.9907, 1.0213], "tx_bias_ma": [7.936, 7.928, 7.936, 7.924],
                    "media_snr_db": [23.1211, 22.6289, 22.1875, 23.2969]},
        "link_events": [[_BOOT + 37, "UP"], [_BOOT + 36, "DOWN"], [_BOOT + 20, "UP"]],  # newest first
        "counters": {},
        "faults": {},  # query (or "*") -> name of a fault of hccn_tool.ERRORS, or "hang"
    }


def path_of(root: str) -> str:
    """Return the path of a node's state file; `root` is the node's root folder."""
    return os.path.join(root, PATH)


def load(root: str) -> dict:
    """Read the state file; raise FileNotFoundError if `setup` has not run."""
    with open(path_of(root), encoding="utf-8") as file:
        return json.load(file)


def save(root: str, state: dict) -> None:
    """Replace the state file in one step, so that a tool never reads a part of it."""
    path = path_of(root)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    draft = f"{path}.{os.getpid()}"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(state, file, indent=1)
        file.write("\n")
    os.replace(draft, path)


def by_phy_id(state: dict, phy_id: int) -> dict | None:
    """Return the chip behind /dev/davinci<phy_id>, or None if it is not present."""
    for chip in state["chips"]:
        if chip["phy_id"] == phy_id and chip["present"]:
            return chip
    return None
