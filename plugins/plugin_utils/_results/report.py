# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on the results of all stages on all hosts, as data.

A stage without a result is reported as ``not_run``, and a result that belongs to something else than what is deployed
now as ``stale``, never as passed.
"""

from __future__ import annotations

import calendar
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypedDict, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, currency, rows
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Check, CheckOutcome, StageResult
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.currency import Change, Current

SCHEMA = "ascend.vllm/report/v2"

# ``{host: {stage: result}}``
Results = Mapping[str, Mapping[str, StageResult]]

# The worst status first. A stage that was not run or is not supported does not count.
_ORDER = (contract.FAILED, contract.STALE, contract.WARNED, contract.WAIVED, contract.PASSED)
# The values of report_fail_on.
FAIL_ON = (contract.FAILED, contract.STALE, contract.NOT_RUN)
# A check of the report itself, with the id ``<stage>.current``.
CURRENT = Check("current", contract.WARNING, "The result belongs to what is deployed now", "")


class Cell(TypedDict):
    """The outcome of a stage on a host."""

    #: A status of a stage result, or ``stale``.
    status: str
    #: UTC, ISO 8601; None for a stage that was not run.
    finished_at: str | None
    #: Seconds between the end of the stage and the report.
    age_s: int | None
    duration_s: float | None
    #: Whether the result is older than report_max_age_h.
    old: bool
    #: Whether the result was written by the run that wrote the report.
    this_run: bool
    #: What has changed since the result. A failed result stays failed, because only a new run can show that its cause
    #: was removed; every other result with changes is ``stale``.
    changes: list[Change]
    #: The changes in one sentence; None if there are none.
    stale: str | None
    #: ``{status: number of checks}``.
    checks: dict[str, int]
    #: The reason why there is no observation; None if there is one.
    error: str | None


class Finding(CheckOutcome):
    """A check that did not pass, or a stale result (id ``<stage>.current``)."""

    host: str
    stage: str
    #: When the stage finished (UTC, ISO 8601).
    finished_at: str | None
    #: The file with the whole observation, relative to the folder of the report.
    evidence: str


class Coverage(TypedDict):
    """The part of the report that its run has checked. All other results are from earlier runs."""

    run_id: str | None
    #: UTC, ISO 8601.
    started_at: str | None
    #: Stages and hosts with a result of this run; empty for playbooks/report.yml, which does not query nodes.
    stages: list[str]
    hosts: list[str]
    #: Nodes of the inventory that are not in the report, because of ``--limit``.
    left_out: list[str]


class Report(TypedDict):
    """The content of ``<report_path>/report.json``, see docs/schemas/report-v2.json."""

    schema: str
    #: UTC, ISO 8601.
    generated_at: str
    collection_version: str
    #: The worst status of all results.
    status: str
    #: The values of report_fail_on that are in the report. If there are any, the playbook fails.
    fails_on: list[str]
    coverage: Coverage
    max_age_h: float
    releases: list[str]
    models: list[str]
    plan_hashes: list[str]
    #: ``{host: {stage: cell}}``, with all stages for each host.
    hosts: dict[str, dict[str, Cell]]
    #: ``{host: node}`` of the deployments whose node has several deployments or another name than the host.
    nodes: dict[str, str]
    #: ``{host: what is deployed on it}``, with which its results are compared.
    deployed: dict[str, Current]
    #: Hosts with a result that is passed, warned or waived, and none that is failed or stale.
    passing_hosts: list[str]
    failing_hosts: list[str]
    findings: list[Finding]
    services: list[rows.Service]
    figures: list[rows.Figure]
    comparisons: list[rows.Comparison]
    pins: list[rows.Pin]
    #: Warnings of the plan, each with its hosts.
    plan_warnings: list[str]


def summarize(found: Results, hosts: Sequence[str], now: str, collection_version: str, last: Report | None = None,
              plan_warnings: Sequence[str] = (), current: Mapping[str, Current] | None = None,
              run: tuple[str | None, str | None] = (None, None), left_out: Sequence[str] = (), max_age_h: float = 24,
              fail_on: Collection[str] = (contract.FAILED,), nodes: Mapping[str, str | None] | None = None) -> Report:
    """Return the report.

    :param hosts: all expected hosts, in the order of the report. :param now: the time of the report (UTC, ISO 8601).
    :param last: the previous report, if there is one; services that have been running since then are ``unchanged``.
    :param current: ``{host: what is deployed on it}``. The results of a host that is missing here cannot be stale.
    :param run: the id and the start of this run. :param left_out: the nodes of the inventory that it does not include.
    :param nodes: ``{host: node}`` (plan_node). The deployments of a node follow each other in the report.
    """
    node_of = {host: (nodes or {}).get(host) or host for host in hosts}
    # The place of the first host of each node.
    place = {node: number for number, node in reversed(list(enumerate(node_of.values())))}
    hosts = sorted(hosts, key=lambda host: place[node_of[host]])
    current = current or {}
    results = [(host, found.get(host, {})) for host in hosts]
    every = [result for _host, stages in results for result in stages.values()]
    # By host and stage, in the order of site.yml.
    in_order = [(host, stages[stage]) for host, stages in results for stage in contract.STAGES if stage in stages]
    # An observation that could not be judged may have any format.
    judged = [(host, result) for host, result in in_order if not result["error"]]
    unreadable: list[tuple[str, StageResult, CheckOutcome]] = []
    services = rows.collect(judged, "serving", lambda _host, result: rows.services(
        result, last["services"] if last else ()), unreadable)
    figures = rows.collect(judged, None, rows.figures, unreadable)
    comparisons = rows.collect(judged, "accuracy", rows.comparisons, unreadable)
    pins = rows.shared(rows.collect(judged, None, rows.pins, unreadable))
    cells = {host: {stage: _cell(stages.get(stage), current.get(host), now, run[0], max_age_h)
                    for stage in contract.STAGES} for host, stages in results}
    # The status of each result of a host. A stage without a result has none.
    statuses = {host: [cells[host][stage]["status"] for stage in stages if stage in cells[host]]
                for host, stages in results}
    fresh = [(host, result["stage"]) for host, result in in_order if run[0] and result.get("run_id") == run[0]]
    present = {cell["status"] for row in cells.values() for cell in row.values()}
    return {
        "schema": SCHEMA,
        "generated_at": now,
        "collection_version": collection_version,
        "status": _worst(status for each in statuses.values() for status in each),
        "fails_on": [status for status in FAIL_ON if status in fail_on and status in present],
        "coverage": {
            "run_id": run[0], "started_at": run[1], "stages": [
                stage for stage in contract.STAGES if any(stage == each for _host, each in fresh)],
            "hosts": list(dict.fromkeys(host for host, _stage in fresh)), "left_out": list(left_out)},
        "max_age_h": max_age_h,
        "releases": sorted({result["release"] for result in every if result["release"]}),
        "models": sorted({result["model"] for result in every if result["model"]}),
        "plan_hashes": sorted({result["plan_hash"] for result in every if result["plan_hash"]}),
        "hosts": cells,
        "nodes": {host: node for host, node in node_of.items()
                  if node != host or list(node_of.values()).count(node) > 1},
        "deployed": {host: current[host] for host in hosts if host in current},
        "passing_hosts": [host for host, each in statuses.items() if _worst(each) not in FAIL_ON],
        "failing_hosts": [host for host, each in statuses.items() if contract.FAILED in each],
        "findings": [_finding(host, result, check) for host, result in in_order
                     for check in [*_stale(result["stage"], cells[host][result["stage"]]), *result["checks"]]
                     if check["status"] != contract.PASSED] + [_finding(*each) for each in unreadable],
        "services": services,
        "figures": figures,
        "comparisons": comparisons,
        "pins": pins,
        "plan_warnings": list(plan_warnings),
    }


def _cell(result: StageResult | None, current: Current | None, now: str, run_id: str | None, max_age_h: float) -> Cell:
    if result is None:
        return {"status": contract.NOT_RUN, "finished_at": None, "age_s": None, "duration_s": None, "old": False,
                "this_run": False, "changes": [], "stale": None, "checks": {}, "error": None}
    changes = currency.changes(result, current) if current else []
    age = age_s(result["finished_at"], now)
    return {"status": contract.STALE if changes and result["status"] != contract.FAILED else result["status"],
            "finished_at": result["finished_at"], "age_s": age, "duration_s": result.get("duration_s"),
            "old": age is not None and age > max_age_h * 3600,
            "this_run": bool(run_id) and result.get("run_id") == run_id, "changes": changes,
            "stale": currency.sentence(changes) if changes else None,
            "checks": Counter(check["status"] for check in result["checks"]), "error": result["error"]}


def _stale(stage: str, cell: Cell) -> list[CheckOutcome]:
    """Return the finding about a stale result, or an empty list if the result is not stale."""
    if cell["status"] != contract.STALE:
        return []
    return [{"id": f"{stage}.{CURRENT.id}", "severity": CURRENT.severity, "status": contract.STALE, "subject": None,
             "title": CURRENT.title, "expected": {each["what"]: each["now"] for each in cell["changes"]},
             "actual": {each["what"]: each["was"] for each in cell["changes"]}, "message": cell["stale"],
             "remedy": f"Run playbooks/site.yml --tags {stage}."}]


def _finding(host: str, result: StageResult, check: CheckOutcome) -> Finding:
    return cast(Finding, {**check, "host": host, "stage": result["stage"], "finished_at": result["finished_at"],
                          "evidence": f"{host}/{result['stage']}.json"})


def failing_host(report: Report) -> str | None:
    """Return the first host with a status in ``fails_on``."""
    return next((host for host, cells in report["hosts"].items()
                 if any(cell["status"] in report["fails_on"] for cell in cells.values())), None)


def _worst(statuses: Iterable[str]) -> str:
    """Return the worst status of the stages that were run; not_run if no stage was run."""
    found = set(statuses)
    return next((status for status in _ORDER if status in found), contract.NOT_RUN)


def age_s(then: str | None, now: str) -> int | None:
    """Return the seconds between two times (UTC, ISO 8601); None if the first is missing or has another format."""
    try:
        return max(0, epoch(now) - epoch(then or ""))
    except ValueError:
        return None


def epoch(stamp: str) -> int:
    """Return a time (UTC, ISO 8601) in seconds since the epoch. Raise ValueError if it has another format."""
    return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
