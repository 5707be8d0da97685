# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the members of a group tell each other during a run: a file a host, on the controller.

PRIVATE to the collection.
"""

from __future__ import annotations

import time

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group as serving_group

STAGE, NOTES = "serving", "serving_group"


class GroupNotes:
    """Writes the notes of one member and reads those of all; notes of earlier runs are as good as none."""

    def __init__(self, records, group):
        self._records, self._group = records, group
        self._hosts = [member["host"] for member in group["members"]]
        self.observations = records.read_observed(self._hosts, STAGE)
        self._run = serving_group.run_of(group, self.observations)

    def tell(self, state, reason=None, **more):
        """Tell the others how far this member is."""
        note = dict(more, run=self._run, state=state, reason=reason)
        self._records.write_observed(self._group["host"], NOTES, note, time.monotonic())

    def read(self, states=None):
        """Return (``{host: note}`` of the members that told something, the others); of the states only, when given."""
        notes = self._records.read_observed(self._hosts, NOTES)
        missing = set(serving_group.unheard(self._group, notes, self._run))
        missing |= {host for host, note in notes.items() if states and note["state"] not in states}
        return notes, [host for host in self._hosts if host in missing]

    def expect(self, *states):
        """Return the notes of all members; fail, naming those that did not come so far."""
        notes, missing = self.read(states)
        if missing:
            raise AnsibleActionFail(
                f"{', '.join(missing)} left the run before its part of the group was {states[0]}, so the group is not "
                "started; the report says why it left.")
        return notes
