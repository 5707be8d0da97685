# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the planned service of a node, and print its progress.

A start takes minutes: many short module calls instead of one long one keep the SSH connection alive and the operator
informed. The nodes of a group are waited for in parallel, each by a worker of its own that informs the others.
"""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import plain
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group_notes import GroupNotes
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import state_arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction

# Seconds that one module call may wait, and that a completion may take: the first one after a start is slow.
WINDOW_S = 15
COMPLETION_S = 60
# In a group the others have to hear soon of a node that failed; a node that says nothing is not waited for much longer.
GROUP_WINDOW_S = 5
GRACE_S = 60


class ActionModule(StageAction):
    """See plugins/modules/serving_ready.py."""

    def run(self, tmp=None, task_vars=None):
        """Return the seconds waited and what failed; what follows from it is the stage's to say."""
        self.begin(tmp, task_vars or {}, stage="serving")
        if self.context.plan["group"]:
            return self._wait_together(GroupNotes(self.records, self.context.plan["group"]))
        for seen, waited, left in self._looks(WINDOW_S):
            if not seen or seen["settled"] or seen["docker_engine_error"] or self._task.check_mode or left <= 0:
                return {"changed": False, "seconds": waited, "failed_instances": _failed(seen), "ready": _ready(seen)}
        return None

    def _wait_together(self, notes):
        """Wait until all nodes of the group are ready; where one of them ended it, stop what runs of it here."""
        try:
            seen, waited, ended = self._watch(notes)
        except AnsibleError as error:
            notes.tell(group.FAILED, str(error))
            self._stop()
            raise
        broken = any(member["state"] == group.FAILED for member in ended)
        changed = broken and seen is not None and self._stop()
        return {"changed": changed, "seconds": waited, "failed_instances": _failed(seen), "ended": ended,
                "ready": _ready(seen) and not ended}

    def _watch(self, notes):
        """Return (what was seen last, seconds waited, the members that ended the group)."""
        missing = notes.read()[1]  # all that are still in the run have told that they are started
        for seen, waited, left in self._looks(GROUP_WINDOW_S):
            state, reason = group.own_state(seen, left <= 0)
            notes.tell(state, reason)
            settled, ended = group.verdict(self.context.plan["group"], notes.read()[0], missing, left < -GRACE_S)
            if self._task.check_mode:
                return seen, waited, []
            if settled:
                return seen, waited, ended
            if state == group.READY:  # the module returned at once
                time.sleep(GROUP_WINDOW_S)
        return None

    def _looks(self, window_s):
        """Yield (what is seen or None from a lost node, seconds waited, seconds left) without end."""
        request = state_arguments(self.context.plan, self.inputs)
        request.update(interval_s=min(window_s, self.inputs["serving_ready_interval_s"]))
        started = time.monotonic()
        deadline = started + self.inputs["serving_ready_timeout_s"]
        told = {}
        while True:
            remaining = max(1.0, deadline - time.monotonic())
            request.update(wait_s=min(window_s, remaining), completion_timeout_s=min(COMPLETION_S, remaining))
            try:
                seen = self.call("ascend.vllm.serving_info", **request)
            except AnsibleConnectionFailure:
                seen = None
            waited = round(time.monotonic() - started)
            if seen:
                self._tell(seen["instances"], told, waited, self.host)
            yield seen, waited, deadline - time.monotonic()
            for instance, found in zip(request["instances"], seen["instances"]):
                instance["restarts"] = found["container"]["restarts"] if found["container"] else 0

    def _stop(self):
        """Stop the containers of this node: they wait for one that will not come. Return whether any was running."""
        changed = False
        for instance in self.context.plan["instances"]:
            self._display.display(f"{self.host} {instance['name']}: stopped with its group")
            stopped = self._execute_module("community.docker.docker_container", module_args={
                "docker_host": "unix://" + self.context.plan["docker_socket"], "name": instance["name"],
                "state": "stopped", "stop_timeout": self.inputs["serving_stop_timeout_s"],
                "comparisons": {"*": "ignore"}}, task_vars=self.task_vars)
            changed = changed or bool(stopped.get("changed"))
        return changed

    def _tell(self, instances, told, waited, host):
        """Print each step of a start once."""
        for instance in instances:
            step = instance["progress"]
            if step and told.get(instance["name"]) != step:
                told[instance["name"]] = step
                self._display.display(f"{host} {instance['name']}: {step} ({waited} s)")


def _failed(seen):
    return [instance for instance in plain(seen["instances"]) if instance["state"] == "failed"] if seen else []


def _ready(seen):
    return bool(seen and seen["instances"]) and all(instance["state"] == "ready" for instance in seen["instances"])
