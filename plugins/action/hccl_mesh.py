# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send the pings that this node contributes to the ping mesh, and add the result to the observation of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import mesh_arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import Peers


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ping the partners of this node, unless the node could not be observed."""
        self.begin(tmp, task_vars or {}, stage="hccl")
        outcome: dict[str, Any] = {"ping": None, "reach": None, "ping_error": None}
        record = self.records.read_observation(self.host, "hccl")
        if record is None or record.failure or self.observer != self.host:
            return {"changed": False, "skipped": True, **outcome}
        # The task does not fail, because the stage judges the failures of all nodes together.
        try:
            arguments = self.survey(lambda observations: mesh_arguments(cast("Peers", observations), self.inputs))
            returned = self.call("ascend.vllm.hccn_ping", **arguments)
            outcome.update(ping=returned["ping"], reach=returned["reach"])
        except Exception as error:
            outcome["ping_error"] = self.problem(error)
        self.records.write_observation(self.host, "hccl", self.add_to(record, lambda: outcome))
        return {"changed": False, **outcome}
