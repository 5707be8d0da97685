# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container that each node runs for an all-reduce."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import docker_mounts
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.collective_rounds import Group
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import Interface

NAME = "ascend-vllm-hccl-probe-" + run.RUN_ID
# Paths in the collection. The sources are passed to Python as an argument, so that no file remains on a node.
PROBE = "roles/hccl/files/allreduce_probe.py"
LAUNCHER = "roles/hccl/files/hccl_test_launcher.py"
_TORCHRUN = ("torchrun", "--nnodes={nodes}", "--nproc-per-node={processes}", "--node-rank={rank}",
             "--master-addr={master}", "--master-port={port}", "--no-python", "python3", "-c")


def _command(inputs: Mapping[str, Any], group: Group, addresses: Sequence[str], processes: int, sizes: Sequence[int],
             sources: Mapping[str, str]) -> list[str]:
    """Return the command of a container: the probe, or the launcher of hccl_test, which may fall back to the probe."""
    probe = [part.format(nodes=len(addresses), processes=processes, rank=group["rank"], master=addresses[0],
                         port=inputs["hccl_collective_port"]) for part in _TORCHRUN] + [sources[PROBE]]
    if inputs["hccl_collective_tool"] == "probe":
        return probe
    job = {
        "required": inputs["hccl_collective_tool"] == "hccl_test", "toolkit": inputs["hccl_collective_toolkit_path"],
        "addresses": addresses, "names": group["hosts"], "node": group["rank"],
        "port": inputs["hccl_collective_port"], "processes": processes,
        # hccl_test doubles the smallest size up to the largest size.
        "sizes": [sizes[0] << doublings for doublings in range((sizes[-1] // sizes[0]).bit_length())],
        "options": ["-b", str(sizes[0]), "-e", str(sizes[-1]), "-f", "2", "-d", "fp32", "-o", "sum",
                    "-p", str(processes), "-n", str(inputs["hccl_collective_iterations"]),
                    "-w", str(inputs["hccl_collective_warmup"]), "-c", "1"],
    }
    return ["python3", "-c", sources[LAUNCHER], json.dumps(job), *probe]


def arguments(plan: Plan, inputs: Mapping[str, Any], group: Group, interfaces: Mapping[str, Interface], host: str,
              sources: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of community.docker.docker_container for a node in a group.

    :param sources: ``{PROBE: its text, LAUNCHER: its text}``.
    """
    hardware = plan["hardware"]
    processes = inputs["hccl_collective_processes_per_node"] or len(hardware["npu_devices"])
    addresses = [interfaces[name]["address"] for name in group["hosts"]]
    own, limit = interfaces[host], inputs["hccl_collective_timeout_s"]
    sizes = sorted(int(size) for size in inputs["hccl_collective_sizes_bytes"])
    command = _command(inputs, group, addresses, processes, sizes, sources)
    mounts = docker_mounts(mount for mount in plan["instances"][0]["mounts"] if mount["origin"] == "host")
    if not any(mount["target"] == "/etc/hccn.conf" for mount in mounts):
        mounts.append({"type": "bind", "source": "/etc/hccn.conf", "target": "/etc/hccn.conf", "read_only": True})
    npus = [device_path(number) for number in hardware["npu_devices"]]
    return {
        "docker_host": "unix://" + plan["docker_socket"],
        "name": NAME,
        "labels": {labels.RUN: run.RUN_ID},
        "image": inputs["hccl_collective_image"] or plan["image"]["reference"],
        "pull": "never",
        "command": ["timeout", "--kill-after=10", str(limit), *command],
        "env": {
            "HCCL_IF_IP": own["address"], "HCCL_SOCKET_IFNAME": "=" + own["name"], "GLOO_SOCKET_IFNAME": own["name"],
            "HCCL_CONNECT_TIMEOUT": str(limit), "OMP_NUM_THREADS": "1",
            # Used by MPICH over UCX and libfabric. Over TCP, MPICH uses the node address passed to mpiexec.
            "UCX_NET_DEVICES": own["name"], "FI_TCP_IFACE": own["name"],
            "PROBE_BACKEND": inputs["hccl_collective_backend"], "PROBE_SIZES": ",".join(str(size) for size in sizes),
            "PROBE_WARMUP": str(inputs["hccl_collective_warmup"]), "PROBE_TIMEOUT_S": str(limit),
            "PROBE_ITERATIONS": str(inputs["hccl_collective_iterations"]),
        },
        "devices": ["%s:%s:rwm" % (device, device) for device in npus + hardware["shared_devices"]],
        "mounts": mounts,
        "network_mode": "host",
        # All devices and mounts are listed above, so Ascend Docker Runtime must not add any, even if it is the default.
        "runtime": "runc",
        "cap_drop": plan["instances"][0]["cap_drop"],
        "security_opts": plan["instances"][0]["security_opts"],
        "shm_size": "1g",
        "log_driver": "json-file",
        "detach": False,
        "cleanup": True,
        "recreate": True,
        "command_handling": "correct",
    }
