# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare two measurements in files on the controller."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import scores
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import result_files, statistics

Line = tuple[str, str, str, str, str]


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print a table that compares the measurements; return its rows and whether the second one is good enough."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "before": {"type": "path", "required": True}, "after": {"type": "path", "required": True},
            "minimum_ratio": {"type": "float", "default": 0.97}, "maximum_drop": {"type": "float", "default": 1}})
        before, after = _read(args["before"]), _read(args["after"])
        if set(before) != set(after):
            raise AnsibleActionFail(f"{args['before']} and {args['after']} are measurements of different kinds.")
        if "scores" in before:
            changes = scores.compare(before["scores"], after["scores"])
            rows: Sequence[Mapping[str, Any]] = scores.verdicts(changes, args["maximum_drop"])
            holds, table = all(row["within"] for row in rows), _scores(rows)
        else:
            rows = _performance_rows(before["targets"], after["targets"])
            holds = all(row["ratio"] is None or row["ratio"] >= args["minimum_ratio"]
                        for row in rows if row["metric"] == statistics.GATE)
            table = _figures(rows)
        if not rows:
            raise AnsibleActionFail(f"{args['before']} and {args['after']} have no metric in common.")
        lines = [*_text.table(table, right=range(1, 4)), "", _verdict(holds, "scores" in before, args)]
        _text.say(self._display, lines)
        return {"changed": False, "rows": rows, "holds": holds}


def _read(path: str) -> dict[str, Any]:
    """Return ``{"scores": scores}`` for accuracy, or ``{"targets": {name: metrics}}`` for performance."""
    try:
        text = Path(path).read_text("utf-8")
        data = json.loads(text)
        if data.get("schema") == statistics.BASELINE_SCHEMA:
            return {"targets": {"": data["metrics"]}}
        if data.get("stage") == "accuracy":
            return {"scores": data["observed"]["scores"]}
        if data.get("stage") == "benchmark":
            return {"targets": {
                measured["name"]: {metric: values["median"] for metric, values in measured["summary"].items()}
                for measured in data["observed"]["measurements"] if measured["summary"]}}
        found = result_files.parse(text)
        if found["kind"] == result_files.SERVE:
            return {"targets": {"": found["metrics"]}}
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise AnsibleActionFail(f"{path} cannot be read as a measurement: {error}") from error
    raise AnsibleActionFail(
        f"{path} is not a benchmark.json, an accuracy.json, a baseline or a result of vllm bench serve.")


def _performance_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare targets with the same name. If both measurements have only one target, compare these two."""
    if len(before) == len(after) == 1:
        pairs = [(next(iter(after)), *before.values(), *after.values())]
    else:
        pairs = [(name, before[name], after[name]) for name in before if name in after]
    return [dict(row, target=name) for name, first, second in pairs for row in statistics.compare(first, second)]


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    several = len({row["target"] for row in rows}) > 1
    return [("metric", "before", "after", "after/before", "")] + [
        (f"{row['target'] + ': ' if several else ''}{row['label']} ({row['unit']})", f"{row['before']:.4g}",
         f"{row['after']:.4g}", "–" if row["ratio"] is None else f"{row['ratio']:.3f}",
         {True: "better", False: "worse", None: "same"}[row["better"]]) for row in rows]


def _scores(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    return [("dataset", "before", "after", "difference", "")] + [
        (f"{row['dataset']}, {row['metric']}", f"{row['before']:.4g}", f"{row['after']:.4g}", f"{row['delta']:+.4g}",
         "within the limit" if row["within"] else "too low") for row in rows]


def _verdict(holds: bool, of_scores: bool, args: Mapping[str, Any]) -> str:
    if of_scores:
        drop = f"dropped by more than the limit ({args['maximum_drop']:g})"
        return f"No score {drop}." if holds else f"A score {drop}."
    limit = f"{args['minimum_ratio']:g} times that of the first measurement"
    return f"The output throughput is at least {limit}." if holds else f"The output throughput is below {limit}."
