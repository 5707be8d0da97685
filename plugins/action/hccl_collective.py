# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run rounds of all-reduces in containers, and add their results to the observation of the node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, to_json
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import collection_root
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective, collective_rounds
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective_container as container
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction, unexpected

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import Interface
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import Collective, Peers, Run

NOTHING_DONE = {"changed": False, "skipped": True, "resumed": False, "rounds": []}


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the rounds of a step, unless the node could not be observed."""
        self.begin(tmp, task_vars or {}, stage="hccl",
                   step={"type": "str", "choices": ["run", "diagnosis", "resume"], "default": "run"})
        step, inputs = self.args["step"], self.inputs
        record = self.records.read_observation(self.observer, "hccl")
        if record is None or record.failure:
            return dict(NOTHING_DONE)
        results = cast("Collective", record.observed.get("collective") or {"runs": []})
        if step == "resume":
            if not results.get("waits_for_image"):
                return dict(NOTHING_DONE)
            if self.observer == self.host:
                self._save(record, self._observe_again())
            return {"changed": False, "resumed": True, "rounds": []}
        if self.observer != self.host:
            return dict(NOTHING_DONE)
        chosen = self._rounds(step)
        if step == "run":
            results["obstacle"], results["waits_for_image"] = chosen["obstacle"], chosen["waits_for_image"]
        results["runs"] += [self._round(name, chosen["interfaces"]) for name in chosen["rounds"]]
        path = Path(inputs["hccl_baseline_path"])
        results["baseline"] = self.records.read_json(path) or {}
        if inputs["hccl_baseline_save"] and step == "run":
            measured = _measured(results["runs"][0], self.host) if chosen["rounds"] else {}
            if measured:
                results["baseline"].update(measured)
                self.records.write(path, to_json(results["baseline"]))
            elif chosen["obstacle"] and self.host == self.play_hosts[0]:
                # Ansible does not show the warnings of a skipped task.
                self.say(f"hccl_baseline_save is true, but the baseline has not been saved. {chosen['obstacle']}")
        self._save(record, {"collective": results})
        return {"changed": False, "skipped": not chosen["rounds"], "resumed": False, "rounds": chosen["rounds"],
                "msg": results.get("obstacle") or ""}

    def _save(self, record: ObservationRecord, observed: dict[str, Any]) -> None:
        self.records.write_observation(self.host, "hccl", self.add_to(record, lambda: observed))

    def _observe_again(self) -> dict[str, Any]:
        """Return the parts of the observation that change when the image is pulled or an NPU is used."""
        request = self.judge.request(self.context)
        try:
            found = self.call(request.module, **{**request.arguments, "npus": []}) if request else {}
        except (AnsibleConnectionFailure, AnsibleActionFail):
            found = {}
        return {key: found.get(key) for key in ("image_present", "processes")}

    def _rounds(self, step: str) -> collective_rounds.Rounds:
        """Return the rounds of a step, which are the same for all nodes."""
        def survey(observations: Mapping[str, Any]) -> dict[str, collective_rounds.Rounds]:
            peers = cast("Peers", observations)
            return dict.fromkeys(peers, (
                collective_rounds.run_rounds(peers, self.inputs, self.context.forks, self.context.check_mode)
                if step == "run" else collective_rounds.diagnosis_rounds(peers, self.inputs)))

        try:
            return cast("collective_rounds.Rounds", self.survey(survey))
        except Exception as error:
            return {"rounds": [], "interfaces": {}, "waits_for_image": False,
                    "obstacle": f"The observation of {self.host} cannot be used: {self.masked(unexpected(error))}."}

    def _round(self, name: str, interfaces: Mapping[str, Interface]) -> Run:
        """Run this node's container in a round, and return the result."""
        hosts = collective_rounds.group(interfaces, self.host, name)
        if not hosts:
            return {"round": name, "hosts": [], "result": None}
        sources = {path: (collection_root() / path).read_text("utf-8")
                   for path in (container.PROBE, container.LAUNCHER)}
        arguments = container.arguments(self.context.plan, self.inputs, hosts, interfaces, self.host, sources)
        try:
            returned = self.execute("community.docker.docker_container", arguments,
                                    self.inputs["hccl_collective_timeout_s"])
            if "status" not in returned:
                raise AnsibleActionFail(f"{self.host} could not run the container: {returned.get('msg')}")
            output = (returned.get("container") or {}).get("Output") or returned.get("msg") or ""
            result = collective.parse(self.masked(output), returned["status"])
        except Exception as error:
            result = collective.failure(self.problem(error))
        return {"round": name, "hosts": hosts, "result": result}


def _measured(run: Run, host: str) -> dict[str, float]:
    """Return ``{baseline key: bandwidth}``; empty if the run failed or if this host is not its first host."""
    result = run["result"]
    bandwidth = None if result is None or result["failed"] else collective.bandwidth(result)
    if result is None or bandwidth is None or run["hosts"][0] != host:
        return {}
    return {collective.baseline_key(result, len(run["hosts"])): bandwidth}
