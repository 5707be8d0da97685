# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that ``playbooks/status.yml`` prints."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import PREVIOUS
from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.replacement import deployment

COLUMNS = ("host", "instance", "container", "state", "running", "waiting", "KV cache", "NPUs", "up for", "plan",
           "image")


def rows(host, plan, observed, now):
    """Return a row of texts for each instance of the host, as COLUMNS names them.

    :param observed: what ``ascend.vllm.serving_info`` returned.
    :param now: seconds since the epoch by the node's clock.
    """
    if observed["docker_engine_error"]:
        return [[host, "-", observed["docker_engine_error"]] + [""] * (len(COLUMNS) - 3)]
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
    return _text.table([COLUMNS, *found])
