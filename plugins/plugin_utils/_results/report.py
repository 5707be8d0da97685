# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on the results of all stages on all hosts, as data and as Markdown.

A stage without a result is reported as ``not_run``, never as passed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CheckOutcome, StageResult

SCHEMA = "ascend.vllm/report/v1"

Row = TypeVar("Row")

_MARKS = {
    contract.PASSED: "passed",
    contract.FAILED: "FAILED",
    contract.WARNED: "warned",
    contract.WAIVED: "waived",
    contract.NOT_RUN: "not run",
    contract.UNSUPPORTED: "unsupported",
}

_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")

# ``{host: {stage: result}}``
Results = Mapping[str, Mapping[str, StageResult]]


class Cell(TypedDict):
    """The outcome of a stage on a host."""

    status: str
    #: UTC, ISO 8601; None for a stage that was not run.
    finished_at: str | None
    #: ``{status: number of checks}``.
    checks: dict[str, int]
    #: The reason why there is no observation; None if there is one.
    error: str | None


class Finding(CheckOutcome):
    """A check that did not pass."""

    host: str


class Service(TypedDict):
    """A service that responded: a vLLM server or a balancer."""

    host: str
    name: str
    url: str
    served_name: str
    #: Start of its container (UTC, ISO 8601); None for a balancer.
    since: str | None
    #: Whether the container is the same as in the previous report.
    unchanged: bool


class Figure(contract.Figure):
    """A measured value of a host."""

    host: str


class Comparison(TypedDict):
    """The scores of two models on the same dataset, in points."""

    host: str
    dataset: str
    metric: str
    #: The model that was measured before, and its score.
    compared_with: str
    before: float
    #: The model that is served, and its score.
    model: str | None
    after: float
    #: ``after`` minus ``before``.
    delta: float
    #: Whether the score dropped by no more than accuracy_maximum_drop.
    within: bool


class Pin(TypedDict):
    """An input that pins the verified image or model by its digest."""

    name: str
    value: str
    hosts: list[str]


class Report(TypedDict):
    """The content of ``<report_path>/report.json``, see docs/schemas/report-v1.json."""

    schema: str
    #: UTC, ISO 8601.
    generated_at: str
    collection_version: str
    status: str
    releases: list[str]
    models: list[str]
    plan_hashes: list[str]
    #: ``{host: {stage: cell}}``, with all stages for each host.
    hosts: dict[str, dict[str, Cell]]
    passing_hosts: list[str]
    failing_hosts: list[str]
    findings: list[Finding]
    services: list[Service]
    figures: list[Figure]
    comparisons: list[Comparison]
    pins: list[Pin]
    #: Warnings of the plan, each with its hosts.
    plan_warnings: list[str]


def summarize(found: Results, hosts: Sequence[str], now: str, collection_version: str,
              last: Report | None = None, plan_warnings: Sequence[str] = ()) -> Report:
    """Return the report.

    :param found: the results by host and stage.
    :param hosts: all expected hosts, in the order of the report.
    :param now: the time of the report (UTC, ISO 8601).
    :param last: the previous report, if there is one; services that have been running since then are ``unchanged``.
    """
    results = [(host, found.get(host, {})) for host in hosts]
    every = [result for _host, stages in results for result in stages.values()]
    # By host and stage, in the order of site.yml.
    in_order = [(host, stages[stage]) for host, stages in results for stage in contract.STAGES if stage in stages]
    # An observation that could not be judged may have any format.
    judged = [(host, result) for host, result in in_order if not result["error"]]
    unreadable: list[Finding] = []
    services = _rows(judged, "serving", lambda host, result: _services(result, last), unreadable)
    figures = _rows(judged, None, _figures, unreadable)
    comparisons = _rows(judged, "accuracy", _comparisons, unreadable)
    pins = _shared(_rows(judged, None, _pins, unreadable))
    return {
        "schema": SCHEMA,
        "generated_at": now,
        "collection_version": collection_version,
        "status": _verdict(every),
        "releases": sorted({result["release"] for result in every if result["release"]}),
        "models": sorted({result["model"] for result in every if result["model"]}),
        "plan_hashes": sorted({result["plan_hash"] for result in every if result["plan_hash"]}),
        "hosts": {host: {stage: _cell(stages.get(stage)) for stage in contract.STAGES} for host, stages in results},
        "passing_hosts": [host for host, stages in results
                          if stages and _verdict(stages.values()) != contract.FAILED],
        "failing_hosts": [host for host, stages in results if _verdict(stages.values()) == contract.FAILED],
        "findings": [cast(Finding, {**check, "host": host}) for host, result in in_order for check in result["checks"]
                     if check["status"] != contract.PASSED] + unreadable,
        "services": services,
        "figures": figures,
        "comparisons": comparisons,
        "pins": pins,
        "plan_warnings": list(plan_warnings),
    }


