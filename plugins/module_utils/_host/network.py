# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, interfaces and ports of a host."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import Run

    class Address(TypedDict):
        """An IPv4 address of an interface."""

        interface: str
        address: str

    class OutgoingPorts(TypedDict):
        """The ports ``first`` to ``last``, except those in the ranges ``reserved``, ``[[first, last]]``."""

        first: int
        last: int
        reserved: list[list[int]]


_LISTEN = "0A"

_ADDRESS = re.compile(r"^\d+:\s+(\S+)\s+inet\s+(\d+\.\d+\.\d+\.\d+)/", re.MULTILINE)


def addresses(text: str) -> list[Address]:
    """Return ``[{"interface", "address"}]`` of a node's IPv4 addresses.

    :param text: what ``ip -o -4 address show`` prints.
    """
    return [{"interface": name, "address": address} for name, address in _ADDRESS.findall(text)]


def listening(tables: Iterable[str]) -> dict[int, str]:
    """Return ``{port: inode}`` of the TCP sockets that listen.

    :param tables: the texts of /proc/net/tcp and tcp6.
    """
    found: dict[int, str] = {}
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                found.setdefault(int(fields[1].rpartition(":")[2], 16), fields[9])
    return found


def outgoing_ports(proc: str = "/proc") -> OutgoingPorts | None:
    """Return the ports that the kernel gives to outgoing connections, or None where it does not say."""
    folder = os.path.join(proc, "sys", "net", "ipv4")
    limits = read_text(os.path.join(folder, "ip_local_port_range")).split()
    if len(limits) != 2:
        return None
    reserved = []
    for part in filter(None, read_text(os.path.join(folder, "ip_local_reserved_ports")).strip().split(",")):
        low, _dash, high = part.partition("-")
        reserved.append([int(low), int(high or low)])
    return {"first": int(limits[0]), "last": int(limits[1]), "reserved": reserved}


def host_network(run: Run, timeout_s: float) -> dict[str, Any]:
    """Return ``{"interfaces": [{"name", "up", "kind", "addresses": [{"address", "prefix"}]}], "error"}``, IPv4."""
    try:
        code, out, err = run(["ip", "-json", "-details", "-4", "address", "show"], timeout_s)
    except OSError as error:
        return {"interfaces": [], "error": "ip cannot be run: %s" % error}
    if code != 0:
        return {"interfaces": [], "error": "ip -json address failed: %s" % (err.strip() or out.strip()[:120] or code)}
    try:
        interfaces = [_interface(entry) for entry in json.loads(out)
                      if isinstance(entry.get("ifname"), str)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return {"interfaces": [], "error": "ip -json address printed something else: %.120s (%s)" % (
            out.strip(), type(error).__name__)}
    return {"interfaces": interfaces, "error": None}


def _interface(entry: dict[str, Any]) -> dict[str, Any]:
    flags = entry.get("flags", [])
    return {
        "name": entry["ifname"],
        "up": "UP" in flags and "NO-CARRIER" not in flags,
        "kind": "loopback" if "LOOPBACK" in flags else entry.get("linkinfo", {}).get("info_kind"),
        "addresses": [{"address": one["local"], "prefix": one["prefixlen"]} for one in entry.get("addr_info", [])
                      if one.get("family") == "inet" and one.get("scope") != "host"],
    }
