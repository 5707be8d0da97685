# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the benchmark stage: are the results valid and within the limits? Exit codes of clients do not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import bench_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import (
    ais_bench,
    load,
    offline,
    reference,
    regression,
    statistics,
    targets,
    types,
    vllm_bench,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.result_files import LATENCY, SERVE
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context, Observation, Outcomes

# The maximum relative difference between the requested and the actual number of tokens of an offline run.
TOKEN_TOLERANCE = 0.1
# The checks that a valid run passes.
VALIDITY = ("warm_up", "client", "completed", "tokens", "same_server")

CHECKS = (
    Check("service", CRITICAL, "The planned instance is running",
          "Deploy it (playbooks/serving.yml), or correct the variables that make the plan differ from the deployment."),
    Check("warm_up", CRITICAL, "The instance answers the warm-up requests under the planned name",
          "Run playbooks/functional.yml, which shows the features of the server that fail."),
    Check("client", CRITICAL, "Every client wrote a result before the timeout",
          "Read the end of its log in the result file; raise benchmark_timeout_s for long runs."),
    Check("completed", CRITICAL, "Every request was answered",
          "Read the log of the server (playbooks/diagnostics.yml); with failed requests, the other metrics are not "
          "valid."),
    Check("tokens", CRITICAL, "The responses have the requested number of tokens",
          "Compare the options of the client with the release: the server may not support ignore_eos."),
    Check("noise", CRITICAL, "Repeated runs agree",
          "Stop other load on the node, send more requests (benchmark_num_prompts), or raise benchmark_repeats."),
    Check("clients_overlap", CRITICAL, "The clients of a node's instances ran at the same time",
          "Send more requests (benchmark_num_prompts), so that the different start times matter less."),
    Check("other_requests", WARNING, "The engines had no requests of other clients",
          "Repeat the measurement when the service is idle, or let it wait with benchmark_quiet_wait_s."),
    Check("objective", CRITICAL, "The medians meet benchmark_slo",
          "Lower the load, add instances (serving_replicas), or find the highest possible load with benchmark_sweep."),
    Check("reference", CRITICAL, "The median output throughput is at least 97 % of the one that upstream published",
          "Compare driver, firmware, release and options with those of the source in docs/models.md."),
    Check("baseline", contract.INFO, "There is a baseline of this deployment and workload",
          "Save a good run with benchmark_baseline_save."),
    Check("regression", CRITICAL, "No latency or throughput is worse than in the baseline by more than its limit",
          "Compare both results (playbooks/compare.yml); if the new one is correct, save it with "
          "benchmark_baseline_save."),
    Check("verdict", CRITICAL, "The valid run was compared with a baseline, as benchmark_baseline_required demands",
          "Without a baseline, save a good run with benchmark_baseline_save. Repeat an inconclusive run on an idle "
          "service with more repeats (benchmark_repeats). For an invalid run, see the other checks."),
    Check("sweep", CRITICAL, "The sweep found a load that meets the objective",
          "Lower benchmark_sweep_minimum or relax benchmark_slo. If a run has no result, read its log."),
    Check("offline", CRITICAL, "The offline run has a valid result",
          "Read the end of its log in the result file: the client loads the model with the options of the service."),
    Check("restored", CRITICAL, "The service that was stopped for offline runs is ready again",
          "Inspect it immediately (docker ps, docker logs), and restore it with playbooks/serving.yml."),
    Check("same_server", CRITICAL, "The server is the same before and after the measurement",
          "Repeat the measurement while nothing restarts or replaces the service; its log shows why it restarted."),
)

RETURNED = ("wanted",)


