# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what the plan serves, then judge and record like any other stage.

What to run next can depend on what the last run gave, so one action drives the runs; each client is a container that
community.docker starts and removes, and is watched while it runs. What more than one host or another host than the node
takes part in (a balancer, AISBench) are steps before; their observations are kept and judged with the others.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils import _balancer as balancer
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import bench_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import HostInputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, timestamp
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput, role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy.ais_bench_job import run_job
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import (
    ais_bench,
    offline,
    result_files,
    targets,
    vllm_bench,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import statistics as analysis
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.clients import WATCH_S, ClientsMixin
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction

RESTORE_POLL_S = 5


STEPS = ("begin", "ais_bench", "balancer", "look", "measure")


class ActionModule(ClientsMixin, StageAction):
    """See plugins/modules/benchmark.py."""

    def run(self, tmp=None, task_vars=None):
        """Take one step: the last one, measure, judges and records; a step that fails is recorded at once."""
        self.begin(tmp, task_vars or {}, stage="benchmark",
                   step={"type": "str", "choices": list(STEPS), "default": STEPS[-1]})
        self._baselines = []
        step = self.args["step"]
        record = self.records.read_observation(self.host, "benchmark")
        if step == "begin" or record is None:
            record = ObservationRecord(started_at=timestamp(), observed={"looks": [], "measurements": []})
            self.records.write_observation(self.host, "benchmark", record)
        record = self.add_to(record, lambda: self._step(step, record.observed))
        if step != "measure" and not record.failure:
            self.records.write_observation(self.host, "benchmark", record)
            return {"changed": False, "observed": self.returned(record.observed)}
        outcome = self.judge_and_record(record, surveyed=not record.failure)
        # A baseline is kept only of numbers that have been judged good.
        if outcome["status"] in (contract.PASSED, contract.WARNED):
            for path, baseline in self._baselines:
                self.records.write(path, json.dumps(baseline, indent=2, sort_keys=True) + "\n")
        return outcome

    def _step(self, step, kept):
        """Return what is observed once the step is taken; ``kept`` is what earlier steps have observed."""
        plan = self.context.plan
        self._catalogue = load_catalogue(role_inputs(self._templar, self.task_vars, "plan")["plan_catalogue"])
        self._known = bench_options(self._catalogue, plan["release"]["vllm"], "serve")
        self.inputs = {**self.inputs, "benchmark_balancer_url": self._balancer_url()}
        wanted = self._wanted(plan, self.inputs)
        if step == "begin":
            looks = [] if self._task.check_mode else [targets.look(self._instances())]
            return {"wanted": wanted, "looks": looks, "measurements": [],
                    "serving": [each["name"] for each in serving_instances(plan)]}
        if self._task.check_mode:
            return {"instances": [], "measurements": [], "looks": [],
                    "not_run": "in check mode nothing is measured"}
        getattr(self, "_" + step)(kept)
        return kept

    def _wanted(self, plan, inputs):
        """Refuse what would fail only later, and tell which steps there are before the node's own."""
        try:
            vllm_bench.check_inputs(inputs)
            offline.check_inputs(inputs)
            chosen = targets.chosen(plan, inputs)
            if targets.VLLM in inputs["benchmark_tools"]:
                self._command(plan["instances"][0]["url"], inputs, {"id": "x", "seed": 0, "target": "x"})
            if targets.AIS_BENCH in inputs["benchmark_tools"]:
                ais_bench.check_inputs(inputs)
            if inputs["benchmark_offline"]:
                offline.devices(plan, plan["instances"][0], inputs)
        except BadInput as mistake:
            raise AnsibleActionFail(str(mistake)) from mistake
        real = not self._task.check_mode
        return {"targets": chosen, "ais_bench": real and targets.AIS_BENCH in inputs["benchmark_tools"],
                "balancer": real and targets.BALANCER in chosen}

    def _balancer_url(self):
        """Return the URL of the balancer to measure, empty for none.

        With auto it is the balancer of this cluster, unless some nodes behind it are not in the play: the load is that
        of the instances in the play.
        """
        if self.inputs["benchmark_balancer_url"] != "auto":
            return self.inputs["benchmark_balancer_url"]
        inputs = role_inputs(self._templar, self.task_vars, "balancer")
        if not inputs["balancer_enabled"] or set(inputs["balancer_nodes"]) - set(self.task_vars["ansible_play_hosts"]):
            return ""
        host = HostInputs(self._templar, self.task_vars, ("serving",))[inputs["balancer_hosts"][0]]
        return balancer.url(inputs["balancer_bind"], host["serving_address"], inputs["balancer_port"])

    # --- the steps: each adds to what is kept ------------------------------------------------------------------------

    def _look(self, kept):
        kept["looks"].append(targets.look(self._instances()))

    def _ais_bench(self, kept):
        """AISBench against every instance, or through the balancer; on the host that the task is delegated to."""
        where = role_inputs(self._templar, self.task_vars, "accuracy")
        wanted = kept["wanted"]["targets"]
        addresses = [(instance["name"], targets.INSTANCE, instance["url"], 1, [self.host])
                     for instance in serving_instances(self.context.plan) if targets.INSTANCE in wanted]
        if targets.BALANCER in wanted and self._is_first():
            addresses.append(("balancer", targets.BALANCER, self.inputs["benchmark_balancer_url"], *self._behind()))
        for name, target, url, count, hosts in addresses:
            inputs = targets.times(self.inputs, count)
            measured = targets.measurement(f"{name}, AISBench", target, targets.AIS_BENCH, [url], count, hosts,
                                           self.inputs)
            measured["runs"] = [self._run_ais_bench(where, url, inputs, run)
                                for run in vllm_bench.runs(f"{name}-ais_bench", self.inputs)]
            kept["measurements"].append(measured)

    def _balancer(self, kept):
        """What is behind the balancer is measured once, from the first host of the play."""
        if not self._is_first() or targets.VLLM not in self.inputs["benchmark_tools"]:
            return
        url, (count, hosts) = self.inputs["benchmark_balancer_url"], self._behind()
        measured = targets.measurement("balancer", targets.BALANCER, targets.VLLM, [url], count, hosts, self.inputs)
        measured["warm_up"] = self._warm_up("balancer", url)
        if measured["warm_up"]["good"]:
            self._fill(measured, lambda inputs, run: self._run([(self.context.plan["instances"][0], url)],
                                                                 targets.times(inputs, count), run))
        kept["measurements"].append(measured)

    def _measure(self, kept):
        """The instances of this node, by themselves and together, and offline; then what is to be said of all runs."""
        plan, inputs = self.context.plan, self.inputs
        kept["instances"] = instances = self._instances()
        kept["looks"].append(targets.look(instances))
        if not serving_instances(plan):
            kept["not_run"] = no_api_reason(plan)
        for instance in instances:
            if targets.serves(instance):
                instance["warm_up"] = self._warm_up(instance["name"], instance["url"])
        ready = [each for each, seen in zip(plan["instances"], instances) if (seen["warm_up"] or {}).get("good")]
        chosen = targets.chosen(plan, inputs) if targets.VLLM in inputs["benchmark_tools"] else []
        groups = [(each["name"], targets.INSTANCE, [each]) for each in ready if targets.INSTANCE in chosen]
        if targets.NODE in chosen and ready and len(ready) == len(serving_instances(plan)):
            groups.append(("node", targets.NODE, ready))
        for name, target, members in groups:
            addresses = [(each, each["url"]) for each in members]
            measured = targets.measurement(name, target, targets.VLLM, [url for _each, url in addresses], len(members),
                                           [self.host], inputs)
            self._fill(measured, lambda point, run, to=addresses: self._run(to, point, run))
            kept["measurements"].append(measured)
        for measured in kept["measurements"]:
            measured["summary"] = analysis.summarise(measured["runs"])
            if measured["runs"] and instances[0]["service"]:
                measured["baseline"] = self._compare(measured, instances[0]["service"])
        kept.update(offline=[], restored=None)
        if inputs["benchmark_offline"]:
            kept["offline"], kept["restored"] = self._offline(plan, plan["instances"][0])
        kept["figures"] = vllm_bench.figures(kept["measurements"]) + offline.figures(kept["offline"])

    # --- one target --------------------------------------------------------------------------------------------------

    def _fill(self, measured, send):
        """The repeats, and the search for the highest load when they were answered in full."""
        measured["runs"] = [send(self.inputs, dict(run, target=measured["target"]))
                            for run in vllm_bench.runs(f"{measured['name']}-serve", self.inputs)]
        if self.inputs["benchmark_sweep"] != "none" and all(
                vllm_bench.complete(run, self.inputs, measured["num_prompts"]) for run in measured["runs"]):
            measured["sweep"] = self._sweep(measured, send)

    def _instances(self):
        """The planned instances with the containers that are there now."""
        return [{**{key: instance[key] for key in ("name", "url", "serves", "hash")}, "warm_up": None,
                 "service": self._ask_node(instance)["service"]} for instance in self.context.plan["instances"]]

    def _warm_up(self, name, url):
        (asked,) = self.call("ascend.vllm.chat_info", servers=[{"name": name, "url": url}],
                             requests=vllm_bench.warm_up(self.context.plan, self.inputs),
                             api_key=self.inputs["benchmark_api_key"],
                             timeout_s=self.inputs["benchmark_ready_timeout_s"])["servers"]
        answers, models = list(asked["answers"].values()), asked["models"]
        answered = sum(answer["status"] == 200 for answer in answers)
        named = self.context.plan["model"]["served_name"] in (models.get("models") or [])
        return {"models": models.get("models") or models.get("error"), "sent": len(answers), "answered": answered,
                "good": named and answered == len(answers),
                "errors": sorted({answer["error"] for answer in answers if answer.get("error")})}

    def _compare(self, measured, service):
        """The comparison with the baseline of this deployment, None where there is none; or note what is to be kept."""
        key = analysis.baseline_key(self.context.plan, measured, service, self.inputs)
        path = Path(self.inputs["benchmark_baseline_path"]) / analysis.baseline_name(key)
        if self.inputs["benchmark_baseline_save"]:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._baselines.append((path, analysis.baseline(key, measured["summary"], self.host, now)))
            return None
        if not path.exists():
            return None
        kept = json.loads(path.read_text("utf-8"))
        medians = {metric: values["median"] for metric, values in measured["summary"].items()}
        return {"file": path.name, "recorded_at": kept["recorded_at"], "host": kept["host"],
                "rows": analysis.compare(kept["metrics"], medians)}

    def _sweep(self, measured, send):
        """Search the highest load that meets the objective. Points are kept, so an interrupted search goes on."""
        inputs, wanted = self.inputs, measured["num_prompts"]
        variable, search = inputs["benchmark_sweep"], vllm_bench.sweep(inputs)
        server = measured["runs"][-1]["services"]
        key = dict(analysis.workload(inputs), sweep=variable, server=server)
        path = self._file(f"{measured['name']}-sweep")
        kept = json.loads(path.read_text("utf-8")) if inputs["benchmark_sweep_resume"] and path.exists() else {}
        points = kept["points"] if kept.get("key") == json.loads(json.dumps(key)) else []
        while True:
            met = {point["value"]: not point["missed"] for point in self._judged(points, wanted)}
            value = analysis.next_point(search, met)
            if value is None:
                break
            run = {"id": f"{measured['name']}-{variable}-{value:g}", "repeat": 1, "seed": inputs["benchmark_seed"],
                   "target": measured["target"]}
            outcome = send(vllm_bench.at_point(inputs, value), run)
            points.append({"value": value, "run": outcome})
            if outcome["kind"] != result_files.SERVE or outcome["services"] != server:
                break
            self.records.write(path, json.dumps({"key": key, "points": points}, indent=2) + "\n")
        judged = self._judged(points, wanted)
        best, failing = analysis.bracket(search, {point["value"]: not point["missed"] for point in judged})
        return {"variable": variable, "objective": inputs["benchmark_slo"], "points": judged, "best": best,
                "failing": failing}

    def _judged(self, points, wanted):
        """The points with what each missed; requests that were not answered miss every objective."""
        return [dict(point, missed=analysis.missed(self.inputs["benchmark_slo"], point["run"]["metrics"])
                     or ({} if vllm_bench.complete(point["run"], self.inputs, wanted) else {"completed": None}))
                for point in points]

    def _is_first(self):
        return self.task_vars["ansible_play_hosts"][0] == self.host

    def _behind(self):
        """How many instances the nodes of the play had at the beginning, and the nodes."""
        observed = self.records.read_observations(self.task_vars["ansible_play_hosts"], "benchmark")
        return sum(len(seen["serving"]) for seen in observed.values()), sorted(observed)

    # --- one run -----------------------------------------------------------------------------------------------------

    def _run(self, addresses, inputs, run):
        """Clients side by side, one to an address, from their start to their removal.

        :param addresses: ``[(instance whose mounts and key the client shares, URL)]``.
        """
        self.say(f"{run['id']}: {inputs['benchmark_num_prompts']} requests at {inputs['benchmark_request_rate']}/s"
                  + (f" to each of {len(addresses)} instances" if len(addresses) > 1 else ""))
        several = len(addresses) > 1
        clients = []
        for instance, url in addresses:
            argv = self._command(url, inputs, run)
            name = f"{run['id']}-{instance['name']}" if several else run["id"]
            client = vllm_bench.client(self.context.plan, instance, argv, inputs)
            clients.append((instance, name, client, {"command": argv}))
        found = self._clients(clients, inputs["benchmark_timeout_s"])
        services = {name: vllm_bench.identity(service)
                    for each in found for name, service in each.pop("services").items()}
        if several:
            return dict(run, clients=found, services=services, file=None, **targets.merged(found))
        return dict(run, services=services, overlap_percent=None, **found[0])

    def _run_ais_bench(self, where, url, inputs, run):
        """One run of AISBench, under the names of the other tool."""
        self.say(f"{run['id']}: {inputs['benchmark_num_prompts']} requests at {inputs['benchmark_request_rate']}/s, "
                 "AISBench")
        clock = time.monotonic()
        given = run_job(self.call, self.say, {
            "api_key": inputs["benchmark_api_key"], "executable": where["accuracy_executable"],
            "server": ais_bench.server(self.context.plan, url, inputs),
            "load": ais_bench.load(self.context.plan, inputs)}, inputs["benchmark_timeout_s"], "benchmark_timeout_s")
        tables = given.get("performance") or {"totals": None, "latencies": None}
        metrics = ais_bench.metrics(tables["totals"], tables["latencies"])
        path = None
        for ending, text in (("json", tables["totals"]), ("csv", tables["latencies"])):
            if text is not None:
                path = self.records.write(self._file(run["id"], ending), text)
        return dict(run, kind=result_files.SERVE if set(metrics) >= ais_bench.NEEDED else None,
                    metrics=metrics, services={}, overlap_percent=None, seconds=round(time.monotonic() - clock, 1),
                    exit_code=given.get("exit_code"), timed_out=False, file=self._shown(path) if path else None,
                    log=[given["problem"]] if given["problem"] else given.get("log", [])[-20:])

    def _command(self, url, inputs, run):
        return vllm_bench.command(self._known, self.context.plan, url, inputs, run)

    def _offline(self, plan, instance):
        """Runs that load the model themselves, on free NPUs or on those of the service, which then is brought back.

        Whatever goes wrong in between is part of what was observed, and the service is started again.
        """
        inputs = self.inputs
        paths, in_the_way = offline.devices(plan, instance, inputs)
        runs, restored = [], None
        if in_the_way:
            self.say(f"{instance['name']} is stopped for offline runs")
            self._pause(instance, "paused")
        try:
            for kind in inputs["benchmark_offline"]:
                argv = offline.command(self._catalogue, plan, instance, inputs, kind)
                run = {"id": f"{instance['name']}-{kind}", "wanted": kind, "command": argv}
                self.say(f"{run['id']}: loads the model")
                client = offline.client(plan, instance, paths, argv, inputs)
                try:
                    (found,) = self._clients([(instance, run["id"], client, run)], inputs["benchmark_timeout_s"])
                except AnsibleActionFail as failure:
                    found = dict(run, kind=None, metrics={}, exit_code=None, timed_out=False, log=[str(failure)])
                found.pop("services", None)
                runs.append(found)
        finally:
            if in_the_way:
                restored = self._restore(plan, instance)
        return runs, restored

    def _pause(self, instance, state):
        self.call("ascend.vllm.benchmark_pause", service=instance["name"], client=vllm_bench.client_name(instance),
                  state=state, grace_s=self.inputs["benchmark_offline_guard_s"],
                  docker_socket=self.context.plan["docker_socket"])

    def _restore(self, plan, instance):
        """Start the service again and wait until it answers under its name; True when it does."""
        self.say(f"{instance['name']} is started again")
        self._pause(instance, "resumed")
        until = time.monotonic() + self.inputs["benchmark_restore_timeout_s"]
        while time.monotonic() < until:
            asked = self.call("ascend.vllm.chat_info", servers=[{"name": instance["name"], "url": instance["url"]}],
                                 api_key=self.inputs["benchmark_api_key"], timeout_s=WATCH_S)["servers"][0]
            if plan["model"]["served_name"] in (asked["models"].get("models") or []):
                return True
            time.sleep(RESTORE_POLL_S)
        return False
