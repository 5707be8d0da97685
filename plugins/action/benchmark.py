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

from ansible_collections.ascend.vllm.plugins.action.stage import ActionModule as StageAction
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import answers_elsewhere, serving
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_settings
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

RESTORE_POLL_S = 5


class ActionModule(ClientsMixin, StageAction):
    """See plugins/modules/benchmark.py."""

    OPTIONS = {"step": {"type": "str", "choices": ["begin", "ais_bench", "balancer", "look", "measure"],
                        "default": "measure"}}

    def run(self, tmp=None, task_vars=None):
        """A baseline is kept only of numbers that have been judged good."""
        self._baselines = []
        outcome = super().run(tmp, task_vars)
        if "observed" not in outcome and self._task.args.get("step", "measure") != "measure":
            outcome.pop("result", None)  # registered for what it observed: a refusal is said in one sentence
        if outcome.get("status") in (contract.PASSED, contract.WARNED):
            for path, baseline in self._baselines:
                self._records.write(path, json.dumps(baseline, indent=2, sort_keys=True) + "\n")
        return outcome

    def _observe(self, judge, context, args, records, task_vars):
        self._records, self._vars, self._host = records, task_vars, context["host"]
        self._plan, self._settings = plan, settings = context["plan"], context["settings"]
        catalogue = load_catalogue(role_settings(self._templar, task_vars, "plan")["plan_catalogue"])
        self._catalogue, self._known = catalogue, lookup.bench_options(catalogue, plan["release"]["vllm"], "serve")
        wanted = self._wanted(plan, settings)
        if args["step"] == "begin":
            looks = [] if self._task.check_mode else [targets.look(self._instances())]
            return {"wanted": wanted, "looks": looks, "measurements": [],
                    "serving": [each["name"] for each in serving(plan)]}
        if self._task.check_mode:
            return {"instances": [], "measurements": [], "looks": [],
                    "not_run": "in check mode nothing is measured"}
        kept = records.read_observed([self._host], "benchmark").get(self._host) or {"looks": [], "measurements": []}
        getattr(self, "_" + args["step"])(kept)
        return kept

    def _wanted(self, plan, settings):
        """Refuse what would fail only later, and tell which steps there are before the node's own."""
        try:
            vllm_bench.check_settings(settings)
            offline.check_settings(settings)
            chosen = targets.chosen(plan, settings)
            if targets.VLLM in settings["tools"]:
                self._command(plan["instances"][0]["url"], settings, {"id": "x", "seed": 0, "target": "x"})
            if targets.AIS_BENCH in settings["tools"]:
                ais_bench.check_settings(settings)
            if settings["offline"]:
                offline.devices(plan, plan["instances"][0], settings)
        except vllm_bench.BadInput as mistake:
            raise AnsibleActionFail(str(mistake)) from mistake
        real = not self._task.check_mode
        return {"targets": chosen, "ais_bench": real and targets.AIS_BENCH in settings["tools"],
                "balancer": real and targets.BALANCER in chosen}

    # --- the steps: each adds to what is kept ------------------------------------------------------------------------

    def _look(self, kept):
        kept["looks"].append(targets.look(self._instances()))

    def _ais_bench(self, kept):
        """AISBench against every instance, or through the balancer; on the host that the task is delegated to."""
        where = role_settings(self._templar, self._vars, "accuracy")
        wanted = kept["wanted"]["targets"]
        addresses = [(instance["name"], targets.INSTANCE, instance["url"], 1, [self._host])
                     for instance in serving(self._plan) if targets.INSTANCE in wanted]
        if targets.BALANCER in wanted and self._is_first():
            addresses.append(("balancer", targets.BALANCER, self._settings["balancer_url"], *self._behind()))
        for name, target, url, count, hosts in addresses:
            settings = targets.times(self._settings, count)
            measured = targets.measurement(f"{name}, AISBench", target, targets.AIS_BENCH, [url], count, hosts,
                                           self._settings)
            measured["runs"] = [self._run_ais_bench(where, url, settings, run)
                                for run in vllm_bench.runs(f"{name}-ais_bench", self._settings)]
            kept["measurements"].append(measured)

    def _balancer(self, kept):
        """What is behind the balancer is measured once, from the first host of the play."""
        if not self._is_first() or targets.VLLM not in self._settings["tools"]:
            return
        url, (count, hosts) = self._settings["balancer_url"], self._behind()
        measured = targets.measurement("balancer", targets.BALANCER, targets.VLLM, [url], count, hosts, self._settings)
        measured["warm_up"] = self._warm_up("balancer", url)
        if measured["warm_up"]["good"]:
            self._fill(measured, lambda settings, run: self._run([(self._plan["instances"][0], url)],
                                                                 targets.times(settings, count), run))
        kept["measurements"].append(measured)

    def _measure(self, kept):
        """The instances of this node, by themselves and together, and offline; then what is to be said of all runs."""
        plan, settings = self._plan, self._settings
        kept["instances"] = instances = self._instances()
        kept["looks"].append(targets.look(instances))
        if not serving(plan):
            kept["not_run"] = answers_elsewhere(plan)
        for instance in instances:
            if targets.serves(instance):
                instance["warm_up"] = self._warm_up(instance["name"], instance["url"])
        ready = [each for each, seen in zip(plan["instances"], instances) if (seen["warm_up"] or {}).get("good")]
        chosen = targets.chosen(plan, settings) if targets.VLLM in settings["tools"] else []
        groups = [(each["name"], targets.INSTANCE, [each]) for each in ready if targets.INSTANCE in chosen]
        if targets.NODE in chosen and ready and len(ready) == len(serving(plan)):
            groups.append(("node", targets.NODE, ready))
        for name, target, members in groups:
            addresses = [(each, each["url"]) for each in members]
            measured = targets.measurement(name, target, targets.VLLM, [url for _each, url in addresses], len(members),
                                           [self._host], settings)
            self._fill(measured, lambda point, run, to=addresses: self._run(to, point, run))
            kept["measurements"].append(measured)
        for measured in kept["measurements"]:
            measured["summary"] = analysis.summarise(measured["runs"])
            if measured["runs"] and instances[0]["service"]:
                measured["baseline"] = self._compare(measured, instances[0]["service"])
        kept.update(offline=[], restored=None)
        if settings["offline"]:
            kept["offline"], kept["restored"] = self._offline(plan, plan["instances"][0])
        kept["figures"] = vllm_bench.figures(kept["measurements"]) + offline.figures(kept["offline"])

    # --- one target --------------------------------------------------------------------------------------------------

    def _fill(self, measured, send):
        """The repeats, and the search for the highest load when they were answered in full."""
        measured["runs"] = [send(self._settings, dict(run, target=measured["target"]))
                            for run in vllm_bench.runs(f"{measured['name']}-serve", self._settings)]
        if self._settings["sweep"] != "none" and all(
                vllm_bench.complete(run, self._settings, measured["num_prompts"]) for run in measured["runs"]):
            measured["sweep"] = self._sweep(measured, send)

    def _instances(self):
        """The planned instances with the containers that are there now."""
        return [{**{key: instance[key] for key in ("name", "url", "serves", "hash")}, "warm_up": None,
                 "service": self._ask_node(instance)["service"]} for instance in self._plan["instances"]]

    def _warm_up(self, name, url):
        asked = self._module("ascend.vllm.chat_info", servers=[{"name": name, "url": url}],
                             requests=vllm_bench.warm_up(self._plan, self._settings),
                             api_key=self._settings["api_key"], timeout=self._settings["ready_timeout_s"])["servers"][0]
        answers, models = list(asked["answers"].values()), asked["models"]
        answered = sum(answer["status"] == 200 for answer in answers)
        named = self._plan["model"]["served_name"] in (models.get("models") or [])
        return {"models": models.get("models") or models.get("error"), "sent": len(answers), "answered": answered,
                "good": named and answered == len(answers),
                "errors": sorted({answer["error"] for answer in answers if answer.get("error")})}

    def _compare(self, measured, service):
        """The comparison with the baseline of this deployment, None where there is none; or note what is to be kept."""
        key = analysis.baseline_key(self._plan, measured, service, self._settings)
        path = Path(self._settings["baseline_path"]) / analysis.baseline_name(key)
        if self._settings["baseline_save"]:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._baselines.append((path, analysis.baseline(key, measured["summary"], self._host, now)))
            return None
        if not path.exists():
            return None
        kept = json.loads(path.read_text("utf-8"))
        medians = {metric: values["median"] for metric, values in measured["summary"].items()}
        return {"file": path.name, "recorded_at": kept["recorded_at"], "host": kept["host"],
                "rows": analysis.compare(kept["metrics"], medians)}

    def _sweep(self, measured, send):
        """Search the highest load that meets the objective. Points are kept, so an interrupted search goes on."""
        settings, wanted = self._settings, measured["num_prompts"]
        variable, search = settings["sweep"], vllm_bench.sweep(settings)
        server = measured["runs"][-1]["services"]
        key = dict({name: settings[name] for name in analysis.WORKLOAD}, sweep=variable, server=server)
        path = self._file(f"{measured['name']}-sweep")
        kept = json.loads(path.read_text("utf-8")) if settings["sweep_resume"] and path.exists() else {}
        points = kept["points"] if kept.get("key") == json.loads(json.dumps(key)) else []
        while True:
            met = {point["value"]: not point["missed"] for point in self._judged(points, wanted)}
            value = analysis.next_point(search, met)
            if value is None:
                break
            run = {"id": f"{measured['name']}-{variable}-{value:g}", "repeat": 1, "seed": settings["seed"],
                   "target": measured["target"]}
            outcome = send(vllm_bench.at_point(settings, value), run)
            points.append({"value": value, "run": outcome})
            if outcome["kind"] != result_files.SERVE or outcome["services"] != server:
                break
            self._records.write(path, json.dumps({"key": key, "points": points}, indent=2) + "\n")
        judged = self._judged(points, wanted)
        best, failing = analysis.bracket(search, {point["value"]: not point["missed"] for point in judged})
        return {"variable": variable, "objective": settings["slo"], "points": judged, "best": best, "failing": failing}

    def _judged(self, points, wanted):
        """The points with what each missed; requests that were not answered miss every objective."""
        return [dict(point, missed=analysis.missed(self._settings["slo"], point["run"]["metrics"])
                     or ({} if vllm_bench.complete(point["run"], self._settings, wanted) else {"completed": None}))
                for point in points]

    def _is_first(self):
        return self._vars["ansible_play_hosts"][0] == self._host

    def _behind(self):
        """How many instances the nodes of the play had at the beginning, and the nodes."""
        observed = self._records.read_observed(self._vars["ansible_play_hosts"], "benchmark")
        return sum(len(seen["serving"]) for seen in observed.values()), sorted(observed)

    # --- one run -----------------------------------------------------------------------------------------------------

    def _run(self, addresses, settings, run):
        """Clients side by side, one to an address, from their start to their removal.

        :param addresses: ``[(instance whose mounts and key the client shares, URL)]``.
        """
        self._say(f"{run['id']}: {settings['num_prompts']} requests at {settings['request_rate']}/s"
                  + (f" to each of {len(addresses)} instances" if len(addresses) > 1 else ""))
        several = len(addresses) > 1
        clients = []
        for instance, url in addresses:
            argv = self._command(url, settings, run)
            name = f"{run['id']}-{instance['name']}" if several else run["id"]
            clients.append((instance, name, vllm_bench.client(self._plan, instance, argv, settings), {"command": argv}))
        found = self._clients(clients, settings["timeout_s"])
        services = {name: vllm_bench.identity(service)
                    for each in found for name, service in each.pop("services").items()}
        if several:
            return dict(run, clients=found, services=services, file=None, **targets.merged(found))
        return dict(run, services=services, overlap_percent=None, **found[0])

    def _run_ais_bench(self, where, url, settings, run):
        """One run of AISBench, under the names of the other tool."""
        self._say(f"{run['id']}: {settings['num_prompts']} requests at {settings['request_rate']}/s, AISBench")
        clock = time.monotonic()
        given = run_job(self._module, self._say, {
            "api_key": settings["api_key"], "executable": where["accuracy_executable"],
            "server": ais_bench.server(self._plan, url, settings),
            "load": ais_bench.load(self._plan, settings)}, settings["timeout_s"], "benchmark_timeout_s")
        tables = given.get("performance") or {"totals": None, "latencies": None}
        metrics = ais_bench.metrics(tables["totals"], tables["latencies"])
        path = None
        for ending, text in (("json", tables["totals"]), ("csv", tables["latencies"])):
            if text is not None:
                path = self._records.write(self._file(run["id"], ending), text)
        return dict(run, kind=result_files.SERVE if set(metrics) >= ais_bench.NEEDED else None,
                    metrics=metrics, services={}, overlap_percent=None, seconds=round(time.monotonic() - clock, 1),
                    exit_code=given.get("exit_code"), timed_out=False, file=self._shown(path) if path else None,
                    log=[given["problem"]] if given["problem"] else given.get("log", [])[-20:])

    def _command(self, url, settings, run):
        return vllm_bench.command(self._known, self._plan, url, settings, run)

    def _offline(self, plan, instance):
        """Runs that load the model themselves, on free NPUs or on those of the service, which then is brought back.

        Whatever goes wrong in between is part of what was observed, and the service is started again.
        """
        settings = self._settings
        paths, in_the_way = offline.devices(plan, instance, settings)
        runs, restored = [], None
        if in_the_way:
            self._say(f"{instance['name']} is stopped for offline runs")
            self._pause(instance, "paused")
        try:
            for kind in settings["offline"]:
                argv = offline.command(self._catalogue, plan, instance, settings, kind)
                run = {"id": f"{instance['name']}-{kind}", "wanted": kind, "command": argv}
                self._say(f"{run['id']}: loads the model")
                client = offline.client(plan, instance, paths, argv, settings)
                try:
                    (found,) = self._clients([(instance, run["id"], client, run)], settings["timeout_s"])
                except AnsibleActionFail as failure:
                    found = dict(run, kind=None, metrics={}, exit_code=None, timed_out=False, log=[str(failure)])
                found.pop("services", None)
                runs.append(found)
        finally:
            if in_the_way:
                restored = self._restore(plan, instance)
        return runs, restored

    def _pause(self, instance, state):
        self._module("ascend.vllm.benchmark_pause", service=instance["name"], client=vllm_bench.client_name(instance),
                     state=state, grace=self._settings["offline_guard_s"], docker_socket=self._plan["docker_socket"])

    def _restore(self, plan, instance):
        """Start the service again and wait until it answers under its name; True when it does."""
        self._say(f"{instance['name']} is started again")
        self._pause(instance, "resumed")
        until = time.monotonic() + self._settings["restore_timeout_s"]
        while time.monotonic() < until:
            asked = self._module("ascend.vllm.chat_info", servers=[{"name": instance["name"], "url": instance["url"]}],
                                 api_key=self._settings["api_key"], timeout=WATCH_S)["servers"][0]
            if plan["model"]["served_name"] in (asked["models"].get("models") or []):
                return True
            time.sleep(RESTORE_POLL_S)
        return False
