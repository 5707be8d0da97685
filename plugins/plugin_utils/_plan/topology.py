# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the nodes of one service work together: which of them is the head, and what each of them is told.

A group is the nodes that serve one model as one engine: data parallel ranks, or the stages of a pipeline, brought
together by Ray or by vLLM itself. Its first node is the head, which alone answers HTTP.

PRIVATE to the plan.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import container
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs

REPLICAS, DATA_PARALLEL, RAY, PIPELINE = "replicas", "data_parallel", "ray", "pipeline"
TOPOLOGIES = (REPLICAS, DATA_PARALLEL, RAY, PIPELINE, "prefill_decode")
GROUPED = (DATA_PARALLEL, RAY, PIPELINE)

# What all nodes of a group must have alike.
SHARED = (
    "plan_hardware", "plan_release", "plan_model", "image_repository", "image_variant", "image_tag", "image_digest",
    "serving_topology", "serving_hosts", "serving_group_port", "serving_tensor_parallel_size", "serving_args",
    "serving_weight_nz", "serving_container_name",
)

# Of the multi-node recipes of vLLM Ascend (tutorials/multi_node*.md): ranks load at their own pace, so they wait longer
# for each other than HCCL's 120 s. serving_env merges over it.
ENVIRONMENT = {"HCCL_CONNECT_TIMEOUT": "600", "OMP_PROC_BIND": "false"}
# Must be there before `ray start`: workers inherit it from their node's raylet.
RAY_ENVIRONMENT = {"RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES": "1", "RAY_USAGE_STATS_ENABLED": "0"}
OWNED_ENVIRONMENT = {
    "HCCL_IF_IP": "serving_group_address",
    "VLLM_HOST_IP": "serving_group_address",
    "GLOO_SOCKET_IFNAME": "serving_interface",
    "TP_SOCKET_IFNAME": "serving_interface",
    "HCCL_SOCKET_IFNAME": "serving_interface",
}

PORTS = {DATA_PARALLEL: 13389, RAY: 6379, PIPELINE: 13389}
RAY_WORKER_PORTS = (10002, 19999)

# The head becomes the first node of the Ray cluster and then the server: when either ends, the container does.
RAY_HEAD = ["/bin/bash", "-c", 'address=$1 port=$2; shift 2; ray start --head --node-ip-address="$address" '
            '--port="$port" --include-dashboard=false && exec "$@"', "ray-head"]


def group(catalogue, release, inputs, findings, host, members):
    """Return the group that the host belongs to, or None where it serves by itself.

    :param members: ``{host: inputs}`` of the hosts of serving_hosts that the inventory has, in that order.
    :returns: ``{"topology", "host", "rank", "port", "members": [{"host", "address"}]}``; the first member is the head.
    """
    topology = inputs.choice("serving_topology", TOPOLOGIES)
    if topology not in GROUPED:
        return None
    before = len(findings.refusals)
    named = [str(name) for name in inputs.items("serving_hosts")]
    _check_hosts(topology, named, host, members, findings)
    if len(findings.refusals) == before:
        _check_shared(host, members, findings)
    if topology == PIPELINE and "nnodes" not in lookup.serve_options(catalogue, release["vllm"]):
        able = [name for name, entry in catalogue["releases"].items()
                if "nnodes" in lookup.serve_options(catalogue, entry["vllm"])]
        findings.refuse(
            "serving_topology",
            "serving_topology is pipeline, but vLLM %s of release %s has no --nnodes; use ray, or one of %s.",
            release["vllm"], release["id"], ", ".join(able))
    port = _port(topology, inputs, findings)
    addresses = [_address(name, members[name], findings) for name in named if name in members]
    for address in sorted({address for address in addresses if address and addresses.count(address) > 1}):
        findings.refuse(
            "serving_group_address",
            "serving_group_address is %s on more than one host of the group; give each its own.", address)
    if len(findings.refusals) > before:
        return None
    return {"topology": topology, "host": host, "rank": named.index(host), "port": port,
            "members": [{"host": name, "address": address} for name, address in zip(named, addresses)]}


def _check_hosts(topology, named, host, members, findings):
    """Refuse a list of hosts that is no group for the host."""
    unknown = [name for name in named if name not in members]
    if len(set(named)) < 2 or len(set(named)) < len(named):
        findings.refuse(
            "serving_hosts",
            "serving_hosts must name two or more different hosts for serving_topology %s, but names %s.",
            topology, ", ".join(named) or "none")
    elif host not in named:
        findings.refuse(
            "serving_hosts",
            "serving_hosts names %s, but not %s itself; add it, or set its serving_topology to replicas.",
            ", ".join(named), host)
    elif unknown:
        findings.refuse(
            "serving_hosts",
            "serving_hosts names %s, which the inventory does not have; correct the name.", ", ".join(unknown))


def _check_shared(host, members, findings):
    """Refuse inputs in which another member of the group differs from this one."""
    for name, other in members.items():
        for variable in SHARED:
            if other.get(variable) != members[host].get(variable):
                findings.refuse(
                    variable,
                    "%s is %r on %s, but %r on %s, which serves with it; set it for both alike.",
                    variable, members[host].get(variable), host, other.get(variable), name)


def _port(topology, inputs, findings):
    """Return the port at which the head is found."""
    if not inputs.text("serving_group_port"):
        return PORTS[topology]
    port = inputs.integer("serving_group_port", 1024, 65535)
    first, last = RAY_WORKER_PORTS
    if topology == RAY and first <= port <= last:
        findings.refuse(
            "serving_group_port",
            "serving_group_port is %d, but Ray gives the ports from %d to %d to its workers; choose another.",
            port, first, last)
    return port


