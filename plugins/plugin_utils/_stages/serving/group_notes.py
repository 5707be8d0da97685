# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the members of a group tell each other during a run: a file a host, on the controller.

PRIVATE to the collection.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

NOTES = "serving_group"


class GroupNotes:
    """Writes the notes of one member of a group and reads those of all members, of this run only.

    :param records: of the run. :param group: of the plan.
    """

    def __init__(self, records, group):
        self._records, self._group = records, group
        self._hosts = [member["host"] for member in group["members"]]

    def tell(self, state, reason=None, **more):
        """Tell the others how far this member is."""
        self._records.write_note(self._group["host"], NOTES, dict(more, state=state, reason=reason))

    def read(self, states=None):
        """Return (``{host: note}`` of the members that told something, the others); of the states only, when given."""
        notes = self._records.read_notes(self._hosts, NOTES)
        return notes, [host for host in self._hosts
                       if host not in notes or (states and notes[host]["state"] not in states)]

    def expect(self, *states):
        """Return the notes of all members; fail, naming those that did not come so far."""
        notes, missing = self.read(states)
        if missing:
            raise AnsibleActionFail(
                f"{', '.join(missing)} left the run before its part of the group was {states[0]}, so the group is not "
                "started; the report says why it left.")
        return notes
