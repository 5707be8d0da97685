# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release the leases that this run holds on a node and on the results folder."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import Hung, deadline

TIMEOUT_S = 60


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Release both leases. If the lease on the node cannot be released, the next run removes it."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        self.validate_argument_spec(argument_spec={"state": {"type": "str", "choices": ["absent"], "required": True}})
        records = Records(role_inputs(self._templar, variables, "report")["report_path"])
        records.release()
        if self._task.check_mode or not records.has_plan(variables["inventory_hostname"]):
            return {"changed": False}
        try:
            with deadline(TIMEOUT_S):
                # A module would take longer than this command.
                removed = self._low_level_execute_command(f"rm -rf {lease.ROOT}/{run.RUN_ID}")
        except (AnsibleConnectionFailure, Hung):
            return {"changed": False, "msg": "The node does not respond; the next run removes its lease."}
        if removed["rc"]:
            return {"changed": False, "msg": "The lease on the node could not be removed "
                                             f"({removed['stderr'].strip()}); the next run removes it."}
        return {"changed": False}
