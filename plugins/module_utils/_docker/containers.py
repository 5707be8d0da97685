# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the container, the log and the sockets of the node say about a service. Pure but for the readers of /proc.

PRIVATE to the collection.
"""

from __future__ import annotations

import calendar
import re
import time

# What the engine calls a container whose process is gone; a restarting one waits to be started again.
ENDED = ("exited", "dead", "restarting")

# Tells which API key a container was started with, without telling the key.
SECRETS_LABEL = "ascend.vllm.secrets"


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


_OPTIONS = {"--host": "bind", "--port": "port", "--served-model-name": "served_name",
            "--shutdown-timeout": "shutdown_timeout_s"}

_DAVINCI = re.compile(r"/dev/davinci([0-9]+)\Z")


def described(inspected, label):
    """Return what a container of ours was started with.

    :param inspected: of ``docker inspect``.
    :returns: ``{"name", "id", "image", "image_name", "hash", "status", "restart_policy": str, "started_s": int,
        "devices": [N of /dev/davinciN], "bind", "port": int|None, "served_name", "shutdown_timeout_s": int}``.
    """
    config, host, state = inspected["Config"], inspected["HostConfig"], inspected["State"]
    devices = [_DAVINCI.match(device["PathOnHost"]) for device in host.get("Devices") or ()]
    policy = (host.get("RestartPolicy") or {}).get("Name") or "no"
    found = {
        "name": inspected["Name"].lstrip("/"), "id": inspected["Id"], "image": inspected["Image"],
        "image_name": config["Image"], "hash": (config.get("Labels") or {}).get(label), "status": state["Status"],
        "started_s": _seconds(state["StartedAt"]), "restart_policy": policy,
        "devices": sorted(int(match.group(1)) for match in devices if match),
        "bind": "0.0.0.0", "port": None, "served_name": None, "shutdown_timeout_s": 0,
    }
    words = config.get("Cmd") or []
    for word, value in zip(words, words[1:]):
        if word in _OPTIONS:
            found[_OPTIONS[word]] = value
    found["port"] = int(found["port"]) if str(found["port"]).isdigit() else None
    found["shutdown_timeout_s"] = int(found["shutdown_timeout_s"]) if str(found["shutdown_timeout_s"]).isdigit() else 0
    return found


def _seconds(stamp):
    """Seconds since the epoch of a time of Docker such as 2026-01-02T03:04:05.678Z."""
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
