# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the container, the log and the sockets of the node say about a service. Pure but for the readers of /proc.

PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re

# In the order in which a starting server writes them; the last one found is how far it is.
_STAGES = (
    (re.compile(r"Loading safetensors checkpoint shards:\s+(\d+)% Completed"), "loading weights, %s %%"),
    (re.compile(r"Loading (?:model )?weights took"), "weights loaded"),
    (re.compile(r"Available (?:KV cache )?memory:|GPU KV cache size"), "KV cache sized"),
    (re.compile(r"Capturing (?:CUDA|ACL|NPU)? ?graphs?.*?(\d+)%"), "capturing graphs, %s %%"),
    (re.compile(r"Graph capturing finished"), "graphs captured"),
    (re.compile(r"init engine .* took"), "engine initialised"),
    (re.compile(r"Application startup complete"), "API server started"),
)

# What the engine calls a container whose process is gone; a restarting one waits to be started again.
ENDED = ("exited", "dead", "restarting")

_LISTEN = "0A"


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
        "status": state["Status"],
        "exit_code": state["ExitCode"],
        "oom_killed": state["OOMKilled"],
        "error": state.get("Error") or None,
        "started_at": state["StartedAt"],
        "restarts": inspected.get("RestartCount", 0),
    }


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


def holders(ports, proc="/proc"):
    """Return ``{port: {"pid", "process", "cgroup"}}`` of the given ports that a process of the node listens on.

    A holder that cannot be found (another user's, when not run as root) has null fields.
    """
    tables = [_read(os.path.join(proc, "net", name)) for name in ("tcp", "tcp6")]
    inodes = {inode: port for port, inode in listening(tables).items() if port in ports}
    found = {port: {"pid": None, "process": None, "cgroup": ""} for port in inodes.values()}
    for pid in filter(str.isdigit, os.listdir(proc)) if inodes else ():
        for inode in _sockets(os.path.join(proc, pid, "fd")) & set(inodes):
            found[inodes[inode]] = {"pid": int(pid), "process": _read(os.path.join(proc, pid, "comm")).strip(),
                                    "cgroup": _read(os.path.join(proc, pid, "cgroup"))}
    return found


def _sockets(folder):
    """Return the inodes of the sockets that a process has open; none when it ended meanwhile."""
    inodes = set()
    try:
        for name in os.listdir(folder):
            target = os.readlink(os.path.join(folder, name))
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        pass
    return inodes


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
