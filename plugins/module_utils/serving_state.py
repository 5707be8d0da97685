# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the container, the log and the sockets of the node say about a service. Pure but for the readers of /proc.

PRIVATE to the collection.
"""

from __future__ import annotations

import calendar
import os
import re
import stat
import time

# In the order in which a starting server writes them; the last one found is how far it is.
_STAGES = (
    (re.compile(r"Loading \S+ (?:checkpoint shards|using [^:\n]*):\s+(\d+)% Completed"), "loading weights, %s %%"),
    (re.compile(r"Loading (?:model )?weights took"), "weights loaded"),
    (re.compile(r"Compiling a graph for|Dynamo bytecode transform time"), "compiling"),
    (re.compile(r"Available (?:KV cache )?memory:|\bKV cache size"), "KV cache sized"),
    (re.compile(r"Capturing (?:CUDA|ACL|NPU)? ?graphs?.*?(\d+)%"), "capturing graphs, %s %%"),
    (re.compile(r"Graph capturing finished"), "graphs captured"),
    (re.compile(r"init engine .* took"), "engine initialised"),
    (re.compile(r"Application startup complete"), "API server started"),
)

# What the engine calls a container whose process is gone; a restarting one waits to be started again.
ENDED = ("exited", "dead", "restarting")

# Tells which API key a container was started with, without telling the key.
SECRETS_LABEL = "ascend.vllm.secrets"

_LISTEN = "0A"
_ADDRESS = re.compile(r"^\d+:\s+(\S+)\s+inet\s+(\d+\.\d+\.\d+\.\d+)/", re.MULTILINE)


def progress(log):
    """Return how far the start is that a server log tells of, such as ``loading weights, 45 %``; None for nothing."""
    found = None
    for pattern, text in _STAGES:
        matches = pattern.findall(log)
        if matches:
            found = text % matches[-1] if "%s" in text else text
    return found


def container(inspected, label):
    """Return what matters of ``docker inspect``; ``hash`` is None where the container is not ours."""
    if inspected is None:
        return None
    state, labels = inspected["State"], inspected["Config"].get("Labels") or {}
    return {
        "id": inspected["Id"],
        "image": inspected["Image"],
        "hash": labels.get(label),
        "secrets": labels.get(SECRETS_LABEL),
        "interface": _interface(inspected["Config"].get("Env") or ()),
        "status": state["Status"],
        "exit_code": state["ExitCode"],
        "oom_killed": state["OOMKilled"],
        "error": state.get("Error") or None,
        "started_at": state["StartedAt"],
        "restarts": inspected.get("RestartCount", 0),
        "health": _health(state.get("Health")),
    }


def _health(health):
    """Return what Docker's health check says: ``{"status", "failures" in a row, "said"}``; None without one."""
    if not health or health["Status"] == "none":
        return None
    looks = health.get("Log") or ()
    return {"status": health["Status"], "failures": health.get("FailingStreak", 0),
            "said": looks[-1].get("Output", "").strip()[:200] if looks else ""}


