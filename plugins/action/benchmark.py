# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the performance of the planned instances, then judge and record the result.

One action controls all runs on the node, because a run can depend on the result of the previous run. Measurements that
involve several hosts, or a host other than the node (balancer, AISBench), are separate steps before these runs. Their
observations are saved, and later judged together with the runs on the node.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils import _balancer as balancer
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import bench_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import HostInputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, timestamp, to_json
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy.ais_bench_job import run_job
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import (
    ais_bench,
    load,
    offline,
    reference,
    regression,
    result_files,
    statistics,
    targets,
    types,
    vllm_bench,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.clients import WATCH_S, Client, ClientRunner
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.benchmark import ServiceContainer
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import ChatServer
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Catalogue, Instance

    #: A function that executes a planned run with the load that the inputs describe.
    Send = Callable[[Mapping[str, Any], types.PlannedRun], types.Run]

RESTORE_POLL_S = 5
QUIET_POLL_S = 5
# Suffix of the file of the last good run of a deployment, next to its baseline.
LAST = ".last"


class ActionModule(StageAction):
    catalogue: Catalogue
    #: Set by `_prepare`.
    clients: ClientRunner

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Execute one step. After the last step, or if a step fails, judge and record the observation."""
        steps = {"begin": self._observe_services, "ais_bench": self._measure_with_ais_bench,
                 "balancer": self._measure_balancer, "observe": self._observe_services, "measure": self._measure,
                 "judge": self._compare_all}
        self.begin(tmp, task_vars or {}, stage="benchmark",
                   step={"type": "str", "choices": list(steps), "default": "judge"})
        step = self.args["step"]
        self.catalogue = load_catalogue(role_inputs(self._templar, self.task_vars, "plan")["plan_catalogue"])
        self.inputs = reference.applied(self.context.plan, self.inputs)
        self.context = replace(self.context, catalogue=self.catalogue, inputs=self.inputs)
        record = self.records.read_observation(self.host, "benchmark")
        if step == "begin" or record is None:
            record = ObservationRecord(started_at=timestamp(), observed={
                "snapshots": [], "measurements": [],
                "serving": [instance["url"] for instance in serving_instances(self.context.plan)]})
            self.records.write_observation(self.host, "benchmark", record)
        observed = cast(types.BenchmarkObservation, record.observed)

        def execute() -> dict[str, Any]:
            unmeasured = f"{WOULD} measure the performance." if self._task.check_mode else targets.unmeasurable(
                self.context.plan)
            observed["wanted"] = self._prepare(not unmeasured)
            if not unmeasured:
                steps[step](observed)
            elif step != "begin":
                observed["not_run"] = unmeasured
            return dict(observed)

        record = self.add_to(record, execute)
        if step != "judge" and not record.failure:
            self.records.write_observation(self.host, "benchmark", record)
            return {"changed": False, "observed": self.returned(record.observed)}
        outcome = self.judge_and_record(record, surveyed=not record.failure)
        if outcome["status"] in (contract.PASSED, contract.WARNED) and not self._task.check_mode:
            self._save_baselines(observed)
        return outcome

    def _prepare(self, measured: bool) -> types.Steps:
        """Set the attributes that all steps use, and return the targets and the needed steps."""
        plan = self.context.plan
        self.clients = ClientRunner(self.call, self.say, self.records, self.host, plan)
        self.inputs = inputs = {**self.inputs, "benchmark_balancer_url": self._balancer_url()}
        chosen = targets.chosen(plan, inputs)
        return {"targets": chosen, "ais_bench": measured and targets.AIS_BENCH in inputs["benchmark_tools"],
                "balancer": measured and targets.BALANCER in chosen}

    def _balancer_url(self) -> str:
        """Return the URL of the balancer to measure, or an empty string if no balancer is to be measured.

        With auto, the balancer of this cluster is measured, unless some of its nodes are not in the play, because the
        load is derived from the instances in the play.
        """
        url: str = self.inputs["benchmark_balancer_url"]
        if url != "auto":
            return url
        inputs = role_inputs(self._templar, self.task_vars, "balancer")
        if not inputs["balancer_enabled"] or set(inputs["balancer_nodes"]) - set(self.task_vars["ansible_play_hosts"]):
            return ""
        host = HostInputs(self._templar, self.task_vars, ("serving",))[inputs["balancer_hosts"][0]]
        return balancer.url(inputs, host["serving_address"])

    # --- steps: each adds to the observation --------------------------------------------------------------------------

    def _observe_services(self, observed: types.BenchmarkObservation) -> None:
        observed["snapshots"].append(targets.snapshot(self._instances()))

    def _measure_with_ais_bench(self, observed: types.BenchmarkObservation) -> None:
        """Measure the targets with AISBench on the host to which the task is delegated."""
        executable = role_inputs(self._templar, self.task_vars, "accuracy")["accuracy_executable"]
        wanted = observed["wanted"]["targets"]
        measurements = []
        if targets.INSTANCE in wanted:
            measurements += [(each["name"], targets.INSTANCE, each["url"] or "", [each["url"] or ""], [self.host])
                             for each in serving_instances(self.context.plan)]
        if targets.BALANCER in wanted and self._is_first_host():
            engines, hosts = self._all_instances()
            measurements.append(("balancer", targets.BALANCER, self.inputs["benchmark_balancer_url"], engines, hosts))
        for name, target, url, engines, hosts in measurements:
            measured = targets.measurement(f"{name}, AISBench", target, targets.AIS_BENCH, [url], len(engines), hosts,
                                           self.inputs)
            inputs = targets.multiply_load(self.inputs, len(engines))
            send = self._watched(engines, ais_bench.warm_ups(inputs), partial(self._run_ais_bench, executable, url))
            measured["runs"] = [send(inputs, run) for run in vllm_bench.runs(f"{name}-ais_bench", target, self.inputs)]
            observed["measurements"].append(measured)

    def _measure_balancer(self, observed: types.BenchmarkObservation) -> None:
        """Measure through the balancer if this is the first of its nodes in the play."""
        if not self._is_first_host() or targets.VLLM not in self.inputs["benchmark_tools"]:
            return
        url, (engines, hosts) = self.inputs["benchmark_balancer_url"], self._all_instances()
        measured = targets.measurement("balancer", targets.BALANCER, targets.VLLM, [url], len(engines), hosts,
                                       self.inputs)
        measured["warm_up"] = warm_up = self._warm_up("balancer", url)
        if warm_up["good"]:
            self._repeat(measured, self._watched(engines, 1, lambda inputs, run: self._run(
                [(self.context.plan["instances"][0], url)], targets.multiply_load(inputs, len(engines)), run)))
        observed["measurements"].append(measured)

    def _measure(self, observed: types.BenchmarkObservation) -> None:
        """Measure the instances of this node individually, together and offline, then summarize all measurements."""
        plan, inputs = self.context.plan, self.inputs
        observed["instances"] = instances = self._instances()
        observed["snapshots"].append(targets.snapshot(instances))
        if not serving_instances(plan):
            observed["not_run"] = no_api_reason(plan)
        ready = []
        for planned, instance in zip(plan["instances"], instances):
            if targets.serves_as_planned(instance):
                instance["warm_up"] = warm_up = self._warm_up(instance["name"], instance["url"] or "")
                if warm_up["good"]:
                    ready.append(planned)
        chosen = targets.chosen(plan, inputs) if targets.VLLM in inputs["benchmark_tools"] else []
        groups = [(each["name"], targets.INSTANCE, [each]) for each in ready if targets.INSTANCE in chosen]
        if targets.NODE in chosen and ready and len(ready) == len(serving_instances(plan)):
            groups.append(("node", targets.NODE, ready))
        for name, target, members in groups:
            addresses = [(each, each["url"] or "") for each in members]
            measured = targets.measurement(name, target, targets.VLLM, [url for _instance, url in addresses],
                                           len(members), [self.host], inputs)
            self._repeat(measured, self._watched(measured["urls"], len(members), partial(self._run, addresses)))
            observed["measurements"].append(measured)
        service = instances[0]["service"]
        for measured in observed["measurements"]:
            measured["summary"] = statistics.summarize(measured["runs"])
            if measured["runs"] and service and not inputs["benchmark_baseline_save"]:
                measured["baseline"] = self._earlier(measured, service)
        observed["offline"], observed["restored"] = [], None
        if inputs["benchmark_offline"]:
            observed["offline"], observed["restored"] = self._offline(plan["instances"][0])
        observed["figures"] = vllm_bench.figures(observed["measurements"]) + offline.figures(observed["offline"])

    def _compare_all(self, observed: types.BenchmarkObservation) -> None:
        """Add the verdicts, which depend on the measurements of all hosts."""
        verdicts = self._survey()["verdicts"]
        for measured in observed["measurements"]:
            if measured["baseline"] and measured["name"] in verdicts:
                measured["baseline"]["result"] = verdicts[measured["name"]]

    # --- one target ---------------------------------------------------------------------------------------------------

    def _watched(self, engines: Sequence[str], tests: int, send: Send) -> Send:
        """Return ``send`` as a function that also adds the number of requests of other clients to the run.

        Before the run, it waits for at most benchmark_quiet_wait_s until the engines have no requests.

        :param engines: the URLs of all measured instances.
        :param tests: the number of requests that the measuring clients send in addition to the load.
        """
        check = self.context.plan["health_check"]

        def watched(inputs: Mapping[str, Any], run: types.PlannedRun) -> types.Run:
            before, started = self._traffic(engines), time.monotonic()
            while before and before["active"] and time.monotonic() - started < inputs["benchmark_quiet_wait_s"]:
                self.say(f"{run['id']}: waiting, because the engines have {before['active']} requests")
                time.sleep(QUIET_POLL_S)
                before = self._traffic(engines)
            started = time.monotonic()
            found = send(inputs, run)
            checks = len(engines) * (1 + (time.monotonic() - started) / check["interval_s"]) if check else 0
            found["others"] = targets.others(before, self._traffic(engines),
                                             found["metrics"].get("completed", 0) + tests + checks)
            return found
        return watched

    def _traffic(self, engines: Sequence[str]) -> types.Traffic | None:
        """Return the requests of engines according to their own counters, or None if these cannot be read."""
        limit_s = self.inputs["benchmark_ready_timeout_s"]
        servers: list[Any] = self._chat(dict(zip(engines, engines)), limit_s, load=True)
        loads = [server["load"] or {} for server in servers]
        if not all("finished" in load for load in loads):
            return None
        return {"active": sum(load["running"] + load["waiting"] for load in loads),
                "finished": sum(load["finished"] for load in loads)}

    def _repeat(self, measured: types.Measurement, send: Send) -> None:
        """Execute the repeats and, if all requests succeeded, the sweep."""
        measured["runs"] = [send(self.inputs, run) for run in vllm_bench.runs(
            f"{measured['name']}-serve", measured["target"], self.inputs)]
        if self.inputs["benchmark_sweep"] != "none" and all(
                vllm_bench.complete(run, measured) for run in measured["runs"]):
            measured["sweep"] = self._sweep(measured, send)

    def _instances(self) -> list[types.ObservedInstance]:
        return [{"name": instance["name"], "url": instance["url"], "serves": instance["serves"],
                 "hash": instance["hash"], "warm_up": None, "service": self.clients.service(instance)}
                for instance in self.context.plan["instances"]]

    def _warm_up(self, name: str, url: str) -> types.WarmUp:
        (server,) = self._chat({name: url}, self.inputs["benchmark_ready_timeout_s"],
                               requests=vllm_bench.warm_up(self.context.plan, self.inputs))
        answers, models = list(server["answers"].values()), server["models"]
        answered = sum(answer["status"] == 200 for answer in answers)
        return {"models": models.get("models") or models.get("error"), "sent": len(answers), "answered": answered,
                "good": self._is_served(server) and answered == len(answers),
                "errors": sorted({answer["error"] for answer in answers if answer.get("error")})}

    def _chat(self, urls: Mapping[str, str], timeout_s: float, **arguments: Any) -> list[ChatServer]:
        return cast("list[ChatServer]", self.call(
            "ascend.vllm.chat_info", servers=[{"name": name, "url": url} for name, url in urls.items()],
            api_key=self.inputs["benchmark_api_key"], ca=self.context.plan["ca"], timeout_s=timeout_s,
            **arguments)["servers"])

    def _is_served(self, server: ChatServer) -> bool:
        return self.context.plan["model"]["served_name"] in (server["models"].get("models") or [])

    def _baseline(self, measured: types.Measurement, service: ServiceContainer) -> tuple[Path, types.BaselineKey]:
        key = statistics.baseline_key(self.context.plan, measured, service, self.inputs, self.host)
        return Path(self.inputs["benchmark_baseline_path"]) / statistics.baseline_name(key), key

    def _earlier(self, measured: types.Measurement, service: ServiceContainer) -> types.BaselineComparison | None:
        """Return the baseline or, after an upgrade, the last good run of the previous deployment, or None."""
        path, key = self._baseline(measured, service)
        needed = ("recorded_at", "key", "repeats")
        saved: Mapping[str, Any] | None = self.records.read_json(path, needed)
        fallback = saved is None
        if fallback:
            saved = statistics.last_of_another_deployment(
                key, (self.records.read_json(each, needed) for each in sorted(path.parent.glob("*" + LAST))))
        if saved is None:
            return None
        return {"file": statistics.baseline_name(saved["key"]) + (LAST if fallback else ""), "fallback": fallback,
                "recorded_at": saved["recorded_at"], "release": saved["key"]["release"], "repeats": saved["repeats"]}

    def _save_baselines(self, observed: types.BenchmarkObservation) -> None:
        """Save the measurements as last good runs and, with benchmark_baseline_save, as baselines."""
        service = observed["instances"][0]["service"] if observed.get("instances") else None
        for measured in observed["measurements"]:
            if len(measured["runs"]) >= regression.REPEATS and service and not targets.unusable(measured):
                path, key = self._baseline(measured, service)
                text = to_json(statistics.baseline(key, measured["runs"], self.host, timestamp()))
                for suffix in [LAST, *([""] if self.inputs["benchmark_baseline_save"] else [])]:
                    self.records.write(path.with_name(path.name + suffix), text)

    def _sweep(self, measured: types.Measurement, send: Send) -> types.SweepResult:
        """Measure the service under different loads, and search for the highest load that meets the objective.

        Each measurement is saved, so that an interrupted sweep can be resumed.
        """
        inputs = self.inputs
        variable, search = inputs["benchmark_sweep"], vllm_bench.sweep(inputs)
        server = measured["runs"][-1]["services"]
        key = {**statistics.workload(inputs), "sweep": variable, "server": server}
        path = self.clients.path(f"{measured['name']}-sweep")
        saved = (self.records.read_json(path, ("key", "points")) if inputs["benchmark_sweep_resume"] else None) or {}
        points: list[types.MeasuredPoint] = saved["points"] if saved.get("key") == json.loads(json.dumps(key)) else []
        while True:
            judged: list[types.SweepPoint] = [{**point, "missed": self._missed(point["run"], measured)}
                                              for point in points]
            met = {point["value"]: not point["missed"] for point in judged}
            powers = {point["value"]: power for point in judged
                      for power in [statistics.power(point["run"]["metrics"])]
                      if power and "completed" not in point["missed"]}
            value = statistics.next_load(search, met, powers)
            if value is None or (points and not self._is_comparable(points[-1]["run"], measured)):
                break
            run = send(vllm_bench.at_point(inputs, value), {
                "id": f"{measured['name']}-{variable}-{value:g}", "repeat": 1,
                # An engine may have cached the prompts of the repeats and of the other points.
                "seed": inputs["benchmark_seed"] + inputs["benchmark_repeats"] + len(points),
                "target": measured["target"]})
            points.append({"value": value, "run": run})
            if self._is_comparable(run, measured):
                self.clients.write(path, to_json({"key": key, "points": points}))
        best, failing = statistics.bracket(met)
        other = statistics.earlier_sweep(inputs, measured["name"]) if inputs["benchmark_sweep_compare_with"] else {}
        return cast(types.SweepResult, {
            "variable": variable, "objective": inputs["benchmark_slo"], "points": judged, "best": best,
            "failing": failing, "knee": statistics.knee(powers), **other})

    @staticmethod
    def _is_comparable(run: types.Run, measured: types.Measurement) -> bool:
        """Return whether a run of a sweep has a result from the same server as the measurement."""
        return run["kind"] == result_files.SERVE and run["services"] == measured["runs"][-1]["services"]

    def _missed(self, run: types.Run, measured: types.Measurement) -> types.Missed:
        """Return the metrics of a run that miss the objective. A failed request counts as a miss, too."""
        return statistics.missed(self.inputs["benchmark_slo"], run["metrics"]) or (
            {} if vllm_bench.complete(run, measured) else {"completed": None})

    def _balanced_hosts(self) -> list[str]:
        """Return the nodes of the play behind the balancer of this node. The first of them measures the balancer."""
        nodes = role_inputs(self._templar, self.task_vars, "balancer")["balancer_nodes"]
        hosts: list[str] = self.task_vars["ansible_play_hosts"]
        return [host for host in hosts if host in nodes] or hosts

    def _is_first_host(self) -> bool:
        return self._balanced_hosts()[0] == self.host

    def _all_instances(self) -> tuple[list[str], list[str]]:
        """Return the URLs of the instances behind the balancer, and their nodes, without nodes outside the play."""
        observed = self.records.read_observations(self._balanced_hosts(), "benchmark")
        return [url for each in observed.values() for url in each["serving"]], sorted(observed)

    # --- one run ------------------------------------------------------------------------------------------------------

    def _run(self, addresses: Sequence[tuple[Instance, str]], inputs: Mapping[str, Any], run: types.PlannedRun
             ) -> types.Run:
        """Run a client per address concurrently. An address is an instance, whose key is used, and a URL."""
        several = len(addresses) > 1
        self.say(f"{run['id']}: {inputs['benchmark_num_prompts']} requests at {load.pace(inputs)}"
                 + (f" to each of {len(addresses)} instances" if several else ""))
        clients = []
        known = bench_options(self.catalogue, self.context.plan["release"]["vllm"], "serve")
        for instance, url in addresses:
            command = vllm_bench.command(known, self.context.plan, url, inputs, run)
            clients.append(Client(instance, f"{run['id']}-{instance['name']}" if several else run["id"], command,
                                  vllm_bench.client(self.context.plan, instance, command, inputs, replays=True)))
        found = self.clients.run(clients, inputs["benchmark_timeout_s"])
        services = {client.instance["name"]: identity for client, (_run, identity) in zip(clients, found)}
        runs = [client_run for client_run, _identity in found]
        if not several:
            return cast(types.Run, {**run, **runs[0], "services": services, "overlap_percent": None, "others": None})
        kind, metrics, overlap = targets.merged(runs)
        return {**run, "kind": kind, "metrics": metrics, "file": None, "services": services,
                "overlap_percent": overlap, "others": None, "clients": runs}

    def _run_ais_bench(self, executable: str, url: str, inputs: Mapping[str, Any], run: types.PlannedRun) -> types.Run:
        self.say(f"{run['id']}: {inputs['benchmark_num_prompts']} requests at {inputs['benchmark_request_rate']}/s, "
                 "AISBench")
        started = time.monotonic()
        outcome = run_job(self.call, self.say, {
            "api_key": inputs["benchmark_api_key"], "ca": self.context.plan["ca"], "executable": executable,
            "server": ais_bench.server(self.context.plan, url, inputs),
            "load": ais_bench.load(self.context.plan, inputs)}, inputs["benchmark_timeout_s"], "benchmark_timeout_s")
        tables = outcome.get("performance") or {"totals": None, "latencies": None}
        metrics = ais_bench.metrics(tables["totals"], tables["latencies"])
        file = None
        for extension, text in (("json", tables["totals"]), ("csv", tables["latencies"])):
            if text is not None:
                file = self.clients.write(self.clients.path(run["id"], extension), text)
        return cast(types.Run, {
            **run, "kind": result_files.SERVE if set(metrics) >= ais_bench.NEEDED else None, "metrics": metrics,
            "services": {}, "overlap_percent": None, "others": None, "seconds": round(time.monotonic() - started, 1),
            "exit_code": outcome.get("exit_code"), "timed_out": False, "file": file,
            "log": [outcome["problem"]] if outcome["problem"] else outcome.get("log", [])[-20:]})

    # --- offline runs -------------------------------------------------------------------------------------------------

    def _offline(self, instance: Instance) -> tuple[list[types.OfflineRun], bool | None]:
        """Run clients that load the model, and return their runs and whether the service is ready again.

        If the clients need the NPUs of the instance, its service is stopped. It is started again even if a run fails.
        """
        paths, must_stop = offline.devices(self.context.plan, instance, self.inputs)
        restored = None
        if must_stop:
            self.say(f"{instance['name']}: stopping the service for offline runs")
            self._pause(instance, "paused")
        try:
            runs = [self._run_offline(instance, paths, kind) for kind in self.inputs["benchmark_offline"]]
        finally:
            if must_stop:
                restored = self._restore(instance)
        return runs, restored

    def _run_offline(self, instance: Instance, paths: Sequence[str], kind: str) -> types.OfflineRun:
        plan, inputs = self.context.plan, self.inputs
        command = offline.command(self.catalogue, plan, instance, inputs, kind)
        name = f"{instance['name']}-{kind}"
        self.say(f"{name}: loading the model")
        client = Client(instance, name, command, offline.client(plan, instance, paths, command, inputs))
        try:
            ((run, _identity),) = self.clients.run([client], inputs["benchmark_timeout_s"])
        except AnsibleActionFail as failure:
            return {"id": name, "wanted": kind, "command": command, "kind": None, "metrics": {}, "file": None,
                    "seconds": 0.0, "exit_code": None, "timed_out": False, "log": [str(failure)]}
        return {**run, "id": name, "wanted": kind}

    def _pause(self, instance: Instance, state: str) -> None:
        self.call("ascend.vllm.benchmark_pause", service=instance["name"], client=vllm_bench.client_name(instance),
                  state=state, grace_s=self.inputs["benchmark_offline_guard_s"],
                  docker_socket=self.context.plan["docker_socket"])

    def _restore(self, instance: Instance) -> bool:
        """Start the service, and return whether it serves the planned name before the timeout."""
        self.say(f"{instance['name']}: starting the service again")
        self._pause(instance, "resumed")
        end = time.monotonic() + self.inputs["benchmark_restore_timeout_s"]
        while time.monotonic() < end:
            (server,) = self._chat({instance["name"]: instance["url"] or ""}, WATCH_S)
            if self._is_served(server):
                return True
            time.sleep(RESTORE_POLL_S)
        return False
