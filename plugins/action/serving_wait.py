# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a service has nothing to do, or until its NPUs are free: many short looks, each step told once."""

from __future__ import annotations

import time

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import plain, role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import drain, replacement

INTERVAL_S = 1.0


class ActionModule(ActionBase):
    """See plugins/modules/serving_wait.py."""

    def run(self, tmp=None, task_vars=None):
        """Return the seconds waited and what was still to wait for; fail for NPUs that are not free in time."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "until": {"type": "str", "choices": ["requests_done", "npus_free"], "required": True},
            "timeout_s": {"type": "float", "required": True},
            "devices": {"type": "list", "elements": "int", "default": []},
        })
        inputs = role_inputs(self._templar, task_vars, "serving", "balancer", "plan")
        host = task_vars["inventory_hostname"]
        self._docker = {"docker_socket": inputs["plan_docker_socket"]}
        outcome, started, told = {"changed": False}, time.monotonic(), None
        while True:
            if args["until"] == "requests_done":
                outcome["containers"] = self._containers(inputs, task_vars)
                # Without a balancer new ones keep coming, and a server that finishes its own by itself may be stopped.
                clauses = drain.requests_left([
                    each for each in outcome["containers"] if each["status"] == "running"
                    and (boolean(inputs["balancer_enabled"]) or not each["shutdown_timeout_s"])])
            else:
                clauses = self._held(plain(args["devices"]), inputs["serving_idle_hbm_mb"], task_vars)
            waited = round(time.monotonic() - started)
            if not clauses or waited >= args["timeout_s"] or self._task.check_mode:
                break
            step = "; ".join(clauses)
            if step != told:
                self._display.display(f"{host}: {step} ({waited} s)")
                told = step
            time.sleep(INTERVAL_S)
        outcome.update(seconds=waited, left=clauses)
        if clauses and not self._task.check_mode:
            if args["until"] == "npus_free":
                raise AnsibleActionFail(
                    f"On {host} the NPUs are not free {waited} s after our containers were stopped: "
                    f"{'; '.join(clauses)}. End what holds them, or give it more time with "
                    "serving_npu_free_timeout_s.", result=outcome)
            self._display.warning(f"{host}: requests are cut off, since serving_drain_timeout_s is over: "
                                  f"{'; '.join(clauses)}.")
        return outcome

    def _containers(self, inputs, task_vars):
        seen = self._observe("ascend.vllm.serving_info", {"instances": [], "load": True, **self._docker}, task_vars)
        if seen["docker_engine_error"]:
            raise AnsibleActionFail(f"{task_vars['inventory_hostname']}: {seen['docker_engine_error']}")
        return replacement.deployment(seen["containers"], inputs["serving_container_name"])

    def _held(self, devices, idle_hbm_mb, task_vars):
        if not devices:
            return []
        return drain.npus_held(self._observe("ascend.vllm.npu_info", self._docker, task_vars), devices, idle_hbm_mb)

    def _observe(self, module, arguments, task_vars):
        seen = self._execute_module(module, module_args=arguments, task_vars=task_vars)
        if seen.get("failed") or seen.get("unreachable"):
            raise AnsibleActionFail(f"{module} failed: {seen.get('msg')}")
        return plain(seen)