def check_inputs(context: Context) -> Iterator[str]:
    """Yield a sentence per mistake in the inputs."""
    plan, catalogue = context.plan, context.catalogue
    inputs = reference.applied(plan, targets.with_planned_balancer(context.inputs))
    if inputs["benchmark_reference"] and plan["model"] and not reference.published(plan):
        yield ("benchmark_reference is true, but the catalogue has no published result of %s on %s with its load; "
               "set it to false." % (plan["model"]["name"], plan["hardware"]["series"]))
    yield from vllm_bench.check_inputs(inputs)
    mistakes = list(load.check_inputs(plan, inputs))
    yield from mistakes
    if mistakes and inputs["benchmark_dataset"] == load.TRACE:
        return
    if inputs["benchmark_baseline_save"] and inputs["benchmark_repeats"] < regression.REPEATS:
        yield ("benchmark_baseline_save is true, so benchmark_repeats must be at least %d, but is %d: fewer repeats do "
               "not show how much the results vary." % (regression.REPEATS, inputs["benchmark_repeats"]))
    if targets.AIS_BENCH in inputs["benchmark_tools"]:
        yield from ais_bench.check_inputs(inputs)
    try:
        targets.chosen(plan, inputs)
        if catalogue and plan["instances"]:
            vllm = plan["release"]["vllm"]
            if targets.VLLM in inputs["benchmark_tools"]:
                vllm_bench.command(bench_options(catalogue, vllm, "serve"), plan, "", inputs,
                                   {"id": "check", "repeat": 1, "seed": 0, "target": "check"})
            for kind in inputs["benchmark_offline"]:
                offline.devices(plan, plan["instances"][0], inputs)
                offline.command(catalogue, plan, plan["instances"][0], inputs, kind)
    except BadInput as mistake:
        yield str(mistake)


def request(context: Context) -> None:
    """Return None, because the action ``ascend.vllm.benchmark`` observes the node itself."""


def survey(observations: Mapping[str, Observation], inputs: Mapping[str, Any]) -> dict[str, types.BenchmarkSurvey]:
    """Return ``{host: survey}``. All measurements of the run are compared with their baselines in one test."""
    observed = {host: cast(types.BenchmarkObservation, each) for host, each in observations.items()}
    verdicts = regression.judge({
        (host, measured["name"]): regression.Pair(
            measured["baseline"]["repeats"], statistics.repeats(measured["runs"]), inputs["benchmark_minimum_ratio"])
        for host, each in observed.items() for measured in each["measurements"]
        if measured["baseline"] and _is_complete(measured)})
    return {host: {
        "snapshots": {other: observed[other]["snapshots"] for measured in each["measurements"]
                      if measured["target"] == targets.BALANCER for other in measured["hosts"]
                      if other != host and other in observed},
        "verdicts": {name: verdict for (owner, name), verdict in verdicts.items() if owner == host}}
        for host, each in observed.items()}


def _is_complete(measured: types.Measurement) -> bool:
    """Return whether there are runs, and all of them have valid metrics."""
    return bool(measured["runs"]) and all(
        vllm_bench.complete(run, measured) and statistics.THROUGHPUT in run["metrics"] for run in measured["runs"])


def judge(context: Context) -> Outcomes:
    """Return the outcomes for all measurements. The subjects are instances, targets and runs."""
    checks, inputs = Checks(CHECKS), context.inputs
    observed = cast(types.BenchmarkObservation, context.observed)
    if "not_run" in observed:
        checks.not_run("completed", observed["not_run"])
    for instance in observed.get("instances", []):
        if _judge_service(checks, instance) and instance["warm_up"]:
            _judge_warm_up(checks, instance["name"], instance["warm_up"], context)
    for measured in observed.get("measurements", []):
        if measured["warm_up"]:
            _judge_warm_up(checks, measured["name"], measured["warm_up"], context)
        _judge_measurement(checks, measured, observed["snapshots"][-1], inputs)
        published = reference.published(context.plan) if inputs["benchmark_reference"] else None
        if published and measured["target"] == targets.INSTANCE and _is_complete(measured):
            limit = reference.SHARE * published["output_tokens_per_s"]
            found = measured["summary"][statistics.THROUGHPUT]["median"]
            checks.expect("reference", found >= limit, "at least %.4g tok/s (%s)" % (limit, published["source"]),
                          "%.4g tok/s" % found, subject=measured["name"])
    _judge_snapshots(checks, context, observed)
    if inputs["benchmark_baseline_required"] and not inputs["benchmark_baseline_save"] and "not_run" not in observed:
        _judge_verdict(checks, observed.get("measurements", []))
    _judge_offline(checks, observed, inputs)
    return checks.as_list()


