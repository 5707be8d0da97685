# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve the plan of a node on the controller, for tasks that need a part of it."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.describe import describe
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import resolve_plan


class ActionModule(ActionBase):
    """See plugins/modules/plan.py."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return the plan; fail with every refusal when it cannot be deployed."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={"show": {"type": "bool", "default": False}})
        plan = resolve_plan(self._templar, task_vars)
        if args["show"]:
            self._display.display(describe(plan, task_vars["inventory_hostname"]))
        return {"changed": False, "plan": plan}
