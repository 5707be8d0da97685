# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers behind the balancer, derived from the plans of their nodes."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict, cast
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy
from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import base_url, is_loopback
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import container
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan

# Values of a bind address that include all addresses of a host.
ALL_ADDRESSES = ("0.0.0.0", "::", "*")


class PlannedServer(TypedDict):
    """An instance behind the balancer."""

    name: str
    #: Inventory name of the node on which the instance runs.
    host: str
    address: str
    port: int
    tls: bool
    served_name: str


class PortInput(TypedDict):
    """An input that sets a port of the balancer."""

    name: str
    port: int


def url(settings: Mapping[str, Any], address: str) -> str:
    """Return the URL of a balancer for clients, who reach its host at ``address``.

    :param settings: the inputs of its role.
    """
    bind = settings["balancer_bind"]
    return base_url(address if bind in ALL_ADDRESSES else bind, settings["balancer_port"],
                    bool(settings["balancer_tls_certificate"]))


def listening(settings: Mapping[str, Any]) -> list[PortInput]:
    """Return the ports on which a balancer with these inputs listens."""
    names = ["balancer_port", *(["balancer_watch_port"] if settings["balancer_watch_interval_s"] else [])]
    return [{"name": name, "port": settings[name]} for name in names]


def unknown_hosts(settings: Mapping[str, Any], known: Collection[str], host: str) -> list[str]:
    """Return a sentence for each of balancer_hosts and balancer_nodes that is empty or names unknown hosts.

    :param known: the hosts of the inventory.
    """
    unknown = {variable: [name for name in settings[variable] if name not in known]
               for variable in ("balancer_hosts", "balancer_nodes")}
    return [f"{variable} must name hosts of the inventory, but on {host} it names {', '.join(names) or 'none'}; "
            f"correct {variable}." for variable, names in unknown.items() if names or not settings[variable]]


def managed(balancers: Sequence[str], host: str, play_hosts_all: Collection[str],
            play_hosts: Sequence[str]) -> list[str]:
    """Return those of the balancers that a host of the play manages.

    A balancer in the play manages itself. A balancer outside the play is managed by the first host that has not failed.
    """
    return [balancer for balancer in balancers
            if balancer == host or (balancer not in play_hosts_all and host == play_hosts[0])]


def servers(plans: Mapping[str, Plan]) -> list[PlannedServer]:
    """Return the instances of ``{host: plan}`` that receive requests. In a group, only that of the head does."""
    found: list[PlannedServer] = []
    for host, plan in plans.items():
        for instance in serving_instances(plan):
            port = cast(int, instance["port"])
            found.append({"name": haproxy.server_name(host, port), "host": host,
                          "address": urlsplit(instance["url"] or "").hostname or "", "port": port,
                          "tls": instance["tls"], "served_name": plan["model"]["served_name"]})
    return found


def control_paths(plans: Mapping[str, Plan]) -> list[str]:
    """Return the routes of vLLM that control a server, in the releases of the plans."""
    return sorted({path for plan in plans.values() for path, kind in plan["release"]["routes"].items()
                   if kind == "control"})


def problems(balancers: Sequence[str], ports: Sequence[PortInput], found: Sequence[PlannedServer],
             plans: Mapping[str, Plan], bind: str, addresses: Mapping[str, str]) -> list[str]:
    """Return a sentence for each reason why these servers cannot be put behind these balancers.

    :param ports: the ports of a balancer. :param found: the result of `servers`.
    :param plans: ``{host: plan}``, also of other deployments on the nodes of the balancers.
    :param bind: the address that the balancers listen on. :param addresses: ``{balancer: its address for clients}``.
    """
    sentences = []
    try:
        valid = bind == "*" or "%" not in str(ipaddress.ip_address(bind))
    except ValueError:
        valid = False
    if not valid:
        sentences.append("balancer_bind must be an IPv4 address, an IPv6 address without brackets and zone, or * for "
                         "every IPv4 address, but is %r." % bind)
    for balancer, address in addresses.items():
        if ":" in address and bind in ("0.0.0.0", "*"):
            sentences.append("serving_address of %s is the IPv6 address %s, but balancer_bind is %s, which is every "
                             "IPv4 address; set it to ::, which is every address." % (balancer, address, bind))
    names = sorted({server["served_name"] for server in found})
    if len(names) > 1:
        sentences.append(
            "balancer_nodes serve different models (%s), so a request could reach the wrong one; list only nodes that "
            "serve the same model." % ", ".join(names))
    for server in found:
        if is_loopback(server["address"]) and any(balancer != server["host"] for balancer in balancers):
            sentences.append("serving_bind of %s is %s, which the balancer on %s cannot reach; set it to an address "
                             "that it can reach." % (server["host"], server["address"], ", ".join(balancers)))
    for balancer in balancers:
        for instance in (each for name, plan in plans.items() if balancer == name or balancer in plan.get(
                "neighbors", ()) for each in plan["instances"]):
            first, last = instance["hccl_ports"]["host"] if instance["hccl_ports"] else container.HCCL_DEFAULT_PORTS
            sentences.extend("%s is %d, which instance %s on %s uses too; choose another port." % (
                port["name"], port["port"], instance["name"], balancer)
                for port in ports if port["port"] == instance["port"] or first <= port["port"] <= last)
    for number in {port["port"] for port in ports}:
        names = [port["name"] for port in ports if port["port"] == number]
        if len(names) > 1:
            sentences.append("%s are both %d; choose different ports." % (" and ".join(names), number))
    return sentences