def table(report: Report) -> list[str]:
    """Return the table of hosts and stages as lines of plain text."""
    rows = [[host, *(_MARKS[cells[stage]["status"]] for stage in contract.STAGES)]
            for host, cells in report["hosts"].items()]
    return _text.table([["host", *contract.STAGES], *rows])


def to_markdown(report: Report) -> str:
    """Return the report as Markdown."""
    shown = _text.markdown
    lines = ["# %s" % shown(headline(report)), ""]
    lines += ["- Written %s by ascend.vllm %s" % (shown(report["generated_at"]), shown(report["collection_version"]))]
    if report["models"]:
        lines += ["- Model %s on vLLM Ascend %s" % (
            shown(", ".join(report["models"])), shown(", ".join(report["releases"])))]
    if report["plan_hashes"]:
        lines += ["- Plan %s" % shown(", ".join(report["plan_hashes"]))]
    lines += ["- " + shown(service) for service in services(report)]
    lines += ["", "## Stages", "", *_table(["host", *contract.STAGES], [
        [host, *(_MARKS[cells[stage]["status"]] for stage in contract.STAGES)]
        for host, cells in report["hosts"].items()])]
    lines += _findings(report, "Failed checks", (contract.FAILED,))
    lines += _findings(report, "Warnings", (contract.WARNED,))
    if report["plan_warnings"]:
        lines += ["", "## Warnings of the plan", "", *("- " + shown(sentence) for sentence in report["plan_warnings"])]
    if report["figures"]:
        lines += ["", "## Figures", "", *_table(["host", "figure", "value", "unit"], [
            [figure["host"], figure["name"], _number(figure["value"]), figure["unit"]]
            for figure in report["figures"]], right=[2])]
    if report["comparisons"]:
        lines += ["", "## Accuracy of two models on the same data", "", *_table(
            ["host", "dataset", "reference model", "its score", "served model", "its score", "difference", "verdict"],
            [[row["host"], "%s, %s" % (row["dataset"], row["metric"]), row["compared_with"], "%.4g" % row["before"],
              row["model"], "%.4g" % row["after"], "%+.4g" % row["delta"],
              "within the limit" if row["within"] else "TOO LOW"] for row in report["comparisons"]],
            right=[3, 5, 6])]
    if report["pins"]:
        lines += ["", "## Pins", "", "Add these lines to the inventory to pin the image and the model that were "
                  "verified:", "", "```yaml"]
        lines += [_text.one_line('%s: "%s"  # %s' % (pin["name"], pin["value"], _names(pin["hosts"], report["hosts"])))
                  for pin in report["pins"]] + ["```"]
    lines += _findings(report, "Waived checks", (contract.WAIVED,))
    lines += _findings(report, "Not checked", (contract.NOT_RUN, contract.UNSUPPORTED))
    lines += ["", "The full result of each stage is in `<host>/<stage>.json` in the same folder."]
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], right: Collection[int] = ()) -> list[str]:
    """Return the lines of a table in Markdown.

    :param right: the indexes of the right-aligned columns.
    """
    rules = ["---:" if index in right else "---" for index in range(len(header))]
    cells = [[_text.markdown(cell, _text.CELL_LIMIT) for cell in row] for row in rows]
    return ["| %s |" % " | ".join(row) for row in [header, rules, *cells]]


def services(report: Report) -> list[str]:
    """Return one line per service: its host, served name and URL, and when its container started."""
    return [_text.one_line("%(host)s serves %(served_name)s at %(url)s" % service + (
        ", %ssince %s" % ("unchanged " if service["unchanged"] else "", service["since"]) if service["since"] else ""))
        for service in report["services"]]


def headline(report: Report) -> str:
    """Return the verdict in one sentence."""
    hosts = len(report["hosts"])
    if not any(cell["finished_at"] for cells in report["hosts"].values() for cell in cells.values()):
        return "Nothing was run"
    if report["failing_hosts"]:
        return _text.one_line("%d of %d hosts failed: %s" % (
            len(report["failing_hosts"]), hosts, ", ".join(report["failing_hosts"])), 10 * _text.LINE_LIMIT)
    passed = [stage for stage in contract.STAGES
              if all(cells[stage]["status"] in (contract.PASSED, contract.WARNED, contract.WAIVED)
                     for cells in report["hosts"].values())]
    warned = any(finding["status"] == contract.WARNED for finding in report["findings"])
    names = _names(report["hosts"], report["hosts"])
    return _text.one_line("%d of %d stages passed on %s%s" % (
        len(passed), len(contract.STAGES), names, ", with warnings" if warned else ""))


def _services(result: StageResult, last: Report | None) -> Iterator[Service]:
    """Return a host's responding services: planned instances and balancers."""
    observed, host = result["observed"], result["host"]
    containers = {instance["name"]: instance["container"] for instance in observed.get("instances", ())
                  if instance["state"] == "ready"}
    balancers = {check["subject"] for check in result["checks"]
                 if check["id"] == "serving.balancer" and check["status"] == contract.PASSED}
    started = {(service["host"], service["name"]): service.get("since")
               for service in (last.get("services", ()) if last else ())}
    for service in observed.get("services", ()):
        name = service["name"]
        if name in containers or service["url"] in balancers:
            since = str(containers[name]["started_at"])[:19] + "Z" if name in containers else None
            yield {"host": host, "name": str(name), "url": str(service["url"]),
                   "served_name": str(service["served_name"]), "since": since,
                   "unchanged": since is not None and started.get((host, name)) == since}


