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
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils import _role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import nodes
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.renamed_inputs import renamed
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.tls import BadCertificates, ca_certificates
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.topology import GROUPED
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Catalogue, Finding, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.unknown_names import unknown_names
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import NoPlan, Records

ROLES = ("plan", "image", "weights", "serving")
# The plan is registered, printed and saved, so it only records whether a secret is set.
SECRETS = ("serving_api_key", "weights_hub_token")
# The stages that are run once for all deployments of a node whose plans have the same value under these nested keys.
ONCE_PER_NODE: dict[str, tuple[str, ...]] = {
    "npu_driver": ("node",), "hccl": ("node",), "image": ("image", "reference"), "weights": ("model", "path")}


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
    :param roles: the roles whose inputs the caller reads, see `inputs`.
    """

    def __init__(self, templar: Any, task_vars: Mapping[str, Any], records: Records,
                 roles: Sequence[str] = ROLES) -> None:
        self.inputs = HostInputs(templar, task_vars, roles)
        self._hostvars = task_vars.get("hostvars", {})
        self._npu_nodes = task_vars.get("groups", {}).get("npu_nodes") or list(self._hostvars)
        self._records = records
        self._neighbors: dict[str, list[str]] | None = None

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
        """Return the plan of a host. A plan without refusals is saved, and read from its file after that."""
        self._records.folder(host)  # raises BadHostName
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

    def deployments(self, host: str) -> list[str]:
        """Return the hosts of the inventory that are deployments on the node of a host, including the host."""
        if self._neighbors is None:
            self._neighbors = self._records.once("nodes", self._shared_nodes)
        return self._neighbors.get(host, [host])

    def node(self, host: str) -> str:
        """Return the name of the node of a host."""
        variables = self.inputs.variables(host) if host in self._hostvars else {}
        named = variables.get("plan_node")
        return str(self.inputs.templated(variables, named) or host) if named else host

    def observer(self, host: str, stage: str, hosts: Sequence[str]) -> str:
        """Return the host of the play that runs a stage for a host.

        This can be another deployment on the same node, because some stages are run once per node.

        :param hosts: the hosts that are still in the play. Some of them may have failed in an earlier stage.
        """
        if stage not in ONCE_PER_NODE:
            return host
        on_node = self.deployments(host)
        if len(on_node) < 2:
            return host
        candidates = [name for name in hosts
                      if name in on_node and (name == host or not self._has_failed(name, stage))]
        return next((name for name in candidates if self._key(name, stage) == self._key(host, stage)), host)

    def _key(self, host: str, stage: str) -> Any:
        value: Any = self.resolved(host)
        for key in ONCE_PER_NODE[stage]:
            value = value and value[key]
        return value

    def _has_failed(self, host: str, stage: str) -> bool:
        """Return whether a host failed in an earlier stage of this run."""
        earlier = self._records.read_results(host, contract.STAGES[:contract.STAGES.index(stage)])
        return any(result["status"] == contract.FAILED and result.get("run_id") == self._records.run_id
                   for result in earlier.values())

    def _shared_nodes(self) -> dict[str, list[str]]:
        """Return ``{host: deployments on its node}`` for the nodes with several deployments."""
        found: dict[str, list[str]] = {}
        for host in self._npu_nodes:
            found.setdefault(self.node(host), []).append(host)
        return {host: hosts for hosts in found.values() if len(hosts) > 1 for host in hosts}

    def _resolve(self, host: str) -> Plan:
        findings: list[Finding] = []
        plan = self._resolved_alone(host, findings)
        plan["refusals"] += findings or (self._overlaps(host, plan) if plan["instances"] else [])
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

    def _resolved_alone(self, host: str, findings: list[Finding]) -> Plan:
        """Return the plan of a host without comparing it with the other plans of its node."""
        return resolve(self.catalogue(host), self._on_node(host, findings), host,
                       {name: self._on_node(name, []) for name in self._members(host)})

    def _overlaps(self, host: str, plan: Plan) -> list[Finding]:
        """Return a refusal for each conflict of a host with another deployment on its node, and set the neighbors."""
        plans = {name: plan if name == host else self._resolved_alone(name, []) for name in self.deployments(host)}
        plan["neighbors"] = {name: other["instances"][0]["name"] for name, other in plans.items()
                             if name != host and other["instances"]}
        deployments = [nodes.Deployment(name, other, "%s port %s" % (
            self._variable(name, "ansible_host", name), self._variable(name, "ansible_port", 22)))
            for name, other in plans.items() if other["instances"]]
        return [refusal for first, second in combinations(deployments, 2) if host in (first.host, second.host)
                for refusal in nodes.overlaps(str(plan["node"]), first, second)]

    def _variable(self, host: str, name: str, default: object) -> object:
        variables = self.inputs.variables(host)
        return self.inputs.templated(variables, variables.get(name, default))

    def _on_node(self, host: str, findings: list[Finding]) -> dict[str, Any]:
        """Return the inputs of a host. If its node has several deployments, serving_npus auto is replaced by its share.

        :param findings: receives a refusal if the node does not have enough NPUs.
        """
        own = self._without_secrets(host)
        hosts = self.deployments(host)
        if len(hosts) < 2 or own["serving_npus"] != "auto":
            return own
        plan = self._needed(host)
        devices = plan["hardware"]["npu_devices"] if plan["instances"] else []
        needed: dict[str, int] = {}
        named: set[str] = set()
        growing: list[str] = []
        for name in hosts:
            inputs = self.inputs[name]
            if inputs["serving_npus"] == "auto":
                needed[name] = sum(len(instance["npus"]) for instance in self._needed(name)["instances"])
                growing += [name] * (inputs["serving_replicas"] == "auto")
            elif isinstance(inputs["serving_npus"], list):
                named.update(map(str, inputs["serving_npus"]))
        free = [npu for npu in devices if str(npu) not in named]
        if devices and sum(needed.values()) > len(free):
            findings.append({"id": "serving_npus", "message": (
                "serving_npus is auto for %s on the node %s (plan_node), which need %d NPUs, but %d are free; use "
                "fewer for one of them (serving_tensor_parallel_size, serving_replicas), or another node." % (
                    ", ".join(needed), self.node(host), sum(needed.values()), len(free)))})
        share = [] if findings else nodes.share_out(free, needed, growing)[host]
        return {**own, "serving_npus": share} if share else own

    def _needed(self, host: str) -> Plan:
        """Return the plan of a host without its neighbors, with one instance if serving_replicas is auto."""
        inputs = self._without_secrets(host)
        replicas = 1 if inputs["serving_replicas"] == "auto" else inputs["serving_replicas"]
        return resolve(self.catalogue(host), {**inputs, "serving_replicas": replicas}, host, {
            name: self._without_secrets(name) for name in self._members(host)})

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

    def __init__(self, templar: Any, task_vars: Mapping[str, Any], roles: Sequence[str] = ROLES) -> None:
        super().__init__()
        self.templar = templar
        self._task_vars = task_vars
        self._roles = roles
        self._shared: dict[str, Any] | None = None
        self._variables: dict[str, Mapping[str, Any]] = {task_vars["inventory_hostname"]: task_vars}

    def __missing__(self, host: str) -> dict[str, Any]:
        self[host] = _role_inputs.role_inputs(self.templar, self.variables(host), *self._roles)
        return self[host]

    def templated(self, variables: Mapping[str, Any], value: Any) -> Any:
        """Return a variable after templating."""
        return _role_inputs.plain(self.templar.copy_with_new_env(available_variables=variables).template(value))

    def variables(self, host: str) -> Mapping[str, Any]:
        """Return the variables of a host, before templating."""
        if host not in self._variables:
            if self._shared is None:
                self._shared = shared_variables(self._task_vars)
            self._variables[host] = {**self._task_vars["hostvars"].raw_get(host), **self._shared}
        return self._variables[host]


def shared_variables(task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that the play, the role or the task sets for all hosts, other than defaults of roles."""
    of_host = task_vars["hostvars"].raw_get(task_vars["inventory_hostname"])
    defaults = {name: default for role in _role_inputs.roles()
                for name, default in _role_inputs.role_defaults(role).items()}
    return {name: value for name, value in task_vars.items()
            if (name not in of_host or of_host[name] != value) and (name not in defaults or defaults[name] != value)}
