# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of nodes that serve one model together, and the role of each node in its group.

The nodes of a group are either data parallel ranks, or the stages of a pipeline, which uses Ray or the multi-node mode
of vLLM. The first node of a group is the head. Only the head has the HTTP API.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import host_port
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import serve_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import place_instances, usable_npus
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs

REPLICAS, DATA_PARALLEL, RAY, PIPELINE = "replicas", "data_parallel", "ray", "pipeline"
TOPOLOGIES = (REPLICAS, DATA_PARALLEL, RAY, PIPELINE, "prefill_decode")
GROUPED = (DATA_PARALLEL, RAY, PIPELINE)

# Inputs that must be the same on all hosts of a group.
SHARED = (
    "plan_hardware", "plan_release", "plan_model", "image_repository", "image_variant", "image_tag", "image_digest",
    "serving_topology", "serving_hosts", "serving_group_port", "serving_tensor_parallel_size", "serving_args",
    "serving_weight_nz", "serving_container_name",
)

# From the multi-node recipes of vLLM Ascend (tutorials/multi_node*.md). Ranks load at different speeds, so they must
# wait for each other for longer than HCCL's default of 120 s. serving_env overrides these variables.
ENVIRONMENT = {"HCCL_CONNECT_TIMEOUT": "600", "OMP_PROC_BIND": "false"}
# Needed before `ray start`, because workers inherit the environment of the raylet on their node.
RAY_ENVIRONMENT = {"RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES": "1", "RAY_USAGE_STATS_ENABLED": "0"}
OWNED_ENVIRONMENT = {
    "HCCL_IF_IP": "serving_group_address", "VLLM_HOST_IP": "serving_group_address",
    "GLOO_SOCKET_IFNAME": "serving_interface", "TP_SOCKET_IFNAME": "serving_interface",
    "HCCL_SOCKET_IFNAME": "serving_interface",
}

PORTS = {DATA_PARALLEL: 13389, RAY: 6379, PIPELINE: 13389}
RAY_WORKER_PORTS = (10002, 19999)

# The head starts the Ray cluster, then the shell is replaced by the server, so the container ends with the server.
RAY_HEAD = ["/bin/bash", "-c", 'address=$1 port=$2; shift 2; ray start --head --node-ip-address="$address" '
            '--port="$port" --include-dashboard=false && exec "$@"', "ray-head"]

# {host: inputs} of the hosts in serving_hosts that are in the inventory, in that order.
Members = Mapping[str, Mapping[str, Any]]


def resolve_group(catalogue: types.Catalogue, release: types.Release, inputs: Inputs, findings: Findings,
                  host: str | None, members: Members) -> types.Group | None:
    """Return the group of the host, or None if the host is not in a group or the group is refused."""
    topology = inputs.choice("serving_topology", TOPOLOGIES)
    if topology not in GROUPED:
        return None
    before = len(findings.refusals)
    named = [str(name) for name in inputs.items("serving_hosts")]
    _check_hosts(topology, named, host, members, findings)
    if len(findings.refusals) == before:
        _check_shared(host, members, findings)
    if topology == PIPELINE and "nnodes" not in serve_options(catalogue, release["vllm"]):
        supporting = [name for name in release["usable"]
                      if "nnodes" in serve_options(catalogue, catalogue["releases"][name]["vllm"])]
        findings.refuse("serving_topology", "serving_topology is pipeline, but vLLM %s of release %s has no option "
                        "--nnodes; set it to ray%s.", release["vllm"], release["id"],
                        ", or plan_release to one of " + ", ".join(supporting) if supporting else "")
    port = _port(topology, inputs, findings)
    found: list[types.Member] = [
        {"host": name, "address": _address(name, members[name], findings)} for name in named if name in members]
    addresses = [member["address"] for member in found]
    for address in sorted({address for address in addresses if address and addresses.count(address) > 1}):
        findings.refuse("serving_group_address", "serving_group_address is %s on more than one host of the group; give "
                        "each host its own address.", address)
    if host is None or len(findings.refusals) > before:
        return None
    return {"topology": topology, "host": host, "rank": named.index(host), "port": port, "members": found}


