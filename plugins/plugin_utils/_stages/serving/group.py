# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about the nodes of a group, which start and stop together, and the notes in which they report states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Group, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import replacement

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from ansible_collections.ascend.vllm.plugins.module_utils._host.network import Address
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import Diagnosis
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.prerequisites import ServingObservation
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.serving_state import ServingState

#: The states that a member reports to the other members: before the start, after the start, and during the wait.
PREPARED, STARTED, STARTING, READY, FAILED, LATE = "prepared", "started", "starting", "ready", "failed", "late"
NAME = "serving_group"


class Note(TypedDict):
    """The state that a member reports, and the reason for it."""

    state: str
    reason: str | None
    causes: NotRequired[list[Diagnosis]]  # The causes in the log of a failed member.
    clock_offset_s: NotRequired[float]  # The time on the node minus the time on the controller.


class FailedMember(Note):
    """A member that is `FAILED` or `LATE`."""

    host: str


def interface(address: str, wanted: str | None, addresses: Sequence[Address]) -> tuple[str | None, str | None]:
    """Return ``(name, None)`` for the interface with the address (and the wanted name), or ``(None, reason)``."""
    names = [entry["interface"] for entry in addresses if entry["address"] == address]
    if names and wanted in (None, names[0]):
        return names[0], None
    existing = ", ".join("%(interface)s (%(address)s)" % entry for entry in addresses) or "none"
    if wanted is None:
        return None, "no interface has %s; the node has %s" % (address, existing)
    return None, "serving_interface is %s, which does not have %s; the node has %s" % (wanted, address, existing)


def restart_reason(plan: Plan, observed: ServingObservation, secrets: str) -> str | None:
    """Return why the group must be restarted because of this node, as observed before any change, or None."""
    (instance,), (state,) = plan["instances"], observed["instances"]
    container = state["container"]
    reason = replacement.replacement_reason(container, instance, observed["image"], secrets)
    if reason or not container:
        return reason
    used = container["interface"]
    planned = interface(instance["address"], instance["interface"], observed["addresses"])[0]
    return None if used == planned else "%s uses the interface %s instead of %s" % (instance["name"], used, planned)


def own_state(observed: ServingState | None, late: bool, now_s: float) -> Note:
    """Return the state of this member at ``now_s`` (Unix time). ``observed`` is None if its node cannot be reached."""
    if not observed:
        return {"state": FAILED, "reason": "the node is no longer reachable"}
    if observed["docker_engine_error"]:
        return {"state": FAILED, "reason": observed["docker_engine_error"]}
    (instance,) = observed["instances"]
    if instance["state"] == "ready":
        return {"state": READY, "reason": None}
    if instance["state"] != "starting":
        return {"state": FAILED, "reason": instance["reason"], "causes": instance["causes"],
                "clock_offset_s": observed["now_s"] - now_s}
    return {"state": LATE if late else STARTING, "reason": instance["reason"]}


def outcome(group: Group, notes: Mapping[str, Note], timed_out: bool = False) -> tuple[bool, list[FailedMember]]:
    """Return whether the wait for the group is over, and the members that failed or were late.

    The wait is over when a member has failed or is late, or when all members are ready.

    :param notes: ``{host: its last note}``. A member without a note was removed from the run.
    :param timed_out: whether to stop waiting. All members that are not ready are then late.
    """
    removed: Note = {"state": FAILED, "reason": "it was removed from the run before it was started"}
    members: list[FailedMember] = [
        {"host": member["host"], **notes.get(member["host"], removed)} for member in group["members"]]
    failed = [member for member in members if member["state"] in (FAILED, LATE)]
    waiting = [member for member in members if member["state"] != READY]
    if timed_out and not failed:
        failed = [{**member, "state": LATE, "reason": member["reason"] or "it did not report its state in time"}
                  for member in waiting]
    return bool(failed) or not waiting, failed


class GroupNotes:
    """Writes the note of one member of a group, and reads the notes that all members wrote in this run."""

    def __init__(self, records: Records, group: Group) -> None:
        self._records, self._host = records, group["host"]
        self._hosts = [member["host"] for member in group["members"]]

    def write(self, state: str, reason: str | None = None, **more: Any) -> None:
        """Report the state of this member to the other members. The arguments are the values of a `Note`."""
        self._records.write_note(self._host, NAME, {"state": state, "reason": reason, **more})

    def read(self) -> dict[str, Note]:
        """Return ``{host: note}`` for the members that have a note."""
        return cast("dict[str, Note]", self._records.read_notes(self._hosts, NAME))

    def require(self, state: str) -> dict[str, Note]:
        """Return the notes of all members. Raise AnsibleActionFail if some of them are not in this state."""
        notes = self.read()
        missing = [host for host in self._hosts if host not in notes or notes[host]["state"] != state]
        if missing:
            raise AnsibleActionFail(
                f"The group is not started, because these hosts were removed from the run before they were {state}: "
                f"{', '.join(missing)}; the report contains the reason.")
        return notes
