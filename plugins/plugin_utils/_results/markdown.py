# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, wording
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.report import Report


def to_markdown(report: Report) -> str:
    shown = _text.markdown
    lines = ["# %s" % shown(wording.headline(report)), ""]
    lines += ["- Written %s by ascend.vllm %s" % (shown(report["generated_at"]), shown(report["collection_version"]))]
    lines += ["- " + shown(wording.coverage(report))]
    if report["models"]:
        lines += ["- Model %s on vLLM Ascend %s" % (
            shown(", ".join(report["models"])), shown(", ".join(report["releases"])))]
    if report["plan_hashes"]:
        lines += ["- Plan %s" % shown(", ".join(report["plan_hashes"]))]
    lines += ["- " + shown(service) for service in wording.services(report)]
    lines += ["", "## Stages", "", *_table(["host", *contract.STAGES], [
        [wording.place(report, host), *(wording.mark([cells[stage]]) for stage in contract.STAGES)]
        for host, cells in report["hosts"].items()])]
    lines += _findings(report, "Failed checks", (contract.FAILED,))
    lines += _findings(report, "Stale results", (contract.STALE,))
    lines += _findings(report, "Warnings", (contract.WARNED,))
    if report["plan_warnings"]:
        lines += ["", "## Warnings of the plan", "", *("- " + shown(sentence) for sentence in report["plan_warnings"])]
    if report["figures"]:
        lines += ["", "## Figures", "", *_table(["host", "figure", "value", "unit"], [
            [figure["host"], figure["name"], _number(figure["value"]), figure["unit"]]
            for figure in report["figures"]], right=[2])]
    if report["comparisons"]:
        lines += ["", "## Accuracy of two models on the same data", "", *_table(
            ["host", "dataset", "reference model", "its score", "served model", "its score", "difference",
             "95 % interval", "verdict"],
            [[row["host"], "%s, %s" % (row["dataset"], row["metric"]), row["compared_with"], "%.4g" % row["before"],
              row["model"], "%.4g" % row["after"], "%+.4g" % row["delta"],
              "%+.3g to %+.3g" % tuple(row["interval"]) if row["interval"] else "–",
              wording.COMPARED.get(row["verdict"], row["verdict"])] for row in report["comparisons"]],
            right=[3, 5, 6])]
    if report["pins"]:
        lines += ["", "## Pins", "", "Add these lines to the inventory to pin the image and the model that were "
                  "verified:", "", "```yaml"]
        hosts = [wording.names(pin["hosts"], report["hosts"]) for pin in report["pins"]]
        lines += [_text.one_line('%s: "%s"  # %s' % (pin["name"], pin["value"], where))
                  for pin, where in zip(report["pins"], hosts)] + ["```"]
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


def _findings(report: Report, title: str, statuses: Collection[str]) -> list[str]:
    """Return a section with one line per finding, which lists the hosts with this finding; empty without findings."""
    hosts: dict[str, list[str]] = {}
    for finding in report["findings"]:
        if finding["status"] in statuses:
            hosts.setdefault(contract.sentence(finding), []).append(finding["host"])
    return ["", "## " + title, ""] + [
        "- **%s** %s" % (_text.markdown(wording.names(found, report["hosts"])), _text.markdown(text))
        for text, found in hosts.items()] if hosts else []


def _number(value: float) -> str:
    return "%.4g" % value if isinstance(value, float) else str(value)
