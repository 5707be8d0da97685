# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One answer from the files that the stages left: as data for machines, as Markdown for people.

A stage without a file is ``not_run``; it never counts as passed.
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract

SCHEMA = "ascend.vllm/report/v1"

_MARKS = {
    contract.PASSED: "passed",
    contract.FAILED: "FAILED",
    contract.WARNED: "warned",
    contract.WAIVED: "waived",
    contract.NOT_RUN: "not run",
    contract.UNSUPPORTED: "unsupported",
}


def summarise(found, hosts, now, collection_version, last=None):
    """The report as data.

    :param found: ``{host: {stage: stage result}}``.
    :param hosts: every host that was expected, in the order of the inventory.
    :param now: the time of the report, ISO 8601.
    :param last: the report before this one, if there is one: a service that runs since then is told to be unchanged.
    :returns: dict in the shape of ``docs/schemas/report-v1.json``.
    """
    rows = {host: {stage: _cell(found.get(host, {}).get(stage)) for stage in contract.STAGES} for host in hosts}
    every = [result for host in hosts for result in found.get(host, {}).values()]
    return {
        "schema": SCHEMA,
        "generated_at": now,
        "collection_version": collection_version,
        "status": _verdict(every),
        "releases": sorted({result["release"] for result in every if result["release"]}),
        "models": sorted({result["model"] for result in every if result["model"]}),
        "plan_hashes": sorted({result["plan_hash"] for result in every if result["plan_hash"]}),
        "hosts": rows,
        "passing_hosts": [host for host in hosts
                          if found.get(host) and _verdict(found[host].values()) != contract.FAILED],
        "failing_hosts": [host for host in hosts if _verdict(found.get(host, {}).values()) == contract.FAILED],
        "findings": [
            dict(check, host=host)
            for host in hosts for stage in contract.STAGES
            for check in found.get(host, {}).get(stage, {}).get("checks", [])
            if check["status"] != contract.PASSED
        ],
        "services": [
            service for host in hosts if "serving" in found.get(host, {})
            for service in _services(found[host]["serving"], last)
        ],
        "figures": [
            dict(figure, host=host)
            for host in hosts for stage in contract.STAGES
            for figure in found.get(host, {}).get(stage, {}).get("observed", {}).get("figures", [])
        ],
        "comparisons": [
            dict(row, host=host, model=found[host]["accuracy"]["model"],
                 compared_with=observed["compared_with"]["model"])
            for host in hosts
            for observed in [found.get(host, {}).get("accuracy", {}).get("observed", {})]
            for row in observed.get("comparison", [])
        ],
    }


def table(report):
    """The matrix host × stage as lines of plain text."""
    header = ["host", *contract.STAGES]
    rows = [[host] + [_MARKS[cells[stage]["status"]] for stage in contract.STAGES]
            for host, cells in report["hosts"].items()]
    return _text.table([header, *rows])


def to_markdown(report):
    """The report for people."""
    lines = ["# %s" % headline(report), ""]
    lines += ["- Written %s by ascend.vllm %s" % (report["generated_at"], report["collection_version"])]
    if report["models"]:
        lines += ["- Model %s on vLLM Ascend %s" % (", ".join(report["models"]), ", ".join(report["releases"]))]
    if report["plan_hashes"]:
        lines += ["- Plan %s" % ", ".join(report["plan_hashes"])]
    lines += ["- " + service for service in services(report)]
    lines += ["", "## Stages", "", "| host | %s |" % " | ".join(contract.STAGES),
              "| --- |%s" % (" --- |" * len(contract.STAGES))]
    for host, cells in report["hosts"].items():
        lines += ["| %s | %s |" % (host, " | ".join(_MARKS[cells[stage]["status"]] for stage in contract.STAGES))]
    lines += _findings(report, "What is wrong", (contract.FAILED,))
    lines += _findings(report, "What to look at", (contract.WARNED,))
    if report["figures"]:
        lines += ["", "## Figures", "", "| host | figure | value | unit |", "| --- | --- | ---: | --- |"]
        lines += ["| %s | %s | %s | %s |" % (figure["host"], figure["name"], _number(figure["value"]), figure["unit"])
                  for figure in report["figures"]]
    if report["comparisons"]:
        lines += ["", "## Accuracy of two models on the same data", "",
                  "| host | data set | compared | score | served | score | difference | verdict |",
                  "| --- | --- | --- | ---: | --- | ---: | ---: | --- |"]
        lines += ["| %s | %s, %s | %s | %.4g | %s | %.4g | %+.4g | %s |" % (
            row["host"], row["dataset"], row["metric"], row["compared_with"], row["before"], row["model"], row["after"],
            row["delta"], "within the limit" if row["within"] else "TOO LOW") for row in report["comparisons"]]
    lines += _findings(report, "Waived by the site", (contract.WAIVED,))
    lines += _findings(report, "Not checked", (contract.NOT_RUN, contract.UNSUPPORTED))
    lines += ["", "Each stage's full result is in `<host>/<stage>.json` beside this file."]
    return "\n".join(lines) + "\n"


