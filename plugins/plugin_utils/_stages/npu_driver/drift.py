# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift across a cluster: the value that most hosts share, fact by fact, and the hosts that differ."""

from __future__ import annotations

import re
from collections import Counter

from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority


def facts(observed):
    """The facts of one host that a cluster should share: ``{fact: str}``; what is not known is left out.

    :param observed: what ``ascend.vllm.npu_info`` returned.
    """
    npu_smi, system, engine = observed["npu_smi"], observed["system"], observed["docker_engine"]
    files = {content.get("kind"): content.get("fields", {}) for content in observed["files"].values()}
    firmware = files.get("firmware_version", {})
    chips = npu_smi["chips"]
    image = engine.get("image") or {}
    known = {
        "driver": npu_smi["driver_version"],
        "installed driver": files.get("driver_version", {}).get("Version"),
        "firmware": firmware.get("package_version") or firmware.get("Version"),
        "NPUs": _counted(chip["name"] for chip in chips),
        "HBM in MB": _counted(chip["hbm_total_mb"] for chip in chips),
        "kernel": system["kernel"],
        "operating system": system["os"]["name"],
        "architecture": system["architecture"],
        "container engine": engine.get("version"),
        "image": (image.get("digests") or [image.get("id")])[0],
    }
    return {fact: str(value) for fact, value in known.items() if value}


def compare(hosts):
    """Compare hosts fact by fact.

    :param hosts: ``{host: {fact: value}}``.
    :returns: for each fact in which they differ ``{"fact", "majority": value, "outliers": {host: value}}``, by the
        first appearance of the fact. Where no value has more hosts than every other, ``majority`` is None and every
        host is an outlier. A host without the fact is neither.
    """
    found = []
    for fact in dict.fromkeys(fact for known in hosts.values() for fact in known):
        values = {host: known[fact] for host, known in hosts.items() if fact in known}
        counts = Counter(values.values())
        if len(counts) < 2:
            continue
        agreed = majority(counts)
        found.append({"fact": fact, "majority": agreed, "outliers": {
            host: value for host, value in sorted(values.items(), key=_by_name) if value != agreed}})
    return found


def _counted(values):
    """``8 x 910B3``, or ``7 x 910B3, 1 x 910B4``; None without values."""
    return ", ".join("%d x %s" % (count, value) for value, count in sorted(Counter(values).items(), key=str)) or None


def _by_name(item):
    """node2 before node10."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", item[0])]
