# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module weights_staging under the lease of this run on the node."""

from __future__ import annotations

from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        arguments, self._task.args = self._task.args, {}  # the module validates them
        self.begin(tmp, task_vars or {}, stage="weights")
        return self.execute("ascend.vllm.weights_staging", arguments)
