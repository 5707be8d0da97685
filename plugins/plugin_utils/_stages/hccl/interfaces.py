# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host interfaces of HCCL, and the part of each node in the ping mesh. PRIVATE to the hccl stage."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import ping_mesh
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import npu_addresses

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_ping import Partner, Target
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import HcclObservation, Peers

# Networks of container engines and hypervisors on a host.
_VIRTUAL_NETWORK = re.compile(
    r"(?:docker|virbr|cni|flannel|cali|lxc|lxdbr|podman|vnet|tunl|nodelocaldns|kube-)[\w.-]*$|br-[0-9a-f]{12}$")


class Interface(TypedDict):
    """A network interface of a host and its IPv4 address."""

    name: str
    address: str


class Candidate(Interface):
    """An interface that HCCL can use; ``network`` in CIDR notation."""

    network: str


class Choice(TypedDict):
    """The interface of a host for HCCL, and the reason for the choice.

    ``interface`` is None if the choice is not clear. ``candidates`` are strings such as ``eth0 (192.0.2.1)``.
    """

    interface: Interface | None
    reason: str
    candidates: list[str]


class PingArguments(TypedDict):
    """The arguments of ``ascend.vllm.hccn_ping``."""

    npus: list[int]
    partners: list[Partner | None]
    shifts: list[int]
    round_s: float
    timeout_s: float
    limit_s: float
    hosts: list[Target]


def interface_candidates(observed: HcclObservation) -> list[Candidate]:
    """Return the interfaces of a host that HCCL can use.

    These are all but those that are down or have no IPv4 address, the loopback interface, the networks of container
    engines, and interfaces with the address of an NPU.
    """
    npus = set(npu_addresses(observed).values())
    found: list[Candidate] = []
    for interface in observed["host_network"]["interfaces"]:
        addresses = interface["addresses"]
        if not interface["up"] or interface["kind"] == "loopback" or not addresses:
            continue
        if _VIRTUAL_NETWORK.match(interface["name"]) or any(each["address"] in npus for each in addresses):
            continue
        first = addresses[0]
        network = ipaddress.ip_network("%s/%d" % (first["address"], first["prefix"]), strict=False)
        found.append({"name": interface["name"], "address": first["address"], "network": str(network)})
    return found


def host_interfaces(peers: Peers, wanted: str = "") -> dict[str, Choice]:
    """Return ``{host: choice}`` of the interfaces for HCCL_IF_IP and ``*_SOCKET_IFNAME``.

    An interface is chosen if the inventory names it, if it is the only candidate of its host, or if it is the only
    candidate in a network that all hosts share.

    :param wanted: hccl_interface, for hosts without ``wanted_interface`` in their observation.
    """
    candidates = {host: interface_candidates(observed) for host, observed in peers.items()}
    networks = [{candidate["network"] for candidate in found} for found in candidates.values()]
    shared = set.intersection(*networks) if len(networks) > 1 else set()
    return {host: _host_interface(host, observed, candidates[host], shared, observed.get("wanted_interface") or wanted)
            for host, observed in peers.items()}


def _host_interface(host: str, observed: HcclObservation, candidates: list[Candidate], shared: set[str],
                    wanted: str) -> Choice:
    names = ["%s (%s)" % (candidate["name"], candidate["address"]) for candidate in candidates]

    def choice(found: Candidate | None, reason: str) -> Choice:
        return {"interface": {"name": found["name"], "address": found["address"]} if found else None,
                "reason": reason, "candidates": names}

    if wanted:
        found = next((candidate for candidate in candidates if candidate["name"] == wanted), None)
        return choice(found, "set by hccl_interface" if found else
                      "hccl_interface is %s, but %s has no usable interface of this name" % (wanted, host))
    if not candidates:
        return choice(None, observed["host_network"]["error"] or "no interface of %s is up with an IPv4 address" % host)
    if len(candidates) == 1:
        return choice(candidates[0], "the only one of %s" % host)
    common = [candidate for candidate in candidates if candidate["network"] in shared]
    if len(common) == 1:
        return choice(common[0], "the only one in a network that all hosts share")
    return choice(None, "%s are possible" % " and ".join(names))


def mesh_arguments(peers: Peers, inputs: Mapping[str, Any]) -> dict[str, PingArguments]:
    """Return ``{host: arguments of ascend.vllm.hccn_ping}``. A node tests connections to the hosts that it pings.

    :param peers: the observations of all nodes that take part.
    :param inputs: the inputs of the role.
    """
    npus = {name: npu_addresses(observed) for name, observed in peers.items()}
    count = 1 + max((npu for numbers in npus.values() for npu in numbers), default=-1)
    choices = host_interfaces(peers, inputs["hccl_interface"])
    addresses = {name: choice["interface"]["address"] for name, choice in choices.items() if choice["interface"]}
    names, full_mesh_max_nodes = sorted(peers), inputs["hccl_ping_full_mesh_max_nodes"]

    def arguments(host: str) -> PingArguments:
        met = ping_mesh.partners(names, host, full_mesh_max_nodes)
        partners: list[Partner | None] = [
            {"host": name, "npus": {str(npu): address for npu, address in npus[name].items()}} if name else None
            for name in met]
        targets: list[Target] = [
            {"host": name, "address": addresses[name], "port": inputs["hccl_host_port"]}
            for name in sorted(filter(None, met)) if name in addresses]
        return {
            "npus": sorted(npus[host]),
            "partners": partners if inputs["hccl_ping_enabled"] else [],
            "shifts": ping_mesh.shifts(count, inputs["hccl_ping_same_rail_only"]),
            "round_s": inputs["hccl_ping_round_s"],
            "timeout_s": inputs["hccl_ping_timeout_s"],
            "limit_s": inputs["hccl_ping_limit_s"],
            "hosts": targets,
        }

    return {host: arguments(host) for host in names}
