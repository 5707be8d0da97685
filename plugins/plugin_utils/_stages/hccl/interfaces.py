# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the host interfaces for HCCL, and the pings that each node sends."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import ping_mesh
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import npu_addresses

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_ping import Partner, Target
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import HcclObservation, Peers

# Interfaces of container engines, hypervisors and overlay networks, by their names and by their kinds.
_VIRTUAL_NETWORK = re.compile(
    r"(?:docker|isula|virbr|cni|flannel|cali|cilium|weave|lxc|lxdbr|podman|vnet|tunl|vxlan|wg|tailscale|zt|"
    r"nodelocaldns|kube-)[\w.-]*$|br-[0-9a-f]{12}$")
_VIRTUAL_KINDS = ("dummy", "tun", "vxlan", "geneve", "ipip", "sit", "gre", "ip6tnl", "wireguard", "vti", "nlmon")
# Kinds of bridge ports that lead only to containers and virtual machines.
_INNER_KINDS = (*_VIRTUAL_KINDS, "veth")
_HOST_PREFIX = 32
# RFC 3927 addresses are not unique across hosts: a BMC's internal interface, for example, has the same one on every
# server.
_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")


class Interface(TypedDict):
    """A network interface of a host and its IPv4 address."""

    name: str
    address: str


class Candidate(Interface):
    """An interface that HCCL can use. ``network`` is in CIDR notation."""

    network: str


class Choice(TypedDict):
    """The interface of a host for HCCL, and the reason for the choice.

    ``interface`` is None if the choice is not clear. ``candidates`` are strings such as ``eth0 (192.0.2.1)``.
    """

    interface: Interface | None
    reason: str
    candidates: list[str]


def usable_interfaces(observed: HcclObservation, shared: Collection[str] = ()) -> list[Candidate]:
    """Return the interfaces of a host that are up, each with its first IPv4 address that HCCL can use.

    HCCL cannot use link-local addresses, addresses of NPUs, and ``shared`` addresses, which several hosts have.
    """
    unusable = {*npu_addresses(observed).values(), *shared}
    found: list[Candidate] = []
    for interface in observed["host_network"]["interfaces"]:
        if not interface["up"] or interface["kind"] == "loopback":
            continue
        addresses = [each for each in interface["addresses"] if each["address"] not in unusable
                     and ipaddress.ip_address(each["address"]) not in _LINK_LOCAL]
        # A service address (/32) may be listed before the interface's own address.
        for each in sorted(addresses, key=lambda each: each["prefix"] == _HOST_PREFIX)[:1]:
            network = ipaddress.ip_network("%s/%d" % (each["address"], each["prefix"]), strict=False)
            found.append({"name": interface["name"], "address": each["address"], "network": str(network)})
    return found


def interface_candidates(observed: HcclObservation, shared: Collection[str] = ()) -> list[Candidate]:
    """Return the interfaces of a host from which HCCL's interface is chosen.

    These are the usable interfaces, except those of container engines, hypervisors and overlay networks. An
    interface counts as one of these if its name or kind says so, if it is a bridge without an external port, or if its
    address has no network (/32).
    """
    interfaces = {each["name"]: each for each in observed["host_network"]["interfaces"]}
    found = [each for each in usable_interfaces(observed, shared)
             if not _VIRTUAL_NETWORK.match(each["name"]) and not _is_inner(interfaces[each["name"]])
             and not each["network"].endswith("/%d" % _HOST_PREFIX)]
    # If the host has another interface, a bridge with unknown ports probably belongs to a container engine.
    known = [each for each in found if not _is_unknown_bridge(interfaces[each["name"]])]
    return known or found


def _is_inner(interface: Mapping[str, Any]) -> bool:
    """Return whether an interface (such as a bridge without a NIC) leads only to containers, VMs or a tunnel."""
    if interface["kind"] == "bridge":
        return not _is_unknown_bridge(interface) and all(kind in _INNER_KINDS for kind in interface["ports"])
    return interface["kind"] in _VIRTUAL_KINDS


def _is_unknown_bridge(interface: Mapping[str, Any]) -> bool:
    return interface["kind"] == "bridge" and interface.get("ports") is None


def _shared_addresses(peers: Peers) -> set[str]:
    """Return the addresses that several hosts have. Packets to such an address do not leave the host."""
    counts = Counter(address for observed in peers.values() for address in {
        each["address"] for interface in observed["host_network"]["interfaces"] for each in interface["addresses"]})
    return {address for address, hosts in counts.items() if hosts > 1}


