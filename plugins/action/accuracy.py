# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Score the first planned instance with AISBench, then judge and record like any other stage."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import scores
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy.ais_bench_job import run_job
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


class ActionModule(StageAction):
    """See plugins/modules/accuracy.py."""

    def run(self, tmp=None, task_vars=None):
        """Measure, judge and record."""
        self.begin(tmp, task_vars or {}, stage="accuracy")
        return self.judge_and_record(self.observe())

    def observation(self):
        """Return what AISBench said of the first planned instance, or why nothing was measured."""
        inputs, plan = self.inputs, self.context.plan
        if not inputs["accuracy_enabled"]:
            return {"not_run": "accuracy_enabled is false: it takes data sets on the site and, for most, hours"}
        if self._task.check_mode:
            return {"not_run": "in check mode nothing is measured"}
        if not serving_instances(plan):
            return {"not_run": no_api_reason(plan)}
        scores.check_inputs(inputs)
        compared, instance = self._compared(inputs["accuracy_compare_with"]), serving_instances(plan)[0]
        found = run_job(self.call, self.say, {
            "api_key": inputs["accuracy_api_key"], "executable": inputs["accuracy_executable"],
            "datasets": [{key: dataset[key] for key in ("name", "path")} for dataset in inputs["accuracy_datasets"]],
            "num_prompts": inputs["accuracy_num_prompts"], "server": scores.server(plan, instance, inputs),
        }, inputs["accuracy_timeout_s"], "accuracy_timeout_s")
        found["instance"] = instance["name"]
        found["scores"] = scores.scores(
            found.get("rows", []), found.get("answers", {}), inputs["accuracy_datasets"], found["data"])
        found["comparison"] = scores.verdicts(
            scores.compare(compared["scores"], found["scores"]), inputs["accuracy_maximum_drop"]) if compared else []
        found["compared_with"] = compared and {key: compared[key] for key in ("model", "release", "host")}
        found["figures"] = scores.figures(found["scores"], inputs["accuracy_datasets"])
        return found

    @staticmethod
    def _compared(path):
        """The scores of an earlier result, such as that of the BF16 model; None when none is asked for."""
        if not path:
            return None
        try:
            result = json.loads(Path(path).read_text("utf-8"))
            return {"scores": result["observed"]["scores"], "model": result["model"], "release": result["release"],
                    "host": result["host"]}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise AnsibleActionFail(f"accuracy_compare_with has to be the accuracy.json of an earlier measurement, but "
                                    f"{path} is not: {error}") from error
