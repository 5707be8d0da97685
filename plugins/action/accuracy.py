# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Score the first planned instance with AISBench, then judge and record like any other stage."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action.stage import ActionModule as StageAction
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import scores
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy.ais_bench_job import run_job


class ActionModule(StageAction):
    """See plugins/modules/accuracy.py."""

    def _observe(self, judge, context, args, records, task_vars):
        settings = context["settings"]
        self._vars, self._host = task_vars, context["host"]
        if not settings["enabled"]:
            return {"not_run": "accuracy_enabled is false: it takes data sets on the site and, for most, hours"}
        if self._task.check_mode:
            return {"not_run": "in check mode nothing is measured"}
        if not serving_instances(context["plan"]):
            return {"not_run": no_api_reason(context["plan"])}
        try:
            scores.check_settings(settings)
        except scores.BadInput as mistake:
            raise AnsibleActionFail(str(mistake)) from mistake
        compared, instance = self._compared(settings["compare_with"]), serving_instances(context["plan"])[0]
        found = run_job(self._module, self._say, {
            "api_key": settings["api_key"], "executable": settings["executable"], "datasets": settings["datasets"],
            "num_prompts": settings["num_prompts"], "server": scores.server(context["plan"], instance, settings),
        }, settings["timeout_s"], "accuracy_timeout_s")
        found["instance"] = instance["name"]
        found["scores"] = scores.scores(
            found.get("rows", []), found.get("answers", {}), settings["datasets"], found["data"])
        found["comparison"] = scores.verdicts(
            scores.compare(compared["scores"], found["scores"]), settings["maximum_drop"]) if compared else []
        found["compared_with"] = compared and {key: compared[key] for key in ("model", "release", "host")}
        found["figures"] = scores.figures(found["scores"], settings["datasets"])
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

    def _module(self, name, **arguments):
        returned = self._execute_module(module_name=name, module_args=arguments, task_vars=self._vars)
        if returned.get("failed"):
            raise AnsibleActionFail(f"{name} failed: {returned.get('msg') or returned}")
        return returned

    def _say(self, text):
        self._display.display(f"[{self._host}] {text}")
