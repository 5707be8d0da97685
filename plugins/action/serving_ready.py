# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the planned service of a node, and print its progress.

A start takes minutes. Therefore the action makes many short module calls instead of a single long call. This keeps the
SSH connection alive, and the operator sees the progress. Ansible runs this action for all nodes of a group in parallel,
and the actions report the states of their nodes to each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Group
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import Waited, state_arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import error_line, say, warn

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.serving_state import InstanceState, ServingState

    # (state, or None if the node is unreachable; seconds since the wait began; seconds until the timeout)
    Observed = tuple[ServingState | None, int, float]

# The timeouts of one module call and of a completion, in seconds. The first completion after a start is slow.
WINDOW_S = 15
COMPLETION_S = 60
# In a group, module calls are shorter, so that members notice failures soon. A member that has not reported a
# final state GRACE_S after the timeout counts as late.
GROUP_WINDOW_S = 5
GRACE_S = 60


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the seconds waited and the failures; the stage judges them."""
        self.begin(tmp, task_vars or {}, stage="serving")
        own_group = self.context.plan["group"]
        return dict(self._wait_for_group(own_group) if own_group else self._wait())

    def _wait(self) -> Waited:
        observations = self._observations(WINDOW_S)
        while True:
            seen, seconds, left_s = next(observations)
            if seen is None or seen["settled"] or seen["docker_engine_error"] or left_s <= 0 or self.context.check_mode:
                return {"changed": False, "seconds": seconds, "failed_instances": _failed(seen),
                        "ready": _is_ready(seen)}

    def _wait_for_group(self, own_group: Group) -> Waited:
        """Wait until all nodes of the group are ready; if one of them fails, stop the containers of this node."""
        notes = group.GroupNotes(self.records, own_group)
        try:
            seen, seconds, failed = self._watch(own_group, notes)
        except AnsibleError as error:
            notes.write(group.FAILED, str(error))
            self._stop()
            raise
        broken = any(member["state"] == group.FAILED for member in failed)
        changed = broken and seen is not None and self._stop()
        return {"changed": changed, "seconds": seconds, "failed_instances": _failed(seen), "failed_members": failed,
                "ready": _is_ready(seen) and not failed}

    def _watch(self, own_group: Group, notes: group.GroupNotes
               ) -> tuple[ServingState | None, int, list[group.FailedMember]]:
        """Return the last state of this node, the seconds waited, and the members that failed."""
        observations = self._observations(GROUP_WINDOW_S)
        while True:
            seen, seconds, left_s = next(observations)
            note = group.own_state(seen, left_s <= 0, time.time())
            notes.write(**note)
            # All members that are still in the run have a note: they have reported that they are started.
            over, failed = group.outcome(own_group, notes.read(), left_s < -GRACE_S)
            if self.context.check_mode:
                return seen, seconds, []
            if over:
                return seen, seconds, failed
            # The module returns at once if the service is ready, so the interval is waited here.
            if note["state"] == group.READY:
                time.sleep(GROUP_WINDOW_S)

    def _observations(self, window_s: float) -> Iterator[Observed]:
        """Yield observations of the node, and print its progress."""
        request = state_arguments(self.context.plan, self.inputs)
        request.update(interval_s=min(window_s, self.inputs["serving_ready_interval_s"]))
        started = time.monotonic()
        deadline = started + self.inputs["serving_ready_timeout_s"]
        shown: dict[str, str] = {}
        while True:
            remaining = max(1.0, deadline - time.monotonic())
            request.update(wait_s=min(window_s, remaining), completion_timeout_s=min(COMPLETION_S, remaining))
            try:
                seen = cast("ServingState", self.call("ascend.vllm.serving_info", **request))
            except AnsibleConnectionFailure:
                seen = None
            seconds = round(time.monotonic() - started)
            instances = seen["instances"] if seen else []
            self._show_progress(instances, shown, seconds)
            yield seen, seconds, deadline - time.monotonic()
            # A container that was restarted since this observation has crashed.
            for instance, found in zip(request["instances"], instances):
                instance["restarts"] = found["container"]["restarts"] if found["container"] else 0

    def _stop(self) -> bool:
        """Stop the containers of this node, which would wait for a member in vain; return whether any was running."""
        changed = False
        for instance in self.context.plan["instances"]:
            say(self._display, f"{self.host} {instance['name']}: stopping, because its group failed", self.secrets)
            try:
                stopped = self.call(
                    "community.docker.docker_container", docker_host="unix://" + self.context.plan["docker_socket"],
                    name=instance["name"], state="stopped", stop_timeout=self.inputs["serving_stop_timeout_s"],
                    comparisons={"*": "ignore"})
                changed = changed or stopped["changed"]
            except (AnsibleActionFail, AnsibleConnectionFailure) as error:
                text = f"{self.host} {instance['name']} was not stopped: {error_line(error)}"
                warn(self._display, text, self.secrets)
        return changed

    def _show_progress(self, instances: Iterable[InstanceState], shown: dict[str, str], seconds: int) -> None:
        """Print the progress of each instance once per step. ``shown``, the last printed steps, is updated."""
        for instance in instances:
            step = instance["progress"]
            if step and shown.get(instance["name"]) != step:
                shown[instance["name"]] = step
                say(self._display, f"{self.host} {instance['name']}: {step} ({seconds} s)", self.secrets)


def _failed(seen: ServingState | None) -> list[InstanceState]:
    return [instance for instance in seen["instances"] if instance["state"] == "failed"] if seen else []


def _is_ready(seen: ServingState | None) -> bool:
    instances = seen["instances"] if seen else []
    return bool(instances) and all(instance["state"] == "ready" for instance in instances)