def _judge_measurement(checks: Checks, measured: types.Measurement, before: types.Snapshot, inputs: Mapping[str, Any]
                       ) -> None:
    for run in measured["runs"]:
        _judge_run(checks, run, measured)
        after = run["services"]
        if measured["target"] != targets.BALANCER and after:
            first = {name: before[name] for name in after}
            _judge_same_server(
                checks, targets.differences(first, after), targets.unknown_digests(first, after), run["id"])
            before = {**before, **after}
    if _is_complete(measured):
        _judge_summary(checks, measured, inputs)
    _judge_sweep(checks, measured)


def _judge_snapshots(checks: Checks, context: Context, observed: types.BenchmarkObservation) -> None:
    """Compare the first and the last snapshot of each node that was measured through a balancer or with AISBench."""
    for measured in observed.get("measurements", []):
        if measured["target"] != targets.BALANCER and measured["tool"] != targets.AIS_BENCH:
            continue
        snapshots = {context.host: observed["snapshots"]}
        snapshots.update((host, ((context.survey or {}).get("snapshots") or {}).get(host, []))
                         for host in measured["hosts"] if host != context.host)
        changed, unknown = [], []
        for host, each in sorted(snapshots.items()):
            if len(each) < 2:
                changed.append("%s failed during the measurement" % host)
            else:
                changed += ["%s %s" % (host, difference) for difference in targets.differences(each[0], each[-1])]
                unknown += ["%s %s" % (host, digest) for digest in targets.unknown_digests(each[0], each[-1])]
        _judge_same_server(checks, changed, unknown, measured["name"])


def _judge_offline(checks: Checks, observed: types.BenchmarkObservation, inputs: Mapping[str, Any]) -> None:
    for run in observed.get("offline", []):
        if run["kind"] != run["wanted"]:
            checks.expect("offline", False, "a result of vllm bench %s" % run["wanted"], _no_result(run), run["id"])
        elif run["wanted"] == LATENCY:
            latency = run["metrics"]["avg_latency"]
            checks.expect("offline", latency > 0, "a latency", "%.4g s" % latency, subject=run["id"])
        else:
            _judge_throughput(checks, run, inputs)
    restored = observed.get("restored")
    if restored is not None:
        checks.expect("restored", restored, "the served name in /v1/models",
                      "the served name in /v1/models" if restored else
                      "no served name after %s s" % inputs["benchmark_restore_timeout_s"])


def _judge_throughput(checks: Checks, run: types.OfflineRun, inputs: Mapping[str, Any]) -> None:
    """Judge an offline run. In some releases, a prompt loses one or two tokens when it is decoded to text."""
    metrics, requests = run["metrics"], inputs["benchmark_num_prompts"]
    tokens = requests * (inputs["benchmark_random_input_len_tokens"] + inputs["benchmark_random_output_len_tokens"])
    total = metrics.get("total_num_tokens", 0)
    checks.expect("offline", metrics["num_requests"] == requests and abs(total - tokens) <= TOKEN_TOLERANCE * tokens,
                  "%d requests with %d tokens in total" % (requests, tokens),
                  "%d requests with %d tokens in total, %.4g tok/s" % (
                      metrics["num_requests"], total, metrics["tokens_per_second"]), subject=run["id"])


def _no_result(run: types.ClientRun) -> str:
    if run["timed_out"]:
        return "none after %s s" % run["seconds"]
    return "none, exit code %s; end of the log: %s" % (run["exit_code"], " / ".join(run["log"][-3:]) or "(empty)")