def _check_hosts(topology: str, named: list[str], host: str | None, members: Members, findings: Findings) -> None:
    """Refuse serving_hosts if it is not a valid group that includes this host."""
    unknown = [name for name in named if name not in members]
    if len(set(named)) < 2 or len(set(named)) < len(named):
        findings.refuse("serving_hosts", "serving_hosts must name two or more different hosts for serving_topology %s, "
                        "but names %s.", topology, ", ".join(named) or "none")
    elif host not in named:
        findings.refuse("serving_hosts", "serving_hosts names %s, but not %s itself; add it, or set serving_topology "
                        "of this host to replicas.", ", ".join(named), host)
    elif unknown:
        findings.refuse("serving_hosts", "serving_hosts names %s, which is not in the inventory; correct the name.",
                        ", ".join(unknown))


def _check_shared(host: str | None, members: Members, findings: Findings) -> None:
    """Refuse inputs that differ between this host and another member of the group."""
    own = members[host or ""]
    for name, other in members.items():
        for variable in SHARED:
            if other.get(variable) != own.get(variable):
                findings.refuse(variable, "%s is %r on %s, but %r on %s, which is in the same group; give both hosts "
                                "the same value.", variable, own.get(variable), host, other.get(variable), name)


def _port(topology: str, inputs: Inputs, findings: Findings) -> int:
    """Return the port of the head that the other members connect to."""
    if not inputs.text("serving_group_port"):
        return PORTS[topology]
    port = inputs.integer("serving_group_port", 1024, 65535)
    first, last = RAY_WORKER_PORTS
    if topology == RAY and first <= port <= last:
        findings.refuse("serving_group_port", "serving_group_port is %d, but Ray uses the ports from %d to %d for its "
                        "workers; choose another port.", port, first, last)
    return port


def _address(name: str, values: Mapping[str, Any], findings: Findings) -> str:
    """Return the address at which the other members reach a host, or an empty string if the address is refused."""
    text = Inputs(values, findings).text("serving_group_address")
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        address = None
    if address is None or address.is_loopback or address.is_unspecified:
        findings.refuse("serving_group_address", "serving_group_address of %s must be the IPv4 address by which the "
                        "other hosts reach it, but is %s.", name, text or "empty")
        return ""
    return text


def resolve_conflicts(group: types.Group | None, release: types.Release, model: types.Model, arguments: dict[str, Any],
                      overrides: set[str], findings: Findings) -> None:
    """Remove default arguments of the model that do not work with the topology. Refuse such arguments in serving_args.

    :param overrides: the names of the options in serving_args.
    """
    if group is None:
        return
    for conflict in release["conflicts"]:
        option, value = conflict["option"], arguments.get(conflict["option"])
        matches = value is True if conflict["value"] is True else str(conflict["value"]) in str(value)
        if group["topology"] not in conflict["topologies"] or not matches:
            continue
        if option not in overrides:
            del arguments[option]
        elif not conflict.get("left_to_vllm"):
            findings.refuse("serving_args.topology", "serving_args sets %s, which does not work with serving_topology "
                            "%s in release %s: %s; remove it.", option, group["topology"], release["id"],
                            conflict["reason"])
    reason = model["untested"].get(group["topology"])
    if reason:
        findings.warn("serving_topology", "serving_topology is %s, which is untested with %s: %s.", group["topology"],
                      model["name"], reason)


def join_placement(placement: list[list[int]], group: types.Group | None, hardware: types.Hardware, model: types.Model,
                   members: Members, findings: Findings) -> list[list[int]]:
    """Return the NPUs of each instance of a host. All data parallel ranks of a host form one instance.

    Also set ``tensor_parallel_size`` of the group and, with data parallelism, ``size``, ``local`` and ``start``.

    :param placement: the NPUs of each instance if the instances were replicas.
    """
    if group is None:
        return placement
    group["tensor_parallel_size"] = len(placement[0])
    if group["topology"] != DATA_PARALLEL:
        if len(placement) > 1:
            findings.refuse("serving_replicas", "serving_replicas must be 1 with serving_topology %s, whose nodes form "
                            "one engine, but is %d.", group["topology"], len(placement))
        return placement[:1]
    ignored = Findings()  # The plan of each member reports its own findings.
    ranks = []
    for member in group["members"]:
        inputs = Inputs(members[member["host"]], ignored)
        npus = usable_npus(hardware, inputs, ignored)
        ranks.append(len(place_instances(npus, hardware, model, inputs, ignored)))
    group["size"], group["local"], group["start"] = sum(ranks), ranks[group["rank"]], sum(ranks[:group["rank"]])
    return [[npu for npus in placement for npu in npus]]


