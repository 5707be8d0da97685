# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Poll a node until its service has no requests, or until its NPUs are free."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import drain, replacement
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import tls_arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import say

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import NpuObservation
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm import serving_state

INTERVAL_S = 1.0


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the seconds waited and the requests or processes that are left; fail if NPUs are not free in time."""
        self.begin(tmp, task_vars or {}, stage="serving",
                   until={"type": "str", "choices": ["requests_done", "npus_free"], "required": True},
                   timeout_s={"type": "float", "required": True},
                   devices={"type": "list", "elements": "int", "default": []})
        # Without a balancer, a server keeps receiving new requests. With --shutdown-timeout, it finishes its requests
        # when it is stopped, so there is no need to wait for them.
        balanced = role_inputs(self._templar, self.task_vars, "balancer")["balancer_enabled"]
        outcome: dict[str, Any] = {"changed": False}
        started, shown = time.monotonic(), ""
        while True:
            if self.args["until"] == "requests_done":
                outcome["containers"] = self._containers()
                left = drain.requests_left(
                    container for container in outcome["containers"] if container["status"] == "running"
                    and (balanced or not container["shutdown_timeout_s"]))
            else:
                left = self._npus_held()
            seconds = round(time.monotonic() - started)
            if not left or seconds >= self.args["timeout_s"] or self.context.check_mode:
                break
            if "; ".join(left) != shown:
                shown = "; ".join(left)
                say(self._display, f"{self.host}: {shown} ({seconds} s)", self.secrets)
            time.sleep(INTERVAL_S)
        outcome.update(seconds=seconds, left=left)
        if left and not self.context.check_mode:
            if self.args["until"] == "npus_free":
                raise AnsibleActionFail(
                    f"On {self.host} the NPUs are not free {seconds} s after the service was stopped: "
                    f"{'; '.join(left)}. Stop the processes on them, or increase serving_npu_free_timeout_s.",
                    result=outcome)
            self.warn(f"requests are aborted after serving_drain_timeout_s: {'; '.join(left)}.")
        return outcome

    def _containers(self) -> list[serving_state.DeployedContainer]:
        seen = cast("serving_state.ServingState", self.call(
            "ascend.vllm.serving_info", instances=[], load=True, docker_socket=self.context.plan["docker_socket"],
            **tls_arguments(self.context.plan)))
        if seen["docker_engine_error"]:
            raise AnsibleActionFail(f"{self.host}: {seen['docker_engine_error']}")
        return replacement.deployment(seen["containers"], self.context.plan)

    def _npus_held(self) -> list[str]:
        if not self.args["devices"]:
            return []
        seen = cast("NpuObservation", self.call(
            "ascend.vllm.npu_info", docker_socket=self.context.plan["docker_socket"]))
        return drain.npus_held(seen, self.args["devices"], self.inputs["serving_idle_hbm_mb"])
