# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one round of all-reduces in containers, and keep what they printed with the node's observation."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import resolve_plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import collection_root, plain, role_settings
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective, collective_container, judge
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import host_interfaces


class ActionModule(ActionBase):
    """See plugins/modules/hccl_collective.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "phase": {"type": "str", "choices": ["run", "diagnosis", "resume"], "default": "run"},
        })
        args, host, clock = plain(args), task_vars["inventory_hostname"], time.monotonic()
        plan = resolve_plan(self._templar, task_vars)
        variables = role_settings(self._templar, task_vars, "hccl", "report")
        settings = {name[len("hccl_"):]: value for name, value in variables.items() if name.startswith("hccl_")}
        records = Records(variables["report_path"], dry=self._task.check_mode)
        observed = records.read_observed([host], "hccl").get(host, {})
        kept = observed.get("collective") or {"runs": []}
        if args["phase"] == "resume":
            if not kept.get("waits_for_image"):
                return {"changed": False, "skipped": True, "resumed": False, "rounds": []}
            observed.update(self._look_again(plan, settings, task_vars), collective={"runs": []})
            records.write_observed(host, "hccl", observed, clock)
            return {"changed": False, "resumed": True, "rounds": []}

        def survey(peers):
            forks = int(task_vars["ansible_forks"])
            return (_survey_run(peers, settings, forks, self._task.check_mode) if args["phase"] == "run"
                    else _survey_diagnosis(peers, settings))
        decided = records.survey(host, task_vars["ansible_play_hosts"], "hccl", self._task._uuid, survey)
        if args["phase"] == "run":
            kept.update(obstacle=decided["obstacle"], waits_for_image=decided["waits_for_image"])
        for round_name in decided["rounds"]:
            kept["runs"].append(self._round(round_name, host, decided["interfaces"], plan, settings, task_vars))
        baseline = Path(variables["hccl_baseline_path"])
        kept["baseline"] = _read(baseline)
        if settings["baseline_save"] and args["phase"] == "run" and decided["rounds"]:
            kept["baseline"] = _record(baseline, kept, len(decided["interfaces"]), host)
        records.write_observed(host, "hccl", {**observed, "collective": kept}, clock)
        return {"changed": False, "skipped": not decided["rounds"], "resumed": False, "rounds": decided["rounds"],
                "msg": kept.get("obstacle") or ""}

    def _look_again(self, plan, settings, task_vars):
        """What has changed on the node since its ports were asked: the image, and who holds an NPU."""
        arguments = {**judge.arguments({"plan": plan, "settings": settings}), "npus": []}
        try:
            found = self._execute_module("ascend.vllm.hccn_info", module_args=arguments, task_vars=task_vars)
        except AnsibleConnectionFailure:
            found = {}
        return {key: plain(found.get(key)) for key in ("image_present", "processes")}

    def _round(self, round_name, host, interfaces, plan, settings, task_vars):
        group = collective.group(list(interfaces), host, round_name)
        run = {"round": round_name, "hosts": group["hosts"], "result": None}
        if not group["hosts"]:
            return run
        sources = {"probe": _source(collective_container.PROBE), "launcher": _source(collective_container.LAUNCHER)}
        arguments = collective_container.arguments(plan, settings, group, interfaces, host, sources)
        try:
            returned = plain(self._execute_module(
                "community.docker.docker_container", module_args=arguments, task_vars=task_vars))
        except AnsibleConnectionFailure as failure:
            returned = {"status": 255, "msg": f"RuntimeError: {host} is not reachable: {failure}"}
        if "status" in returned:
            output = (returned.get("container") or {}).get("Output") or returned.get("msg") or ""
            run["result"] = collective.parse(output, returned["status"])
        else:
            run["result"] = collective.failure(f"the container could not be run on {host}: {returned.get('msg')}")
        return run


def _survey_run(peers, settings, forks, check_mode):
    """``{host: {"obstacle", "waits_for_image", "rounds", "interfaces"}}``: all come to the same decision."""
    why = "In check mode no container is started." if check_mode else (
        collective_container.obstacle(peers, settings, forks))
    decided = {"obstacle": why, "waits_for_image": collective_container.lacks_image(peers, settings),
               "rounds": [] if why else [collective.ALL],
               "interfaces": {} if why else host_interfaces(peers, settings["interface"])}
    return dict.fromkeys(peers, decided)


def _survey_diagnosis(peers, settings):
    """``{host: {"rounds", "interfaces"}}``: what tells which node is to blame, after a run that failed or was slow."""
    result, run = collective.overall(peers)
    rounds = []
    if result is not None:
        baseline = (next(iter(peers.values())).get("collective") or {}).get("baseline")
        floor, _source_of_it = collective.threshold(
            result, len(peers), settings["collective_bus_bandwidth_minimum_gbs"], baseline,
            settings["collective_baseline_tolerance"])
        slow = floor is not None and run["bandwidth"] is not None and run["bandwidth"] < floor
        if run["failed"] or slow:
            rounds = collective.diagnosis_rounds(len(peers), int(settings["collective_pair_rounds"]))
    decided = {"rounds": rounds, "interfaces": host_interfaces(peers, settings["interface"]) if rounds else {}}
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
