# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare two measurements that lie on the controller."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils import bench_results
from ansible_collections.ascend.vllm.plugins.module_utils import benchmark_analysis as analysis


class ActionModule(ActionBase):
    """See plugins/modules/benchmark_compare.py."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "before": {"type": "path", "required": True}, "after": {"type": "path", "required": True}})
        rows = analysis.compare(_metrics(args["before"]), _metrics(args["after"]))
        if not rows:
            raise AnsibleActionFail(f"{args['before']} and {args['after']} have no figure in common.")
        self._display.display("\n".join(_table(rows)))
        return {"changed": False, "rows": rows}


def _metrics(path):
    """The numbers of a result of ``vllm bench serve``, of a baseline, or of the first instance of benchmark.json."""
    try:
        text = Path(path).read_text("utf-8")
        data = json.loads(text)
        if data.get("schema") == analysis.BASELINE_SCHEMA:
            return data["metrics"]
        if data.get("stage") == "benchmark":
            summary = data["observed"]["instances"][0]["summary"]
            return {metric: values["median"] for metric, values in summary.items()}
        found = bench_results.parse(text)
        if found["kind"] == bench_results.SERVE:
            return found["metrics"]
    except (OSError, ValueError, LookupError, AttributeError) as error:
        raise AnsibleActionFail(f"{path} cannot be read as a measurement: {error}") from error
    raise AnsibleActionFail(f"{path} is neither benchmark.json, nor a baseline, nor a result of vllm bench serve.")


def _table(rows):
    head = ("figure", "before", "after", "after/before", "")
    cells = [head] + [
        (f"{row['label']} ({row['unit']})", f"{row['before']:.4g}", f"{row['after']:.4g}",
         "–" if row["ratio"] is None else f"{row['ratio']:.3f}",
         {True: "better", False: "worse", None: "same"}[row["better"]]) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4])),
                       row[4]]).rstrip() for row in cells]
