# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the diagnostics of a node, and save them on the controller for the archive of the run."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.bundle import ARCHIVE, NOTE, NodeNote, index
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records, json_data
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_secrets, plain, role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import Hung, deadline
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import error_line, warn

MODULE = "ascend.vllm.diagnostics_bundle"
# Seconds in addition to limit_s, for masking, triage and the transfer.
EXTRA_S = 300


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returned, without the archive. Do not fail if the node cannot be examined."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        host = variables["inventory_hostname"]
        secrets = known_secrets(self._templar, variables)
        records = Records(role_inputs(self._templar, variables, "report")["report_path"], known_secrets=secrets)
        arguments = plain(self._task.args)
        note: NodeNote = {"files": {}, "diagnosis": [], "clock_offset_s": 0.0, "failure": None}
        archive = ""
        # The disk of the node may be full, so Ansible unpacks the module in memory.
        self._task.environment = [*(self._task.environment or ()), {"TMPDIR": "/dev/shm"}]
        limit_s = int(arguments.get("limit_s", 300)) + EXTRA_S
        try:
            with deadline(limit_s):
                returned = self._execute_module(MODULE, module_args={**arguments, "controller_time_s": time.time()},
                                                task_vars=variables)
            archive = returned.get("archive", "")
            if returned.get("failed"):
                raise AnsibleActionFail(f"The module failed: {returned.get('msg')}")
            values = {key: json_data(returned[key]) for key in ("files", "diagnosis", "clock_offset_s")}
            # A dry run: building the index raises an error if the values have an unexpected format.
            index("", {host: {**note, **values}}, {})
            note.update(values)
        except Hung:
            note["failure"] = f"The module did not return within {limit_s} s"
        except Exception as error:
            note["failure"] = error_line(error)
        if note["failure"]:
            warn(self._display, f"{host}: no diagnostics were collected: {note['failure']}", secrets)
        note = json.loads(mask_known(json.dumps(note), secrets))
        records.write_private(records.write_note(host, NOTE, note).with_name(ARCHIVE), base64.b64decode(archive))
        return {"changed": False, **note}
