# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a cluster: one short entry per run, and the first run after which a figure changed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import report, rows, wording

SCHEMA = "ascend.vllm/history/v1"
# A figure has changed if at least BEFORE measurements before and AFTER measurements after the change have medians that
# differ by more than SHARE of the earlier median, and by more than SPREADS times the spread of the measurements around
# the median of their side. The spread is the median absolute deviation, scaled to the standard deviation of normal
# noise (1.4826). So neither one bad run nor usual noise is a change.
BEFORE, AFTER, SHARE, SPREADS = 3, 2, 0.05, 3.0


class Value(rows.Figure):
    """A figure of a host."""

    #: When the stage that measured it finished (UTC, ISO 8601).
    at: str


class Entry(TypedDict):
    """The content of ``<report_path>/history/<run>.json``."""

    schema: str
    #: The time of the report (UTC, ISO 8601).
    at: str
    headline: str
    #: The stages that the run has executed.
    covered: list[str]
    failing_hosts: list[str]
    releases: list[str]
    plan_hashes: list[str]
    figures: list[Value]


class Changed(TypedDict):
    """A figure of a host that changed."""

    host: str
    name: str
    unit: str
    #: The medians before and after the change.
    before: float
    after: float
    #: The first run after the change, and the last run before it that measured the figure.
    run: Entry
    last: Entry


def entry(summary: report.Report, results: report.Results) -> Entry:
    """Return the entry of a run."""
    finished = {(host, row["name"]): result["finished_at"] for host, stages in results.items()
                for result in stages.values() if not result["error"]
                for row in rows.collect([(host, result)], None, rows.figures, [])}
    return {"schema": SCHEMA, "at": summary["generated_at"], "headline": wording.headline(summary),
            "covered": summary["coverage"]["stages"], "failing_hosts": summary["failing_hosts"],
            "releases": summary["releases"], "plan_hashes": summary["plan_hashes"],
            "figures": [{**row, "at": finished.get((row["host"], row["name"])) or ""} for row in summary["figures"]]}


def measurements(runs: Sequence[Entry]) -> dict[tuple[str, str, str], list[tuple[int, float]]]:
    """Return ``{(host, figure, unit): [(index of the run, value)]}``. A run that did not measure has no value."""
    found: dict[tuple[str, str, str], dict[str, tuple[int, float]]] = {}
    for index, run in enumerate(runs):
        for row in run["figures"]:
            found.setdefault((row["host"], row["name"], row["unit"]), {}).setdefault(row["at"], (index, row["value"]))
    return {key: list(values.values()) for key, values in found.items()}


def medians(runs: Sequence[Entry]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return ``{(figure, unit): [(number of the run from 1, median over the hosts)]}``."""
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for (_host, name, unit), points in measurements(runs).items():
        for index, value in points:
            found.setdefault((name, unit), {}).setdefault(index + 1, []).append(value)
    return {key: [(number, statistics.median(values)) for number, values in sorted(runs_of.items())]
            for key, runs_of in found.items()}


def change(values: Sequence[float]) -> int | None:
    """Return the index of the first value after a change, or None. See BEFORE for what counts as a change.

    Of all possible places, the change is where the residuals from the medians of both sides have the smallest sum.
    """
    best: tuple[float, int, float, float, float] | None = None
    for place in range(BEFORE, len(values) - AFTER + 1):
        before, after = statistics.median(values[:place]), statistics.median(values[place:])
        residuals = [abs(value - (before if index < place else after)) for index, value in enumerate(values)]
        found = (sum(residuals), place, before, after, 1.4826 * statistics.median(residuals))
        best = min(best or found, found)
    if best is None:
        return None
    _residual, place, before, after, spread = best
    return place if abs(after - before) > max(SHARE * abs(before), SPREADS * spread) else None


def changes(runs: Sequence[Entry]) -> list[Changed]:
    """Return the figures of hosts that changed."""
    found: list[Changed] = []
    for (host, name, unit), points in measurements(runs).items():
        place = change([value for _index, value in points])
        if place is not None:
            before, after = (statistics.median(value for _index, value in part)
                             for part in (points[:place], points[place:]))
            found.append({"host": host, "name": name, "unit": unit, "before": before, "after": after,
                          "run": runs[points[place][0]], "last": runs[points[place - 1][0]]})
    return found
