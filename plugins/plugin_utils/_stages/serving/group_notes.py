# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the controller in which the members of a group report their states."""

from __future__ import annotations

from typing import Any, cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Group
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group import Note

NAME = "serving_group"


class GroupNotes:
    """Writes the note of one member of a group, and reads the notes that all members wrote in this run."""

    def __init__(self, records: Records, group: Group) -> None:
        self._records, self._host = records, group["host"]
        self._hosts = [member["host"] for member in group["members"]]

    def write(self, state: str, reason: str | None = None, **more: Any) -> None:
        """Report the state of this member to the other members. The arguments are those of a `Note`."""
        self._records.write_note(self._host, NAME, {"state": state, "reason": reason, **more})

    def read(self) -> tuple[dict[str, Note], list[str]]:
        """Return ``{host: note}``, and the hosts that have no note."""
        notes = cast("dict[str, Note]", self._records.read_notes(self._hosts, NAME))
        return notes, [host for host in self._hosts if host not in notes]

    def require(self, state: str) -> dict[str, Note]:
        """Return the notes of all members. Raise AnsibleActionFail if some of them are not in this state."""
        notes, _missing = self.read()
        missing = [host for host in self._hosts if host not in notes or notes[host]["state"] != state]
        if missing:
            raise AnsibleActionFail(
                f"The group is not started, because these hosts were removed from the run before they were {state}: "
                f"{', '.join(missing)}; the report contains the reason.")
        return notes
