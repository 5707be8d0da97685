# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve the plan of a node on the controller once per run, and save it for later tasks.

A playbook begins with a task that checks the control node, and the plans and the inputs of all nodes, so that all
mistakes are reported together. It is one task for all nodes, because a task on each of them takes longer than a check.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known
from ansible_collections.ascend.vllm.plugins.plugin_utils import _balancer as balancer
from ansible_collections.ascend.vllm.plugins.plugin_utils import _control_node, _offline, _role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import unknown_names
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.describe import describe_all
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import (
    ONCE_PER_NODE,
    ROLES,
    HostInputs,
    Plans,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, query, run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages import plan_head
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.input_checks import checked
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import error_line, grouped, say, warn

NOTE = "plan"
# The roles whose inputs are checked, in addition to those of the stages.
ALWAYS = ("plan", "image", "weights", "serving", "balancer", "report", "diagnostics")


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run a phase: ``resolve`` returns the plan, ``offline`` the parts to collect, and the others print or fail."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={
            "phase": {"type": "str", "choices": ["begin", "show", "offline", "resolve"], "default": "resolve"},
            "commands": {"type": "dict", "default": {}},
            "site": {"type": "dict"},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "stages": {"type": "list", "elements": "str", "choices": list(contract.STAGES)},
        })
        host = task_vars["inventory_hostname"]
        records = Records(_role_inputs.role_inputs(self._templar, task_vars, "report")["report_path"])
        secrets = _role_inputs.known_secrets(self._templar, task_vars)
        if args["phase"] == "begin":
            problems = _control_node.problems(records.root)
            if problems:
                raise AnsibleActionFail(f"Nothing was run. {' '.join(problems)}")
            return self._begin(records, args["hosts"], args["stages"], task_vars)
        plans = Plans(self._templar, task_vars, records)
        if args["phase"] == "show":
            heads = {name: note["head"] for name, note in records.read_notes(args["hosts"], NOTE).items()}
            lines = plan_head.head(heads)
            say(self._display, "\n".join([*lines, *describe_all({name: plans[name] for name in heads})]), secrets)
            return {"changed": False, "msg": "\n".join(lines)}
        if args["phase"] == "offline":
            inputs = HostInputs(self._templar, task_vars, (*ROLES, "accuracy", "benchmark", "hccl"))
            needs = _offline.Needs({name: _offline.Host(plans[name], inputs[name]) for name in args["hosts"]},
                                   args["commands"], _role_inputs.collection_root(), _offline.Site(**args["site"]))
            if any(needs.refusals.values()):
                sentences = grouped(needs.refusals, len(args["hosts"]))
                raise AnsibleActionFail(f"Nothing was collected. {' '.join(sentences)}")
            for sentence in grouped(needs.notes, len(args["hosts"])):
                warn(self._display, sentence, secrets)
            return {"changed": False, "parts": list(needs.parts.values()), "inventory": needs.inventory}
        play_hosts = task_vars.get("ansible_play_hosts", [host])
        return {"changed": False, "plan": plans[host], "run": run.RUN_ID,
                "observers": {stage: plans.observer(host, stage, play_hosts) for stage in ONCE_PER_NODE}}

    def _begin(self, records: Records, hosts: list[str], stages: list[str] | None, task_vars: dict[str, Any]
               ) -> dict[str, Any]:
        """Check and save the plans of all hosts, warn about what was found, and fail if a host has refusals."""
        if stages is None:
            stages = contract.selected_stages(task_vars.get("ansible_run_tags"), task_vars.get("ansible_skip_tags"))
        plans = Plans(self._templar, task_vars, records, tuple(dict.fromkeys([*ALWAYS, *stages, "accuracy"])))
        notes = {}
        for host in hosts:
            variables = plans.inputs.variables(host)
            secrets = _role_inputs.known_secrets(self._templar, variables)
            notes[host] = {name: [mask_known(text, secrets) for text in texts]
                           for name, texts in self._check(plans, host, variables, stages, hosts).items()}
            records.write_note(host, NOTE, notes[host])
        for sentence in grouped({host: note["warnings"] for host, note in notes.items()}, len(hosts)):
            warn(self._display, sentence)  # The notes are masked.
        refused_hosts = {host: note["refusals"] for host, note in notes.items() if note["refusals"]}
        if refused_hosts:
            # The refusals are in the result, because Ansible prints a message twice and a result once.
            raise AnsibleActionFail("The run is refused because of the inventory, and nothing was changed.",
                                    result={"refusals": grouped(refused_hosts, len(hosts))})
        return {"changed": False}

    def _check(self, plans: Plans, host: str, variables: Mapping[str, Any], stages: list[str],
               hosts: list[str]) -> dict[str, list[str]]:
        """Return the refusals and warnings of a host, and the head of its plan, which the phase ``show`` prints."""
        note: dict[str, list[str]] = {"refusals": [], "warnings": [], "head": []}
        try:
            plan = plans.resolved(host)
            note["warnings"] = [warning["message"] for warning in plan["warnings"]
                                if warning["id"].startswith(unknown_names.PREFIX)]
            inputs = plans.inputs[host]
            context = Context(host=host, plan=plan, inputs=inputs, catalogue=plans.catalogue(host))
            found = self._mistakes(context, stages, variables["hostvars"], {
                name: plan if name == host else plans.resolved(name) for name in plans.deployments(host)})
            found.update((refusal["id"], refusal["message"]) for refusal in plan["refusals"])
            note["refusals"] = list(found.values())
            if not found:
                balancers = [balancer.url(inputs, plans.inputs[name]["serving_address"])
                             for name in inputs["balancer_hosts"] if inputs["balancer_enabled"]]
                note["head"] = plan_head.rows(plan, inputs, stages, balancers, hosts)
        except AnsibleError as error:
            note["refusals"] = [error_line(error)]
        return note

    def _mistakes(self, context: Context, stages: list[str], known_hosts: Collection[str],
                  on_node: Mapping[str, Plan]) -> dict[str, str]:
        """Return ``{variable or text: sentence}`` for the mistakes in the inputs of roles and stages.

        :param on_node: the plans of the deployments on the node.
        """
        inputs, nodes, found = context.inputs, {context.host: context.plan}, query.problems(context.inputs)
        used = {*ALWAYS, *(["accuracy"] if "ais_bench" in (inputs.get("benchmark_tools") or ()) else [])}
        for role in sorted(used - set(stages)):
            found.update(_role_inputs.typed(role, inputs)[1])
        for stage in stages:
            found.update(checked(stage, context)[1])
        are_valid = not found.keys() & _role_inputs.options("balancer")
        if "serving" in stages and inputs["balancer_enabled"] is True and are_valid:
            addresses = {host: inputs["serving_address"] for host in nodes if host in inputs["balancer_hosts"]}
            sentences = balancer.unknown_hosts(inputs, known_hosts, context.host) or balancer.problems(
                inputs["balancer_hosts"], balancer.listening(inputs), balancer.servers(nodes), on_node,
                inputs["balancer_bind"], addresses)
            found.update(zip(sentences, sentences))
        return found
