# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the controller in which the members of a group report their states."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Group
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group import Note

NAME = "serving_group"


class GroupNotes:
    """Writes the note of one member of a group, and reads the notes that all members wrote in this run.

    :param group: the group in the plan of the member.
    """

    def __init__(self, records: Records, group: Group) -> None:
        self._records, self._host = records, group["host"]
        self._hosts = [member["host"] for member in group["members"]]

    def write(self, state: str, reason: str | None = None) -> None:
        """Report the state of this member to the other members."""
        self.write_note({"state": state, "reason": reason})

    def write_note(self, note: Note) -> None:
        """Report the state of this member and the causes of its failure."""
        self._records.write_note(self._host, NAME, note)

    def read(self, states: Collection[str] = ()) -> tuple[dict[str, Note], list[str]]:
        """Return ``{host: note}``, and the hosts that have no note or, if ``states`` is set, a state not in it."""
        notes = cast("dict[str, Note]", self._records.read_notes(self._hosts, NAME))
        return notes, [host for host in self._hosts
                       if host not in notes or (states and notes[host]["state"] not in states)]

    def require(self, state: str) -> dict[str, Note]:
        """Return the notes of all members.

        :raises AnsibleActionFail: if a member is not in this state. The message names all these members.
        """
        notes, missing = self.read([state])
        if missing:
            raise AnsibleActionFail(
                f"The group is not started, because these hosts were removed from the run before they were {state}: "
                f"{', '.join(missing)}; the report contains the reason.")
        return notes
