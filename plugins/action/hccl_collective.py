# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one round of all-reduces in containers, and keep what they printed with the node's observation."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils import collective, collective_container
from ansible_collections.ascend.vllm.plugins.module_utils.hccl_fabric import host_interface, is_on
from ansible_collections.ascend.vllm.plugins.plugin_utils.records import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils.settings import collection_root, plain, role_settings

PROBE = "roles/hccl/files/allreduce_probe.py"


class ActionModule(ActionBase):
    """See plugins/modules/hccl_collective.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "plan": {"type": "dict", "required": True},
            "phase": {"type": "str", "choices": ["run", "diagnosis"], "default": "run"},
        })
        args, host = plain(args), task_vars["inventory_hostname"]
        variables = role_settings(self._templar, task_vars, "hccl", "report")
        settings = {name[len("hccl_"):]: value for name, value in variables.items() if name.startswith("hccl_")}
        records = Records(variables["report_path"], dry=self._task.check_mode)
        # Every node reads the same files, so all come to the same decision.
        peers = records.read_observed(task_vars["ansible_play_hosts"], "hccl")
        kept = peers[host].get("collective") or {"runs": []}

        if args["phase"] == "run":
            why = "In check mode no container is started." if self._task.check_mode else (
                collective_container.obstacle(peers, settings, int(task_vars["ansible_forks"])))
            if why:
                kept["obstacle"] = why
            rounds = [] if why else [collective.ALL]
        else:
            rounds = _diagnosis(peers, settings)

        for round_name in rounds:
            kept["runs"].append(self._round(round_name, host, peers, args["plan"], settings, task_vars))
        baseline = Path(variables["hccl_baseline_path"])
        kept["baseline"] = _read(baseline)
        if is_on(settings["record_baseline"]) and args["phase"] == "run" and rounds and not self._task.check_mode:
            kept["baseline"] = _record(baseline, kept, len(peers), host)
        records.write_observed(host, "hccl", {**peers[host], "collective": kept})
        return {"changed": False, "skipped": not rounds, "rounds": rounds, "msg": kept.get("obstacle") or ""}

    def _round(self, round_name, host, peers, plan, settings, task_vars):
        group = collective.group(list(peers), host, round_name)
        run = {"round": round_name, "hosts": group["hosts"], "result": None}
        if not group["hosts"] or (settings["collective_tool"] == "hccl_test" and group["rank"]):
            return {**run, "hosts": []}
        interfaces = {name: host_interface(name, peers[name], peers, settings["interface"]) for name in peers}
        arguments = collective_container.arguments(
            plan, settings, group, interfaces, host, (collection_root() / PROBE).read_text("utf-8"))
        try:
            returned = plain(self._execute_module(
                "community.docker.docker_container", module_args=arguments, task_vars=task_vars))
        except AnsibleConnectionFailure as failure:
            returned = {"status": 255, "msg": f"RuntimeError: {host} is not reachable: {failure}"}
        if "status" in returned:
            output = (returned.get("container") or {}).get("Output") or returned.get("msg") or ""
            run["result"] = collective.parse(output, returned["status"])
        else:
            run["result"] = {"rows": [], "failed": True, "backend": None, "ranks": None,
                             "reason": f"the container could not be run on {host}: {returned.get('msg')}"}
        return run


def _diagnosis(peers, settings):
    """The rounds that tell which node is to blame, when the run over all of them failed or was slow."""
    result, run = collective.overall(peers)
    if result is None:
        return []
    baseline = next(iter(peers.values()))["collective"].get("baseline")
    floor, _source = collective.threshold(result, len(peers), settings["collective_min_bus_bandwidth_gbs"], baseline,
                                          settings["collective_baseline_tolerance"])
    slow = floor is not None and run["bandwidth"] is not None and run["bandwidth"] < floor
    if not run["failed"] and not slow:
        return []
    return collective.diagnosis_rounds(len(peers), int(settings["collective_pair_rounds"]))


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
