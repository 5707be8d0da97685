# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe plans for humans."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types


def describe_all(plans: Mapping[str, types.Plan]) -> list[str]:
    """Return descriptions of the plans of hosts. Hosts with equal plans have one description.

    The first plan is described completely, and the others by their differences from it. In a description of several
    hosts, ``<address>`` is the address of the host.
    """
    blocks: dict[str, list[str]] = {}
    for host, plan in plans.items():
        text = describe(plan, "").partition("\n")[2]
        for url in (instance["url"] or "" for instance in plan["instances"]):
            text = text.replace("at " + url, "at " + re.sub("//.*:", "//<address>:", url))
        blocks.setdefault(text, []).append(host)
    (first, hosts), *others = blocks.items()
    texts = [describe(plans[hosts[0]], hosts[0]) if len(hosts) == 1 else "%s:\n%s" % (", ".join(hosts), first)]
    for other, hosts in others:
        lines = difflib.unified_diff(first.split("\n"), other.split("\n"), n=0, lineterm="")
        texts.append("%s: as above, except for\n%s" % (
            ", ".join(hosts), "\n".join(line for line in lines if not line.startswith(("@@", "---", "+++")))))
    return texts


def describe(plan: types.Plan, host: str) -> str:
    """Return the description of a plan without refusals, with one option of the command per line."""
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
    if plan["memory"]:
        lines.append(_row("memory", _memory(plan["memory"])))
    if plan["patch"]:
        lines.append(_row("patch", "%(id)s for %(target)s, stored as %(host_path)s" % plan["patch"]))
    lines.append(_row("health", _health(plan["health_check"])))
    if plan["group"]:
        lines.append(_row("group", _group(plan["group"])))
    for instance in plan["instances"]:
        lines += _instance(instance)
    lines += _rows("warnings", ["%(id)s: %(message)s" % warning for warning in plan["warnings"]])
    return "\n".join(lines)


def _memory(memory: types.Memory) -> str:
    parts = "%(weights_gib).1f GiB of weights per NPU, %(kv_cache_gib).1f GiB for the KV cache" % memory
    if "unsupported" in memory:
        return "%s, whose size in tokens is not computed: %s" % (parts, memory["unsupported"])
    return "%s, about %d tokens or %g sequences of max-model-len" % (parts, memory["tokens"], memory["sequences"])


def _group(group: types.Group) -> str:
    members = ", ".join("%(host)s (%(address)s)" % member for member in group["members"])
    return "%s of %s; this host has rank %d, the port of the head is %d" % (
        group["topology"], members, group["rank"], group["port"])


def _instance(instance: types.Instance) -> list[str]:
    ports = instance["hccl_ports"]
    hccl = "HCCL host %d-%d, NPU %d-%d" % (*ports["host"], *ports["npu"]) if ports else "HCCL defaults"
    limits = "shm %(shm_size)s, restart %(restart_policy)s" % instance
    return [
        "",
        "  Instance %d: container %s %s" % (
            instance["index"], instance["name"], "at %s" % instance["url"] if instance["serves"] else "without an API"),
        _row("NPUs", ", ".join(map(str, instance["npus"]))),
        _row("ports", "%s:%s, %s" % (instance["bind"], instance["port"], hccl) if instance["serves"] else hccl),
        _row("limits", limits + (", privileged" if instance["privileged"] else "")),
        _row("API key", "from " + instance["secrets_path"] if instance["secrets_path"] else "none"),
        *_rows("devices", instance["devices"]),
        *_rows("mounts", [_mount(mount) for mount in instance["mounts"]]),
        *_rows("environment", ["%s=%s" % item for item in sorted(instance["environment"].items())]),
        *_rows("command", _options(instance["command"])),
        "",
    ]


def _health(check: types.HealthCheck | None) -> str:
    if check is None:
        return "no health check"
    return "checked every %d s, unhealthy after %d failures%s" % (
        check["interval_s"], check["retries"], ", then restarted" if check["restart"] else "")


def _mount(mount: types.Mount) -> str:
    place = mount["source"] if mount["source"] == mount["target"] else "%(source)s on %(target)s" % mount
    return "%s (%s, %s)" % (place, mount["type"], "read-only" if mount["read_only"] else "writable")


def _options(command: list[str]) -> list[str]:
    """Return the command as lines. Each option starts a new line."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("--"):
            lines.append(["  " + word])
        else:
            lines[-1].append(word)
    return [" ".join(line) for line in lines]


def _rows(title: str, values: Sequence[str]) -> list[str]:
    return [_row(title if number == 0 else "", value) for number, value in enumerate(values)]


def _row(title: str, value: str) -> str:
    return "  %-12s %s" % (title, value)
