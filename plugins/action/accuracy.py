# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Score the first planned instance with AISBench, then judge and record like any other stage."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action.stage import ActionModule as StageAction
from ansible_collections.ascend.vllm.plugins.module_utils import accuracy

WATCH_S = 20


class ActionModule(StageAction):
    """See plugins/modules/accuracy.py."""

    def _observe(self, judge, context, args, records, task_vars):
        settings = context["settings"]
        self._vars, self._host = task_vars, context["host"]
        if not settings["enabled"]:
            return {"not_run": "accuracy_enabled is false: it takes data sets on the site and, for most, hours"}
        if self._task.check_mode:
            return {"not_run": "in check mode nothing is measured"}
        try:
            accuracy.check_settings(settings)
        except accuracy.BadInput as mistake:
            raise AnsibleActionFail(str(mistake)) from mistake
        compared = self._compared(settings["compare_with"])
        instance = context["plan"]["instances"][0]
        started = self._run("started", api_key=settings["api_key"], executable=settings["executable"],
                            datasets=settings["datasets"], num_prompts=settings["num_prompts"],
                            server=accuracy.server(context["plan"], instance, settings))
        found = {"instance": instance["name"], "problem": started["problem"]}
        if started["job"]:
            try:
                found.update(self._follow(started["job"], settings["timeout_s"]))
            finally:
                self._run("absent", job=started["job"])
        found["scores"] = accuracy.scores(found.get("rows", []), found.get("answers", {}))
        found["comparison"] = accuracy.compare(compared["scores"], found["scores"]) if compared else []
        found["compared_with"] = compared and {key: compared[key] for key in ("model", "release", "host")}
        found["figures"] = accuracy.figures(found["scores"])
        return found

    def _compared(self, path):
        """The scores of an earlier result, such as that of the BF16 model; None when none is asked for."""
        if not path:
            return None
        try:
            result = json.loads(Path(path).read_text("utf-8"))
            return {"scores": result["observed"]["scores"], "model": result["model"], "release": result["release"],
                    "host": result["host"]}
        except (OSError, ValueError, KeyError) as error:
            raise AnsibleActionFail(f"accuracy_compare_with has to be the accuracy.json of an earlier measurement, but "
                                    f"{path} is not: {error}") from error

    def _follow(self, job, timeout_s):
        """Watch the run and say how far it is; a run that takes too long is left to be removed."""
        until, said = time.monotonic() + timeout_s, None
        while True:
            left = until - time.monotonic()
            seen = self._run("watched", job=job, wait=max(0, min(WATCH_S, left)))
            if not seen["running"]:
                return {key: seen[key] for key in ("exit_code", "rows", "answers", "log")}
            if left <= 0:
                return {"problem": f"AISBench took longer than accuracy_timeout_s ({timeout_s} s)"}
            if seen["progress"] and seen["progress"] != said:
                said = seen["progress"]
                for task, note in sorted(said.items()):
                    self._display.display(f"[{self._host}] {task}: {note['status']}, {note['finish_count']} of "
                                          f"{note['total_count']}")

    def _run(self, state, **arguments):
        returned = self._execute_module(module_name="ascend.vllm.ais_bench", module_args=dict(arguments, state=state),
                                        task_vars=self._vars)
        if returned.get("failed"):
            raise AnsibleActionFail(f"ascend.vllm.ais_bench failed: {returned.get('msg') or returned}")
        return returned
