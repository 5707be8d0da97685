# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the result files of AISBench: the summary of an accuracy run (CSV) and the tables of a performance run.

AISBench exits with 0 even if every task failed, and writes ``-`` as the score. Therefore, only numbers are accepted as
scores. Cells are returned as text, which :func:`number` and :func:`scores` interpret strictly. The formats are those of
ais-bench-benchmark 3.0 and 3.1.
"""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, TypedDict

    Row = dict[str, str]

    class Score(TypedDict):
        """A score of a model. ``score`` is None if there is no score. ``printed`` is the content of the cell."""

        dataset: str
        metric: str
        model: str
        score: float | None
        printed: str

_PERFORMANCE_HEADS = ("Performance Parameters", "Common Metric")
_ACCURACY_HEAD = ["dataset", "version", "metric", "mode"]
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?: +(\S+))?$")


def accuracy(text: str) -> list[Row]:
    """Return the rows ``{column: cell}`` of a summary. In a truncated table, incomplete rows are omitted."""
    return _csv(text, lambda head: head[:4] == _ACCURACY_HEAD and len(head) > 4)


def performance(text: str) -> list[Row]:
    """Return the rows ``{column: cell}`` of the totals (JSON) or the latencies (CSV) of a performance run."""
    return _json(text) or _csv(text, lambda head: head[0] in _PERFORMANCE_HEADS and len(head) > 2)


def number(cell: str) -> tuple[float, str | None]:
    """Return the value and the unit (or None) of a cell such as ``12300.2 ms``. Raise ValueError for others."""
    match = _NUMBER.match(cell.strip())
    if not match:
        raise ValueError("'%s' is not a number" % cell)
    return float(match.group(1)), match.group(2)


def scores(rows: list[Row]) -> list[Score]:
    """Return the scores in the rows of a summary, one for each row and model.

    A score can be followed by the numbers from which it was computed, such as ``0.96 (385/400)``.
    """
    found: list[Score] = []
    for row in rows:
        for model in [column for column in row if column not in _ACCURACY_HEAD]:
            score: float | None
            try:
                score = number(row[model].split("(")[0])[0]
            except ValueError:
                score = None
            found.append({"dataset": row["dataset"], "metric": row["metric"], "model": model, "score": score,
                          "printed": row[model]})
    return found


def _json(text: str) -> list[Row]:
    if not text.lstrip().startswith("{"):
        return []
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if "Benchmark Duration" not in data and "Total Requests" not in data:
        return []
    return [{"Common Metric": metric, "Stage": stage, "Value": str(value)}
            for metric, stages in data.items() if isinstance(stages, dict) for stage, value in stages.items()]


def _csv(text: str, is_head: Callable[[list[str]], bool]) -> list[Row]:
    """Return the rows below the first header. The table ends at the first line with a different number of columns."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        head = _fields(line)
        if len(head) > 1 and is_head(head):
            rows = []
            for cells in map(_fields, lines[index + 1:]):
                if len(cells) != len(head):
                    break
                if cells != head:
                    rows.append(dict(zip(head, cells)))
            return rows
    return []


def _fields(line: str) -> list[str]:
    if "," not in line:
        return [line]
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [""])]
    except csv.Error:
        return [line]
