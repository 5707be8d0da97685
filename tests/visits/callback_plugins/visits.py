# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin for tests that records which tasks and inputs an Ansible run has visited, see record.py."""

from __future__ import annotations

DOCUMENTATION = """
name: visits
type: notification
short_description: Record the tasks, inputs, modules and checks that a run has visited
description:
  - For the tests of this collection, which enable it with E(ANSIBLE_CALLBACKS_ENABLED).
options: {}
"""

import importlib.util
from pathlib import Path

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

_spec = importlib.util.spec_from_file_location("visits_record", Path(__file__).parents[1] / "record.py")
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)

PREFIX = "ascend.vllm."


def _wrap_modules():
    """Record the options and return keys of the modules that actions of this run execute in their worker processes."""
    execute = ActionBase._execute_module

    def recorded(self, module_name=None, module_args=None, *arguments, **named):
        returned = execute(self, module_name, module_args, *arguments, **named)
        name = module_name or self._task.action
        if name.startswith(PREFIX) and not returned.get("failed"):
            given = self._task.args if module_args is None else module_args
            record.write("module", name=name[len(PREFIX):], options=sorted(given), returned=sorted(record.keys(
                {key: value for key, value in returned.items() if not key.startswith("_")})))
        return returned

    ActionBase._execute_module = recorded


def _wrap_results():
    """Record the checks of each result that a stage of this run writes."""
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records

    write = Records.write_result

    def recorded(self, result):
        for check in result["checks"]:
            record.write("check", id=check["id"], status=check["status"])
        return write(self, result)

    Records.write_result = recorded


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "visits"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        # Imported playbooks are added with their plays, which have their own paths.
        self.playbooks = {record.relative(playbook._file_name) or playbook._file_name}
        self.inputs = set()
        self.check_mode = bool(context.CLIARGS.get("check"))
        if not hasattr(ActionBase._execute_module, "visits"):
            _wrap_modules()
            ActionBase._execute_module.visits = True
            try:
                _wrap_results()
            except ImportError:
                # The collection is an old commit, or the playbook does not use the collection.
                pass

    def v2_playbook_on_play_start(self, play):
        self.playbooks.add(record.relative((play.get_path() or "").rpartition(":")[0]))
        manager = play.get_variable_manager()
        for host in manager._inventory.get_hosts(play.hosts)[:20]:
            self.inputs.update(record.changed(manager.get_vars(play=play, host=host)))

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.inputs.update(record.changed(task.get_vars()))

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result):
        self._executed(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._executed(result)

    def v2_playbook_on_stats(self, stats):
        hosts = stats.processed
        for path in self.playbooks - {None}:
            record.write(
                "playbook", path=path, check=self.check_mode, inputs=sorted(self.inputs),
                tags=sorted(set(context.CLIARGS.get("tags") or ()) - {"all"}),
                failed=any(stats.failures.get(host) or stats.dark.get(host) for host in hosts))

    def _executed(self, result):
        task = getattr(result, "task", None) or result._task
        if task.check_mode:
            return
        file, _colon, line = (task.get_path() or "").rpartition(":")
        path = record.relative(file) if file else None
        if path:
            record.write("task", path=path, line=int(line))
        self._item(result)

    def v2_runner_item_on_ok(self, result):
        self._item(result)

    def _item(self, result):
        """Record the options and return keys of an action of the collection; see also _wrap_modules."""
        task = getattr(result, "task", None) or result._task
        returned = getattr(result, "result", None) or result._result
        if task.action.startswith(PREFIX) and "results" not in returned:
            record.write("module", name=task.action[len(PREFIX):], options=sorted(task.args),
                         returned=sorted(record.keys({
                             key: value for key, value in returned.items()
                             if not key.startswith("_") and key not in ("invocation", "module_stdout")})))
