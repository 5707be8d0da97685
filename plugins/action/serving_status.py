# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the service of a node in one module call, and print what all nodes told in one table."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import plain, role_settings
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import status_table
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import state_arguments


class ActionModule(ActionBase):
    """See plugins/modules/serving_status.py."""

    def run(self, tmp=None, task_vars=None):
        """Return the rows of this host, or print those of all."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "plan": {"type": "dict"}, "show": {"type": "list", "elements": "list"},
            "balancers": {"type": "list", "elements": "dict", "default": []}})
        args = plain(args)
        if args["show"] is not None:
            return self._show(args["show"], args["balancers"])
        host = task_vars["inventory_hostname"]
        variables = role_settings(self._templar, task_vars, "serving")
        settings = {name[len("serving_"):]: value for name, value in variables.items()}
        request = dict(state_arguments(args["plan"], settings["api_key"]), load=True)
        try:
            seen = plain(self._execute_module("ascend.vllm.serving_info", module_args=request, task_vars=task_vars))
        except AnsibleConnectionFailure:
            return {"changed": False, "rows": [self._remark(host, "not reachable")]}
        if seen.get("failed"):
            raise AnsibleActionFail(f"ascend.vllm.serving_info failed: {seen.get('msg')}")
        return {"changed": False, "rows": status_table.rows(host, args["plan"], seen, seen["now_s"])}

    def _show(self, rows, balancers):
        lines = status_table.table(rows)
        for balancer in balancers:
            states = ", ".join(map(self._server, balancer.get("servers", ())))
            said = "not reachable" if balancer.get("unreachable") else balancer["error"] or states or "no servers"
            lines += ["", f"balancer on {balancer['item']}: {said}"]
        self._display.display("\n".join(["", *lines, ""]))
        return {"changed": False, "rows": rows, "lines": lines}

    @staticmethod
    def _server(server):
        notes = [f"{server['sessions']} requests", server["check"] or "no check yet"]
        if server["engine"]:
            notes.append(f"engine {server['engine']}" if server["watched"] else f"no watch: {server['engine']}")
        if server["taken_out"]:
            notes.insert(0, "taken out")
        return f"{server['name']} {server['status']} ({', '.join(notes)})"

    @staticmethod
    def _remark(host, text):
        return [host, "-", text] + [""] * (len(status_table.COLUMNS) - 3)
