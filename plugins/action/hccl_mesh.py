# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work out a node's part of the ping mesh from the observations of all nodes, have it sent, and keep the outcome."""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import plain, role_settings
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import mesh_arguments


class ActionModule(ActionBase):
    """See plugins/modules/hccl_mesh.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        host = task_vars["inventory_hostname"]
        variables = role_settings(self._templar, task_vars, "hccl", "report")
        settings = {name[len("hccl_"):]: value for name, value in variables.items() if name.startswith("hccl_")}
        records, clock = Records(variables["report_path"], dry=self._task.check_mode), time.monotonic()
        arguments = records.survey(host, task_vars["ansible_play_hosts"], "hccl", self._task._uuid,
                                   lambda peers: mesh_arguments(peers, settings))

        # A node that fails here is judged with the others, by the stage that follows.
        outcome = {"ping": None, "reach": None, "ping_error": None}
        try:
            returned = self._execute_module(
                "ascend.vllm.hccn_ping", module_args=arguments, task_vars=task_vars)
            if returned.get("failed"):
                outcome["ping_error"] = str(returned.get("msg") or returned)
            else:
                outcome.update(ping=plain(returned["ping"]), reach=plain(returned["reach"]))
        except AnsibleConnectionFailure as failure:
            outcome["ping_error"] = f"{host} is not reachable: {failure}"
        observed = records.read_observed([host], "hccl")[host]
        records.write_observed(host, "hccl", {**observed, **outcome}, clock)
        return {"changed": False, **outcome}