def host_interfaces(peers: Peers, wanted: str = "") -> dict[str, Choice]:
    """Return ``{host: choice}`` with the interface of each host for HCCL_IF_IP and ``*_SOCKET_IFNAME``.

    An interface is chosen if the inventory names it, if it is the only candidate of its host, or if it is the only
    candidate in a network that all hosts share. The reason names the other candidates.

    :param wanted: the hccl_interface for hosts whose observation has no ``wanted_interface``.
    """
    addresses = _shared_addresses(peers)
    candidates = {host: interface_candidates(observed, addresses) for host, observed in peers.items()}
    networks = [{candidate["network"] for candidate in found} for found in candidates.values()]
    shared = set.intersection(*networks) if len(networks) > 1 else set()
    return {host: _named_interface(host, candidates[host], usable_interfaces(observed, addresses),
                                   observed.get("wanted_interface") or wanted)
            if observed.get("wanted_interface") or wanted else
            _detected_interface(host, observed, candidates[host], usable_interfaces(observed), shared)
            for host, observed in peers.items()}


def _choice(found: Candidate | None, reason: str, candidates: list[Candidate]) -> Choice:
    return {"interface": {"name": found["name"], "address": found["address"]} if found else None, "reason": reason,
            "candidates": _labels(candidates)}


def _named_interface(host: str, candidates: list[Candidate], usable: list[Candidate], wanted: str) -> Choice:
    found = next((each for each in usable if each["name"] == wanted), None)
    return _choice(found, "set by hccl_interface" if found else "hccl_interface is %s, but %s has no usable interface "
                   "of this name" % (wanted, host), candidates)


def _detected_interface(host: str, observed: HcclObservation, candidates: list[Candidate], usable: list[Candidate],
                        shared: set[str]) -> Choice:
    if not candidates:
        ignored = ", ".join(_labels(usable))
        return _choice(None, observed["host_network"]["error"] or
                       "%s has no interface that is up and has an IPv4 address that other hosts can reach%s" % (
                           host, "; not considered: " + ignored if ignored else ""), candidates)
    if len(candidates) == 1:
        return _choice(candidates[0], "the only candidate on %s" % host, candidates)
    common = [candidate for candidate in candidates if candidate["network"] in shared]
    if len(common) == 1:
        others = " or ".join(_labels(each for each in candidates if each not in common))
        return _choice(common[0], "the only candidate on a network that all hosts share; set hccl_interface to "
                       "choose %s" % others, candidates)
    return _choice(None, "%s are possible" % " and ".join(_labels(candidates)), candidates)


def _labels(candidates: Iterable[Candidate]) -> list[str]:
    return ["%s (%s)" % (each["name"], each["address"]) for each in candidates]


def mesh_arguments(peers: Peers, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ``{host: arguments of hccn_ping}``. Each node also opens TCP connections to the hosts that it pings."""
    npus = {name: npu_addresses(observed) for name, observed in peers.items()}
    count = 1 + max((npu for numbers in npus.values() for npu in numbers), default=-1)
    choices = host_interfaces(peers, inputs["hccl_interface"])
    addresses = {name: choice["interface"]["address"] for name, choice in choices.items() if choice["interface"]}
    names, full_mesh_max_nodes = sorted(peers), inputs["hccl_ping_full_mesh_max_nodes"]

    def arguments(host: str) -> dict[str, Any]:
        partner_names = ping_mesh.partners(names, host, full_mesh_max_nodes)
        partners: list[Partner | None] = [
            {"host": name, "npus": {str(npu): address for npu, address in npus[name].items()}} if name else None
            for name in partner_names]
        targets: list[Target] = [
            {"host": name, "address": addresses[name], "port": inputs["hccl_host_port"]}
            for name in sorted(filter(None, partner_names)) if name in addresses]
        return {"npus": sorted(npus[host]), "partners": partners if inputs["hccl_ping_enabled"] else [],
                "shifts": ping_mesh.shifts(count, inputs["hccl_ping_same_rail_only"]),
                "round_s": inputs["hccl_ping_round_s"], "timeout_s": inputs["hccl_ping_timeout_s"],
                "limit_s": inputs["hccl_ping_limit_s"], "hosts": targets}

    return {host: arguments(host) for host in names}
