# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a host, resolved on the controller from catalogue and variables, without asking the node.

PRIVATE to the collection.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.topology import GROUPED
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_settings

ROLES = ("plan", "image", "weights", "serving")
# The plan is registered, printed and filed: it may know that there is a secret, never which.
SECRETS = ("serving_api_key", "weights_hub_token")


def resolve_plan(templar, task_vars):
    """Return the plan of the task's host; raises AnsibleActionFail with every refusal when it cannot be deployed."""
    host, inputs = task_vars["inventory_hostname"], Inputs(templar, task_vars)
    plan = inputs.plan(host, load_catalogue(inputs[host]["plan_catalogue"]))
    if plan["refusals"]:
        sentences = " ".join(refusal["message"] for refusal in plan["refusals"])
        raise AnsibleActionFail(f"{host} cannot be deployed like this, and nothing was changed. {sentences}",
                                result={"refusals": plan["refusals"]})
    return plan


class Inputs(dict):
    """``{host: inputs}`` of the roles that make a plan, read when they are asked for.

    The task's host has its own variables; another one those of the inventory and what holds for it too.
    """

    def __init__(self, templar, task_vars):
        super().__init__()
        self._templar = templar
        self._task_vars = task_vars
        self._shared = None

    def __missing__(self, host):
        variables = self._task_vars
        if host != variables["inventory_hostname"]:
            if self._shared is None:
                self._shared = shared_variables(variables)
            variables = {**variables["hostvars"].raw_get(host), **self._shared}
        self[host] = role_settings(self._templar, variables, *ROLES)
        return self[host]

    def plan(self, host, catalogue):
        """Return the plan of a host, with its refusals, from its inputs and those of the hosts that serve with it."""
        return resolve(catalogue, self._told(host), host, {name: self._told(name) for name in self._members(host)})

    def _members(self, host):
        named = self[host]["serving_hosts"]
        if self[host]["serving_topology"] not in GROUPED or not isinstance(named, list):
            return []
        return [name for name in named if name in self._task_vars["hostvars"]]

    def _told(self, host):
        return {**self[host], **{secret: "set" for secret in SECRETS if self[host][secret]}}


def shared_variables(task_vars):
    """Return what the play, the role or the task sets: not among the variables of another host, it holds for it too."""
    mine = task_vars["hostvars"].raw_get(task_vars["inventory_hostname"])
    return {name: value for name, value in task_vars.items() if name not in mine or mine[name] != value}
