# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the nodes of a group to one decision. They meet at tasks, and tell each other by files on the controller."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import plain, role_settings
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group import PREPARED, STARTED, out_of_date
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group_notes import GroupNotes


class ActionModule(ActionBase):
    """See plugins/modules/serving_group.py."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Tell how far this node is, or return what all of them together have to do."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "plan": {"type": "dict", "required": True},
            "state": {"type": "str", "required": True, "choices": [PREPARED, "decided", STARTED]},
            "secrets": {"type": "str", "default": "", "no_log": False},
        })
        plan = plain(args["plan"])
        group = plan["group"]
        records = Records(role_settings(self._templar, task_vars, "report")["report_path"])
        notes = GroupNotes(records, group)
        if args["state"] == PREPARED:
            notes.tell(PREPARED, out_of_date(plan, notes.observations[group["host"]], args["secrets"]))
        elif args["state"] == STARTED:
            notes.tell(STARTED)
        else:
            reasons = {host: note["reason"] for host, note in notes.expect(PREPARED).items() if note["reason"]}
            if reasons and group["rank"] == 0:
                said = "; ".join(f"{host} {reason}" for host, reason in reasons.items())
                self._display.display(f"The group of {group['host']} is started as a whole: {said}")
            return {"changed": False, "current": not reasons, "reasons": reasons}
        return {"changed": False}
