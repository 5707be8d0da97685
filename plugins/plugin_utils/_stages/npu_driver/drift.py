# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the facts of the hosts of a cluster: the majority value of each fact, and the hosts with other values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import NpuObservation


class Difference(TypedDict):
    """A fact whose value is not the same on all hosts."""

    fact: str
    #: The most frequent value. If several values are equally frequent, it is None and every host is an outlier.
    majority: str | None
    #: ``{host: value}``, in the order of the host names.
    outliers: dict[str, str]


def facts(observed: NpuObservation) -> dict[str, str]:
    """Return the known facts of a host that should be the same on all hosts of a cluster."""
    npu_smi, system, docker_engine = observed["npu_smi"], observed["system"], observed["docker_engine"]
    files = {content.get("kind"): content.get("fields", {}) for content in observed["files"].values()}
    firmware = files.get("firmware_version", {})
    chips = npu_smi["chips"]
    image = docker_engine.get("image") or {}
    known = {
        "driver": npu_smi["driver_version"],
        "installed driver": files.get("driver_version", {}).get("Version"),
        "firmware": firmware.get("package_version") or firmware.get("Version"),
        "NPUs": _counted(chip["name"] for chip in chips),
        "HBM in MB": _counted(chip["hbm_total_mb"] for chip in chips),
        "kernel": system["kernel"],
        "operating system": system["os"]["name"],
        "architecture": system["architecture"],
        "Docker": docker_engine.get("version"),
        "image": (image.get("digests") or [image.get("id")])[0],
    }
    return {fact: str(value) for fact, value in known.items() if value}


def compare(hosts: Mapping[str, Mapping[str, str]]) -> list[Difference]:
    """Compare ``{host: {fact: value}}`` fact by fact. A host for which a fact is unknown is not compared."""
    found: list[Difference] = []
    for fact in dict.fromkeys(fact for known in hosts.values() for fact in known):
        values = {host: known[fact] for host, known in hosts.items() if fact in known}
        counts = Counter(values.values())
        if len(counts) < 2:
            continue
        most = majority(counts)
        found.append({"fact": fact, "majority": most, "outliers": {
            host: value for host, value in sorted(values.items(), key=_natural) if value != most}})
    return found


def _counted(values: Iterable[str | int | None]) -> str | None:
    """Return text such as ``8 x 910B3`` or ``7 x 910B3, 1 x 910B4``, or None if there are no values."""
    return ", ".join("%d x %s" % (count, value) for value, count in sorted(Counter(values).items(), key=str)) or None


def _natural(item: tuple[str, str]) -> list[int | str]:
    """Return a sort key that puts node2 before node10."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", item[0])]
