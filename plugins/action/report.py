# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove earlier results at the beginning of a run; write the report, the diagnostics or the verdict at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import RECORDING
from ansible_collections.ascend.vllm.plugins.module_utils._host.collecting import pack
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known, redact_in
from ansible_collections.ascend.vllm.plugins.plugin_utils import _role_inputs, _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import (
    bundle,
    contract,
    forms,
    history,
    html,
    query,
    report,
    run,
    store,
    terminal,
    verification,
    wording,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.anonymize import Anonymizer
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import drift
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import hold_lease


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Remove the results of the selected stages, or write and print the report, the diagnostics or the verdict."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={
            "phase": {"type": "str", "choices": ["begin", "end", "diagnostics", "verify"], "default": "end"},
            "hosts": {"type": "list", "elements": "str", "required": True},
            "stages": {"type": "list", "elements": "str", "choices": list(contract.STAGES)},
            "path": {"type": "path"},
            "size_limit_mb": {"type": "int", "default": 64},
        })
        args = _role_inputs.plain(args)
        secrets = _role_inputs.known_secrets(self._templar, task_vars)
        inputs = _role_inputs.role_inputs(self._templar, task_vars, "report")
        records = store.Records(inputs["report_path"], dry=self._task.check_mode, known_secrets=secrets,
                                warn=lambda text: _text.warn(self._display, text, secrets))
        mistakes = {**query.problems(inputs), **_role_inputs.typed("report", inputs)[1]}
        if mistakes:
            raise AnsibleActionFail(" ".join(mistakes.values()))
        if args["phase"] == "begin":
            for tag, stage in contract.mistyped_tags(task_vars.get("ansible_run_tags")).items():
                raise AnsibleActionFail(f"--tags names {tag}, which is not a stage, so nothing would be run; did you "
                                        f"mean {stage}? The stages are {', '.join(contract.STAGES)}.")
            hold_lease(records)
            stages = args["stages"] or contract.selected_stages(
                task_vars.get("ansible_run_tags"), task_vars.get("ansible_skip_tags"))
            records.remove_results(args["hosts"], stages)
            return {"changed": False, "stages": stages}

        found = {host: _results(records, host) for host in args["hosts"]}
        if args["phase"] == "diagnostics":
            return self._write_diagnostics(records, found, Path(args["path"]), 2 * args["size_limit_mb"] << 20, secrets)
        if args["phase"] == "verify" and not self._task.check_mode:
            judged = verification.judge(found, args["stages"], records.run_id, str(records.root / "report.html"))
            records.write(Path(args["path"]), store.to_json(judged))
            text = "; ".join([f"Verdict: {judged['verdict']}", *judged["reasons"]])
            _text.say(self._display, text, secrets)
            return {"changed": False, "failed": judged["verdict"] != verification.HEALTHY, **judged,
                    "msg": mask_known(text, secrets)}
        if self._task.check_mode:
            _text.say(self._display, "In check mode, no result and no report is written.")
            return {"changed": False}
        return self._write_report(records, found, task_vars, inputs, secrets)

    def _write_report(self, records: store.Records, found: dict[str, dict[str, contract.StageResult]],
                      task_vars: dict[str, Any], inputs: dict[str, Any], secrets: list[str]) -> dict[str, Any]:
        """Write all forms of the report, and print its end-of-run text and the result of report_query."""
        notes = records.read_notes([host for host in found if found[host]], "plan")
        plans = {host: records.read_json(records.folder(host) / "plan.json", ("plan",))
                 for host, results in found.items() if results}
        summary = report.summarize(
            found, list(found), store.timestamp(), COLLECTION_VERSION, records.read_report(),
            _text.grouped({host: note["warnings"] for host, note in notes.items()}, len(found)),
            {host: records.read_current(host, results) for host, results in found.items() if results},
            (records.run_id, run.RUN["since"]),
            [host for host in task_vars.get("groups", {}).get("npu_nodes", ()) if host not in found],
            inputs["report_max_age_h"], inputs["report_fail_on"],
            {host: saved["plan"].get("node") for host, saved in plans.items() if saved})
        assets = _role_inputs.collection_root() / "roles" / "report" / "files"
        page = html.page(redact_in(summary, secrets), found,
                         {host: redact_in(saved["plan"], secrets) for host, saved in plans.items() if saved},
                         drift.facts, records.add_to_history(history.entry(summary, found)),
                         {name: (assets / name).read_text("utf-8") for name in html.ASSETS})
        for name, text in [*forms.forms(summary, found), ("report.html", page)]:
            records.write_form(name, text)
        path = records.root / "report.md"
        # Printed directly, because the table would be unreadable as a return value of the task.
        _text.say(self._display, [*terminal.end_of_run(summary),
                                  f"Report: {path.with_suffix('.html')}, as text in {path.name}"], secrets)
        headline = wording.headline(summary)
        returned: dict[str, Any] = {"status": summary["status"], "msg": headline, "path": str(path)}
        if summary["fails_on"]:
            returned["failing_host"] = report.failing_host(summary)
            returned["msg"] += f" (report_fail_on: {', '.join(summary['fails_on'])})"
        if inputs["report_query"]:
            try:
                returned["query"] = query.search(inputs["report_query"], store.json_data(summary))
                _text.say(self._display, query.lines(returned["query"]), secrets)
            except ValueError as error:  # A function got a value of a type that it does not accept.
                _text.warn(self._display, f"report_query cannot be evaluated: {_text.error_line(error)}.", secrets)
        # As with set_stats, so that automation controllers such as AWX show them.
        stats = {**returned, **{key: summary[key] for key in ("passing_hosts", "failing_hosts", "services", "figures")}}
        return {"changed": False, **returned,
                "ansible_stats": {"data": {"ascend_vllm": stats}, "per_host": False, "aggregate": False}}

    def _write_diagnostics(self, records: store.Records, found: dict[str, dict[str, contract.StageResult]],
                           folder: Path, max_bytes: int, secrets: list[str]) -> dict[str, Any]:
        """Write what the nodes returned, their plans and their results into one archive, and print its index."""
        notes = records.read_notes(found, bundle.NOTE)
        index = bundle.index(f"Diagnostics of {store.timestamp()}, by ascend.vllm {COLLECTION_VERSION}", notes,
                             {host: results for host, results in found.items() if results or host in notes})
        anonymizer = Anonymizer(found)
        texts = {bundle.INDEX: "\n".join(index) + "\n"}
        for host in (each for each in found if found[each] or each in notes):
            prefix = f"{bundle.ROOT}/{host}/"
            if host in notes:
                texts.update((prefix + name, anonymizer.recording(text) if name == RECORDING else text) for name,
                             text in bundle.members(records.folder(host) / store.OBSERVED / bundle.ARCHIVE, max_bytes))
            for name in ("plan", *found[host]):
                saved = records.read_json(records.folder(host) / f"{name}.json")
                if saved:
                    texts[f"{prefix}results/{name}.json"] = store.to_json(redact_in(saved, secrets))
        path = folder / f"diagnostics-{records.run_id}.tar.gz"
        if not self._task.check_mode:
            records.write_private(path, pack((name, mask_known(text, secrets)) for name, text in texts.items()))
        written = "no archive is written in check mode" if self._task.check_mode else path
        _text.say(self._display, ["", *index[:index.index("## Files")], f"Diagnostics: {written}"], secrets)
        return {"changed": False, "path": str(path), "msg": bundle.first_fault_of(notes)}


def _results(records: store.Records, host: str) -> dict[str, contract.StageResult]:
    """Return the results of a host; an empty dictionary if its name was refused."""
    try:
        return records.read_results(host, contract.STAGES)
    except store.BadHostName:
        return {}
