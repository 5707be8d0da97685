# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove earlier results at the beginning of a run, and write the report at its end."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, report
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import (
    BadHostName,
    Records,
    timestamp,
    to_json,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_secrets, plain, role_inputs


class ActionModule(ActionBase):
    """See plugins/modules/report.py."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Remove the results of the selected stages, or write the report and print its summary."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={
            "phase": {"type": "str", "choices": ["begin", "end"], "default": "end"},
            "hosts": {"type": "list", "elements": "str", "required": True},
        })
        args = plain(args)
        secrets = known_secrets(self._templar, task_vars)
        records = Records(role_inputs(self._templar, task_vars, "report")["report_path"], dry=self._task.check_mode,
                          known_secrets=secrets, warn=lambda text: _text.warn(self._display, text, secrets))
        if args["phase"] == "begin":
            for tag, stage in contract.mistyped_tags(task_vars.get("ansible_run_tags")).items():
                raise AnsibleActionFail(f"--tags names {tag}, which is not a stage, so nothing would be run; did you "
                                        f"mean {stage}? The stages are {', '.join(contract.STAGES)}.")
            stages = contract.selected_stages(task_vars.get("ansible_run_tags"), task_vars.get("ansible_skip_tags"))
            try:
                records.remove_results(args["hosts"], stages)
            except BadHostName as refused:
                raise AnsibleActionFail(f"Nothing was run. {refused}") from refused
            return {"changed": False, "stages": stages}

        found = {host: _results(records, host) for host in args["hosts"]}
        notes = records.read_notes([host for host in found if found[host]], "plan")
        summary = report.summarize(
            found, args["hosts"], timestamp(), COLLECTION_VERSION, records.read_report(),
            _text.grouped({host: note["warnings"] for host, note in notes.items()}, len(found)))
        records.write(records.root / "report.json", to_json(summary, sort_keys=False))
        path = records.write(records.root / "report.md", report.to_markdown(summary))
        headline = report.headline(summary)
        # Printed directly, because the table would be unreadable as a return value of the task.
        _text.say(self._display, ["", headline, "", *report.table(summary), "", *report.services(summary),
                                  f"Report: {path}"], secrets)
        return {"changed": False, "status": summary["status"], "msg": headline, "path": str(path)}


def _results(records: Records, host: str) -> dict[str, contract.StageResult]:
    """Return the results of a host; an empty dictionary if its name was refused."""
    try:
        return records.read_results(host, contract.STAGES)
    except BadHostName:
        return {}
