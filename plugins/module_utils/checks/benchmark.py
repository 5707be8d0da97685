# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark stage: whether the numbers can be believed. The client's exit code is recorded and proves nothing."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils.bench_results import SERVE
from ansible_collections.ascend.vllm.plugins.module_utils.benchmark import identity
from ansible_collections.ascend.vllm.plugins.module_utils.results import CRITICAL, Check, Checks

CHECKS = (
    Check("service", CRITICAL, "The planned instance runs",
          "Serve it (playbooks/serving.yml), or correct the variables that make the plan differ from what runs."),
    Check("warm_up", CRITICAL, "The instance answers the warm-up under the planned name",
          "Run playbooks/functional.yml: it shows what the server does not do."),
    Check("client", CRITICAL, "The client wrote a result in time",
          "Read the end of its log in the result file; raise benchmark_timeout_s for long runs."),
    Check("completed", CRITICAL, "Every request was answered",
          "Read the server's log (playbooks/diagnostics.yml); with failed requests the other numbers mean nothing."),
    Check("tokens", CRITICAL, "The answers have the tokens that were asked for",
          "Compare the client's options with the release: the server may not honour ignore_eos."),
    Check("same_server", CRITICAL, "The server was the same before and after",
          "Measure again while nothing restarts or replaces the service; its log tells why it restarted."),
)


def judge(context):
    """Judge every run of every instance; subject is the instance or the run."""
    checks = Checks(CHECKS)
    observed, settings = context["observed"], context["settings"]
    if observed.get("not_run"):
        checks.not_run("completed", observed["not_run"])
    for instance in observed["instances"]:
        if not _judge_service(checks, instance):
            continue
        if not _judge_warm_up(checks, instance, context["plan"]["model"]["served_name"]):
            continue
        before = identity(instance["service"])
        for run in instance["runs"]:
            _judge_run(checks, run, settings)
            _judge_identity(checks, before, run)
            before = identity(run["service"])
    return checks.as_list()


def _judge_service(checks, instance):
    service, name = instance["service"], instance["name"]
    if not service or not service["running"]:
        return checks.expect("service", False, "a running container %s" % name, "a stopped one" if service else "none",
                             subject=name)
    return checks.expect("service", identity(service)["instance_hash"] == instance["hash"],
                         "the planned instance %s" % instance["hash"],
                         identity(service)["instance_hash"] or "a container that this collection did not start",
                         subject=name)


def _judge_warm_up(checks, instance, model):
    found = instance["warm_up"]
    actual = "%d of %d answered" % (found["answered"], found["sent"])
    if model not in (found["models"] or []):
        actual += ", served names: %s" % (found["models"] or "none")
    if found["errors"]:
        actual += ", " + "; ".join(found["errors"])
    return checks.expect("warm_up", model in (found["models"] or []) and found["answered"] == found["sent"],
                         "%s, %d of %d answered" % (model, found["sent"], found["sent"]), actual,
                         subject=instance["name"])


def _judge_run(checks, run, settings):
    metrics, name = run["metrics"], run["id"]
    if run["kind"] != SERVE:
        actual = "none after %s s" % run["seconds"] if run["timed_out"] else "none, exit code %s; its log ends: %s" % (
            run["exit_code"], " / ".join(run["log"][-3:]) or "(empty)")
        checks.expect("client", False, "a result of vllm bench serve", actual, subject=name)
        return
    checks.expect("client", True, "a result of vllm bench serve", run["file"], subject=name)
    wanted, answered = settings["num_prompts"], metrics["completed"]
    failed = metrics.get("failed", metrics["num_prompts"] - answered)
    checks.expect("completed", answered == metrics["num_prompts"] == wanted and failed == 0,
                  "%d completed, none failed" % wanted, "%d completed, %d failed" % (answered, failed), subject=name)
    tokens = answered * settings["random_output_len_tokens"]
    checks.expect("tokens", answered > 0 and metrics.get("total_output_tokens") == tokens,
                  "%d output tokens" % tokens, metrics.get("total_output_tokens"), subject=name)


def _judge_identity(checks, before, run):
    after = identity(run["service"])
    changed = sorted(key for key in before if before[key] != after[key])
    checks.expect("same_server", not changed, "nothing changed",
                  "; ".join("%s %s → %s" % (key, before[key], after[key]) for key in changed) or "nothing changed",
                  subject=run["id"])
