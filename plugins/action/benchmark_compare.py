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
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import paired, scores
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import (
    regression,
    result_files,
    statistics,
    targets,
)

_SENTENCES = {
    paired.PASSED: "No score dropped by more than the limit (%g).",
    paired.FAILED: "A score dropped by more than the limit (%g).",
    paired.INCONCLUSIVE: "The answers do not show whether a score dropped by more than the limit (%g)."}


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print a table that compares the measurements; return its rows and the verdict on the second one."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "before": {"type": "path", "required": True}, "after": {"type": "path", "required": True},
            "minimum_ratio": {"type": "float", "default": 0.95}, "maximum_drop": {"type": "float", "default": 1}})
        before, after = _read(args["before"]), _read(args["after"])
        if set(before) != set(after):
            raise AnsibleActionFail(f"{args['before']} and {args['after']} are measurements of different kinds.")
        if "scores" in before:
            rows: Sequence[Mapping[str, Any]] = scores.compare(before["scores"], after["scores"], args["maximum_drop"])
            table, verdicts = _scores(rows), {row["verdict"] for row in rows}
            verdict = next((each for each in (paired.FAILED, paired.INCONCLUSIVE) if each in verdicts), paired.PASSED)
            text = _SENTENCES[verdict] % args["maximum_drop"]
        else:
            verdict, text, rows = _performance(before, after, args["minimum_ratio"])
            table = _figures(rows)
        if not rows:
            raise AnsibleActionFail(f"{args['before']} and {args['after']} have no metric in common.")
        _text.say(self._display, [*_text.table(table, right=range(1, 5)), "", text])
        return {"changed": False, "rows": rows, "verdict": verdict}


def _read(path: str) -> dict[str, Any]:
    """Return ``{"scores": scores}``, or ``{"targets": {name: metrics per repeat}, "unusable": {name: reason}}``."""
    try:
        if Path(path).is_dir():
            found = {file.parent.name: _read(str(file)) for file in sorted(Path(path).glob("*/benchmark.json"))}
            return {kind: {f"{host}, {name}": value for host, each in found.items()
                           for name, value in each[kind].items()} for kind in ("targets", "unusable")}
        text = Path(path).read_text("utf-8")
        data = json.loads(text)
        if data.get("schema") == statistics.BASELINE_SCHEMA:
            return {"targets": {"": data["repeats"]}, "unusable": {}}
        if data.get("status") == "not_run":
            raise AnsibleActionFail(f"{path} has no measurement, because the {data['stage']} stage was not run.")
        if data.get("stage") == "accuracy":
            return {"scores": data["observed"]["scores"]}
        if data.get("stage") == "benchmark":
            measurements = [measured for measured in data["observed"]["measurements"] if measured["runs"]]
            return {"targets": {each["name"]: statistics.repeats(each["runs"]) for each in measurements},
                    "unusable": {each["name"]: targets.unusable(each) for each in measurements}}
        result = result_files.parse(text)
        if result["kind"] == result_files.SERVE:
            return {"targets": {"": [result["metrics"]]}, "unusable": {}}
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise AnsibleActionFail(f"{path} cannot be read as a measurement: {error}") from error
    raise AnsibleActionFail(
        f"{path} is not a benchmark.json, an accuracy.json, a baseline or a result of vllm bench serve.")


def _performance(before: Mapping[str, Any], after: Mapping[str, Any], minimum_ratio: float
                 ) -> tuple[str, str, list[dict[str, Any]]]:
    """Compare targets with the same name. If both measurements have only one target, compare these two.

    Return the verdict, a sentence about it, and the rows. The verdict is that of the role for the same two runs.
    """
    pairs = {name: (name, name) for name in before["targets"] if name in after["targets"]}
    if len(before["targets"]) == len(after["targets"]) == 1:
        pairs = {name: (next(iter(before["targets"])), name) for name in after["targets"]}
    found = regression.judge({name: regression.Pair(before["targets"][first], after["targets"][second], minimum_ratio)
                              for name, (first, second) in pairs.items()})
    rows: list[dict[str, Any]] = []
    reasons: dict[str, list[str]] = {regression.FAILED: [], regression.INCONCLUSIVE: []}
    for name, (first, second) in pairs.items():
        result, several = found[name], f"{name}: " * (len(pairs) > 1)
        vague = before["unusable"].get(first) or after["unusable"].get(second)
        if vague or result["verdict"] != regression.PASSED:
            reasons[regression.INCONCLUSIVE if vague else result["verdict"]].append(
                several + (vague or result["reason"]))
        rows += [{**change, "target": name} for change in result["rows"]]
    for verdict, text in ((regression.FAILED, "Failed: worse by more than the limit: %s."),
                          (regression.INCONCLUSIVE, "Inconclusive: %s.")):
        if reasons[verdict]:
            return verdict, text % "; ".join(reasons[verdict]), rows
    return regression.PASSED, "Passed: no metric is worse by more than its limit.", rows


def _figures(rows: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, ...]]:
    several = len({row["target"] for row in rows}) > 1
    return [("metric", "before", "after", "after/before", "limit", "")] + [
        (f"{row['target'] + ': ' if several else ''}{row['label']} ({row['unit']})", f"{row['before']:.4g}",
         f"{row['after']:.4g}", "–" if row["ratio"] is None else f"{row['ratio']:.3f}",
         f"{row['limit']:.4g}" if "limit" in row else "–", "beyond the limit" if row.get("worse") else
         {True: "better", False: "worse", None: "same"}[row["better"]]) for row in rows]


def _scores(rows: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, ...]]:
    return [("dataset", "before", "after", "difference", "95 % interval", "")] + [
        (f"{row['dataset']}, {row['metric']}", f"{row['before']:.4g}", f"{row['after']:.4g}", f"{row['delta']:+.4g}",
         "{low:+.3g} to {high:+.3g}".format(**row["paired"]) if row["paired"] else "–", row["verdict"]) for row in rows]
