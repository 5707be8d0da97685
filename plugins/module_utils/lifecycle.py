# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stopping, replacing and showing a service has to decide. Pure. PRIVATE to the collection.

A *running* container is described by what it was started with, not by the plan: the plan may be a newer one.
"""

from __future__ import annotations

import calendar
import re
import time

# Appended to the name of a container that an upgrade has put aside until its successor is verified.
PREVIOUS = "-previous"

_OPTIONS = {"--host": "bind", "--port": "port", "--served-model-name": "served_name",
            "--shutdown-timeout": "shutdown_timeout_s"}
_SAMPLE = re.compile(r"^vllm:(\w+)(?:\{[^}]*\})?\s+([0-9.eE+-]+)\s*$", re.MULTILINE)
# Newer name first.
_KV_CACHE = ("kv_cache_usage_perc", "gpu_cache_usage_perc")
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


def load(metrics):
    """Return what a server has to do, from its ``/metrics``.

    :returns: ``{"running": int, "waiting": int, "kv_cache_usage": 0..1|None}``, over all engines; None where the text
        tells nothing of requests.
    """
    samples = {}
    for name, value in _SAMPLE.findall(metrics):
        samples.setdefault(name, []).append(float(value))
    if "num_requests_running" not in samples:
        return None
    usage = next((max(samples[name]) for name in _KV_CACHE if name in samples), None)
    return {"running": int(sum(samples["num_requests_running"])),
            "waiting": int(sum(samples.get("num_requests_waiting", ()))), "kv_cache_usage": usage}


def deployment(containers, name):
    """Those of our containers that belong to the deployment of this container name, also put aside ones."""
    pattern = re.compile(r"%s(-[0-9]+)?(%s)?" % (re.escape(name), re.escape(PREVIOUS)))
    return [container for container in containers if pattern.fullmatch(container["name"])]


def base_name(name):
    """The name that a container had before it was put aside."""
    return name[:-len(PREVIOUS)] if name.endswith(PREVIOUS) else name


def put_aside(containers, name):
    """Those of the deployment that an upgrade has put aside."""
    return [container for container in deployment(containers, name) if container["name"].endswith(PREVIOUS)]


def outdated(observed, plan):
    """Return why the service of the plan has to be replaced, a clause each; empty where all runs as planned.

    :param observed: what ``ascend.vllm.serving_info`` returned.
    """
    ours = deployment(observed["containers"], plan["instances"][0]["name"])
    running = {container["name"]: container for container in ours}
    planned = {instance["name"]: instance for instance in plan["instances"]}
    reasons = []
    for name, instance in planned.items():
        container = running.get(name)
        if container is None:
            reasons.append("%s is not there" % name)
        elif container["status"] != "running":
            reasons.append("%s is %s" % (name, container["status"]))
        elif container["hash"] != instance["hash"]:
            reasons.append("%s has plan %s instead of %s" % (name, container["hash"], instance["hash"]))
        elif container["image"] != observed["image"]:
            reasons.append("%s runs image %s instead of %s" % (name, container["image"], observed["image"]))
    return reasons + ["%s is no longer planned" % name for name in running
                      if name not in planned and not name.endswith(PREVIOUS)]


def aside(containers, name):
    """Return what makes room for a new service and keeps the last verified one.

    :param containers: of ``ascend.vllm.serving_info``.
    :returns: ``{"stop": [name], "remove": [name], "rename": [name]}``. A container that stands beside one already put
        aside was never verified (its upgrade was cut short), and is removed.
    """
    names = [container["name"] for container in deployment(containers, name)]
    current = [each for each in names if not each.endswith(PREVIOUS)]
    unverified = [each for each in current if each + PREVIOUS in names]
    return {"stop": [each for each in current if each not in unverified], "remove": unverified,
            "rename": [each for each in current if each not in unverified]}


def restoration(now, before, name):
    """Return how to come back to the containers that were there before an upgrade.

    :param now, before: containers of ``ascend.vllm.serving_info``.
    :returns: ``{"remove": [name], "rename": [name], "start": [name]}``; ``rename`` are names as they were.
    """
    names = [container["name"] for container in deployment(now, name)]
    kept = [base_name(each) for each in names if each.endswith(PREVIOUS)]
    was = [base_name(container["name"]) for container in deployment(before, name)]
    current = [each for each in names if not each.endswith(PREVIOUS)]
    start = [each for each in dict.fromkeys(was) if each in kept or each in current]
    return {"remove": [each for each in current if each in kept or each not in was], "rename": kept, "start": start}


def served(containers, names, address):
    """What differs in the plan of containers that another plan has started, as far as waiting for them needs it.

    :param names: their names as they were before they were put aside. :param address: of the node.
    :returns: ``{"instances", "image": {"reference"}, "model": {"served_name"}}``; without containers no instances.
    """
    found = [dict(container, name=base_name(container["name"])) for container in containers]
    found = [container for container in found if container["name"] in names and container["port"]]
    if not found:
        return {"instances": []}
    return {
        "instances": [dict({key: container[key] for key in ("name", "port", "bind", "hash")}, mounts=[], devices=[],
                           hccl_ports=None, serves=True, url="http://%s:%d" % (address, container["port"]))
                      for container in found],
        "image": {"reference": found[0]["image"]},
        "model": {"served_name": found[0]["served_name"]},
    }


def requests_left(containers):
    """Return a clause for each running container that still has requests, or may have.

    :param containers: with ``load``: see `load`; None where no connection is taken, so nobody waits for an answer;
        ``{"error"}`` where the server does not tell.
    """
    clauses = []
    for container in containers:
        doing = container["load"] or {"running": 0, "waiting": 0}
        if "error" in doing:
            clauses.append("%s does not tell its requests (%s)" % (container["name"], doing["error"]))
        elif doing["running"] + doing["waiting"]:
            clauses.append("%s has %d requests running and %d waiting" % (
                container["name"], doing["running"], doing["waiting"]))
    return clauses


def npus_held(observed, devices, idle_hbm_mb):
    """Return a clause for each NPU of ``devices`` that is not free, naming who holds it.

    :param observed: what ``ascend.vllm.npu_info`` returned.
    :param devices: numbers N of /dev/davinciN.
    :param idle_hbm_mb: MB of HBM that an idle chip may have in use.
    """
    if observed["npu_smi"]["error"]:
        return ["whether the NPUs are free is not known: %s" % observed["npu_smi"]["error"]["message"]]
    used = {chip["device"]: chip["hbm_used_mb"] for chip in observed["npu_smi"]["chips"]}
    clauses = []
    for device in sorted(devices):
        holders = [holder for holder in observed["holders"] if holder["device"] == device]
        memory = "%s MB of HBM in use" % ("unknown" if used.get(device) is None else used[device])
        if holders:
            clauses.append("NPU %d is held by %s (%s)" % (device, ", ".join(map(_holder, holders)), memory))
        elif device not in used:
            clauses.append("NPU %d is not shown by npu-smi" % device)
        elif used[device] is None or used[device] > idle_hbm_mb:
            clauses.append("NPU %d is held by nobody that is shown (%s)" % (device, memory))
    return clauses


def _holder(holder):
    process = "process %s (%s)" % (holder["pid"], holder["process"] or "unknown")
    container = holder["container"]
    return "%s of container %s" % (process, container["name"]) if container else process


COLUMNS = ("host", "instance", "container", "state", "running", "waiting", "KV cache", "NPUs", "up for", "plan",
           "image")


def rows(host, plan, observed, now):
    """Return a row of texts for each instance of the host, as COLUMNS names them.

    :param observed: what ``ascend.vllm.serving_info`` returned.
    :param now: seconds since the epoch by the node's clock.
    """
    if observed["engine_error"]:
        return [[host, "-", observed["engine_error"]] + [""] * (len(COLUMNS) - 3)]
    planned = {instance["name"]: instance for instance in plan["instances"]}
    states = {instance["name"]: _state(instance) for instance in observed["instances"]}
    ours = {container["name"]: container for container in deployment(
        observed["containers"], plan["instances"][0]["name"])}
    return [_row(host, name, planned.get(name), ours.get(name), states.get(name), observed, now)
            for name in list(planned) + [name for name in ours if name not in planned]]


def _row(host, name, instance, container, state, observed, now):
    if container is None:
        taken = state != "missing" and state is not None
        return [host, name, "another's" if taken else "none", "-", "-", "-", "-", _numbers(instance["npus"]), "-",
                "not deployed", "-"]
    if instance is None:
        plan = "kept by an upgrade" if name.endswith(PREVIOUS) else "no longer planned"
    elif container["hash"] == instance["hash"] and container["image"] == observed["image"]:
        plan = "as planned"
    else:
        plan = "other image" if container["hash"] == instance["hash"] else "drift %s" % container["hash"]
    doing = container.get("load") or {}
    usage = doing.get("kv_cache_usage")
    running = container["status"] == "running"
    return [
        host, name, container["status"], (state or "-") if running else "stopped",
        str(doing.get("running", "-")), str(doing.get("waiting", "-")),
        "-" if usage is None else "%.0f %%" % (100 * usage), _numbers(container["devices"]),
        duration(now - container["started_s"]) if running else "-", plan,
        (container.get("image_digest") or container["image"])[:19]]


def _state(instance):
    """Return the state of an instance; one that Docker's health check has given up on hangs, unless it answered."""
    container = instance.get("container") or {}
    unhealthy = (container.get("health") or {}).get("status") == "unhealthy" and container["status"] == "running"
    return "hangs" if unhealthy and instance["state"] != "ready" else instance["state"]


def _numbers(devices):
    return ",".join(map(str, devices)) or "-"


def duration(seconds):
    """``3d 4h``, ``5h 12m``, ``7m``, ``42s``."""
    seconds = max(0, int(seconds))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return "%dd %dh" % (days, hours)
    if hours:
        return "%dh %dm" % (hours, minutes)
    return "%dm" % minutes if minutes else "%ds" % seconds


def table(found):
    """Return rows under their heads as lines of plain text."""
    lines = [list(COLUMNS)] + [list(row) for row in found]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