def _judge_summary(checks: Checks, measured: types.Measurement, inputs: Mapping[str, Any]) -> None:
    """Judge the medians. If the runs vary too much or overlap too little, the medians are inconclusive."""
    name, summary, limit = measured["name"], measured["summary"], inputs["benchmark_max_cv_percent"]
    spread, cv_percent = summary[statistics.THROUGHPUT], summary[statistics.THROUGHPUT]["cv_percent"]
    overlaps = [run["overlap_percent"] for run in measured["runs"] if run["overlap_percent"] is not None]
    others = [run["others"] for run in measured["runs"] if run["others"] is not None]
    if len(others) < len(measured["runs"]):
        checks.not_run("other_requests", "The counters of the engines (/metrics) cannot be read.", subject=name)
    else:
        checks.expect("other_requests", not any(others), "none", "%d requests" % sum(others), subject=name)
    noisy = cv_percent is not None and cv_percent > limit
    if noisy:
        checks.not_run("noise", "Inconclusive: the output throughput of %d runs varies by %s %% (%.4g to %.4g tok/s), "
                       "more than %g %%." % (len(measured["runs"]), cv_percent, spread["minimum"], spread["maximum"],
                                             limit), subject=name)
    elif cv_percent is not None:
        checks.expect("noise", True, "at most %g %%" % limit, "%s %%" % cv_percent, subject=name)
    one_by_one = bool(overlaps) and min(overlaps) < targets.OVERLAP_PERCENT
    if one_by_one:
        checks.not_run("clients_overlap", "Inconclusive: all clients were running for %g %% of the time, less than "
                       "%g %%." % (min(overlaps), targets.OVERLAP_PERCENT), name)
    elif overlaps:
        checks.expect("clients_overlap", True, f"at least {targets.OVERLAP_PERCENT} %", "%g %%" % min(overlaps), name)
    objective = inputs["benchmark_slo"]
    if objective:
        values = {metric: spread["median"] for metric, spread in summary.items()}
        failing, inconclusive = statistics.missed(objective, values), noisy or one_by_one
        checks.expect("objective", None if inconclusive else not failing, _listed(objective),
                      _listed({metric: values.get(metric) for metric in failing or objective}), subject=name,
                      message="inconclusive" if inconclusive else None)
    _judge_baseline(checks, measured, inputs)


def _judge_baseline(checks: Checks, measured: types.Measurement, inputs: Mapping[str, Any]) -> None:
    name, baseline = measured["name"], measured["baseline"]
    if not baseline:
        checks.not_run("baseline", "This run is to be saved as the baseline." if inputs["benchmark_baseline_save"] else
                       "benchmark_baseline_path has no baseline of this deployment and workload.", subject=name)
        return
    checks.expect("baseline", True, "a baseline", "%s%s of %s" % (
        "the last good run of another deployment (%s), " % baseline["release"] if baseline["fallback"] else "",
        baseline["file"], baseline["recorded_at"]), subject=name)
    result = baseline["result"]
    why = targets.unusable(measured) or (result["verdict"] == regression.INCONCLUSIVE and result["reason"])
    if why:
        checks.not_run("regression", "Inconclusive: %s." % why, subject=name)
        return
    judged = [row for row in result["rows"] if "limit" in row]
    shown = [row for row in judged if row["worse"]] or judged
    checks.expect("regression", result["verdict"] == regression.PASSED,
                  "at the limit or better: %s" % _listed({row["metric"]: row["limit"] for row in shown}),
                  _listed({row["metric"]: row["after"] for row in shown}), subject=name)


def _judge_verdict(checks: Checks, measurements: Sequence[types.Measurement]) -> None:
    """Judge whether each measurement is valid, was compared with a baseline, and is not inconclusive."""
    found = {(check["id"], check["subject"]): check for check in checks.as_list()}
    if not measurements:
        checks.expect("verdict", False, "a verdict", "an invalid run: nothing was measured")
    for measured in measurements:
        name = measured["name"]
        subjects = {name, *(run["id"] for run in measured["runs"])}
        invalid = sorted({identifier for (identifier, subject), check in found.items()
                          if subject in subjects and check["status"] != contract.PASSED and identifier in VALIDITY})
        verdict, noise = found.get(("regression", name)), found.get(("noise", name))
        actual = "a verdict"
        if invalid or not _is_complete(measured):
            actual = "an invalid run: %s" % (", ".join(invalid) or "no result")
        elif not verdict:
            actual = "no baseline"
        elif verdict["status"] == contract.NOT_RUN:
            actual = str(verdict["message"])
        # A regression is a verdict, however much the throughput varies.
        elif verdict["status"] == contract.PASSED and noise and noise["status"] == contract.NOT_RUN:
            actual = str(noise["message"])
        checks.expect("verdict", actual == "a verdict", "a verdict", actual, subject=name)


