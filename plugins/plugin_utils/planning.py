# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a host, resolved on the controller from catalogue and variables, without asking the node.

PRIVATE to the collection.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.module_utils.plan import resolve
from ansible_collections.ascend.vllm.plugins.module_utils.plan_topology import GROUPED
from ansible_collections.ascend.vllm.plugins.plugin_utils.catalogue import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils.settings import role_settings

ROLES = ("plan", "image", "weights", "serving")
# The plan is registered, printed and filed: it may know that there is a secret, never which.
SECRETS = ("serving_api_key", "weights_hub_token")


def resolve_plan(templar, task_vars):
    """Return the plan of the task's host; raises AnsibleActionFail with every refusal when it cannot be deployed."""
    host = task_vars["inventory_hostname"]
    inputs = _inputs(templar, task_vars)
    plan = resolve(load_catalogue(inputs["plan_catalogue"]), inputs, host, _members(templar, host, inputs, task_vars))
    if plan["refusals"]:
        sentences = " ".join(refusal["message"] for refusal in plan["refusals"])
        raise AnsibleActionFail(f"{host} cannot be deployed like this, and nothing was changed. {sentences}",
                                result={"refusals": plan["refusals"]})
    return plan


def _inputs(templar, task_vars):
    inputs = role_settings(templar, task_vars, *ROLES)
    inputs.update((name, "set") for name in SECRETS if inputs[name])
    return inputs


def shared_variables(task_vars):
    """Return what the play, the role or the task sets: not among the variables of another host, it holds for it too."""
    mine = task_vars["hostvars"].raw_get(task_vars["inventory_hostname"])
    return {name: value for name, value in task_vars.items() if name not in mine or mine[name] != value}


def _members(templar, host, inputs, task_vars):
    """Return ``{host: inputs}`` of the hosts that serve together with this one, where the inventory has them."""
    named = inputs["serving_hosts"]
    if inputs["serving_topology"] not in GROUPED or not isinstance(named, list):
        return {}
    known, shared = task_vars["hostvars"], shared_variables(task_vars)
    return {name: inputs if name == host else _inputs(templar, {**known.raw_get(name), **shared})
            for name in named if name in known}
