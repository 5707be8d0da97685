# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results folders of any size, made from the results of one node of the test bed in tests/data/results.

With at least four hosts, four faults are injected; `FAULTS` lists what a report has to show of them.
"""

from __future__ import annotations

import copy
import json
import random

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, history, html, report
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import collection_root
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import regression, statistics
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import ping_mesh
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import drift

NOW = "2026-11-30T12:00:24Z"
NAMES = ("npu_driver", "hccl", "image", "weights", "serving", "functional", "accuracy", "benchmark", "plan")
# ``(host, stage, check, what was found)``
FAULTS = (("atlas-01", "accuracy", "gate", "79.9"), ("atlas-02", "hccl", "ping_mesh", "pairs bad"),
          ("atlas-03", "npu_driver", "chip_health", "Alarm"), ("atlas-04", "hccl", "ping_loss", "pairs bad"))
# The number of earlier runs, and the time of the first run with the lower throughput.
RUNS, CHANGED = 12, "2026-11-20T08:00:00Z"


def names(count: int) -> list[str]:
    return [f"atlas-{number:02d}" for number in range(1, count + 1)]


def check(identity, title, expected, actual, remedy, subject, status="failed", message=None):
    severity = contract.CRITICAL if status == "failed" else contract.WARNING
    return {"id": identity, "severity": severity, "status": status, "subject": subject, "title": title,
            "expected": expected, "actual": actual, "message": message, "remedy": remedy}


def results(hosts: list[str]) -> dict[str, dict[str, dict]]:
    """Return ``{host: {stage: result}}``; the stage ``plan`` is the file plan.json."""
    rng = random.Random(1)
    root = collection_root() / "tests" / "data" / "results"
    templates = {name: (root / f"{name}.json").read_text("utf-8") for name in NAMES}
    found = {}
    for number, host in enumerate(hosts):
        found[host] = stages = {name: json.loads(text) for name, text in templates.items()}
        for stage in contract.STAGES:
            stages[stage]["host"] = host
        for chip in stages["npu_driver"]["observed"]["npu_smi"]["chips"]:
            chip["temperature_c"], chip["power_w"] = rng.randrange(40, 50), rng.randrange(90, 110)
        for answers in stages["hccl"]["observed"]["npus"].values():
            answers["optical"]["Rx Power0"] = round(rng.uniform(0.9, 1.1), 4)
        stages["hccl"]["observed"]["ping"]["matrix"] = mesh(hosts, host)
        measure(stages, number)
    if len(hosts) >= 4:
        inject(found, hosts)
    return found


def mesh(hosts: list[str], host: str) -> dict:
    """Return the losses of a host: NPU 5 of the second host is dead, NPU 1 of the fourth loses packets."""
    def loss(npu, other, target):
        if len(hosts) >= 4 and ((host, npu) == (hosts[1], 5) or (other, target) == (hosts[1], 5)):
            return 100.0
        return 33.3 if len(hosts) >= 4 and (host, npu) == (hosts[3], 1) else 0.0
    others = [other for other in ping_mesh.partners(hosts, host, 16) if other]
    return {str(npu): {other: [loss(npu, other, target) for target in range(8)] for other in others}
            for npu in range(8)}


def measure(stages: dict, number: int) -> None:
    """Add a baseline and a score, and for the first host a sweep over several loads."""
    scores = [{"dataset": "textvqa", "metric": "accuracy", "version": "1", "score": 83.4, "printed": "83.40",
               "answered": 500, "failed": 0, "data": None}]
    stages["accuracy"].update(status="passed", observed={
        "scores": scores, "comparison": [{"dataset": "textvqa", "metric": "accuracy", "before": 84.2, "after": 83.4,
                                          "delta": -0.8, "verdict": "passed", "paired": {"low": -0.99, "high": 0.2}}],
        "compared_with": {"model": "qwen2_5_vl_32b_instruct", "release": "v0.11.0rc1", "host": "x"}}, checks=[
        check("accuracy.gate", "The score is high enough", "at least 82.1 (84.1 minus 2, published)", "83.4", None,
              "textvqa", "passed")])
    stages["weights"]["observed"]["fetched"] = [
        entry["path"] for entry in stages["weights"]["observed"]["manifest"]["files"]]
    observed = stages["benchmark"]["observed"]
    (measured,) = observed["measurements"]
    measured["runs"] *= regression.REPEATS
    now = statistics.repeats(measured["runs"])
    before = [{metric: value * (1.04 if metric.endswith("throughput") else 1.0) for metric, value in each.items()}
              for each in now]
    measured["baseline"] = {
        "file": "x.json", "recorded_at": NOW, "release": "v0.11.0rc1", "fallback": False, "repeats": before,
        "result": regression.judge({"": regression.Pair(before, now, 0.95)})[""]}
    if number == 0:
        points = []
        for load in (1, 2, 4, 8, 16, 32, 48):
            run = copy.deepcopy(measured["runs"][0])
            run["metrics"] = {f"p{rank}_{metric}_ms": factor * base * (1 + load / 20 + (load / 30) ** 3)
                              for rank, factor in ((50, 1), (90, 1.5), (99, 2.3))
                              for metric, base in (("ttft", 190), ("tpot", 24), ("e2el", 1500))}
            run["metrics"]["output_throughput"] = 1400 * load / (load + 14)
            points.append({"value": float(load), "run": run, "missed": {}})
        measured["sweep"] = {"variable": "max_concurrency", "objective": {"p99_ttft_ms": 1500}, "points": points,
                             "best": 16.0, "failing": 32.0}


def inject(found: dict, hosts: list[str]) -> None:
    """Inject `FAULTS` into the results of the first four hosts."""
    first, second, third, fourth = hosts[:4]
    found[first]["accuracy"].update(status="failed", checks=[check(
        "accuracy.gate", "The score is high enough", "at least 82.1 (84.1 minus 2, published)", "79.9",
        "Compare release, patches, weights and quantization with those of the run that the reference is from.",
        "textvqa")])
    found[first]["accuracy"]["observed"]["scores"][0].update(score=79.9, printed="79.90")
    of_second = found[second]["hccl"]
    of_second["status"] = "failed"
    of_second["observed"]["npus"]["5"]["optical"]["Rx Power2"] = 0.16
    of_second["checks"].append(check(
        "hccl.ping_mesh", "Every tested pair of NPUs responds", "an answer", "48 of 48 pairs bad",
        "Check the named suspect first: its link, address, gateway and switch port.", "npu 5",
        message=f"the suspect is {second} npu 5: 48 of 48 pairs are bad"))
    driver = found[third]["npu_driver"]
    driver["status"] = "failed"
    driver["observed"]["system"]["kernel"] = "6.1.0-30"
    chip = driver["observed"]["npu_smi"]["chips"][3]
    chip.update(health="Alarm", temperature_c=88)
    chip["ecc"]["HBM Double Bit Error Count"] = "2"
    driver["checks"].append(check(
        "npu_driver.chip_health", "Every NPU is healthy", "OK", "Alarm",
        "Take the NPU out of service and have it replaced (error code 80E01801).", "npu 3",
        message="NPU 3 reports Alarm with the error code 80E01801 (multi-bit ECC error)"))
    found[fourth]["hccl"]["checks"].append(check(
        "hccl.ping_loss", "No ping loses packets", "no loss", "24 of 24 pairs bad",
        "Check the error counters of the suspect (hccn_tool -stat).", "npu 1", "warned",
        f"the suspect is {fourth} npu 1, only pings from it: 24 of 24 pairs are bad"))


def runs(hosts: list[str]) -> list[history.Entry]:
    """Return earlier runs, of which the last ones have a lower throughput and another plan."""
    rng = random.Random(2)
    found = []
    for number in range(RUNS):
        at = f"2026-11-{number + 14:02d}T08:00:00Z"
        slow = at >= CHANGED
        value = (47.5 if slow else 53.0) * rng.uniform(0.99, 1.01)
        found.append({"schema": history.SCHEMA, "at": at, "headline": "8 of 8 stages passed on all 4 hosts",
                      "covered": ["benchmark"], "failing_hosts": [], "releases": ["v0.11.0rc1"],
                      "plan_hashes": ["8a200ac01b33" if slow else "77aa01b3c1de"], "figures": [
                          {"host": host, "name": "Output token throughput", "unit": "tok/s", "value": value, "at": at}
                          for host in hosts]})
    return found


def write(root, hosts: list[str]) -> None:
    """Write a results folder."""
    for host, stages in results(hosts).items():
        (root / host).mkdir(parents=True)
        for name, content in stages.items():
            (root / host / f"{name}.json").write_text(json.dumps(content), "utf-8")
    (root / "history").mkdir()
    for entry in runs(hosts):
        (root / "history" / f"{entry['at'].replace(':', '')}.json").write_text(json.dumps(entry), "utf-8")


def page(root, hosts: list[str], now: str = NOW) -> str:
    """Return the page of a results folder."""
    records = Records(root)
    found = {host: records.read_results(host, contract.STAGES) for host in hosts}
    current = {host: records.read_current(host, found[host]) for host in hosts}
    summary = report.summarize(found, hosts, now, "0.9.0", current=current)
    plans = {host: records.read_json(root / host / "plan.json")["plan"] for host in hosts}
    files = collection_root() / "roles" / "report" / "files"
    return html.page(summary, found, plans, drift.facts, records.add_to_history(history.entry(summary, found)),
                     {name: (files / name).read_text("utf-8") for name in html.ASSETS})
