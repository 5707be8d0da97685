# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the accuracy of the first planned instance with AISBench, then judge and record the result."""

from __future__ import annotations

from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import Plans
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import scores
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy.ais_bench_job import run_job
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import targets
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


def _served(plan: Plan) -> list[Any]:
    """Return what determines the answers of a deployment."""
    return [plan["model"], plan["release"], plan["image"], plan["patch"], serving_instances(plan)[0]["command"]]


class ActionModule(StageAction):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the Python of the host of AISBench, or measure, judge and record."""
        self.begin(tmp, task_vars or {}, stage="accuracy",
                   step={"type": "str", "choices": ["choose", "begin", "measure"], "default": "measure"})
        if self.args["step"] == "choose":
            return {"changed": False, "measured": not self._measured_instead()}
        if self.args["step"] == "begin":
            self.need_python()
            return {"changed": False}
        return self.judge_and_record(self.observe())

    def observation(self) -> dict[str, Any]:
        """Return an AccuracyObservation."""
        inputs, plan = self.inputs, self.context.plan
        if not inputs["accuracy_enabled"]:
            return {"not_run": "accuracy_enabled is false: a measurement needs datasets and, with most of them, hours."}
        if self._task.check_mode:
            return {"not_run": f"{WOULD} measure the accuracy."}
        if targets.unmeasurable(plan):
            return {"not_run": targets.unmeasurable(plan)}
        if not serving_instances(plan):
            return {"not_run": no_api_reason(plan)}
        first = self._measured_instead()
        if first:
            return {"not_run": f"{first} has the same deployment and is measured instead of this host."}
        return dict(self._measurement())

    def _measured_instead(self) -> str | None:
        """Return the first host of the run that serves the same, if it is another host."""
        plans = Plans(self._templar, self.task_vars, self.records)
        own = _served(self.context.plan)
        first = next((host for host in self.task_vars.get("ansible_play_hosts", ())
                      if host == self.host or (serving_instances(plans[host]) and _served(plans[host]) == own)), None)
        return None if first == self.host else first

    def _measurement(self) -> scores.Measurement:
        inputs, instance = self.inputs, serving_instances(self.context.plan)[0]
        compared = scores.measured_before(inputs["accuracy_compare_with"])
        outcome = run_job(self.call, self.say, {
            "api_key": inputs["accuracy_api_key"], "ca": self.context.plan["ca"],
            "executable": inputs["accuracy_executable"],
            "datasets": [{key: dataset[key] for key in ("name", "path")} for dataset in inputs["accuracy_datasets"]],
            "num_prompts": inputs["accuracy_num_prompts"],
            "server": scores.server(self.context.plan, instance, inputs),
        }, inputs["accuracy_timeout_s"], "accuracy_timeout_s")
        found = scores.scores(
            outcome.get("rows", []), outcome.get("answers", {}), inputs["accuracy_datasets"], outcome["data"],
            outcome.pop("outcomes", {}))
        changes = scores.compare(compared[1], found) if compared else []
        return {**outcome, "instance": instance["name"], "scores": found,
                "comparison": scores.verdicts(changes, inputs["accuracy_maximum_drop"]),
                "compared_with": compared[0] if compared else None,
                "figures": scores.figures(found, inputs["accuracy_datasets"])}