def instance_command(model: types.Model, group: types.Group | None, bind: str, port: int, npus: list[int],
                     options: list[str]) -> tuple[list[str], list[str]]:
    """Return the launcher and the command of an instance.

    :param options: the rendered arguments, which follow the options that other inputs control.
    """
    address = ["--host", bind, "--port", str(port)]
    name = ["--served-model-name", model["served_name"]]
    if group is None:
        return [], ["vllm", "serve", model["path"], *address, *name, "--tensor-parallel-size", str(len(npus)), *options]
    own = group["members"][group["rank"]]["address"]
    if group["topology"] == RAY and group["rank"]:
        head = group["members"][0]["address"]
        return [], ["ray", "start", "--address=" + host_port(head, group["port"]), "--node-ip-address=" + own,
                    "--block"]
    parallel = ["--tensor-parallel-size", str(group["tensor_parallel_size"]), *_parallel(group)]
    if group["rank"]:
        return [], ["vllm", "serve", model["path"], *name, *parallel, "--headless",
                    *_without("--api-server-count", options)]
    launcher = [*RAY_HEAD, own, str(group["port"])] if group["topology"] == RAY else []
    return launcher, ["vllm", "serve", model["path"], *address, *name, *parallel, *options]


def _parallel(group: types.Group) -> list[str]:
    """Return the parallelism options of a member, which depend on its rank."""
    head, port = group["members"][0]["address"], str(group["port"])
    if group["topology"] == DATA_PARALLEL:
        start = ["--data-parallel-start-rank", str(group["start"])] if group["rank"] else []
        return ["--data-parallel-size", str(group["size"]), "--data-parallel-size-local", str(group["local"]),
                "--data-parallel-address", head, "--data-parallel-rpc-port", port, *start]
    stages = str(len(group["members"]))
    if group["topology"] == RAY:
        return ["--pipeline-parallel-size", stages, "--distributed-executor-backend", "ray"]
    return ["--pipeline-parallel-size", stages, "--distributed-executor-backend", "mp", "--nnodes", stages,
            "--node-rank", str(group["rank"]), "--master-addr", head, "--master-port", port]


def _without(option: str, words: list[str]) -> list[str]:
    """Return the words without an option and its value."""
    if option not in words:
        return words
    at = words.index(option)
    return words[:at] + words[at + 2:]


def group_environment(group: types.Group, npus: list[int], inputs: Inputs, findings: Findings) -> dict[str, str]:
    """Return the environment variables with which the members find each other.

    The variables of :func:`interface_environment` are added when the container is started, because the network
    interface may have to be looked up on the node.
    """
    site = inputs.mapping("serving_env")
    for name, variable in sorted(OWNED_ENVIRONMENT.items()):
        if name in site:
            findings.refuse("serving_env.owned", "serving_env sets %s, which %s controls; set that variable instead.",
                            name, variable)
    address = group["members"][group["rank"]]["address"]
    found = {name: value for name, value in ENVIRONMENT.items() if name not in site}
    found.update(HCCL_IF_IP=address, VLLM_HOST_IP=address)
    if group["topology"] == RAY:
        found.update(RAY_ENVIRONMENT, ASCEND_RT_VISIBLE_DEVICES=",".join(str(index) for index in range(len(npus))))
    return found


def interface_environment(interface: str) -> dict[str, str]:
    """Return the environment variables that keep the traffic of a group on one network interface.

    The ``=`` in HCCL_SOCKET_IFNAME requests an exact match of the name.
    """
    return {"GLOO_SOCKET_IFNAME": interface, "TP_SOCKET_IFNAME": interface, "HCCL_SOCKET_IFNAME": "=" + interface}