def services(report):
    """What is served where and since when, a line each; one that still runs since the last report is unchanged."""
    return ["%(host)s serves %(served_name)s at %(url)s" % service + (
        ", %ssince %s" % ("unchanged " if service["unchanged"] else "", service["since"]) if service["since"] else "")
        for service in report["services"]]


def headline(report):
    """The verdict in one sentence."""
    hosts = len(report["hosts"])
    if not any(cell["finished_at"] for cells in report["hosts"].values() for cell in cells.values()):
        return "Nothing was run"
    if report["failing_hosts"]:
        return "%d of %d hosts failed: %s" % (len(report["failing_hosts"]), hosts, ", ".join(report["failing_hosts"]))
    ran = [stage for stage in contract.STAGES
           if all(cells[stage]["status"] in (contract.PASSED, contract.WARNED, contract.WAIVED)
                  for cells in report["hosts"].values())]
    warned = any(finding["status"] == contract.WARNED for finding in report["findings"])
    return "%d of %d stages hold on all %d hosts%s" % (
        len(ran), len(contract.STAGES), hosts, ", with warnings" if warned else "")


def _services(result, last):
    """The services of a host that were seen to answer: planned instances and balancers."""
    observed, host = result["observed"], result["host"]
    containers = {seen["name"]: seen["container"] for seen in observed.get("instances", ())
                  if seen["state"] == "ready"}
    balancers = {check["subject"] for check in result["checks"]
                 if check["id"] == "serving.balancer" and check["status"] == contract.PASSED}
    started = {(service["host"], service["name"]): service.get("since") for service in (last or {}).get("services", ())}
    for service in observed.get("services", ()):
        name = service["name"]
        if name in containers or service["url"] in balancers:
            since = containers[name]["started_at"][:19] + "Z" if name in containers else None
            yield {"host": host, "name": name, "url": service["url"], "served_name": service["served_name"],
                   "since": since, "unchanged": since is not None and started.get((host, name)) == since}


def _cell(result):
    if result is None:
        return {"status": contract.NOT_RUN, "finished_at": None, "checks": {}, "error": None}
    counts = {}
    for check in result["checks"]:
        counts[check["status"]] = counts.get(check["status"], 0) + 1
    return {"status": result["status"], "finished_at": result["finished_at"], "checks": counts,
            "error": result["error"]}


def _verdict(found):
    """failed if any result failed, otherwise the worst that is not merely «not run»; not_run where nothing ran."""
    statuses = {result["status"] for result in found}
    for status in (contract.FAILED, contract.WARNED, contract.WAIVED, contract.PASSED):
        if status in statuses:
            return status
    return contract.NOT_RUN


def _findings(report, title, statuses):
    """A section with a line for each thing that was found, however many hosts share it; nothing where there is none."""
    hosts = {}
    for finding in report["findings"]:
        if finding["status"] in statuses:
            hosts.setdefault(contract.sentence(finding), []).append(finding["host"])
    return ["", "## " + title, ""] + [
        "- **%s** %s" % (_named(found, report["hosts"]), text) for text, found in hosts.items()] if hosts else []


def _named(found, hosts):
    """The hosts of a finding by name; «all 16 hosts» where none of several is left out."""
    found = list(dict.fromkeys(found))
    return "all %d hosts" % len(hosts) if len(found) == len(hosts) > 1 else ", ".join(found)


def _number(value):
    return "%.4g" % value if isinstance(value, float) else value
