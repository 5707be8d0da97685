# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the observations of a cluster say together: hosts' interfaces, the mesh to ping. PRIVATE to the collection."""
from __future__ import annotations

import ipaddress
import re

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import ping_mesh

# Networks that container engines and virtual machine managers make on a host.
_ENGINE_NETWORK = re.compile(r"(?:docker|virbr|cni|flannel|cali|lxc|lxdbr|podman|vnet|tunl|nodelocaldns|kube-)[\w.-]*$"
                             r"|br-[0-9a-f]{12}$")


def npu_addresses(observed):
    """Return ``{npu (int): address}`` of the NPUs of one node, as their devices tell."""
    return {int(npu): answers["ip"]["address"] for npu, answers in observed.get("npus", {}).items()
            if answers.get("ip", {}).get("address")}


def interface_candidates(observed):
    """Return ``[{"name", "address", "network"}]`` of the interfaces that could carry HCCL's host traffic.

    Left out: what is down or has no IPv4 address, loopback, the networks of container engines, and an interface that
    holds the address of an NPU.
    """
    npus = set(npu_addresses(observed).values())
    found = []
    for interface in observed.get("host_network", {}).get("interfaces", []):
        addresses = interface["addresses"]
        if not interface["up"] or interface["kind"] == "loopback" or not addresses:
            continue
        if _ENGINE_NETWORK.match(interface["name"]) or any(one["address"] in npus for one in addresses):
            continue
        first = addresses[0]
        network = ipaddress.ip_network("%s/%d" % (first["address"], first["prefix"]), strict=False)
        found.append({"name": interface["name"], "address": first["address"], "network": str(network)})
    return found


def host_interfaces(peers, wanted=""):
    """Return ``{host: {"name", "address", "reason", "candidates"}}``: the interfaces for HCCL_IF_IP and
    ``*_SOCKET_IFNAME``.

    The one that the site names (for this host: ``wanted_interface`` of its observation); else the only candidate; else
    the only one whose network all hosts share. Where that does not decide, ``name`` is None and ``reason`` a sentence:
    nothing is guessed.
    """
    candidates = {host: interface_candidates(observed) for host, observed in peers.items()}
    networks = [{one["network"] for one in found} for found in candidates.values()]
    shared = set.intersection(*networks) if len(networks) > 1 else set()
    return {host: _host_interface(host, observed, candidates[host], shared, observed.get("wanted_interface") or wanted)
            for host, observed in peers.items()}


def _host_interface(host, observed, candidates, shared, wanted):
    names = ["%s (%s)" % (one["name"], one["address"]) for one in candidates]

    def answer(found, reason):
        return {"name": found and found["name"], "address": found and found["address"], "reason": reason,
                "candidates": names}
    if wanted:
        found = next((one for one in candidates if one["name"] == wanted), None)
        return answer(found, "hccl_interface names it" if found else
                      "hccl_interface is %s, which is no usable interface of %s" % (wanted, host))
    if not candidates:
        error = observed.get("host_network", {}).get("error")
        return answer(None, error or "no interface of %s is up with an IPv4 address" % host)
    if len(candidates) == 1:
        return answer(candidates[0], "the only one of %s" % host)
    common = [one for one in candidates if one["network"] in shared]
    if len(common) == 1:
        return answer(common[0], "the only one whose network all hosts share")
    return answer(None, "%s could be meant" % " and ".join(names))


def mesh_arguments(peers, inputs):
    """Return ``{host: the arguments of the module hccn_ping}``. A node tries to reach the hosts that it meets.

    :param peers: ``{host: observed}`` of all nodes that take part.
    :param inputs: the inputs of the role.
    """
    npus = {name: npu_addresses(observed) for name, observed in peers.items()}
    count = 1 + max((number for numbers in npus.values() for number in numbers), default=-1)
    addresses = {name: found["address"] for name, found in host_interfaces(peers, inputs["hccl_interface"]).items()}
    names, limit = sorted(peers), inputs["hccl_ping_full_mesh_max_nodes"]

    def of(host):
        met = ping_mesh.partners(names, host, limit)
        return {
            "npus": sorted(npus[host]),
            "partners": [{"host": name, "npus": {str(npu): address for npu, address in npus[name].items()}}
                         if name else None for name in met] if inputs["hccl_ping_enabled"] else [],
            "shifts": ping_mesh.shifts(count, inputs["hccl_ping_same_rail_only"]),
            "round_s": inputs["hccl_ping_round_s"],
            "timeout_s": inputs["hccl_ping_timeout_s"],
            "limit_s": inputs["hccl_ping_limit_s"],
            "hosts": [{"host": name, "address": addresses[name], "port": inputs["hccl_host_port"]}
                      for name in sorted(filter(None, met)) if addresses[name]],
        }
    return {host: of(host) for host in names}