def _figures(host: str, result: StageResult) -> Iterator[Figure]:
    for row in result["observed"].get("figures", ()):
        yield {"host": host, "name": str(row["name"]), "value": _as_number(row["value"]), "unit": str(row["unit"])}


def _comparisons(host: str, result: StageResult) -> Iterator[Comparison]:
    observed = result["observed"]
    for row in observed.get("comparison", ()):
        yield {"host": host, "dataset": str(row["dataset"]), "metric": str(row["metric"]),
               "compared_with": str(observed["compared_with"]["model"]), "before": _as_number(row["before"]),
               "model": result["model"], "after": _as_number(row["after"]), "delta": _as_number(row["delta"]),
               "within": bool(row["within"])}


def _as_number(value: Any) -> float:
    if isinstance(value, (int, float)):
        return value
    raise TypeError(f"{value!r:.80} is not a number")


def _rows(judged: Iterable[tuple[str, StageResult]], stage: str | None,
          read: Callable[[str, StageResult], Iterable[Row]], unreadable: list[Finding]) -> list[Row]:
    """Return the rows that the results of a stage (None for all) contribute to the report.

    :param unreadable: receives a finding for each result whose rows have an unexpected format.
    """
    rows: list[Row] = []
    for host, result in judged:
        if stage in (None, result["stage"]):
            try:
                rows += list(read(host, result))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                checks = contract.Checks(())
                checks.not_run("observation", f"The report cannot show what was observed ({error!r}).")
                unreadable += [cast(Finding, {**check, "id": f"{result['stage']}.{check['id']}", "host": host})
                               for check in checks.as_list()]
    return rows


def _pins(host: str, result: StageResult) -> Iterator[Pin]:
    """Yield the digest of the image or the model of a host, unless the stage failed."""
    observed, name = result["observed"], {"image": "image_digest", "weights": "weights_digest"}.get(result["stage"])
    if name and result["status"] != contract.FAILED:
        value = _image_digest(observed) if result["stage"] == "image" else observed.get("digest")
        if _DIGEST.fullmatch(str(value)):
            yield {"name": name, "value": str(value), "hosts": [host]}


def _shared(pins: Iterable[Pin]) -> list[Pin]:
    """Merge the pins: one for each digest, with all its hosts."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for pin in pins:
        hosts.setdefault((pin["name"], pin["value"]), []).extend(pin["hosts"])
    return [{"name": name, "value": value, "hosts": found} for (name, value), found in hosts.items()]


def _image_digest(observed: Mapping[str, Any]) -> str | None:
    """Return the registry digest of the image; for an image from an archive, return its id."""
    image = observed.get("image") or {}
    repository = str(observed.get("reference")).rpartition(":")[0]
    digests = sorted(image.get("digests") or (), key=lambda digest: digest.rpartition("@")[0] != repository)
    return digests[0].rpartition("@")[2] if digests else image.get("id")


def _cell(result: StageResult | None) -> Cell:
    if result is None:
        return {"status": contract.NOT_RUN, "finished_at": None, "checks": {}, "error": None}
    counts: dict[str, int] = {}
    for check in result["checks"]:
        counts[check["status"]] = counts.get(check["status"], 0) + 1
    return {"status": result["status"], "finished_at": result["finished_at"], "checks": counts,
            "error": result["error"]}


def _verdict(results: Iterable[StageResult]) -> str:
    """Return the worst status of the stages that were run; not_run if no stage was run."""
    statuses = {result["status"] for result in results}
    for status in (contract.FAILED, contract.WARNED, contract.WAIVED, contract.PASSED):
        if status in statuses:
            return status
    return contract.NOT_RUN


def _findings(report: Report, title: str, statuses: Collection[str]) -> list[str]:
    """Return a section with one line per finding, which lists the hosts with this finding; empty without findings."""
    hosts: dict[str, list[str]] = {}
    for finding in report["findings"]:
        if finding["status"] in statuses:
            hosts.setdefault(contract.sentence(finding), []).append(finding["host"])
    return ["", "## " + title, ""] + [
        "- **%s** %s" % (_text.markdown(_names(found, report["hosts"])), _text.markdown(text))
        for text, found in hosts.items()] if hosts else []


def _names(found: Iterable[str], hosts: Collection[str]) -> str:
    """Return the names of these hosts, or "all 16 hosts" if they are all hosts of the report."""
    names = list(dict.fromkeys(found))
    return "all %d hosts" % len(hosts) if len(names) == len(hosts) > 1 else ", ".join(names)


def _number(value: float) -> str:
    return "%.4g" % value if isinstance(value, float) else str(value)
