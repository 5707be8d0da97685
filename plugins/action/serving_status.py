# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query the service of a node in one module call, or print the rows of all nodes as one table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import currency
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import timestamp
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import status_table
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import state_arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._haproxy import BalancerObservation, BalancerServer
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.serving_state import ServingState
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import LoopResult

    class BalancerStatus(BalancerObservation, LoopResult):
        """The return values of ``ascend.vllm.balancer_info`` on one balancer."""

        #: Inventory name of the balancer.
        item: str


class ActionModule(StageAction):
    CHANGES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the rows of this host, or print the rows of all hosts."""
        self.begin(tmp, task_vars or {}, stage="serving", show={"type": "list", "elements": "list"},
                   balancers={"type": "list", "elements": "dict", "default": []})
        if self.args["show"] is not None:
            return self._show(self.args["show"], self.args["balancers"])
        request = state_arguments(self.context.plan, self.inputs)
        try:
            seen = cast("ServingState", self.call("ascend.vllm.serving_info", **request, load=True))
            rows = status_table.rows(self.host, self.context.plan, seen)
            if not seen["docker_engine_error"]:  # for the report, which does not query nodes
                self.records.write_note(self.host, currency.STATUS, {
                    "observed_at": timestamp(), "containers": currency.starts(seen["instances"])})
        except AnsibleConnectionFailure:
            rows = [status_table.Row(self.host, "-", "not reachable")]
        return {"changed": False, "rows": [list(row) for row in rows]}

    def _show(self, rows: list[list[str]], balancers: Iterable[BalancerStatus]) -> dict[str, Any]:
        lines = _text.table([status_table.HEADER, *rows])
        for balancer in balancers:
            servers = ", ".join(map(_server, balancer.get("servers", ())))
            state = "not reachable" if balancer.get("unreachable") else balancer["error"] or servers or "no servers"
            lines += ["", _text.one_line(f"balancer on {balancer['item']}: {state}")]
        _text.say(self._display, ["", *lines, ""], self.secrets)
        return {"changed": False, "rows": rows, "lines": lines}


def _server(server: BalancerServer) -> str:
    notes = ["disabled"] if server["disabled"] else []
    notes += [f"active requests: {server['sessions']}", server["check"] or "no check yet"]
    if server["engine"]:
        notes.append(f"engine {server['engine']}" if server["watched"] else f"no watchdog: {server['engine']}")
    return f"{server['name']} {server['status']} ({', '.join(notes)})"
