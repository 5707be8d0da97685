# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the causes of failures in logs on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact_in
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.log_files import find_causes
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_secrets
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import say


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the causes, and print each with its file, line and remedy."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={"path": {"type": "path", "required": True}})
        causes, files, unreadable = find_causes(Path(args["path"]))
        if not files:
            raise AnsibleActionFail("; ".join([f"{args['path']} does not contain a text file", *unreadable]) + ".")
        secrets = known_secrets(self._templar, task_vars or {})
        causes = redact_in(causes, secrets)
        lines = ["", *("Not read: " + reason for reason in unreadable)]
        for number, cause in enumerate(causes, 1):
            place = f"{cause['file']}, line {cause['line']}" + (f", {cause['time']}" if cause["time"] else "")
            lines += [f"{number}. {cause['cause']} ({place})", f"   {cause['evidence']}", f"   {cause['remedy']}", ""]
        if causes:
            lines.append("The checks that the remedies name are described in docs/checks.md.")
        else:
            lines.append(f"No fault was found (files read: {len(files)}).")
        say(self._display, lines, secrets)
        return {"changed": False, "diagnosis": causes, "files": files}
