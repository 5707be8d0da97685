# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remaining requests of a drained service, and the processes that use its NPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import describe_holder

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import NpuObservation
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.serving_state import DeployedContainer, LoadError


def requests_left(containers: Iterable[DeployedContainer]) -> list[str]:
    """Return a clause for each running container that has or may have requests."""
    clauses = []
    for container in containers:
        load = container["load"]
        if load is None:  # Its server accepts no connections, so it has no requests.
            continue
        if "error" in load:
            clauses.append("the number of requests of %s is unknown (%s)" % (
                container["name"], cast("LoadError", load)["error"]))
        elif load["running"] + load["waiting"]:
            clauses.append(f"{container['name']} has requests: {load['running']} running, {load['waiting']} waiting")
    return clauses


def npus_held(observed: NpuObservation, devices: Iterable[int], idle_hbm_mb: float) -> list[str]:
    """Return a clause for each device N of /dev/davinciN that is held or has more HBM in use than an idle one."""
    if observed["npu_smi"]["error"]:
        return ["it is unknown whether the NPUs are free: %s" % observed["npu_smi"]["error"]["message"]]
    used = {chip["device"]: chip["hbm_used_mb"] for chip in observed["npu_smi"]["chips"]}
    clauses = []
    for device in sorted(devices):
        holders = [holder for holder in observed["holders"] if holder["device"] == device]
        used_mb = used.get(device)
        memory = "HBM usage unknown" if used_mb is None else "%s MB of HBM in use" % used_mb
        if holders:
            clauses.append("NPU %d is held by %s (%s)" % (device, ", ".join(map(describe_holder, holders)), memory))
        elif device not in used:
            clauses.append("npu-smi does not show NPU %d" % device)
        elif used_mb is None or used_mb > idle_hbm_mb:
            clauses.append("NPU %d is not free, but no process that uses it was found (%s)" % (device, memory))
    return clauses
