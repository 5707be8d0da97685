# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the node that gets the model from its source, and the nodes from which the remaining nodes copy the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import plain
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.weights.fanout import stager, upstreams

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Held


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the stager, the receivers, the upstream nodes of this node and the manifest of the model."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={
            "held": {"type": "dict", "required": True},
            "failed": {"type": "list", "elements": "str", "default": []},
            "staged": {"type": "bool", "default": False},
            "hosts": {"type": "list", "elements": "str"},
        })
        hostvars, host = task_vars["hostvars"], task_vars["inventory_hostname"]
        hosts: list[str] = plain(args["hosts"] or task_vars["ansible_play_hosts"])
        held: dict[str, Held] = {name: found for name, found in plain(args["held"]).items() if name in hosts}
        holders = {name for name in held if held[name]["holds"]}
        if args["staged"] and not holders:
            raise AnsibleActionFail("No node of this run has the whole model, because every attempt to get it from the "
                                    "source failed; see the messages of the nodes that tried, then run again.")
        # By these addresses, the nodes reach each other.
        addresses = {name: str(found.get("weights_swarm_address") or found.get("ansible_host") or name)
                     for name, found in ((name, hostvars[name]) for name in hosts)}
        members = [name for name in hosts if name in holders or name not in args["failed"]]
        upstream = upstreams(members, holders).get(host, [])
        chosen = stager(hosts, held, args["failed"])
        return {
            "changed": False,
            "stager": chosen,
            "receivers": [name for name in members if name not in holders],
            "address": addresses[host],
            "peers": [addresses[name] for name in hosts],
            "upstream": [addresses[name] for name in upstream],
            "manifest": held[chosen]["manifest"] if chosen else None,
        }
