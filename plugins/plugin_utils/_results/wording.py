# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences and words that the forms of the report share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.report import Cell, Report, age_s

MARKS = {**{status: status.replace("_", " ") for status in contract.STATUSES},
         contract.FAILED: "FAILED", contract.STALE: "STALE"}
# The verdicts on the scores of two models.
COMPARED = {"passed": "within the limit", "failed": "TOO LOW"}


def mark(cells: Sequence[Cell]) -> str:
    """Return the status that cells share and, unless they are of this run, the age of the oldest."""
    ages = [cell["age_s"] for cell in cells if cell["age_s"] is not None and not cell["this_run"]]
    return MARKS[cells[0]["status"]] + (f" {age(max(ages))}" if ages else "")


def age(seconds: int) -> str:
    """Return an age as a short text, such as ``5 min`` or ``8 d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return "%d %s" % (seconds // size, unit)
    return "%d s" % seconds


def services(report: Report) -> list[str]:
    """Return one line per service: its host, served name and URL, and when its container started."""
    return [_text.one_line("%(host)s serves %(served_name)s at %(url)s" % service + (
        ", %ssince %s" % ("unchanged " if service["unchanged"] else "", service["since"]) if service["since"] else ""))
        for service in report["services"]]


def first_services(report: Report, limit: int = 8) -> list[str]:
    """Return the first lines of `services`, and the number of the others."""
    found = services(report)
    return found[:limit] + (["and %d more services" % (len(found) - limit)] if found[limit:] else [])


def headline(report: Report) -> str:
    """Return the verdict in one sentence."""
    hosts, cells = len(report["hosts"]), [cell for row in report["hosts"].values() for cell in row.values()]
    if not any(cell["finished_at"] for cell in cells):
        return "Nothing was run"
    if report["failing_hosts"]:
        return _text.one_line("%d of %d hosts failed: %s" % (
            len(report["failing_hosts"]), hosts, _text.few(report["failing_hosts"])))
    passed = [stage for stage in contract.STAGES
              if all(row[stage]["status"] in (contract.PASSED, contract.WARNED, contract.WAIVED)
                     for row in report["hosts"].values())]
    stale = sum(cell["status"] == contract.STALE for cell in cells)
    warned = any(finding["status"] == contract.WARNED for finding in report["findings"])
    return _text.one_line("%d of %d stages passed on %s%s%s" % (
        len(passed), len(contract.STAGES), names(report["hosts"], report["hosts"]),
        ", %d %s stale" % (stale, "result is" if stale == 1 else "results are") if stale else "",
        ", with warnings" if warned else ""))


def coverage(report: Report) -> str:
    """Return in a few sentences which stages and hosts the run has checked, and how old the other results are."""
    covered, cells = report["coverage"], [cell for row in report["hosts"].values() for cell in row.values()]
    ages = _ages(cell["age_s"] for cell in cells if not cell["this_run"])
    observed = _ages(age_s(each["observed_at"], report["generated_at"]) for each in report["deployed"].values())
    if covered["stages"]:
        stages = "all stages" if len(covered["stages"]) == len(contract.STAGES) else ", ".join(covered["stages"])
        sentences = [f"This run covered {stages} on {names(covered['hosts'], report['hosts'])}."]
        sentences += [f"All other results are {ages} old."] if ages else []
    else:
        sentences = ["No node was queried."] + ([f"The results are {ages} old."] if ages else [])
        sentences += [f"The containers were observed {observed} ago."] if observed else []
    if covered["left_out"]:
        total = len(covered["left_out"]) + len(report["hosts"])
        sentences.append(f"{len(covered['left_out'])} of {total} hosts are not in this report (--limit).")
    return _text.one_line(" ".join(sentences))


def _ages(seconds: Iterable[int | None]) -> str:
    """Return the lowest and the highest age, such as ``5 min to 8 d``; empty if no age is known."""
    known = [each for each in seconds if each is not None]
    return " to ".join(dict.fromkeys(age(each) for each in (min(known), max(known)))) if known else ""


def place(report: Report, host: str) -> str:
    """Return ``<node> / <host>`` for a host in ``nodes`` of the report, and the name of the host for any other host."""
    return "%s / %s" % (report["nodes"][host], host) if host in report.get("nodes", {}) else host


def names(found: Iterable[str], hosts: Collection[str], limit: int = 8) -> str:
    """Return the names of these hosts, or "all 16 hosts" if they are all hosts of the report.

    :param hosts: the hosts of the report. :param limit: the maximum number of names; the others are only counted.
    """
    unique = list(dict.fromkeys(found))
    return "all %d hosts" % len(hosts) if len(unique) == len(hosts) > 1 else _text.few(unique, limit)
