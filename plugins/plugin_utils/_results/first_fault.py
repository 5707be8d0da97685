# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the first fault of a cluster from the causes in the logs of its nodes.

When one rank fails, its peers wait for it until they time out. Therefore, a cause that explains the faults of other
nodes comes first. All other faults are sorted by time, on the clock of the controller.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from ansible_collections.ascend.vllm.plugins.module_utils._vllm import log_causes

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import Diagnosis


class NodeCauses(TypedDict):
    """The causes in one log of a node, the most likely one first."""

    host: str
    causes: Sequence[Diagnosis]
    clock_offset_s: float  # The clock of the node minus the clock of the controller.


class Fault(TypedDict):
    """The most likely cause of one node."""

    host: str
    cause: Diagnosis
    time: str | None  # MM-DD HH:MM:SS by the clock of the controller
    is_consequence: bool  # Whether the first fault explains this one.


def faults_in_order(nodes: Sequence[NodeCauses]) -> list[Fault]:
    """Return one fault for each node that has one. The first item is the first fault of the cluster.

    For a node with several logs (of instances or ranks), return the first fault in these logs.
    """
    faults: list[tuple[bool, datetime, Fault]] = []
    for node in nodes:
        cause = next((cause for cause in node["causes"] if _is_fault(cause)), None)
        if cause:
            at = _moment(cause, node["clock_offset_s"])
            fault: Fault = {"host": node["host"], "cause": cause, "is_consequence": True,
                            "time": at.strftime("%m-%d %H:%M:%S") if at else None}
            faults.append((level(cause) > log_causes.VAGUE, at or datetime.max, fault))
    ordered: dict[str, Fault] = {}
    for may_be_consequence, _at, fault in sorted(faults, key=lambda entry: entry[:2]):
        ordered.setdefault(fault["host"], {**fault, "is_consequence": bool(ordered) and may_be_consequence})
    return list(ordered.values())


def describe(faults: Sequence[Fault]) -> str:
    """Return sentences about the first fault, its consequences and other faults, or an empty string."""
    if not faults:
        return ""
    first, others = faults[0], faults[1:]
    cause = first["cause"]
    origin = ", ".join(part for part in (cause.get("process"), first["time"]) if part)
    text = "The first fault is on %s%s: %s: %s. %s" % (
        first["host"], " (%s)" % origin if origin else "", cause["cause"],
        (cause["evidence"] or "no line of the log shows it").rstrip("."), cause["remedy"])
    for title, shown in (("Consequences", [fault for fault in others if fault["is_consequence"]]),
                         ("Other faults", [fault for fault in others if not fault["is_consequence"]])):
        if shown:
            text += " %s: %s." % (title, ", ".join(
                "%s (%s%s)" % (fault["host"], fault["cause"]["cause"], ", " + fault["time"] if fault["time"] else "")
                for fault in shown))
    return text


def _is_fault(cause: Diagnosis) -> bool:
    if cause["cause"] == log_causes.UNKNOWN:
        return cause["evidence"] is not None
    return level(cause) < log_causes.SIGNAL


def level(cause: Diagnosis) -> int:
    """Return the level of a cause. An unknown cause has the level of a dead engine: neither explains other faults."""
    return log_causes.BY_ID[cause["cause"]].level if cause["cause"] in log_causes.BY_ID else log_causes.ENGINE


def _moment(cause: Diagnosis, clock_offset_s: float) -> datetime | None:
    """Return the time of the log line by the clock of the controller. Logs omit the year, so a leap year is used."""
    time = cause.get("time")
    if not time:
        return None
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime("2000-" + time, form) - timedelta(seconds=clock_offset_s)
        except ValueError:
            continue
    return None
