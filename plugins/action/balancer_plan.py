# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work out on the controller what stands behind the balancer: every node's plan, also of nodes outside the play.

A run of one node (--limit, serial) must not take the others out of the balancer.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils import _balancer as balancer
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import Plans
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_inputs

EVERY_ADDRESS = ("0.0.0.0", "::", "*")


class ActionModule(ActionBase):
    """See plugins/modules/balancer_plan.py."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return the balancers, their servers and which of them this host takes care of."""
        super().run(tmp, task_vars)
        host, hostvars = task_vars["inventory_hostname"], task_vars["hostvars"]
        records = Records(role_inputs(self._templar, task_vars, "report")["report_path"])
        plans_of_run = Plans(self._templar, task_vars, records)
        inputs = plans_of_run.inputs
        own = inputs[host]
        balancers, nodes = list(own["serving_balancer_hosts"]), list(own["serving_balancer_nodes"])
        for variable, names in (("serving_balancer_hosts", balancers), ("serving_balancer_nodes", nodes)):
            unknown = [name for name in names if name not in hostvars]
            if unknown or not names:
                raise AnsibleActionFail(f"{variable} must name hosts of the inventory, but {host} has "
                                        f"{', '.join(unknown) or 'none'} there; correct it.")
        managed = balancer.managed(
            balancers, host, task_vars["ansible_play_hosts_all"], task_vars["ansible_play_hosts"])
        plans = {name: self._plan(plans_of_run, name) for name in nodes if managed or name == host}
        servers = balancer.servers(plans)
        names = ["serving_balancer_port"]
        if float(own["serving_balancer_watch_interval_s"]):
            names.append("serving_balancer_watch_port")
        ports = [{"name": name, "port": int(own[name])} for name in names]
        sentences = balancer.problems(balancers, ports, servers, plans)
        if len({inputs[name]["serving_api_key"] for name in plans}) > 1:
            sentences.append("serving_api_key differs among serving_balancer_nodes, so a client could not know which "
                             "to send; give them one key.")
        if sentences:
            raise AnsibleActionFail(f"The balancer was not set up. {' '.join(sentences)}")
        bind, port = own["serving_balancer_bind"], ports[0]["port"]
        services = [{"name": f"balancer on {name}", "served_name": servers[0]["served_name"],
                     "url": self._url(bind, inputs[name]["serving_address"], port)} for name in managed]
        told = balancers if any(server["host"] == host for server in servers) else []
        return {"changed": False, "hosts": told, "managed": managed, "servers": servers, "services": services,
                "ports": ports}

    @staticmethod
    def _plan(plans, host):
        try:
            return plans[host]
        except AnsibleActionFail as refused:
            raise AnsibleActionFail(f"The balancer was not set up. {refused}") from refused

    @staticmethod
    def _url(bind, address, port):
        return f"http://{address if bind in EVERY_ADDRESS else bind}:{port}"
