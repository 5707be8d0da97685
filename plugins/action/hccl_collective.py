# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one round of all-reduces in containers, and file what they printed with the node's observation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import collection_root, plain
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective, collective_container
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import host_interfaces
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction

NOTHING_DONE = {"changed": False, "skipped": True, "resumed": False, "rounds": []}


class ActionModule(StageAction):
    """See plugins/modules/hccl_collective.py."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the rounds of a phase, unless the node could not be observed."""
        self.begin(tmp, task_vars or {}, stage="hccl",
                   step={"type": "str", "choices": ["run", "diagnosis", "resume"], "default": "run"})
        step, inputs = self.args["step"], self.inputs
        filed = self.records.read_observation(self.host, "hccl")
        if filed is None or filed.failure:
            return dict(NOTHING_DONE)
        kept = filed.observed.get("collective") or {"runs": []}
        if step == "resume":
            if not kept.get("waits_for_image"):
                return dict(NOTHING_DONE)
            self._file(filed, {**self._look_again(), "collective": {"runs": []}})
            return {"changed": False, "resumed": True, "rounds": []}

        def survey(observations: dict[str, Any]) -> dict[str, Any]:
            return (_survey_run(observations, inputs, self.context.forks, self.context.check_mode) if step == "run"
                    else _survey_diagnosis(observations, inputs))
        decided = self.records.survey(
            self.host, self.task_vars["ansible_play_hosts"], "hccl", self._task._uuid, survey)
        if step == "run":
            kept.update(obstacle=decided["obstacle"], waits_for_image=decided["waits_for_image"])
        for round_name in decided["rounds"]:
            kept["runs"].append(self._round(round_name, decided["interfaces"]))
        baseline = Path(inputs["hccl_baseline_path"])
        kept["baseline"] = _read(baseline)
        if inputs["hccl_baseline_save"] and step == "run" and decided["rounds"]:
            kept["baseline"] = _record(baseline, kept, len(decided["interfaces"]), self.host)
        self._file(filed, {"collective": kept})
        return {"changed": False, "skipped": not decided["rounds"], "resumed": False, "rounds": decided["rounds"],
                "msg": kept.get("obstacle") or ""}

    def _file(self, filed: Any, observed: dict[str, Any]) -> None:
        self.records.write_observation(self.host, "hccl", self.add_to(filed, lambda: observed))

    def _look_again(self) -> dict[str, Any]:
        """What has changed on the node since its ports were asked: the image, and who holds an NPU."""
        request = self.judge.request(self.context)
        try:
            found = self.call(request.module, **{**request.arguments, "npus": []}) if request else {}
        except AnsibleConnectionFailure:
            found = {}
        return {key: found.get(key) for key in ("image_present", "processes")}

    def _round(self, round_name: str, interfaces: dict[str, Any]) -> dict[str, Any]:
        group = collective.group(list(interfaces), self.host, round_name)
        run = {"round": round_name, "hosts": group["hosts"], "result": None}
        if not group["hosts"]:
            return run
        sources = {"probe": _source(collective_container.PROBE), "launcher": _source(collective_container.LAUNCHER)}
        arguments = collective_container.arguments(
            self.context.plan, self.inputs, group, interfaces, self.host, sources)
        try:
            returned = plain(self._execute_module(
                "community.docker.docker_container", module_args=arguments, task_vars=self.task_vars))
        except AnsibleConnectionFailure as failure:
            returned = {"status": 255, "msg": f"RuntimeError: {self.host} is not reachable: {failure}"}
        if "status" in returned:
            output = (returned.get("container") or {}).get("Output") or returned.get("msg") or ""
            run["result"] = collective.parse(output, returned["status"])
        else:
            run["result"] = collective.failure(
                f"the container could not be run on {self.host}: {returned.get('msg')}")
        return run


def _survey_run(peers, inputs, forks, check_mode):
    """``{host: {"obstacle", "waits_for_image", "rounds", "interfaces"}}``: all come to the same decision."""
    why = "In check mode no container is started." if check_mode else (
        collective_container.obstacle(peers, inputs, forks))
    decided = {"obstacle": why, "waits_for_image": collective_container.lacks_image(peers, inputs),
               "rounds": [] if why else [collective.ALL],
               "interfaces": {} if why else host_interfaces(peers, inputs["hccl_interface"])}
    return dict.fromkeys(peers, decided)


def _survey_diagnosis(peers, inputs):
    """``{host: {"rounds", "interfaces"}}``: what tells which node is to blame, after a run that failed or was slow."""
    result, run = collective.overall(peers)
    rounds = []
    if result is not None:
        baseline = (next(iter(peers.values())).get("collective") or {}).get("baseline")
        floor, _source_of_it = collective.threshold(
            result, len(peers), inputs["hccl_collective_bus_bandwidth_minimum_gbs"], baseline,
            inputs["hccl_collective_baseline_tolerance"])
        slow = floor is not None and run["bandwidth"] is not None and run["bandwidth"] < floor
        if run["failed"] or slow:
            rounds = collective.diagnosis_rounds(len(peers), inputs["hccl_collective_pair_rounds"])
    decided = {"rounds": rounds, "interfaces": host_interfaces(peers, inputs["hccl_interface"]) if rounds else {}}
    return dict.fromkeys(peers, decided)


def _source(path):
    return (collection_root() / path).read_text("utf-8")


def _read(path):
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _record(path, kept, nodes, host):
    """The leading node's result becomes what later runs of this cluster are held against."""
    run = kept["runs"][0]
    speed = None if run["result"] is None or run["result"]["failed"] else collective.bandwidth(run["result"])
    if speed is None or run["hosts"][0] != host:
        return _read(path)
    recorded = {**_read(path), collective.baseline_key(run["result"], nodes): speed}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n", "utf-8")
    return recorded
