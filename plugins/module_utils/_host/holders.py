# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes and containers hold ports and NPUs."""

from __future__ import annotations

import os
import stat

from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text
from ansible_collections.ascend.vllm.plugins.module_utils._host.network import listening


def holders(ports, devices=(), proc="/proc"):
    """Return who listens on the given ports and who has the given devices open, of the processes of the node.

    :param ports: set of TCP ports. :param devices: paths of character devices; those that are not there have no holder.
    :returns: ``({port: holder}, {device: [holder]})`` with holder ``{"pid", "process", "cgroup"}``, whose fields are
        null when it cannot be found (another user's process, when not run as root).
    """
    tables = [read_text(os.path.join(proc, "net", name)) for name in ("tcp", "tcp6")]
    inodes = {inode: port for port, inode in listening(tables).items() if port in ports}
    numbers = {number: path for path, number in ((path, _device_number(path)) for path in devices) if number}
    at_ports = {port: {"pid": None, "process": None, "cgroup": ""} for port in inodes.values()}
    at_devices = {}
    for pid in filter(str.isdigit, os.listdir(proc)) if inodes or numbers else ():
        sockets, opened = _open_files(os.path.join(proc, pid, "fd"))
        held, used = sockets & set(inodes), opened & set(numbers)
        if not held and not used:
            continue
        holder = {"pid": int(pid), "process": read_text(os.path.join(proc, pid, "comm")).strip(),
                  "cgroup": read_text(os.path.join(proc, pid, "cgroup"))}
        at_ports.update({inodes[inode]: dict(holder) for inode in held})
        for number in used:
            at_devices.setdefault(numbers[number], []).append(dict(holder))
    return at_ports, at_devices


def named_ports(at_ports, running, ports):
    """Return the holders of the ports with their container: ``[{"port", "pid", "process", "container"}]``.

    A port that a container has published is held even if no process listens: the kernel may forward it.
    """
    found = []
    for port in ports:
        publisher = next((each["name"] for each in running if port in each["ports"]), None)
        if port in at_ports or publisher:
            holder = dict(at_ports.get(port, {"pid": None, "process": None, "cgroup": ""}), port=port)
            found.append(dict(_named(holder, running), port=port))
            found[-1]["container"] = found[-1]["container"] or publisher
    return found


def named_devices(at_devices, running, devices):
    """Return the holders of the devices: ``[{"device", "pid", "process", "container"}]``, one of each container.

    A running container that was given a device holds it, whether it has it open or not.
    """
    found = []
    for device in devices:
        holders = [_named(holder, running) for holder in at_devices.get(device, ())]
        seen = {holder["container"] for holder in holders}
        holders += [{"pid": None, "process": None, "container": each["name"]} for each in running
                    if device in each["devices"] and each["name"] not in seen]
        told = set()
        for holder in holders:
            if holder["container"] not in told or holder["container"] is None:
                told.add(holder["container"])
                found.append(dict(holder, device=device))
    return found


def _named(holder, running):
    container = next((each["name"] for each in running if each["id"] in holder["cgroup"]), None)
    return {"pid": holder["pid"], "process": holder["process"], "container": container}


def _device_number(path):
    """Return the number of a character device, which is the same in every container; None for anything else."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_rdev if stat.S_ISCHR(status.st_mode) else None


def _open_files(folder):
    """Return the inodes of the sockets and the numbers of the NPUs that a process has open; none when it ended."""
    inodes, numbers = set(), set()
    try:
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            target = os.readlink(path)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
            elif "/davinci" in target:
                numbers.add(_device_number(path))
    except OSError:
        pass
    return inodes, numbers
