# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the archive with the diagnostics of this run, and print the causes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import RECORDING
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import bundle, contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.anonymize import Anonymizer
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import OBSERVED, Records, timestamp
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_secrets, plain, role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import say


class ActionModule(ActionBase):
    """See plugins/modules/diagnostics_archive.py."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Put what the nodes returned, their plans and their results into one archive, its index first."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={
            "path": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "str", "required": True},
            "size_limit_mb": {"type": "int", "default": 64},
        })
        args = plain(args)
        secrets = known_secrets(self._templar, variables)
        records = Records(role_inputs(self._templar, variables, "report")["report_path"], known_secrets=secrets)
        notes = cast("dict[str, bundle.NodeNote]", records.read_notes(args["hosts"], bundle.NOTE))
        results = {host: records.read_results(host, contract.STAGES) for host in args["hosts"]}
        title = f"Diagnostics of {timestamp()}, by ascend.vllm {COLLECTION_VERSION}"
        index = bundle.index(title, notes, {host: found for host, found in results.items() if found or host in notes})
        path = Path(args["path"]) / f"diagnostics-{records.run_id}.tar.gz"

        anonymizer = Anonymizer(variables.get("groups", {}).get("all", ()))

        def files() -> Iterator[tuple[str, str]]:
            yield bundle.INDEX, "\n".join(index) + "\n"
            for host in args["hosts"]:
                folder, prefix = records.folder(host), f"{bundle.ROOT}/{host}/"
                # A compressed archive does not exceed its limit by much: masks are longer than some secrets.
                for name, text in bundle.members(folder / OBSERVED / bundle.ARCHIVE, 2 * args["size_limit_mb"] << 20):
                    if host in notes:
                        yield prefix + name, anonymizer.recording(text) if name == RECORDING else text
                for name in ("plan", *results[host]):
                    if (folder / f"{name}.json").is_file():
                        text = (folder / f"{name}.json").read_text("utf-8", "replace")
                        yield f"{prefix}results/{name}.json", bundle.masked(text, secrets)

        if not self._task.check_mode:
            bundle.write(path, files(), secrets)
        say(self._display, ["", *index[:index.index("## Files")], f"Diagnostics: {path}"], secrets)
        return {"changed": False, "path": str(path), "msg": bundle.first_fault_of(notes)}
