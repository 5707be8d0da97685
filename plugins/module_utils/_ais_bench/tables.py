# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what AISBench prints and writes: performance and accuracy tables, their CSV and JSON, progress, speculation.

AISBench exits with 0 when every task failed and writes ``-`` as the score, so only its numbers count. Cells are kept as
printed; :func:`number` and :func:`scores` interpret them strictly. Formats: ais-bench-benchmark 3.0 and 3.1.
"""

from __future__ import annotations

import csv
import json
import re

PERFORMANCE, ACCURACY, SPECULATION, PROGRESS = "perf", "accuracy", "spec_decode", "progress"

_TASK = re.compile(r"Performance Results of task:? *\[?([^\]\s]+?)\]?: *$")
_PERFORMANCE_HEADS = ("Performance Parameters", "Common Metric")
_ACCURACY_HEAD = ["dataset", "version", "metric", "mode"]
# A score of an accuracy table may be followed by the counts it is made of: 0.96 (385/400).
_SCORE_CELL = re.compile(r"\S+(?: \([^)]*\))?")
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?: +(\S+))?$")
_SPECULATION_TITLE = re.compile(r"^=+ *Speculative Decoding Metrics\b.*=+$")


def parse(text):
    """Return ``{"kind": "perf" | "accuracy" | "spec_decode" | "progress", "rows": [{column: cell as printed}]}``.

    A table that is cut or elided gives its whole rows only; None when the text holds nothing of AISBench.
    """
    for kind, read in ((PERFORMANCE, _performance), (ACCURACY, _accuracy), (SPECULATION, _speculation),
                       (PROGRESS, _progress)):
        rows = read(text)
        if rows:
            return {"kind": kind, "rows": rows}
    return None


def number(cell):
    """Return ``(value, unit)`` of a cell such as ``12300.2 ms``, unit None where none is printed.

    :raises ValueError: for ``-``, an empty cell, or anything else that is not one number and at most one unit.
    """
    match = _NUMBER.match(cell.strip())
    if not match:
        raise ValueError("'%s' is not a number" % cell)
    return float(match.group(1)), match.group(2)


def scores(rows):
    """Return ``[{"dataset", "metric", "model", "score", "printed"}]`` of accuracy rows; score None is none, never 0."""
    found = []
    for row in rows:
        for model in [column for column in row if column not in _ACCURACY_HEAD]:
            try:
                score = number(row[model].split("(")[0])[0]
            except ValueError:
                score = None
            found.append({"dataset": row["dataset"], "metric": row["metric"], "model": model, "score": score,
                          "printed": row[model]})
    return found


def _performance(text):
    return _performance_json(text) or _performance_csv(text) or _boxes(text)


def _performance_json(text):
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


def _performance_csv(text):
    return _csv(text, lambda head: head[0] in _PERFORMANCE_HEADS and len(head) > 2)


def _csv(text, is_head):
    """The rows below the first line that is a head; the table ends at a line of another width."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        head = _fields(line)
        if len(head) > 1 and is_head(head):
            cells = []
            for row in lines[index + 1:]:
                cells.append(_fields(row))
                if len(cells[-1]) != len(head):
                    return _rows(head, cells[:-1])
            return _rows(head, cells)
    return []


def _fields(line):
    if "," not in line:
        return [line]
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [""])]
    except csv.Error:
        return [line]


def _boxes(text):
    """The box-drawn tables; each begins with a head row below its top border."""
    rows, task, head, expects_head = [], None, [], False
    for line in map(str.strip, text.splitlines()):
        named = _TASK.search(line)
        if named:
            task = named.group(1)
        elif line.startswith("╒"):
            expects_head = True
        elif line.startswith("│") and line.endswith("│"):
            cells = [cell.strip() for cell in line[1:-1].split("│")]
            if expects_head or cells[0] in _PERFORMANCE_HEADS:
                head, expects_head = cells, False
            elif head and head[0] in _PERFORMANCE_HEADS and len(cells) == len(head):
                rows.append(dict({"task": task} if task else {}, **dict(zip(head, cells))))
        elif line.startswith("╘"):
            head = []
    return rows


def _accuracy(text):
    return _accuracy_columns(text) or _csv(text, _is_accuracy_head) or _accuracy_markdown(text)


def _is_accuracy_head(cells):
    return cells[:4] == _ACCURACY_HEAD and len(cells) > 4


def _accuracy_columns(text):
    """The blank-aligned form. Its rules may not line up with its columns, so cells are told by their form."""
    head, rows = [], []
    for line in map(str.strip, text.splitlines()):
        cells = line.split()
        if _is_accuracy_head(cells):
            head = cells
        elif head and (not line or set(line) <= set("- ")):
            continue
        elif head:
            values = line.split(None, 4)
            found = _SCORE_CELL.findall(values[4]) if len(values) == 5 else []
            if len(found) != len(head) - 4 or "|" in line:
                break
            rows.append(dict(zip(head, values[:4] + found)))
    return rows


def _accuracy_markdown(text):
    lines = [[cell.strip() for cell in line.strip()[1:-1].split("|")]
             for line in text.splitlines() if line.strip().startswith("|") and line.strip().endswith("|")]
    heads = [index for index, cells in enumerate(lines) if _is_accuracy_head(cells)]
    if not heads:
        return []
    head = lines[heads[0]]
    return _rows(head, [cells for cells in lines[heads[0] + 1:]
                        if len(cells) == len(head) and not set("".join(cells)) <= set("-: ")])


def _rows(head, lines):
    return [dict(zip(head, cells)) for cells in lines if cells != head]


def _speculation(text):
    """One row per server: the lines ``label   value`` below each title."""
    rows = []
    for line in map(str.strip, text.splitlines()):
        if _SPECULATION_TITLE.match(line):
            rows.append({})
        elif rows and not set(line) <= {"="}:
            cells = re.split(r" {2,}|\t", line, maxsplit=1)
            if len(cells) == 2:
                rows[-1][cells[0]] = cells[1].strip()
    return [row for row in rows if row]


def _progress(text):
    """The last drawing of the task table."""
    head, rows = [], []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("|") and line.endswith("|"):
            cells = [cell.strip() for cell in line[1:-1].split(" | ")]
            if cells[0] == "Task Name":
                head, rows = cells, []
            elif head and len(cells) == len(head):
                rows.append(dict(zip(head, cells)))
    return rows
