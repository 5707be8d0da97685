# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as text for people."""

from __future__ import annotations


def describe(plan, host):
    """Return a plan without refusals as a text of several lines, one option of the command on each."""
    release, image = plan["release"], plan["image"]
    lines = [
        "%s: plan %s" % (host, plan["hash"]),
        _row("hardware", plan["hardware"]["name"]),
        _row("release", "vLLM Ascend %s (vLLM %s, CANN %s, torch-npu %s)" % (
            release["id"], release["vllm"], release["cann"], release["torch_npu"])),
        _row("driver", "at least %s, recommended %s" % (release["driver_minimum"], release["driver_recommended"])),
        _row("image", image["reference"]),
        _row("", image["digest"] or "not pinned by digest"),
    ]
    if image["archive"]:
        lines.append(_row("", "loaded from %s" % image["archive"]))
    lines.append(_row("model", "%s in %s, served as %s" % (
        plan["model"]["name"], plan["model"]["path"], plan["model"]["served_name"])))
    if plan["patch"]:
        lines.append(_row("patch", "%(id)s of %(target)s, kept as %(host_path)s" % plan["patch"]))
    lines.append(_row("health", _health(plan["health_check"])))
    if plan["group"]:
        lines.append(_row("group", _group(plan["group"])))
    for instance in plan["instances"]:
        lines += _instance(instance)
    lines += _rows("warnings", ["%(id)s: %(message)s" % warning for warning in plan["warnings"]])
    return "\n".join(lines)


def _group(group):
    members = ", ".join("%(host)s (%(address)s)" % member for member in group["members"])
    return "%s of %s; this is number %d, the head is reached at port %d" % (
        group["topology"], members, group["rank"], group["port"])


def _instance(instance):
    ports = instance["hccl_ports"]
    hccl = "HCCL host %d-%d, NPU %d-%d" % (*ports["host"], *ports["npu"]) if ports else "HCCL's defaults"
    limits = "shm %(shm_size)s, restart %(restart_policy)s" % instance
    return [
        "",
        "  Instance %d: container %s %s" % (
            instance["index"], instance["name"], "at " + instance["url"] if instance["serves"] else "without HTTP"),
        _row("NPUs", ", ".join(map(str, instance["npus"]))),
        _row("ports", "%s:%d, %s" % (instance["bind"], instance["port"], hccl) if instance["serves"] else hccl),
        _row("limits", limits + (", privileged" if instance["privileged"] else "")),
        _row("API key", "from " + instance["secrets_path"] if instance["secrets_path"] else "none"),
        *_rows("devices", instance["devices"]),
        *_rows("mounts", [_mount(mount) for mount in instance["mounts"]]),
        *_rows("environment", ["%s=%s" % item for item in sorted(instance["environment"].items())]),
        *_rows("command", _options(instance["command"])),
        "",
    ]


def _health(check):
    if check is None:
        return "no health check"
    return "looked at every %d s, unhealthy after %d failures%s" % (
        check["interval_s"], check["retries"], ", then restarted" if check["restart"] else "")


def _mount(mount):
    place = mount["source"] if mount["source"] == mount["target"] else "%(source)s on %(target)s" % mount
    return "%s (%s, %s)" % (place, mount["type"], "read-only" if mount["read_only"] else "writable")


def _options(command):
    """Return the words of the command as lines, a new one at each option."""
    lines = [[]]
    for word in command:
        if word.startswith("--"):
            lines.append(["  " + word])
        else:
            lines[-1].append(word)
    return [" ".join(line) for line in lines]


def _rows(title, values):
    return [_row(title if number == 0 else "", value) for number, value in enumerate(values)]


def _row(title, value):
    return "  %-12s %s" % (title, value)
