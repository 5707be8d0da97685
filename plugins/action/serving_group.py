# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the nodes of a group to one decision. They meet at tasks, and tell each other by files on the controller."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group import PREPARED, STARTED, out_of_date
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group_notes import GroupNotes
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import BEFORE
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


class ActionModule(StageAction):
    """See plugins/modules/serving_group.py."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Tell how far this node is, or return what all of them together have to do."""
        self.begin(tmp, task_vars or {}, stage="serving",
                   state={"type": "str", "required": True, "choices": [PREPARED, "decided", STARTED]},
                   secrets={"type": "str", "default": "", "no_log": False})
        plan, group = self.context.plan, self.context.plan["group"]
        notes = GroupNotes(self.records, group)
        if self.args["state"] == PREPARED:
            observed = self.records.read_observations([self.host], "serving", BEFORE)[self.host]
            notes.tell(PREPARED, out_of_date(plan, observed, self.args["secrets"]))
        elif self.args["state"] == STARTED:
            notes.tell(STARTED)
        else:
            reasons = {host: note["reason"] for host, note in notes.expect(PREPARED).items() if note["reason"]}
            if reasons and group["rank"] == 0:
                said = "; ".join(f"{host} {reason}" for host, reason in reasons.items())
                self._display.display(f"The group of {group['host']} is started as a whole: {said}")
            return {"changed": False, "current": not reasons, "reasons": reasons}
        return {"changed": False}
