# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real processes of the node that use an NPU.

A simulated device node has no driver, so vLLM never opens it. A process counts as a user of the device if its container
was started with `--device /dev/davinciN`, or if the process has that path open (O_PATH is enough).
"""
from __future__ import annotations

import json
import os

_DEVICE = "/dev/davinci"
_WRAPPERS = ("tini", "docker-init", "bash", "sh")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def find(root: str, proc: str = "/proc") -> dict[int, list[tuple[int, str]]]:
    """Return {number of the davinci device: [(pid on the node, name as npu-smi shows it)]}, pids in ascending order."""
    holders: dict[int, dict[int, str]] = {}
    containers = _containers(os.path.join(root, "var/lib/docker/containers"))
    members: dict[str, list[tuple[int, str]]] = {identifier: [] for identifier in containers}
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        pid = int(entry)
        for device in _opened(f"{proc}/{entry}/fd", os.path.join(root, _DEVICE.lstrip("/"))):
            holders.setdefault(device, {})[pid] = _name(proc, pid)
        group = _read(f"{proc}/{entry}/cgroup") if containers else ""
        for identifier in containers:
            if identifier in group:
                members[identifier].append((pid, _name(proc, pid)))
    for identifier, devices in containers.items():
        for position, device in enumerate(devices):
            worker = _worker(sorted(members[identifier]), position)
            if worker:
                holders.setdefault(device, {})[worker[0]] = worker[1]
    return {device: sorted(processes.items()) for device, processes in holders.items()}


def _containers(folder: str) -> dict[str, list[int]]:
    """Return {id: devices} of the containers with NPUs. This includes stopped containers, which have no processes."""
    found = {}
    for identifier in os.listdir(folder) if os.path.isdir(folder) else ():
        text = _read(os.path.join(folder, identifier, "hostconfig.json"))
        if _DEVICE not in text:
            continue
        devices = [_number(device["PathOnHost"]) for device in json.loads(text).get("Devices") or ()]
        found[identifier] = [device for device in devices if device is not None]
    return found


def _worker(processes: list[tuple[int, str]], position: int) -> tuple[int, str] | None:
    """Return the process that uses an NPU: a vLLM worker or engine core, or the first process that is not a wrapper."""
    for prefix in ("VLLMWorker", "VLLMEngineCor"):
        workers = [process for process in processes if process[1].startswith(prefix)]
        if workers:
            return workers[position % len(workers)]
    return next((process for process in processes if process[1] not in _WRAPPERS), processes[0] if processes else None)


def _opened(folder: str, device: str) -> set[int]:
    found = set()
    try:
        descriptors = os.listdir(folder)
    except OSError:  # The process has ended or cannot be read.
        return found
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{folder}/{descriptor}")
        except OSError:
            continue
        if target.startswith(device) and target[len(device):].isdigit():
            found.add(int(target[len(device):]))
    return found


def _number(path: str) -> int | None:
    suffix = path[len(_DEVICE):] if path.startswith(_DEVICE) else ""
    return int(suffix) if suffix.isdigit() else None


def _name(proc: str, pid: int) -> str:
    """Return a process name as npu-smi shows it: the kernel's 15 characters without those outside [A-Za-z0-9_.-]."""
    return "".join(filter(_NAME_CHARACTERS.__contains__, _read(f"{proc}/{pid}/comm")))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
