# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether all containers of a group are restarted. Its nodes exchange notes in files on the controller."""

from __future__ import annotations

from typing import Any, cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group as groups
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import BEFORE
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import say


class ActionModule(StageAction):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Record the state of this node for the other nodes, or return the decision."""
        self.begin(tmp, task_vars or {}, stage="serving",
                   state={"type": "str", "required": True, "choices": [groups.PREPARED, "decided", groups.STARTED]},
                   # a label of the container, which contains no secret
                   secrets={"type": "str", "default": "", "no_log": False})
        plan, group = self.context.plan, self.context.plan["group"]
        if group is None:
            raise AnsibleActionFail(f"The plan of {self.host} has no group; set serving_topology and serving_hosts.")
        notes = groups.GroupNotes(self.records, group)
        if self.args["state"] == groups.PREPARED:
            observed = self.records.read_observations([self.host], "serving", BEFORE)[self.host]
            notes.write(groups.PREPARED, groups.restart_reason(plan, cast(Any, observed), self.args["secrets"]))
        elif self.args["state"] == groups.STARTED:
            notes.write(groups.STARTED)
        else:
            reasons = {host: note["reason"] for host, note in notes.require(groups.PREPARED).items() if note["reason"]}
            if reasons and group["rank"] == 0:
                shown = "; ".join(f"{host}: {reason}" for host, reason in reasons.items())
                say(self._display, f"All containers of {group['host']}'s group are restarted: {shown}", self.secrets)
            return {"changed": False, "current": not reasons, "reasons": reasons}
        return {"changed": False}
