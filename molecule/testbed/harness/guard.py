# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep packets for nodes on the machine: add unreachable routes for their addresses, unless these are in use."""

from __future__ import annotations

import ipaddress
import json
from zlib import crc32

from .machine import BedError, cache, run

HOSTS = ipaddress.ip_network("10.77.0.0/24")
NPUS = ipaddress.ip_network("10.78.0.0/20")  # rail r is 10.78.r.0/24
NETWORKS = (HOSTS, NPUS)
CONTROLLER = "10.77.0.1"


def address(index: int) -> str:
    """Return the address of node ``index`` (from 1) in the hosts' network."""
    return f"10.77.0.{10 + index}"


def npu_address(rail: int, index: int) -> str:
    """Return the address of NPU ``rail`` of node ``index``."""
    return f"10.78.{rail}.{10 + index}"


def metric() -> str:
    """Return the metric of our routes.

    It has the lowest priority. It differs between caches, so that the beds of one cache do not remove the routes of
    another.
    """
    return str(2**32 - 1 - (crc32(bytes(cache())) >> 8))


def ensure() -> None:
    """Add the unreachable routes to the machine's own network namespace unless the addresses are in use.

    The caller holds the lock ``guard``.
    """
    refuse_conflicts()
    for network in missing():
        run("ip", "route", "add", "unreachable", network, "metric", metric())


def remove() -> None:
    """Remove the unreachable routes. The caller holds the lock ``guard``."""
    for network in {str(network) for network in NETWORKS} - set(missing()):
        run("ip", "route", "del", "unreachable", network, "metric", metric())


def missing() -> list[str]:
    """Return the networks without an unreachable route: packets for them would take the machine's default route."""
    routes = json.loads(run("ip", "-json", "-4", "route", "show", "type", "unreachable"))
    present = {route["dst"] for route in routes if str(route.get("metric")) == metric()}
    return [str(network) for network in NETWORKS if str(network) not in present]


def refuse_conflicts() -> None:
    for link in json.loads(run("ip", "-json", "-4", "address")):
        for address in link.get("addr_info", ()):
            used = ipaddress.ip_network(f"{address['local']}/{address['prefixlen']}", strict=False)
            refuse_overlap(used, f"interface {link['ifname']} has {address['local']}/{address['prefixlen']}")
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all")):
        if route["dst"] == "default" or route.get("type") == "unreachable":
            continue
        routed = ipaddress.ip_network(route["dst"], strict=False)
        if any(routed.subnet_of(network) for network in NETWORKS):
            refuse_overlap(routed, f"there is a route to {route['dst']}")


def refuse_overlap(network: ipaddress.IPv4Network, found: str) -> None:
    for ours in NETWORKS:
        if network.overlaps(ours):
            raise BedError(f"the test bed needs {ours} for itself, but {found}; remove that first")


def check(world) -> None:
    """Refuse to run anything if packets for nodes, or packets of the bed, could leave the machine."""
    if unguarded := missing():
        raise BedError(f"the guard's `unreachable` route is missing for {unguarded[0]}; run `bed up` to restore it")
    if world.run("ip", "route", "show", "table", "all", "default").strip():
        raise BedError("the bed's network has a default route, so packets could leave the machine; take the bed down")
    if world.run("ip", "-6", "route", "show", "table", "all", "default").strip():
        raise BedError("the bed's network has an IPv6 default route, so packets could leave the machine; take it down")
