# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe a node for a stage that compares nodes, and save the observation or the failure."""

from __future__ import annotations

from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Save the observation. This task does not fail, because the action `stage` reports the failure."""
        self.begin(tmp, task_vars or {}, phase={"type": "str", "default": ""})
        if self.observer != self.host:
            return {"changed": False, "skipped": True, "observed": {}, "failure": None, "reachable": True}
        record = self.observe()
        self.records.write_observation(self.host, self.stage, record)
        return {"changed": False, "observed": self.returned(record.observed), "failure": record.failure,
                "reachable": record.reachable}
