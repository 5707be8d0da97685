# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text at the end of a run: the verdict, failures and warnings, grouped so that it is short for many hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, currency, wording
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.report import Finding, Report
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.wording import mark, names, place

# The maximum numbers of rows of the table, of different findings per check, and of characters per line.
_ROWS, _TEXTS, _WIDTH = 16, 3, 400


def end_of_run(report: Report) -> list[str]:
    """Return the lines to print: the verdict, the table, what failed and what to do, and the counted warnings."""
    lines = ["", wording.headline(report), wording.coverage(report), "", *table(report), ""]
    lines += _failed([each for each in report["findings"] if each["status"] == contract.FAILED], report)
    lines += _stale(report)
    warnings: dict[str, set[str]] = {}
    for finding in report["findings"]:
        if finding["status"] == contract.WARNED:
            warnings.setdefault(finding["id"], set()).add(finding["host"])
    if warnings:
        lines.append("Warnings: " + ", ".join(
            "%s on %s" % (check, names(sorted(hosts), report["hosts"]) if len(hosts) < 3 else "%d hosts" % len(hosts))
            for check, hosts in warnings.items()))
    return [*lines, *_old(report), *wording.first_services(report)]


def table(report: Report) -> list[str]:
    """Return the table of hosts and stages as lines of plain text. Hosts with the same statuses share a row."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for host, cells in report["hosts"].items():
        alike.setdefault(tuple(cells[stage]["status"] for stage in contract.STAGES), []).append(host)
    rows = [[names([place(report, host) for host in hosts], report["hosts"], 3), *(
        mark([report["hosts"][host][stage] for host in hosts]) for stage in contract.STAGES)]
        for hosts in alike.values()]
    more = [f"… and {len(rows) - _ROWS} more rows in report.md"] if rows[_ROWS:] else []
    return _text.table([["host", *contract.STAGES], *rows[:_ROWS]]) + more


def _failed(findings: Iterable[Finding], report: Report) -> list[str]:
    """Return two lines per finding: what was found, and what to do. Hosts with equal findings share the lines."""
    groups: dict[str, dict[str, list[Finding]]] = {}
    for finding in findings:
        own_name = re.compile(r"(?<![\w.-])%s(?![\w.-])" % re.escape(finding["host"]))
        groups.setdefault(finding["id"], {}).setdefault(own_name.sub("\0", _found(finding)), []).append(finding)
    lines = []
    for check, texts in groups.items():
        for group in list(texts.values())[:_TEXTS]:
            lines += [_text.one_line(f"FAILED {check} on {_where(group, report['hosts'])}: {_found(group[0])}", _WIDTH),
                      "       " + _text.one_line(group[0]["remedy"], _WIDTH)]
        others = {finding["host"] for group in list(texts.values())[_TEXTS:] for finding in group}
        if others:
            lines.append(f"       {check}: {len(texts) - _TEXTS} more findings on "
                         f"{names(sorted(others), report['hosts'])}, see report.md")
    return lines


def _found(finding: Finding) -> str:
    """Return what was found, and what was expected."""
    values = "" if finding["expected"] is None else f"expected {finding['expected']}, found {finding['actual']}"
    if not finding["message"]:
        return values
    return finding["message"].rstrip(". \n") + (f" ({values})" if values else "")


def _stale(report: Report) -> list[str]:
    """Return two lines per kind of change: the results that it made stale, an example, and what to do."""
    kinds: dict[str, tuple[dict[str, None], dict[str, None], str]] = {}
    for stage in contract.STAGES:
        for host, cells in report["hosts"].items():
            for change in cells[stage]["changes"] if cells[stage]["status"] == contract.STALE else ():
                stages, hosts, _example = kinds.setdefault(change["what"], ({}, {}, currency.sentence([change])))
                stages[stage] = hosts[host] = None
    lines = []
    for stages, hosts, example in kinds.values():
        all_stages = len(stages) == len(contract.STAGES)
        which, tags = ("all stages", "") if all_stages else (", ".join(stages), f" --tags {','.join(stages)}")
        lines += [_text.one_line(f"STALE {which} on {names(hosts, report['hosts'])}: {example}", _WIDTH),
                  f"      Run playbooks/site.yml{tags}."]
    return lines


def _where(group: Iterable[Finding], hosts: Mapping[str, object]) -> str:
    """Return the hosts of findings, each with its subjects, or the number of the hosts."""
    subjects: dict[str, list[str]] = {}
    for finding in group:
        subjects.setdefault(finding["host"], []).extend([finding["subject"]] if finding["subject"] else [])
    if len(set(map(tuple, subjects.values()))) == 1:
        shared = next(iter(subjects.values()))
        return names(subjects, hosts) + (f" ({_text.few(shared)})" if shared else "")
    return _text.few([f"{host} ({_text.few(each)})" if each else host for host, each in subjects.items()])


def _old(report: Report) -> list[str]:
    """Return one line about the results that are older than report_max_age_h, or an empty list."""
    old: dict[str, list[str]] = {}
    for host, cells in report["hosts"].items():
        for stage, cell in cells.items():
            if cell["old"]:
                old.setdefault(stage, []).append(host)
    return [_text.one_line(f"Older than {report['max_age_h']:g} h (report_max_age_h): " + ", ".join(
        f"{stage} on {names(hosts, report['hosts'])}" for stage, hosts in old.items()))] if old else []