def _judge_sweep(checks: Checks, measured: types.Measurement) -> None:
    sweep = measured["sweep"]
    if sweep is None:
        return
    last = sweep["points"][-1]["run"]
    if last["kind"] != SERVE:
        checks.not_run("sweep", "The run %s has no result." % last["id"], subject=measured["name"])
        return
    points = ", ".join("%g %s" % (point["value"], "misses " + _listed(point["missed"]) if point["missed"] else "meets")
                       for point in sorted(sweep["points"], key=lambda point: point["value"]))
    if sweep["knee"] is not None:
        points += "; the knee is at %g" % sweep["knee"]
    checks.expect("sweep", sweep["best"] is not None, _listed(sweep["objective"]) or "every request answered", points,
                  subject=measured["name"])


def _listed(values: Mapping[str, float | None]) -> str:
    return ", ".join("%s %s" % (metric, "?" if value is None else "%.4g" % value)
                     for metric, value in sorted(values.items()))


def _judge_service(checks: Checks, instance: types.ObservedInstance) -> bool:
    service, name = instance["service"], instance["name"]
    if not service or not service["running"]:
        actual = "a stopped container" if service else "none"
        checks.expect("service", False, "a running container %s" % name, actual, subject=name)
        return False
    found = vllm_bench.identity(service)["instance_hash"]
    checks.expect("service", found == instance["hash"], "the planned instance %s" % instance["hash"],
                  found or "a container that this collection did not start", subject=name)
    return found == instance["hash"]


def _judge_warm_up(checks: Checks, name: str, found: types.WarmUp, context: Context) -> None:
    model = context.plan["model"]["served_name"]
    actual = "%d of %d answered" % (found["answered"], found["sent"])
    if model not in (found["models"] or []):
        actual += ", served names: %s" % (found["models"] or "none")
    if found["errors"]:
        actual += ", " + "; ".join(found["errors"])
    wanted = "%s, %d of %d answered" % (model, found["sent"], found["sent"])
    checks.expect("warm_up", found["good"], wanted, actual, subject=name)


def _judge_run(checks: Checks, run: types.Run, measured: types.Measurement) -> None:
    metrics, name, requests = run["metrics"], run["id"], measured["num_prompts"]
    clients: Sequence[types.ClientRun] = run.get("clients") or [cast(types.ClientRun, run)]
    failed_client = next((client for client in clients if client["kind"] != SERVE), None)
    expected = "a result of vllm bench serve or AISBench"
    if failed_client:
        checks.expect("client", False, expected, _no_result(failed_client), subject=name)
        return
    checks.expect("client", True, expected, ", ".join(str(client["file"]) for client in clients), subject=name)
    answered = metrics["completed"]
    failed = metrics.get("failed", metrics["num_prompts"] - answered)
    checks.expect("completed", answered == metrics["num_prompts"] == requests and failed == 0,
                  "%d completed, none failed" % requests, "%d completed, %d failed" % (answered, failed), subject=name)
    # The requested tokens, in proportion to the requests that were answered.
    tokens = measured["output_tokens"] * answered // requests
    checks.expect("tokens", answered > 0 and metrics.get("total_output_tokens") == tokens,
                  "%d output tokens" % tokens, metrics.get("total_output_tokens"), subject=name)


def _judge_same_server(checks: Checks, changed: Sequence[str], unknown: Sequence[str], subject: str) -> None:
    """Judge the differences between two snapshots. Without any, but with an unknown digest, the check is not run."""
    if unknown and not changed:
        checks.not_run("same_server", "A digest is unknown (%s): playbooks/weights.yml writes the manifest of the "
                       "model, and the driver installs its version.info." % ", ".join(unknown), subject)
    else:
        checks.expect("same_server", not changed, "nothing changed", "; ".join(changed) or "nothing changed", subject)
