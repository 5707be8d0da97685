# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure every planned instance, then judge and record like any other stage.

What to run next can depend on what the last run gave, so one action drives the runs; each client is a container that
community.docker starts and removes, and is watched while it runs.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action.stage import ActionModule as StageAction
from ansible_collections.ascend.vllm.plugins.module_utils import bench_results, benchmark, results, weights
from ansible_collections.ascend.vllm.plugins.module_utils import benchmark_analysis as analysis
from ansible_collections.ascend.vllm.plugins.module_utils import benchmark_offline as offline

WATCH_S = 10
RESTORE_POLL_S = 5
_PROGRESS = re.compile(r"(\d+)/(\d+) \[")


class ActionModule(StageAction):
    """See plugins/modules/benchmark.py."""

    def run(self, tmp=None, task_vars=None):
        """A baseline is kept only of numbers that have been judged good."""
        self._baselines = []
        outcome = super().run(tmp, task_vars)
        if outcome["status"] in (results.PASSED, results.WARNED):
            for path, baseline in self._baselines:
                self._records.write(path, json.dumps(baseline, indent=2, sort_keys=True) + "\n")
        return outcome

    def _observe(self, judge, context, args, records, task_vars):
        plan, settings = context["plan"], context["settings"]
        try:
            benchmark.check_settings(settings)
            offline.check_settings(settings)
            if settings["offline"]:
                offline.devices(plan, plan["instances"][0], settings)
        except benchmark.BadInput as mistake:
            raise AnsibleActionFail(str(mistake)) from mistake
        if self._task.check_mode:
            return {"instances": [], "not_run": "in check mode nothing is measured"}
        self._records, self._vars, self._host = records, task_vars, context["host"]
        instances = [self._measure(plan, instance, settings) for instance in plan["instances"]]
        runs, restored = self._offline(plan, plan["instances"][0], settings) if settings["offline"] else ([], None)
        return {"instances": instances, "offline": runs, "restored": restored,
                "figures": benchmark.figures(instances) + offline.figures(runs)}

    def _measure(self, plan, instance, settings):
        """Warm one instance up and run against it; what it is is looked up again after every run."""
        found = {"name": instance["name"], "url": instance["url"], "hash": instance["hash"], "runs": [], "summary": {},
                 "warm_up": None, "baseline": None, "sweep": None, "service": self._look(plan, instance)["service"]}
        if not (found["service"] or {}).get("running"):
            return found
        asked = self._module("ascend.vllm.chat_info", servers=[{"name": instance["name"], "url": instance["url"]}],
                             requests=benchmark.warm_up(plan, settings), api_key=settings["api_key"],
                             timeout=settings["ready_timeout_s"])["servers"][0]
        answers = list(asked["answers"].values())
        found["warm_up"] = {"models": asked["models"].get("models") or asked["models"].get("error"),
                            "sent": len(answers), "answered": sum(answer["status"] == 200 for answer in answers),
                            "errors": sorted({answer["error"] for answer in answers if answer.get("error")})}
        if found["warm_up"]["answered"] < len(answers):
            return found
        found["runs"] = [self._run(plan, instance, settings, run) for run in benchmark.runs(instance, settings)]
        found["summary"] = analysis.summarise(found["runs"])
        found["baseline"] = self._compare(plan, instance, settings, found)
        if settings["sweep"] != "none" and all(benchmark.complete(run, settings) for run in found["runs"]):
            found["sweep"] = self._sweep(plan, instance, settings, found["service"])
        return found

    def _compare(self, plan, instance, settings, found):
        """The comparison with the baseline of this deployment, None where there is none; or note what is to be kept."""
        key = analysis.baseline_key(plan, instance, found["service"], settings)
        path = Path(settings["baseline_path"]) / analysis.baseline_name(key)
        if settings["baseline_save"]:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._baselines.append((path, analysis.baseline(key, found["summary"], self._host, now)))
            return None
        if not path.exists():
            return None
        kept = json.loads(path.read_text("utf-8"))
        medians = {metric: values["median"] for metric, values in found["summary"].items()}
        return {"file": path.name, "recorded_at": kept["recorded_at"], "host": kept["host"],
                "rows": analysis.compare(kept["metrics"], medians)}

    def _sweep(self, plan, instance, settings, service):
        """Search the highest load that meets the objective. Points are kept, so an interrupted search goes on."""
        variable, search = settings["sweep"], benchmark.sweep(settings)
        key = dict({name: settings[name] for name in analysis.WORKLOAD}, sweep=variable,
                   server=benchmark.identity(service))
        path = self._records.root / self._host / "benchmark" / f"{instance['name']}-sweep.json"
        kept = json.loads(path.read_text("utf-8")) if settings["sweep_resume"] and path.exists() else {}
        points = kept["points"] if kept.get("key") == json.loads(json.dumps(key)) else []
        while True:
            met = {point["value"]: not point["missed"] for point in self._judged(points, settings)}
            value = analysis.next_point(search, met)
            if value is None:
                break
            run = {"id": f"{instance['name']}-{variable}-{value:g}", "repeat": 1, "seed": settings["seed"]}
            outcome = self._run(plan, instance, benchmark.at_point(settings, value), run)
            points.append({"value": value, "run": outcome})
            if outcome["kind"] != bench_results.SERVE or benchmark.identity(outcome["service"]) != key["server"]:
                break
            self._records.write(path, json.dumps({"key": key, "points": points}, indent=2) + "\n")
        judged = self._judged(points, settings)
        best, failing = analysis.bracket(search, {point["value"]: not point["missed"] for point in judged})
        return {"variable": variable, "objective": settings["slo"], "points": judged, "best": best, "failing": failing}

    @staticmethod
    def _judged(points, settings):
        """The points with what each missed; requests that were not answered miss every objective."""
        return [dict(point, missed=analysis.missed(settings["slo"], point["run"]["metrics"])
                     or ({} if benchmark.complete(point["run"], settings) else {"completed": None}))
                for point in points]

    def _run(self, plan, instance, settings, run):
        """One run of the client, from its start to its removal."""
        argv = benchmark.command(plan, instance, settings, run)
        self._say(f"{run['id']}: {settings['num_prompts']} requests at {settings['request_rate']}/s")
        client = benchmark.client(plan, instance, argv, settings["client_image"])
        return self._client(plan, instance, client, dict(run, command=argv), settings["timeout_s"])

    def _offline(self, plan, instance, settings):
        """Runs that load the model themselves, on free NPUs or on those of the service, which then is brought back."""
        paths, in_the_way = offline.devices(plan, instance, settings)
        runs, restored = [], None
        if in_the_way:
            self._say(f"{instance['name']} is stopped for offline runs")
            self._container(name=instance["name"], state="stopped", stop_timeout=60)
        try:
            for kind in settings["offline"]:
                argv = offline.command(plan, instance, settings, kind)
                self._say(f"{instance['name']}-{kind}: loads the model")
                client = offline.client(plan, instance, paths, argv, settings["client_image"])
                run = {"id": f"{instance['name']}-{kind}", "wanted": kind, "command": argv}
                runs.append(self._client(plan, instance, client, run, settings["timeout_s"]))
        finally:
            if in_the_way:
                restored = self._restore(plan, instance, settings)
        return runs, restored

    def _restore(self, plan, instance, settings):
        """Start the service again and wait until it answers under its name; True when it does."""
        self._container(name=instance["name"], state="started", comparisons={"*": "ignore"})
        until = time.monotonic() + settings["restore_timeout_s"]
        while time.monotonic() < until:
            asked = self._module("ascend.vllm.chat_info", servers=[{"name": instance["name"], "url": instance["url"]}],
                                 api_key=settings["api_key"], timeout=WATCH_S)["servers"][0]
            if plan["model"]["served_name"] in (asked["models"].get("models") or []):
                return True
            time.sleep(RESTORE_POLL_S)
        return False

    def _client(self, plan, instance, client, run, timeout_s):
        """A client container from its start to its removal, and what it left."""
        started = time.monotonic()
        self._container(**client)
        try:
            seen = self._watch(plan, instance, timeout_s, run["id"])
        finally:
            self._container(name=client["name"], state="absent", force_kill=True)
        ended = seen["client"] or {}
        outcome = dict(run, seconds=round(time.monotonic() - started, 1), service=seen["service"],
                       exit_code=ended.get("exit_code"), timed_out=bool(ended.get("running")),
                       log=ended.get("log", [])[-20:], kind=None, metrics={}, file=None)
        if seen["result"] is not None:
            path = self._records.root / self._host / "benchmark" / f"{run['id']}.json"
            self._records.write(path, seen["result"])
            parsed = bench_results.parse(seen["result"])
            outcome.update(kind=parsed["kind"], metrics=parsed.get("metrics", {}),
                           file=str(path.relative_to(self._records.root)))
        return outcome

    def _watch(self, plan, instance, timeout_s, name):
        """Follow the client until it ends or its time is up, and say how far it is."""
        until, said = time.monotonic() + timeout_s, None
        while True:
            left = until - time.monotonic()
            seen = self._look(plan, instance, client=benchmark.client_name(instance), result=benchmark.RESULT,
                              wait=max(0, min(WATCH_S, left)))
            if not (seen["client"] or {}).get("running") or left <= 0:
                return seen
            progress = _PROGRESS.findall("\n".join(seen["client"]["log"]))
            if progress and progress[-1] != said:
                said = progress[-1]
                self._say(f"{name}: {said[0]} of {said[1]} requests")

    def _look(self, plan, instance, **more):
        """Ask the node for the service and, where named, the client."""
        sources = [mount["source"] for mount in instance["mounts"] if mount["source"].endswith("/version.info")]
        return self._module("ascend.vllm.benchmark_info", service=instance["name"],
                            driver=sources[0] if sources else None,
                            weights=weights.place(plan["model"]["path"]).manifest, **more)

    def _container(self, **arguments):
        return self._module("community.docker.docker_container", **arguments)

    def _module(self, module, **arguments):
        returned = self._execute_module(module_name=module, module_args=arguments, task_vars=self._vars)
        if returned.get("failed"):
            raise AnsibleActionFail(f"{module} failed: {returned.get('msg') or returned}")
        return returned

    def _say(self, text):
        self._display.display(f"[{self._host}] {text}")
