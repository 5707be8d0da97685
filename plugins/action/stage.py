# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the observation of a node, write the stage result on the controller, then fail if a check failed."""

from __future__ import annotations

from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Judge the observation that this run has saved for this phase; if there is none, observe the node first."""
        self.begin(tmp, task_vars or {}, phase={"type": "str", "default": ""}, measured={"type": "dict"},
                   failure={"type": "str"}, only={"type": "list", "elements": "str"})
        record = self.records.read_observation(self.observer, self.stage, self.context.phase)
        # A saved observation means that all hosts were observed before, so that the judge can compare them.
        surveyed = record is not None and not record.failure
        return self.judge_and_record(record or self.observe(), surveyed, self.args["only"])
