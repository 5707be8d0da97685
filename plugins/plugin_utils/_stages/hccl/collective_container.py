# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps the nodes from a collective run, and the container that does one. PRIVATE to the collection."""
from __future__ import annotations

import json

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import docker_mounts
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import host_interfaces

NAME = "ascend-vllm-hccl-probe"
# Where the action plugins of this collection find the sources; Python gets them as an argument, so that nothing is left
# on a node.
PROBE = "roles/hccl/files/allreduce_probe.py"
LAUNCHER = "roles/hccl/files/hccl_test_launcher.py"
_TORCHRUN = ("torchrun", "--nnodes={nodes}", "--nproc-per-node={processes}", "--node-rank={rank}",
             "--master-addr={master}", "--master-port={port}", "--no-python", "python3", "-c")


def obstacle(peers, inputs, forks):
    """Return a sentence that says why no all-reduce can be run over all nodes now, or None.

    :param peers: ``{host: observed}``; all nodes come to the same answer.
    :param inputs: the inputs of the role.
    :param forks: how many hosts Ansible works on at a time: the ranks wait for each other.
    """
    if inputs["hccl_collective_policy"] == "never":
        return "hccl_collective_policy is never."
    if len(peers) < 2:
        return "There is only one node in this run; this needs two."
    if forks < len(peers):
        return "The all-reduce runs on all %d nodes at a time, but Ansible has %d forks; raise forks." % (
            len(peers), forks)
    interfaces = host_interfaces(peers, inputs["hccl_interface"])
    for host in sorted(peers):
        why = _obstacle_at(host, peers[host], interfaces[host])
        if why:
            return why
    return None


def lacks_image(peers, inputs):
    """Return whether an all-reduce over these nodes may be run once all of them have the image."""
    return (inputs["hccl_collective_policy"] != "never" and len(peers) > 1
            and any(observed.get("image_present") is False for observed in peers.values()))


def _obstacle_at(host, observed, interface):
    processes = observed.get("processes")
    if observed.get("image_present") is None:
        return "Docker on %s could not be asked for the image." % host
    if not observed["image_present"]:
        return "%s does not have the image yet; site.yml makes up for it after the stage image." % host
    if processes is None:
        return "npu-smi on %s could not tell whether the NPUs are free." % host
    if processes:
        return "NPU %s of %s is in use by %s (pid %s), which an all-reduce would disturb." % (
            processes[0]["npu"], host, processes[0]["name"], processes[0]["pid"])
    if interface["name"] is None:
        return "The host interface of %s is not clear." % host
    return None


def processes_per_node(plan, inputs):
    """Return how many ranks a node has: as the site says, or one for every NPU."""
    return inputs["hccl_collective_processes_per_node"] or len(plan["hardware"]["npu_devices"])


def hccl_test_sizes(sizes):
    """Return the sizes in bytes that hccl_test measures: it doubles from the smallest to the largest."""
    low, high, found = min(sizes), max(sizes), []
    while low <= high:
        found.append(low)
        low *= 2
    return found


def _command(inputs, group, addresses, processes, sizes, sources):
    """Return what a node's container runs: the probe, or the launcher of hccl_test, which may fall back on it."""
    probe = [part.format(nodes=len(addresses), processes=processes, rank=group["rank"], master=addresses[0],
                         port=inputs["hccl_collective_port"]) for part in _TORCHRUN] + [sources["probe"]]
    if inputs["hccl_collective_tool"] == "probe":
        return probe
    job = {
        "required": inputs["hccl_collective_tool"] == "hccl_test", "toolkit": inputs["hccl_collective_toolkit_path"],
        "addresses": addresses, "names": group["hosts"], "node": group["rank"],
        "port": inputs["hccl_collective_port"], "processes": processes, "sizes": hccl_test_sizes(sizes),
        "options": ["-b", str(sizes[0]), "-e", str(sizes[-1]), "-f", "2", "-d", "fp32", "-o", "sum",
                    "-p", str(processes), "-n", str(inputs["hccl_collective_iterations"]),
                    "-w", str(inputs["hccl_collective_warmup"]), "-c", "1"],
    }
    return ["python3", "-c", sources["launcher"], json.dumps(job), *probe]


def arguments(plan, inputs, group, interfaces, host, sources):
    """Return the arguments of community.docker.docker_container for one node's part of a run.

    :param group: ``{"hosts", "rank"}`` as ``collective.group`` gives it.
    :param interfaces: ``{host: {"name", "address"}}``.
    :param sources: ``{"probe", "launcher"}``: the text of PROBE and LAUNCHER.
    """
    hardware, processes = plan["hardware"], processes_per_node(plan, inputs)
    addresses = [interfaces[name]["address"] for name in group["hosts"]]
    own, limit = interfaces[host], inputs["hccl_collective_timeout_s"]
    sizes = sorted(int(size) for size in inputs["hccl_collective_sizes_bytes"])
    command = _command(inputs, group, addresses, processes, sizes, sources)
    mounts = [one for one in plan["instances"][0]["mounts"] if one["origin"] == "host"]
    if not any(one["target"] == "/etc/hccn.conf" for one in mounts):
        mounts.append({"source": "/etc/hccn.conf", "target": "/etc/hccn.conf", "read_only": True})
    npus = [device_path(number) for number in hardware["npu_devices"]]
    return {
        "docker_host": "unix://" + plan["docker_socket"],
        "name": NAME,
        "image": inputs["hccl_collective_image"] or plan["image"]["reference"],
        "pull": "never",
        "command": ["timeout", "--kill-after=10", str(limit), *command],
        "env": {
            "HCCL_IF_IP": own["address"], "HCCL_SOCKET_IFNAME": "=" + own["name"], "GLOO_SOCKET_IFNAME": own["name"],
            "HCCL_CONNECT_TIMEOUT": str(limit), "OMP_NUM_THREADS": "1",
            # MPICH over UCX and over libfabric; over its own TCP it uses the address by which mpiexec names the node.
            "UCX_NET_DEVICES": own["name"], "FI_TCP_IFACE": own["name"],
            "PROBE_BACKEND": inputs["hccl_collective_backend"], "PROBE_SIZES": ",".join(str(size) for size in sizes),
            "PROBE_WARMUP": str(inputs["hccl_collective_warmup"]), "PROBE_TIMEOUT_S": str(limit),
            "PROBE_ITERATIONS": str(inputs["hccl_collective_iterations"]),
        },
        "devices": ["%s:%s:rwm" % (device, device) for device in npus + hardware["shared_devices"]],
        "mounts": docker_mounts(mounts),
        "network_mode": "host",
        "shm_size": "1g",
        "log_driver": "json-file",
        "detach": False,
        "cleanup": True,
        "recreate": True,
        "command_handling": "correct",
    }
