# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve the plan of a node on the controller once per run, and save it for later tasks."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.describe import describe
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import Plans
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_secrets, role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import say


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan; fail with all refusals if it cannot be deployed."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={"show": {"type": "bool", "default": False}})
        host = task_vars["inventory_hostname"]
        records = Records(role_inputs(self._templar, task_vars, "report")["report_path"])
        plan = Plans(self._templar, task_vars, records)[host]
        if args["show"]:
            say(self._display, describe(plan, host), known_secrets(self._templar, task_vars))
        return {"changed": False, "plan": plan, "run": run.RUN_ID}