def started(container):
    """Return when the process of a container was started last, in whole seconds (Unix); None when it never was."""
    try:
        return calendar.timegm(time.strptime(container["started_at"][:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def ending(container):
    """Return in words how a container ended."""
    code = container["exit_code"]
    how = ", killed for want of memory" if container["oom_killed"] else {
        137: ", killed by SIGKILL", 139: ", killed by SIGSEGV", 134: ", killed by SIGABRT", 143: ", ended by SIGTERM",
    }.get(code, "")
    return "the container has ended with exit code %d%s" % (code, how)


def containers(listed, inspect):
    """Return the running containers of a node, those of others too.

    :param listed: the answer to ``GET /containers/json``. :param inspect: ``inspect(id)`` returns what the engine says
        of one container, or None when it has ended since.
    :returns: ``[{"id", "name", "devices": [paths on the node], "ports": [published on the node]}]``.
    """
    found = []
    for each in listed:
        inspected = inspect(each["Id"])
        if inspected:
            found.append({
                "id": each["Id"],
                "name": inspected["Name"].lstrip("/"),
                "devices": [device["PathOnHost"] for device in inspected["HostConfig"].get("Devices") or ()],
                "ports": sorted({port["PublicPort"] for port in each.get("Ports") or () if port.get("PublicPort")}),
            })
    return found


def _interface(environment):
    """Return the network interface that a container of a group was told to use, or None."""
    return next((entry.partition("=")[2] for entry in environment if entry.startswith("GLOO_SOCKET_IFNAME=")), None)


def addresses(text):
    """Return ``[{"interface", "address"}]`` of a node's IPv4 addresses.

    :param text: what ``ip -o -4 address show`` prints.
    """
    return [{"interface": name, "address": address} for name, address in _ADDRESS.findall(text)]


def listening(tables):
    """Return ``{port: inode}`` of the TCP sockets that listen.

    :param tables: the texts of /proc/net/tcp and tcp6.
    """
    found = {}
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                found.setdefault(int(fields[1].rpartition(":")[2], 16), fields[9])
    return found


def holders(ports, devices=(), proc="/proc"):
    """Return who listens on the given ports and who has the given devices open, of the processes of the node.

    :param ports: set of TCP ports. :param devices: paths of character devices; those that are not there have no holder.
    :returns: ``({port: holder}, {device: [holder]})`` with holder ``{"pid", "process", "cgroup"}``, whose fields are
        null when it cannot be found (another user's process, when not run as root).
    """
    tables = [_read(os.path.join(proc, "net", name)) for name in ("tcp", "tcp6")]
    inodes = {inode: port for port, inode in listening(tables).items() if port in ports}
    numbers = {number: path for path, number in ((path, _device_number(path)) for path in devices) if number}
    at_ports = {port: {"pid": None, "process": None, "cgroup": ""} for port in inodes.values()}
    at_devices = {}
    for pid in filter(str.isdigit, os.listdir(proc)) if inodes or numbers else ():
        sockets, opened = _open_files(os.path.join(proc, pid, "fd"))
        held, used = sockets & set(inodes), opened & set(numbers)
        if not held and not used:
            continue
        holder = {"pid": int(pid), "process": _read(os.path.join(proc, pid, "comm")).strip(),
                  "cgroup": _read(os.path.join(proc, pid, "cgroup"))}
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


def weights(path):
    """Return what a model folder holds: ``{"folder", "config": bool, "shards": int}``; sizes are another stage's."""
    try:
        names = os.listdir(path)
    except OSError:
        return {"folder": False, "config": False, "shards": 0}
    return {"folder": True, "config": "config.json" in names,
            "shards": sum(1 for name in names if name.endswith(".safetensors"))}


def outgoing_ports(proc="/proc"):
    """Return the ports that the kernel gives to outgoing connections: ``{"first", "last", "reserved": [[low, high]]}``.

    None where it does not tell.
    """
    folder = os.path.join(proc, "sys", "net", "ipv4")
    limits = _read(os.path.join(folder, "ip_local_port_range")).split()
    if len(limits) != 2:
        return None
    reserved = []
    for part in filter(None, _read(os.path.join(folder, "ip_local_reserved_ports")).strip().split(",")):
        low, _dash, high = part.partition("-")
        reserved.append([int(low), int(high or low)])
    return {"first": int(limits[0]), "last": int(limits[1]), "reserved": reserved}


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def wrong_sources(mounts):
    """Return the mounts whose source is not there or not of the planned type: ``[{"source", "expected", "found"}]``."""
    wrong = []
    for mount in mounts:
        path = mount["source"]
        found = "directory" if os.path.isdir(path) else "file" if os.path.isfile(path) else (
            "something else" if os.path.exists(path) else "nothing")
        if found != mount["type"]:
            wrong.append({"source": path, "expected": mount["type"], "found": found})
    return wrong
