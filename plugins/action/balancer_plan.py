# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve the servers behind the balancer on the controller, from the plans of all nodes of the balancer.

A run on a part of the nodes (--limit, serial) must not remove the other nodes from the balancer.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils import _balancer as balancer
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import HostInputs, Plans
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.tls import file_problems
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import api_keys, role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.judge import Service


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the balancers, their servers, and the balancers that this host manages."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        host = task_vars["inventory_hostname"]
        settings = role_inputs(self._templar, task_vars, "balancer", "report")
        plans_of_run = Plans(self._templar, task_vars, Records(settings["report_path"]))
        inputs = plans_of_run.inputs
        balancers, nodes = settings["balancer_hosts"], settings["balancer_nodes"]
        sentences = balancer.unknown_hosts(settings, task_vars["hostvars"], host)
        if sentences:
            raise AnsibleActionFail(" ".join(sentences))
        # The balancer of another deployment can run on this node, and is then managed by a node of that deployment.
        play_hosts_all, play_hosts = ([name for name in task_vars[key] if name in nodes] or task_vars[key]
                                      for key in ("ansible_play_hosts_all", "ansible_play_hosts"))
        managed = balancer.managed(balancers, host, play_hosts_all, play_hosts)
        plans = {name: _plan(plans_of_run, name) for name in nodes if managed or name == host}
        servers = balancer.servers(plans)
        ports = balancer.listening(settings)
        sentences = [sentence for _name, sentence in file_problems("balancer", settings)]
        addresses = {name: inputs[name]["serving_address"] for name in balancers}
        on_nodes = {each: plans_of_run.resolved(each) for name in balancers if name in plans
                    for each in plans_of_run.deployments(name)}
        sentences += balancer.problems(balancers, ports, servers, on_nodes, settings["balancer_bind"], addresses)
        if len({tuple(api_keys(inputs[name]["serving_api_key"])) for name in plans}) > 1:
            sentences.append("serving_api_key differs among balancer_nodes, so a client could not know which one to "
                             "send; set the same key on all of them.")
        if managed:
            sentences += self._shared_balancers(task_vars, balancers, nodes, plans_of_run)
        if sentences:
            raise AnsibleActionFail(f"The balancer was not set up. {' '.join(sentences)}")
        services: list[Service] = [{"name": f"balancer on {name}", "served_name": servers[0]["served_name"],
                                    "url": balancer.url(settings, addresses[name])} for name in managed]
        hosts = balancers if any(server["host"] == host for server in servers) else []
        return {"changed": False, "hosts": hosts, "managed": managed, "servers": servers, "services": services,
                "ports": ports, "control_paths": balancer.control_paths(plans)}

    def _shared_balancers(self, task_vars: dict[str, Any], balancers: list[str], nodes: list[str],
                          plans: Plans) -> list[str]:
        """Return a sentence for each node of another deployment whose balancer would replace one of this deployment."""
        inputs = HostInputs(self._templar, task_vars, ("balancer",))
        others = [name for name in task_vars.get("groups", {}).get("npu_nodes", ()) if name not in nodes]
        own = {plans.node(name): name for name in balancers}
        return ["balancer_hosts names %s on %s and on %s, which are in different balancer_nodes, but a host runs the "
                "balancer of one deployment only; choose another host." % (
                    shared, task_vars["inventory_hostname"], name)
                for name in others if inputs[name]["balancer_enabled"] and inputs[name]["balancer_nodes"] != nodes
                for node, shared in sorted(own.items()) if node in map(plans.node, inputs[name]["balancer_hosts"])]


def _plan(plans: Plans, host: str) -> Plan:
    try:
        return plans[host]
    except AnsibleActionFail as refused:
        raise AnsibleActionFail(f"The balancer was not set up. {refused}") from refused
