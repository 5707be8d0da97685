# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of stages and reports for the tests of the report."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, report

TABLE = (contract.Check("health", contract.CRITICAL, "NPUs are healthy", "Replace the card."),
         contract.Check("temperature", contract.WARNING, "NPUs are cool", "Check the fans."))
NOW = "2026-11-23T12:00:00Z"
SERVICE = "node2 serves qwen25_vl at http://192.0.2.12:8888"


def result(stage, host, ok=True, cool=True, observed=None):
    """Return a result whose critical check fails unless ``ok``, and whose other check warns unless ``cool``."""
    checks = contract.Checks(TABLE)
    checks.expect("health", ok, "OK", "Alarm", subject="npu 3")
    checks.expect("temperature", cool, "< 90 °C", "95 °C")
    plan = {"hash": "0123456789ab"}
    return contract.stage_result(stage, host, checks.as_list(), plan, observed, NOW, NOW, 0.1, None, "0.1.0")


def serving(host, state="ready", started="2026-11-23T10:00:00.123Z"):
    return result("serving", host, observed={
        "services": [{"name": "a", "url": "http://192.0.2.12:8888", "served_name": "qwen25_vl"}],
        "instances": [{"name": "a", "state": state, "container": {"started_at": started}}]})


def accuracy(host, delta=-0.5, verdict="passed"):
    row = {"dataset": "textvqa", "metric": "accuracy", "before": 76.0, "after": 76.0 + delta, "delta": delta,
           "verdict": verdict, "paired": {"low": delta - 1, "high": delta + 1}}
    observed = {"comparison": [row], "compared_with": {"model": "bf16"}}
    return {**result("accuracy", host, observed=observed), "model": "w8a8"}


def benchmark(host):
    return result("benchmark", host, observed={"figures": [
        {"name": "output throughput", "value": 1234.5678, "unit": "token/s"}]})


def by_host(*results, hosts=("node1", "node2")):
    found = {host: {} for host in hosts}
    for each in results:
        found[each["host"]][each["stage"]] = each
    return found


def summary(*results, hosts=("node1", "node2"), last=None, **options):
    return report.summarize(by_host(*results, hosts=hosts), list(hosts), NOW, "0.1.0", last, **options)


def current(plan="0123456789ab", **parts):
    """Return what is on a host now; by default, only the plan of the results is known."""
    return {"plan": plan, "image": None, "weights": None, "containers": {}, "observed_at": None, **parts}


IMAGE, MODEL = "sha256:" + "1" * 64, "2" * 64


def image(host, ok=True, **facts):
    observed = {"reference": "quay.io/a/b:v1", "image": {"id": "sha256:" + "9" * 64, "digests": [
        "mirror.example/a/b@sha256:" + "8" * 64, "quay.io/a/b@" + IMAGE], **facts}}
    return result("image", host, ok=ok, observed=observed)


def weights(host, ok=True, digest=MODEL):
    return result("weights", host, ok=ok, observed={"digest": digest})