def _address(name, values, findings):
    """Return the address by which the other members reach a host; None when refused."""
    text = Inputs(values, findings).text("serving_group_address")
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        address = None
    if address is None or address.is_loopback or address.is_unspecified:
        findings.refuse(
            "serving_group_address",
            "serving_group_address of %s must be the IPv4 address by which the others reach it, but is %s.",
            name, text or "empty")
        return None
    return text


def check(group, release, model, arguments, overrides, findings):
    """Take out the model's arguments that do not go with the topology, and refuse those of serving_args.

    :param overrides: the names that serving_args sets.
    """
    if group is None:
        return
    for conflict in release["conflicts"]:
        option, value = conflict["option"], arguments.get(conflict["option"])
        concerned = value is True if conflict["value"] is True else str(conflict["value"]) in str(value)
        if group["topology"] not in conflict["topologies"] or not concerned:
            continue
        if option in overrides and conflict.get("left_to_vllm"):
            continue
        if option in overrides:
            findings.refuse(
                "serving_args.topology",
                "serving_args sets %s, which does not go with serving_topology %s in release %s: %s; take it out.",
                option, group["topology"], release["id"], conflict["reason"])
        else:
            del arguments[option]
    reason = model["untested"].get(group["topology"])
    if reason:
        findings.warn(
            "serving_topology", "serving_topology is %s with %s: %s.", group["topology"], model["name"], reason)


def join(placement, group, hardware, model, members, findings):
    """Return the NPUs of the instances of a node: those of all its data parallel ranks are one instance's.

    Adds to the group ``tensor_parallel_size``, and with data parallelism ``size`` (ranks of the whole group), ``local``
    and ``start`` (the first rank of this node).

    :param placement: the NPUs of each instance, were they replicas.
    """
    if group is None:
        return placement
    group["tensor_parallel_size"] = len(placement[0])
    if group["topology"] != DATA_PARALLEL:
        if len(placement) > 1:
            findings.refuse(
                "serving_replicas",
                "serving_replicas must be 1 with serving_topology %s, whose nodes are one engine, but is %d.",
                group["topology"], len(placement))
        return placement[:1]
    scratch = Findings()  # a member's own mistakes are told where its own plan is made
    ranks = []
    for member in group["members"]:
        theirs = Inputs(members[member["host"]], scratch)
        npus = container.usable(hardware, theirs, scratch)
        ranks.append(len(container.place(npus, hardware, model, theirs, scratch)))
    group.update(size=sum(ranks), local=ranks[group["rank"]], start=sum(ranks[:group["rank"]]))
    return [[npu for npus in placement for npu in npus]]


def npus_per_copy(group, placement):
    """Return over how many NPUs one copy of the weights is spread."""
    if group is None:
        return len(placement[0])
    stages = 1 if group["topology"] == DATA_PARALLEL else len(group["members"])
    return group["tensor_parallel_size"] * stages


def command(model, instance, group, options):
    """Return (launcher, command) of an instance: what of the command role variables decide, then the options."""
    if group and group["topology"] == RAY and group["rank"]:
        head = group["members"][0]["address"]
        return [], ["ray", "start", "--address=%s:%d" % (head, group["port"]),
                    "--node-ip-address=" + instance["address"], "--block"]
    serve = ["vllm", "serve", model["path"]]
    if instance["serves"]:
        serve += ["--host", instance["bind"], "--port", str(instance["port"])]
    size = group["tensor_parallel_size"] if group else len(instance["npus"])
    serve += ["--served-model-name", model["served_name"], "--tensor-parallel-size", str(size)]
    launcher = []
    if group:
        serve += _parallel(group)
        if not instance["serves"]:
            serve, options = [*serve, "--headless"], _without("--api-server-count", options)
        if group["topology"] == RAY:
            launcher = [*RAY_HEAD, instance["address"], str(group["port"])]
    return launcher, serve + options


def _parallel(group):
    """Return the options by which the members find their places."""
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


def _without(option, words):
    """Return the words without an option and its value; a headless node has no API server to count."""
    if option not in words:
        return words
    at = words.index(option)
    return words[:at] + words[at + 2:]


def environment(group, npus, inputs, findings):
    """Return (environment, interface) that the members find each other with; interface None is looked up on the node.

    The names of the network interface are added where the container is started.
    """
    interface = inputs.text("serving_interface") or None
    set_by_hand = inputs.mapping("serving_env")
    for name, variable in sorted(OWNED_ENVIRONMENT.items()):
        if name in set_by_hand:
            findings.refuse(
                "serving_env.owned",
                "serving_env sets %s, which %s decides; set that variable instead.", name, variable)
    address = group["members"][group["rank"]]["address"]
    found = {name: value for name, value in ENVIRONMENT.items() if name not in set_by_hand}
    found.update(HCCL_IF_IP=address, VLLM_HOST_IP=address)
    if group["topology"] == RAY:
        found.update(RAY_ENVIRONMENT, ASCEND_RT_VISIBLE_DEVICES=",".join(str(index) for index in range(len(npus))))
    return found, interface


def interface_environment(interface):
    """Return the environment that keeps the traffic between members on one interface; HCCL's = is an exact match."""
    return {"GLOO_SOCKET_IFNAME": interface, "TP_SOCKET_IFNAME": interface, "HCCL_SOCKET_IFNAME": "=" + interface}
