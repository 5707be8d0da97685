# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a host, resolved on the controller from the catalogue and the inventory without contacting the node.

A plan is resolved and saved once per host and run, and later tasks read the saved plan. If inputs change during the
run, for example because a role is included twice, the plan is resolved again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils import _role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.renamed_inputs import renamed
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.tls import BadCertificates, ca_certificates
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.topology import GROUPED
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Catalogue, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.unknown_names import unknown_names
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import BadHostName, NoPlan, Records

ROLES = ("plan", "image", "weights", "serving")
# The plan is registered, printed and saved, so it only records whether a secret is set.
SECRETS = ("serving_api_key", "weights_hub_token")


def input_digests(task_vars: Mapping[str, Any]) -> dict[str, str]:
    """Return ``{input of the plan: digest of its value before templating}``. The result is the same in every role.

    Because digests are saved, the digest of a secret depends only on whether the secret is set.
    """
    found = {}
    for role in ROLES:
        for name, default in _role_inputs.role_defaults(role).items():
            value = _role_inputs.plain(task_vars.get(name, default))
            text = json.dumps(bool(value) if name in SECRETS else value, sort_keys=True)
            found[name] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


class Plans:
    """The plans of hosts in this run: read if they are saved, otherwise resolved from the inventory and saved.

    :param templar: the templar of the action plugin. :param task_vars: the variables of its task.
    """

    def __init__(self, templar: Any, task_vars: Mapping[str, Any], records: Records) -> None:
        self.inputs = HostInputs(templar, task_vars)
        self._hostvars = task_vars.get("hostvars", {})
        self._records = records

    def __getitem__(self, host: str) -> Plan:
        """Return the plan of a host.

        :raises AnsibleActionFail: with all refusals, if the plan cannot be deployed.
        """
        plan = self.resolved(host)
        if plan["refusals"]:
            sentences = " ".join(refusal["message"] for refusal in plan["refusals"])
            raise AnsibleActionFail(f"{host} cannot be deployed like this, and nothing was changed. {sentences}",
                                    result={"refusals": plan["refusals"]})
        return plan

    def resolved(self, host: str) -> Plan:
        """Return the plan of a host, which is not saved if it has refusals."""
        try:
            self._records.folder(host)
        except BadHostName as refused:
            raise AnsibleActionFail(str(refused)) from refused
        digests = input_digests(self.inputs.variables(host))
        try:
            return self._records.read_plan(host, digests)
        except NoPlan:
            plan = self._resolve(host)
        if not plan["refusals"]:
            self._records.write_plan(host, plan, digests)
        return plan

    def catalogue(self, host: str) -> Catalogue:
        """Return the catalogue of a host."""
        return load_catalogue(self.inputs[host]["plan_catalogue"])

    def _resolve(self, host: str) -> Plan:
        plan = resolve(self.catalogue(host), self._without_secrets(host), host,
                       {name: self._without_secrets(name) for name in self._members(host)})
        plan["refusals"] += [{"id": name, "message": sentence} for name, sentence in _role_inputs.secret_problems(
            self.inputs.templar, self.inputs.variables(host)).items()]
        try:
            plan["ca"] = ca_certificates(self.inputs[host]["serving_tls_ca"])
        except BadCertificates as error:
            plan["refusals"].append({"id": "serving_tls_ca", "message": str(error)})
        plan["refusals"] += renamed(self.inputs.variables(host))
        strict = self.inputs[host]["plan_strict_names"] is True
        plan["refusals" if strict else "warnings"] += unknown_names(
            self.inputs.variables(host), self.inputs[host]["plan_allowed_names"])
        return plan

    def _members(self, host: str) -> list[str]:
        """Return the hosts in serving_hosts that are in the inventory. Empty if the host is not in a group."""
        named = self.inputs[host]["serving_hosts"]
        if self.inputs[host]["serving_topology"] not in GROUPED or not isinstance(named, list):
            return []
        return [name for name in named if name in self._hostvars]

    def _without_secrets(self, host: str) -> dict[str, Any]:
        return {**self.inputs[host], **{secret: "set" for secret in SECRETS if self.inputs[host][secret]}}


class HostInputs(dict[str, dict[str, Any]]):
    """``{host: inputs of the roles}``, read on demand.

    The inputs of a host other than the host of the task come from its inventory variables and from the variables that
    the play sets for all hosts.
    """

    def __init__(self, templar: Any, task_vars: Mapping[str, Any], roles: tuple[str, ...] = ROLES) -> None:
        super().__init__()
        self.templar = templar
        self._task_vars = task_vars
        self._roles = roles
        self._shared: dict[str, Any] | None = None

    def __missing__(self, host: str) -> dict[str, Any]:
        self[host] = _role_inputs.role_inputs(self.templar, self.variables(host), *self._roles)
        return self[host]

    def variables(self, host: str) -> Mapping[str, Any]:
        """Return the variables of a host, before templating."""
        if host == self._task_vars["inventory_hostname"]:
            return self._task_vars
        if self._shared is None:
            self._shared = shared_variables(self._task_vars)
        return {**self._task_vars["hostvars"].raw_get(host), **self._shared}


def shared_variables(task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that the play, the role or the task sets for all hosts."""
    mine = task_vars["hostvars"].raw_get(task_vars["inventory_hostname"])
    return {name: value for name, value in task_vars.items() if name not in mine or mine[name] != value}
