# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark stage: whether the numbers can be believed. The client's exit code is recorded and proves nothing."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, INFO, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.result_files import LATENCY, SERVE
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.statistics import GATE, missed
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.targets import (
    AIS_BENCH,
    BALANCER,
    differences,
    unproven,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.vllm_bench import complete, identity

# Percent of the time that the clients of a node have to run side by side, for the sum to be the node's.
TOGETHER = 80
# Share of the tokens by which those of an offline run may differ from what was asked for.
TOKENS_OFF = 0.1

CHECKS = (
    Check("service", CRITICAL, "The planned instance runs",
          "Serve it (playbooks/serving.yml), or correct the variables that make the plan differ from what runs."),
    Check("warm_up", CRITICAL, "The instance answers the warm-up under the planned name",
          "Run playbooks/functional.yml: it shows what the server does not do."),
    Check("client", CRITICAL, "Every client wrote a result in time",
          "Read the end of its log in the result file; raise benchmark_timeout_s for long runs."),
    Check("completed", CRITICAL, "Every request was answered",
          "Read the server's log (playbooks/diagnostics.yml); with failed requests the other numbers mean nothing."),
    Check("tokens", CRITICAL, "The answers have the tokens that were asked for",
          "Compare the client's options with the release: the server may not honour ignore_eos."),
    Check("noise", CRITICAL, "Repeated runs agree",
          "Find what else runs on the node, send more requests (benchmark_num_prompts) or repeat more often."),
    Check("clients_overlap", CRITICAL, "The clients of a node's instances ran side by side",
          "Send more requests (benchmark_num_prompts), so that the moments of their starts matter less."),
    Check("objective", CRITICAL, "The medians meet benchmark_slo",
          "Lower the load, add instances (serving_replicas), or let benchmark_sweep find what the service can take."),
    Check("baseline", INFO, "There is a baseline of this deployment and workload",
          "Keep one of a good run with benchmark_baseline_save."),
    Check("regression", CRITICAL, "The output throughput is not below the baseline's by more than is allowed",
          "Compare both results; if the new number is right, keep it with benchmark_baseline_save."),
    Check("sweep", CRITICAL, "A load was found that meets the objective",
          "Lower benchmark_sweep_minimum or relax benchmark_slo; a run without a result has its reason in its log."),
    Check("offline", CRITICAL, "The offline run gave a result",
          "Read the end of its log in the result file: it loads the model with the options of the service."),
    Check("restored", CRITICAL, "The service that was stopped for offline runs answers again",
          "Look at it now (docker ps, docker logs; playbooks/serving.yml brings it back)."),
    Check("same_server", CRITICAL, "The server was the same before and after",
          "Measure again while nothing restarts or replaces the service; its log tells why it restarted."),
)


RETURNED = ("wanted",)


def request(context):
    """Nothing: the action ``ascend.vllm.benchmark`` measures."""
    return


def survey(observations, inputs):
    """Return ``{host: {host behind the balancer: its looks}}``, for the hosts that measured through a balancer."""
    return {host: {other: observations[other]["looks"] for other in _measured_elsewhere(observed, host)
                   if other in observations} for host, observed in observations.items()}


def _measured_elsewhere(observed, host):
    """The other hosts whose servers answered what this host measured."""
    return {other for measured in observed["measurements"] if measured["target"] == BALANCER
            for other in measured["hosts"] if other != host}


def judge(context):
    """Judge every run of everything that was measured; subject is the target or the run."""
    checks = Checks(CHECKS)
    observed, inputs = context.observed, context.inputs
    if observed.get("not_run"):
        checks.not_run("completed", observed["not_run"])
    model = context.plan.get("model", {}).get("served_name")
    for instance in observed.get("instances", []):
        if _judge_service(checks, instance) and instance["warm_up"]:
            _judge_warm_up(checks, instance["name"], instance["warm_up"], model)
    for measured in observed.get("measurements", []):
        if measured["warm_up"]:
            _judge_warm_up(checks, measured["name"], measured["warm_up"], model)
        _judge_measurement(checks, measured, observed, inputs)
    _judge_looks(checks, context)
    _judge_offline(checks, observed, inputs)
    return checks.as_list()


def _judge_measurement(checks, measured, observed, inputs):
    before = observed["looks"][-1]
    for run in measured["runs"]:
        _judge_run(checks, run, inputs, measured["num_prompts"])
        if measured["target"] != BALANCER:
            before = _judge_identity(checks, before, run)
    if measured["runs"] and all(complete(run, inputs, measured["num_prompts"]) and GATE in run["metrics"]
                                for run in measured["runs"]):
        _judge_summary(checks, measured, inputs)
    if measured["sweep"]:
        _judge_sweep(checks, measured)


def _judge_looks(checks, context):
    """What a balancer or another host measured is of the servers that were there before and after, on every node."""
    observed = context.observed
    for measured in observed.get("measurements", []):
        if measured["target"] != BALANCER and measured["tool"] != AIS_BENCH:
            continue
        looks = {context.host: observed["looks"]}
        looks.update((host, (context.survey or {}).get(host, []))
                     for host in measured["hosts"] if host != context.host)
        changed, unknown = [], []
        for host, seen in sorted(looks.items()):
            if len(seen) < 2:
                changed.append("%s left in the meantime" % host)
            else:
                changed += ["%s %s" % (host, difference) for difference in differences(seen[0], seen[-1])]
                unknown += ["%s %s" % (host, digest) for digest in unproven(seen[0], seen[-1])]
        _judge_same_server(checks, changed, unknown, measured["name"])


def _judge_offline(checks, observed, inputs):
    for run in observed.get("offline", []):
        metrics = run["metrics"]
        if run["kind"] != run["wanted"]:
            checks.expect("offline", False, "a result of vllm bench %s" % run["wanted"], _no_result(run),
                          subject=run["id"])
        elif run["wanted"] == LATENCY:
            checks.expect("offline", metrics["avg_latency"] > 0, "a latency", "%.4g s" % metrics["avg_latency"],
                          subject=run["id"])
        else:
            _judge_throughput(checks, run, inputs)
    if observed.get("restored") is not None:
        checks.expect("restored", observed["restored"], "the served name in /v1/models",
                      "there" if observed["restored"] else
                      "not there after %s s" % inputs["benchmark_restore_timeout_s"])


def _judge_throughput(checks, run, inputs):
    """Some releases cut a prompt by the token or two that its text gives less; another load gives other tokens."""
    metrics, requests = run["metrics"], inputs["benchmark_num_prompts"]
    tokens = requests * (inputs["benchmark_random_input_len_tokens"] + inputs["benchmark_random_output_len_tokens"])
    checks.expect("offline", metrics["num_requests"] == requests
                  and abs(metrics.get("total_num_tokens", 0) - tokens) <= TOKENS_OFF * tokens,
                  "%d requests of %d tokens in all" % (requests, tokens), "%d of %d, %.4g tok/s" % (
                      metrics["num_requests"], metrics.get("total_num_tokens", 0), metrics["tokens_per_second"]),
                  subject=run["id"])


def _no_result(run):
    if run["timed_out"]:
        return "none after %s s" % run["seconds"]
    return "none, exit code %s; its log ends: %s" % (run["exit_code"], " / ".join(run["log"][-3:]) or "(empty)")


def _judge_summary(checks, measured, inputs):
    """Judge the medians; what is too noisy to judge is neither passed nor failed."""
    name, summary, count = measured["name"], measured["summary"], len(measured["runs"])
    spread = summary[GATE]["cv_percent"]
    overlaps = [run["overlap_percent"] for run in measured["runs"] if run["overlap_percent"] is not None]
    apart = bool(overlaps) and min(overlaps) < TOGETHER
    noisy = spread is not None and spread > inputs["benchmark_max_cv_percent"]
    if noisy:
        why = "inconclusive: the output throughput of %d runs varies by %s %% (%.4g to %.4g tok/s), more than %g %%" % (
            count, spread, summary[GATE]["minimum"], summary[GATE]["maximum"], inputs["benchmark_max_cv_percent"])
        checks.not_run("noise", why, subject=name)
    elif spread is not None:
        checks.expect("noise", True, "at most %g %%" % inputs["benchmark_max_cv_percent"], "%s %%" % spread,
                      subject=name)
    if apart:
        why = "inconclusive: the clients ran side by side for %g %% of the time, less than %g %%"
        checks.not_run("clients_overlap", why % (min(overlaps), TOGETHER), subject=name)
    elif overlaps:
        checks.expect("clients_overlap", True, "at least %g %%" % TOGETHER, "%g %%" % min(overlaps), subject=name)
    inconclusive = noisy or apart
    medians = {metric: values["median"] for metric, values in summary.items()}
    if inputs["benchmark_slo"]:
        objective = inputs["benchmark_slo"]
        failing = missed(objective, medians)
        checks.expect("objective", None if inconclusive else not failing, _limits(objective),
                      _limits({metric: medians.get(metric) for metric in failing or objective}), subject=name,
                      message="inconclusive" if inconclusive else None)
    _judge_baseline(checks, measured, inputs, inconclusive)


def _judge_baseline(checks, measured, inputs, inconclusive):
    name, baseline = measured["name"], measured["baseline"]
    if not baseline:
        checks.not_run("baseline", "this run is to be kept as the baseline" if inputs["benchmark_baseline_save"] else
                       "there is none in benchmark_baseline_path for this deployment and workload", subject=name)
        return
    checks.expect("baseline", True, "a baseline", "%s of %s" % (baseline["file"], baseline["recorded_at"]),
                  subject=name)
    row = next(row for row in baseline["rows"] if row["metric"] == GATE)
    checks.expect("regression", None if inconclusive else row["ratio"] >= inputs["benchmark_minimum_ratio"],
                  "at least %g × %.4g tok/s" % (inputs["benchmark_minimum_ratio"], row["before"]),
                  "%g × (%.4g tok/s)" % (row["ratio"], row["after"]), subject=name,
                  message="inconclusive" if inconclusive else None)


def _judge_sweep(checks, measured):
    sweep = measured["sweep"]
    last = sweep["points"][-1]["run"]
    if last["kind"] != SERVE:
        checks.expect("sweep", None, message="the run %s left no result" % last["id"], subject=measured["name"])
        return
    tried = ", ".join("%g %s" % (point["value"], "misses " + _limits(point["missed"]) if point["missed"] else "meets")
                      for point in sorted(sweep["points"], key=lambda point: point["value"]))
    checks.expect("sweep", sweep["best"] is not None, _limits(sweep["objective"]), tried, subject=measured["name"])


def _limits(values):
    return ", ".join("%s %s" % (metric, "?" if value is None else "%.4g" % value)
                     for metric, value in sorted(values.items()))


def _judge_service(checks, instance):
    service, name = instance["service"], instance["name"]
    if not service or not service["running"]:
        return checks.expect("service", False, "a running container %s" % name, "a stopped one" if service else "none",
                             subject=name)
    return checks.expect("service", identity(service)["instance_hash"] == instance["hash"],
                         "the planned instance %s" % instance["hash"],
                         identity(service)["instance_hash"] or "a container that this collection did not start",
                         subject=name)


def _judge_warm_up(checks, name, found, model):
    actual = "%d of %d answered" % (found["answered"], found["sent"])
    if model not in (found["models"] or []):
        actual += ", served names: %s" % (found["models"] or "none")
    if found["errors"]:
        actual += ", " + "; ".join(found["errors"])
    checks.expect("warm_up", found["good"], "%s, %d of %d answered" % (model, found["sent"], found["sent"]), actual,
                  subject=name)


def _judge_run(checks, run, inputs, wanted):
    metrics, name = run["metrics"], run["id"]
    clients = run.get("clients") or [run]
    without = [client for client in clients if client["kind"] != SERVE]
    if without:
        checks.expect("client", False, "a result of vllm bench serve or AISBench", _no_result(without[0]), subject=name)
        return
    checks.expect("client", True, "a result of vllm bench serve or AISBench",
                  ", ".join(client["file"] for client in clients), subject=name)
    answered = metrics["completed"]
    failed = metrics.get("failed", metrics["num_prompts"] - answered)
    checks.expect("completed", answered == metrics["num_prompts"] == wanted and failed == 0,
                  "%d completed, none failed" % wanted, "%d completed, %d failed" % (answered, failed), subject=name)
    tokens = answered * inputs["benchmark_random_output_len_tokens"]
    checks.expect("tokens", answered > 0 and metrics.get("total_output_tokens") == tokens,
                  "%d output tokens" % tokens, metrics.get("total_output_tokens"), subject=name)


def _judge_identity(checks, before, run):
    """Hold the servers of a run against those before it; returns what the next run is held against."""
    after = run["services"]
    if after:
        first = {name: before[name] for name in after}
        _judge_same_server(checks, differences(first, after), unproven(first, after), run["id"])
    return dict(before, **after)


def _judge_same_server(checks, changed, unknown, subject):
    """A server whose files have no digest is neither the same nor another one."""
    if unknown and not changed:
        checks.not_run("same_server", "a digest is not known (%s); playbooks/weights.yml records that of the model, "
                       "that of the driver is of its version.info" % ", ".join(unknown), subject)
    else:
        checks.expect("same_server", not changed, "nothing changed", "; ".join(changed) or "nothing changed",
                      subject=subject)
