# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the planned service of a node, and tell how far it is.

A start takes minutes: many short module calls instead of one long one keep the SSH connection alive and the operator
informed.
"""

from __future__ import annotations

import time

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils.checks.serving import arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils.settings import plain, role_settings

# Seconds that one module call may wait, and that a completion may take: the first one after a start is slow.
WINDOW_S = 15
COMPLETION_S = 60


class ActionModule(ActionBase):
    """See plugins/modules/serving_ready.py."""

    def run(self, tmp=None, task_vars=None):
        """Return the seconds waited and the instances that failed; what follows from it is the stage's to say."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={"plan": {"type": "dict", "required": True}})
        variables = role_settings(self._templar, task_vars, "serving")
        settings = {name[len("serving_"):]: value for name, value in variables.items()}
        request = arguments({"plan": plain(args["plan"]), "settings": settings})
        request.update(interval_s=float(settings["ready_interval_s"]), mounts=[], devices=[], ports=[], weights=None)

        started = time.monotonic()
        deadline = started + float(settings["ready_timeout_s"])
        told = {}
        while True:
            remaining = max(1.0, deadline - time.monotonic())
            request.update(wait_s=min(WINDOW_S, remaining), completion_timeout_s=min(COMPLETION_S, remaining))
            try:
                seen = self._execute_module("ascend.vllm.serving_info", module_args=request, task_vars=task_vars)
            except AnsibleConnectionFailure:
                return {"changed": False, "seconds": round(time.monotonic() - started), "failed_instances": []}
            if seen.get("failed"):
                raise AnsibleActionFail(f"ascend.vllm.serving_info failed: {seen.get('msg')}")
            waited = round(time.monotonic() - started)
            self._tell(seen["instances"], told, waited, task_vars["inventory_hostname"])
            if seen["settled"] or seen["engine_error"] or self._task.check_mode or time.monotonic() >= deadline:
                failed = [instance for instance in plain(seen["instances"]) if instance["state"] == "failed"]
                return {"changed": False, "seconds": waited, "failed_instances": failed}
            for instance, found in zip(request["instances"], seen["instances"]):
                instance["restarts"] = found["container"]["restarts"] if found["container"] else 0

    def _tell(self, instances, told, waited, host):
        """Print each step of a start once."""
        for instance in instances:
            step = instance["progress"]
            if step and told.get(instance["name"]) != step:
                told[instance["name"]] = step
                self._display.display(f"{host} {instance['name']}: {step} ({waited} s)")
