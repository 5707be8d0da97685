# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the service of a node in one module call, and print what all nodes told in one table."""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import status_table
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import state_arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


class ActionModule(StageAction):
    """See plugins/modules/serving_status.py."""

    def run(self, tmp=None, task_vars=None):
        """Return the rows of this host, or print those of all."""
        self.begin(tmp, task_vars or {}, stage="serving", show={"type": "list", "elements": "list"},
                    balancers={"type": "list", "elements": "dict", "default": []})
        if self.args["show"] is not None:
            return self._show(self.args["show"], self.args["balancers"])
        request = dict(state_arguments(self.context.plan, self.inputs), load=True)
        try:
            seen = self.call("ascend.vllm.serving_info", **request)
        except AnsibleConnectionFailure:
            return {"changed": False, "rows": [self._remark(self.host, "not reachable")]}
        return {"changed": False, "rows": status_table.rows(self.host, self.context.plan, seen, seen["now_s"])}

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
