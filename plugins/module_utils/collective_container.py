# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps the nodes from a collective run, and the container that does one. PRIVATE to the collection."""
from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils.hccl_fabric import host_interface, is_on

NAME = "ascend-vllm-hccl-probe"
# The torchrun of the image finds the sources of the probe in its arguments: nothing is left on the node.
_TORCHRUN = ("torchrun", "--nnodes={nodes}", "--nproc-per-node={processes}", "--node-rank={rank}",
             "--master-addr={master}", "--master-port={port}", "--no-python", "python3", "-c")
# A host file that repeats a host for each slot is understood by MPICH and by Open MPI.
_HCCL_TEST = r"""
cd "$1/tools/hccl_test" || exit 1
for host in $2; do for slot in $(seq "$3"); do echo "$host"; done; done > /tmp/hosts
exec mpirun -hostfile /tmp/hosts -n "$4" \
  ./bin/all_reduce_test -b "$5" -e "$6" -f 2 -d fp32 -o sum -p "$3" -n "$7" -w "$8" -c 1
"""


def obstacle(peers, settings, forks):
    """Return a sentence that says why no all-reduce can be run over all nodes now, or None.

    :param peers: ``{host: observed}``; all nodes come to the same answer.
    :param settings: the inputs of the role, without prefix.
    :param forks: how many hosts Ansible works on at a time: the ranks wait for each other.
    """
    if not is_on(settings["collective_enabled"]):
        return "hccl_collective_enabled is false."
    if len(peers) < 2:
        return "There is only one node in this run; this needs two."
    if forks < len(peers):
        return "The all-reduce runs on all %d nodes at a time, but Ansible has %d forks; raise forks." % (
            len(peers), forks)
    for host in sorted(peers):
        why = _obstacle_at(host, peers, settings)
        if why:
            return why
    return None


def _obstacle_at(host, peers, settings):
    observed = peers[host]
    processes = observed.get("processes")
    if observed.get("image_present") is None:
        return "Docker on %s could not be asked for the image." % host
    if not observed["image_present"]:
        return "%s does not have the image yet; run the stage hccl again after the stage image." % host
    if processes is None:
        return "npu-smi on %s could not tell whether the NPUs are free." % host
    if processes:
        return "NPU %s of %s is in use by %s (pid %s), which an all-reduce would disturb." % (
            processes[0]["npu"], host, processes[0]["name"], processes[0]["pid"])
    if host_interface(host, observed, peers, settings["interface"])["name"] is None:
        return "The host interface of %s is not clear." % host
    return None


def processes_per_node(plan, settings):
    """Return how many ranks a node has: as the site says, or one for every NPU."""
    hardware = plan["hardware"]
    return int(settings["collective_processes_per_node"] or hardware["npus"] * hardware["chips_per_npu"])


def arguments(plan, settings, group, interfaces, host, probe):
    """Return the arguments of community.docker.docker_container for one node's part of a run.

    :param group: ``{"hosts", "rank"}`` as ``collective.group`` gives it.
    :param interfaces: ``{host: {"name", "address"}}``.
    :param probe: source of the probe.
    """
    hardware, processes = plan["hardware"], processes_per_node(plan, settings)
    addresses = [interfaces[name]["address"] for name in group["hosts"]]
    own, limit = interfaces[host], int(settings["collective_timeout_s"])
    sizes = sorted(int(size) for size in settings["collective_sizes_bytes"])
    if settings["collective_tool"] == "hccl_test":
        command = ["bash", "-c", _HCCL_TEST, "hccl_test", settings["collective_toolkit_path"], " ".join(addresses),
                   processes, processes * len(addresses), sizes[0], sizes[-1], settings["collective_iterations"],
                   settings["collective_warmup"]]
    else:
        command = [part.format(nodes=len(addresses), processes=processes, rank=group["rank"], master=addresses[0],
                               port=settings["collective_port"]) for part in _TORCHRUN]
        command.append(probe)
    mounts = [one for one in plan["instances"][0]["mounts"] if one["origin"] == "host"]
    if not any(one["target"] == "/etc/hccn.conf" for one in mounts):
        mounts.append({"source": "/etc/hccn.conf", "target": "/etc/hccn.conf", "read_only": True})
    shared = [name for name in plan["instances"][0]["devices"] if not name[len("/dev/davinci"):].isdigit()]
    chips = ["/dev/davinci%d" % number for number in range(hardware["npus"] * hardware["chips_per_npu"])]
    return {
        "name": NAME,
        "image": settings["collective_image"] or plan["image"]["reference"],
        "pull": "never",
        "command": ["timeout", "--kill-after=10", str(limit), *[str(part) for part in command]],
        "env": {
            "HCCL_IF_IP": own["address"], "HCCL_SOCKET_IFNAME": "=" + own["name"], "GLOO_SOCKET_IFNAME": own["name"],
            "HCCL_CONNECT_TIMEOUT": str(limit), "OMP_NUM_THREADS": "1",
            "PROBE_BACKEND": settings["collective_backend"], "PROBE_SIZES": ",".join(str(size) for size in sizes),
            "PROBE_WARMUP": str(settings["collective_warmup"]), "PROBE_TIMEOUT_S": str(limit),
            "PROBE_ITERATIONS": str(settings["collective_iterations"]),
        },
        "devices": ["%s:%s:rwm" % (device, device) for device in chips + shared],
        "mounts": [{"type": "bind", "source": one["source"], "target": one["target"], "read_only": one["read_only"]}
                   for one in mounts + _keys(settings)],
        "network_mode": "host",
        "shm_size": "1g",
        "log_driver": "json-file",
        "detach": False,
        "cleanup": True,
        "recreate": True,
        "command_handling": "correct",
    }


def _keys(settings):
    """mpirun reaches the other nodes over SSH, with keys that the site has made for it."""
    path = settings["collective_ssh_path"]
    if settings["collective_tool"] != "hccl_test" or not path:
        return []
    return [{"source": path, "target": "/root/.ssh", "read_only": True}]
