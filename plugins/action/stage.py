# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe a node, judge it, write the stage's result on the controller, and only then fail.

One task does the whole round, so a stage costs one SSH round trip and no delegated task per host.
"""

from __future__ import annotations

import time
from importlib import import_module

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import resolve_plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records, timestamp
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import plain, role_settings
from ansible_collections.ascend.vllm.plugins.plugin_utils._typed import typed_settings

# What Ansible adds to the return value of every module.
NOT_OBSERVED = ("changed", "invocation", "warnings", "deprecations")
# Imported here, in the process from which Ansible forks one for each task of each host.
JUDGES = {stage: import_module("ansible_collections.ascend.vllm.plugins.plugin_utils._stages.%s.judge" % stage)
          for stage in contract.STAGES}


class ActionModule(ActionBase):
    """See plugins/modules/stage.py."""

    OPTIONS: dict = {}  # those that an action of a stage's own has besides

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "stage": {"type": "str", "required": True},
            "observe": {"type": "str"},
            "arguments": {"type": "dict"},
            "observed": {"type": "dict"},
            "plan": {"type": "dict"},
            "defer": {"type": "bool", "default": False},
            "peers": {"type": "bool", "default": False},
            "only": {"type": "list", "elements": "str"},
            **self.OPTIONS,
        })
        args = plain(args)
        stage, host = args["stage"], task_vars["inventory_hostname"]
        judge = JUDGES[stage]
        variables = role_settings(self._templar, task_vars, stage, "report")
        settings = {name[len(stage) + 1:]: value for name, value in variables.items() if name.startswith(stage + "_")}
        records = Records(variables["report_path"], dry=self._task.check_mode)
        plan = args["plan"] or resolve_plan(self._templar, task_vars)
        context = {"host": host, "plan": plan, "settings": settings, "observed": {}, "peers": {}}

        started, clock = timestamp(), time.monotonic()
        error, reachable, checks = None, True, contract.Checks(judge.CHECKS)
        try:
            settings.update(typed_settings(stage, settings))
            context["observed"] = self._observe(judge, context, args, records, task_vars)
        except AnsibleConnectionFailure as failure:
            reachable = False
            error = f"{host} is not reachable: {_first_line(failure)}"
            checks.expect("node_reachable", False, "an answer over SSH", "none", message=error)
        except AnsibleActionFail as failure:
            error = _first_line(failure)
            checks.expect("observation", False, "an observation of the node", "none", message=error)
        if args["defer"] and not error:
            records.write_observed(host, stage, context["observed"], clock)
            return {"changed": False, "observed": context["observed"]}

        if error:
            found = checks.as_list()
        else:
            if args["peers"]:
                context.update(self._others(judge, context, records, task_vars["ansible_play_hosts"], stage))
            found = judge.judge(context)
        try:
            found = contract.apply_waivers(found, settings.get("waive"), stage, judge.CHECKS)
        except contract.UnknownCheck as mistake:
            raise AnsibleActionFail(str(mistake)) from mistake
        if args["only"] and not error:
            found = contract.renewed(records.read_results(host, [stage]).get(stage), found, args["only"])
        timing = context["observed"].get("timing") or {"started_at": started, "spent_s": 0}
        result = contract.stage_result(
            stage, host, found, context["plan"], context["observed"], timing["started_at"], timestamp(),
            round(timing["spent_s"] + time.monotonic() - clock, 3), error, COLLECTION_VERSION)
        path = records.write_result(result)
        failed = contract.failures(result)
        outcome = {"changed": False, "failed": bool(failed), "status": result["status"], "path": str(path),
                   "reachable": reachable, "msg": _summary(result, failed)}
        if self._display.verbosity or self._task.register:
            outcome["result"] = result
        return outcome

    def _others(self, judge, context, records, hosts, stage):
        """What the judge learns of the other hosts: a survey of its own making, or the observations themselves."""
        if not hasattr(judge, "survey"):
            return {"peers": records.read_observed(hosts, stage)}
        return {"survey": records.survey(context["host"], hosts, stage, self._task._uuid,
                                         lambda peers: judge.survey(peers, context["settings"]))}

    def _observe(self, judge, context, args, records, task_vars):
        """What the node's module returned, with what earlier tasks of the role measured laid over it."""
        observed = {}
        if args["peers"]:
            observed.update(records.read_observed([context["host"]], args["stage"]).get(context["host"], {}))
        if args["observe"]:
            arguments = args["arguments"]
            if arguments is None:
                arguments = _arguments(judge, context)
            sent_at = time.time()
            returned = self._execute_module(args["observe"], module_args=arguments, task_vars=task_vars)
            observed["round_trip"] = {"sent_at": sent_at, "received_at": time.time()}
            if returned.get("failed"):
                raise AnsibleActionFail(f"{args['observe']} failed: {returned.get('msg') or returned}")
            observed.update({key: value for key, value in plain(returned).items()
                             if not key.startswith("_") and key not in NOT_OBSERVED})
        observed.update(args["observed"] or {})
        return observed


def _arguments(judge, context):
    """What the judge asks of the node; an input of the role that it cannot use is a failure to observe."""
    try:
        return judge.arguments(context) if hasattr(judge, "arguments") else {}
    except ValueError as mistake:
        raise AnsibleActionFail(str(mistake)) from mistake


def _summary(result, failed):
    if failed:
        return "%d of %d checks failed on %s. %s" % (
            len(failed), len(result["checks"]), result["host"], " | ".join(failed))
    others = [contract.sentence(check) for check in result["checks"] if check["status"] == contract.WARNED]
    return "%s: %s, %d checks%s" % (
        result["stage"], result["status"], len(result["checks"]), ". " + " | ".join(others) if others else "")


def _first_line(error):
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
