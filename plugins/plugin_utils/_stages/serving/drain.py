# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a drained service has requests left, and whether its NPUs are free."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import describe_holder


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
            clauses.append("NPU %d is held by %s (%s)" % (device, ", ".join(map(describe_holder, holders)), memory))
        elif device not in used:
            clauses.append("NPU %d is not shown by npu-smi" % device)
        elif used[device] is None or used[device] > idle_hbm_mb:
            clauses.append("NPU %d is held by nobody that is shown (%s)" % (device, memory))
    return clauses
