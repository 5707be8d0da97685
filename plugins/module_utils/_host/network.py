# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses, interfaces and ports of a host."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text

if TYPE_CHECKING:
    from typing import Any, Iterable, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import Run

    class Address(TypedDict):
        """An IPv4 address of an interface."""

        interface: str
        address: str

    class OutgoingPorts(TypedDict):
        """The ports from ``first`` to ``last``, except the ranges in ``reserved``, ``[[first, last]]``."""

        first: int
        last: int
        reserved: list[list[int]]


_LISTEN = "0A"


def listening(tables: Iterable[str]) -> dict[int, str]:
    """Return ``{port: inode}`` of the listening TCP sockets in the contents of /proc/net/tcp and /proc/net/tcp6."""
    found: dict[int, str] = {}
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                found.setdefault(int(fields[1].rpartition(":")[2], 16), fields[9])
    return found


def outgoing_ports(proc: str = "/proc") -> OutgoingPorts | None:
    """Return the ports that the kernel uses for outgoing connections, or None if they cannot be read."""
    folder = os.path.join(proc, "sys", "net", "ipv4")
    limits = read_text(os.path.join(folder, "ip_local_port_range")).split()
    if len(limits) != 2:
        return None
    ranges = filter(None, read_text(os.path.join(folder, "ip_local_reserved_ports")).strip().split(","))
    return {"first": int(limits[0]), "last": int(limits[1]), "reserved": [
        [int(low), int(high or low)] for low, _dash, high in (part.partition("-") for part in ranges)]}


def host_network(run: Run, timeout_s: float) -> dict[str, Any]:
    """Return the interfaces of this host and their IPv4 addresses.

    The result is ``{"interfaces": [{"name", "up", "kind", "ports", "addresses": [{"address", "prefix"}]}], "error"}``.
    ``ports`` has the kind of each interface that is a port of this interface, such as the ports of a bridge. In this
    list, the kind of a network card is ``physical``. ``ports`` is None if the version of ip lists only interfaces with
    an IPv4 address.
    """
    try:
        # Without -4, which would omit the ports of bridges, because they have no address.
        code, out, err = run(["ip", "-json", "-details", "address", "show"], timeout_s)
        if code and "-json" in out + err:  # iproute2 before 4.13, as in CentOS 7
            link = run(["ip", "-oneline", "-details", "link", "show"], timeout_s)
            address = run(["ip", "-oneline", "-4", "address", "show"], timeout_s)
            if link[0] == address[0] == 0:
                code, out = 0, json.dumps(_entries(link[1], address[1]))
    except OSError as error:
        return {"interfaces": [], "error": "ip cannot be run: %s" % error}
    if code != 0:
        return {"interfaces": [], "error": "ip -json address failed: %s" % (err.strip() or out.strip()[:120] or code)}
    try:
        interfaces = _interfaces(json.loads(out))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return {"interfaces": [], "error": "ip -json address printed an unknown format: %.120s (%s)" % (
            out.strip(), type(error).__name__)}
    return {"interfaces": interfaces, "error": None}


def _interfaces(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    named = [entry for entry in entries if isinstance(entry.get("ifname"), str)]
    complete = any("inet" not in [one.get("family") for one in entry.get("addr_info", [])] for entry in named)
    return [{
        "name": entry["ifname"],
        "up": "UP" in entry.get("flags", []) and "NO-CARRIER" not in entry.get("flags", []),
        "kind": "loopback" if "LOOPBACK" in entry.get("flags", []) else _kind(entry),
        "ports": [_kind(port) or "physical" for port in named
                  if port.get("master") == entry["ifname"]] if complete else None,
        "addresses": [{"address": one["local"], "prefix": one["prefixlen"]} for one in entry.get("addr_info", [])
                      if one.get("family") == "inet" and one.get("scope") != "host"],
    } for entry in named]


def _kind(entry: dict[str, Any]) -> str | None:
    kind: str | None = entry.get("linkinfo", {}).get("info_kind")
    return kind


_LINK = re.compile(r"\d+: ([^:@\s]+)(?:@[^:\s]+)?: <([^>]*)>(?:.*? master (\S+))?")
_INET = re.compile(r"\d+:\s+(\S+)\s+inet (\d+\.\d+\.\d+\.\d+)(?: peer [\d.]+)?/(\d+) (?:.*? )?scope (\w+)")
# The words with which `ip -details link` begins the description of an interface that is not a network card.
_KINDS = ("bridge", "veth", "bond", "vlan", "macvlan", "ipvlan", "team", "dummy", "tun", "vxlan", "geneve", "ipip",
          "sit", "gre", "ip6tnl", "wireguard", "vti", "openvswitch")


def _entries(links: str, addresses: str) -> list[dict[str, Any]]:
    """Convert the outputs of ``ip -oneline`` to the entries that ``ip -json -details address`` would print.

    :param links: the output of ``ip -oneline -details link show``.
    :param addresses: the output of ``ip -oneline -4 address show``.
    """
    found: list[dict[str, Any]] = []
    for line in links.splitlines():
        match = _LINK.match(line)
        if match:
            name, flags, master = match.groups()
            words = [part.split()[0] for part in line.split("\\") if part.split()]
            found.append({
                "ifname": name, "flags": flags.split(","), "master": master,
                "linkinfo": {"info_kind": next((word for word in words[1:] if word in _KINDS), None)},
                "addr_info": [{"family": "inet", "local": local, "prefixlen": int(prefix), "scope": scope}
                              for owner, local, prefix, scope in _INET.findall(addresses)
                              if owner == name]})
    return found
