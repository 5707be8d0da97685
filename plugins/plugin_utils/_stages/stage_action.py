# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base class of the action plugins of stages.

One task observes a node, judges it, writes the result, and only then fails. Therefore a stage needs only one SSH round
trip and no delegated task.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from types import FrameType
from typing import Any, cast

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.executor.interpreter_discovery import discover_interpreter
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known, redact
from ansible_collections.ascend.vllm.plugins.plugin_utils import _role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import Plans
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, currency, run, store
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages import node_python
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.input_checks import checked
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD, Context, Observation
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.registry import JUDGES
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import error_line, reason_line, say, warn

# A module call counts as hung if it takes longer than the times in its arguments plus this number of seconds. Each
# module limits its own steps. These limits are for steps that no module can interrupt, such as a read from a dead NFS
# server.
CALL_S = 600
# Hashing a model takes hours on a slow disk.
CALLS_S = {"ascend.vllm.weights_info": 6 * 3600, "ascend.vllm.weights_staging": 6 * 3600}
# Arguments of modules that are times in seconds.
TIMES = ("wait_s", "lock_wait_s", "timeout_s", "limit_s", "stop_timeout", "stop_timeout_s", "completion_timeout_s")

# Stages that change nothing on a node.
OBSERVING = ("npu_driver", "functional")

# Keys that Ansible adds to the return values of every module.
NOT_OBSERVED = ("changed", "invocation", "warnings", "deprecations")


class StageAction(ActionBase):
    """The steps of a stage on one host. `begin` must be called first."""

    #: Whether the action belongs to a run that changes something, and so needs the leases.
    CHANGES = True

    def begin(self, tmp: Any, task_vars: dict[str, Any], stage: str | None = None, **options: dict[str, Any]) -> None:
        """Read the options of the task, the inputs of the role, and the plan.

        :param stage: the stage of the action. If it is None, the task sets the stage with the option ``stage``.
        :param options: the argument specs of the other options of the action.
        """
        super().run(tmp, task_vars)
        if stage is None:
            options["stage"] = {"type": "str", "required": True, "choices": list(JUDGES)}
        options["plan"] = {"type": "dict"}
        _result, args = self.validate_argument_spec(argument_spec=options)
        self.args: dict[str, Any] = _role_inputs.plain(args)
        self.task_vars = task_vars
        self.host: str = task_vars["inventory_hostname"]
        self.stage = stage or self.args["stage"]
        self.judge = JUDGES[self.stage]
        self.inputs = _role_inputs.role_inputs(self._templar, task_vars, self.stage, "report")
        self.secrets = _role_inputs.known_secrets(self._templar, task_vars)
        self.records = store.Records(self.inputs["report_path"], dry=self._task.check_mode, known_secrets=self.secrets,
                                     warn=self.warn)
        self.clock = time.monotonic()
        self.plans = Plans(self._templar, task_vars, self.records)
        self.play_hosts: list[str] = task_vars.get("ansible_play_hosts", [self.host])
        plan = self.args["plan"] or self.plans[self.host]
        self.context = Context(
            host=self.host, plan=plan, inputs=self.inputs, measured=self.args.get("measured") or {},
            phase=self.args.get("phase") or "", failure=self.args.get("failure"), check_mode=self._task.check_mode,
            forks=int(task_vars.get("ansible_forks", 5)), play_hosts=len(self.play_hosts))
        if self.CHANGES:
            hold_lease(self.records)
        if self.CHANGES and self.stage not in OBSERVING:
            pass_lease(self._task, self.host, self.context.plan["docker_socket"])
        #: The host that observes the node for this host.
        self.observer = self.plans.observer(self.host, self.stage, self.play_hosts)
        self.context = replace(self.context, node_plans=self._node_plans(plan))

    def _node_plans(self, plan: Plan) -> list[Plan]:
        """Return the plans of the deployments for which this host observes the node, its own first."""
        others = [name for name in self.play_hosts if name != self.host and name in plan.get("neighbors", ())]
        return [plan, *(self.plans[name] for name in others
                        if self.plans.observer(name, self.stage, self.play_hosts) == self.host)]

    def observe(self) -> store.ObservationRecord:
        """Observe the node. If the node is unreachable or the module fails, the record contains the reason."""
        record = store.ObservationRecord(phase=self.context.phase, started_at=store.timestamp())
        return self.add_to(record, self.observation)

    def add_to(self, record: store.ObservationRecord,
               observation: Callable[[], dict[str, Any]]) -> store.ObservationRecord:
        """Return the record with an additional observation merged into it, or with the reason why there is none."""
        try:
            self.inputs, mistakes = checked(self.stage, replace(self.context, inputs=self.inputs))
            if mistakes:
                raise _role_inputs.BadInput(" ".join(mistakes.values()))
            self.context = replace(self.context, inputs=self.inputs)
            record = replace(record, observed={**record.observed, **observation()})
        except Exception as error:
            record = replace(record, reachable=not isinstance(error, AnsibleConnectionFailure),
                             failure=self.problem(error))
        return replace(record, spent_s=round(record.spent_s + time.monotonic() - self.clock, 3))

    def problem(self, error: Exception) -> str:
        """Return the reason why the node could not be observed.

        A node may return data in any format. Data that cannot be used is a finding about this node.
        """
        if isinstance(error, AnsibleConnectionFailure):
            return f"{self.host} is not reachable: {self.masked(error_line(error))}"
        if isinstance(error, (AnsibleActionFail, ValueError)):
            return self.masked(error_line(error))
        return f"{self.host} cannot be observed: {self.masked(unexpected(error))}"

    def observation(self) -> dict[str, Any]:
        """Call the module that the judge requests, and return its return values."""
        request = self.judge.request(self.context)
        if request is None:
            return {}
        sent_at = time.time()
        returned = self.call(request.module, **request.arguments)
        observed = {key: value for key, value in returned.items()
                    if not key.startswith("_") and key not in NOT_OBSERVED}
        return {**observed, **request.noted, "round_trip": {"sent_at": sent_at, "received_at": time.time()}}

    def call(self, module: str, **arguments: Any) -> dict[str, Any]:
        """Call a module on the node, and return its return values as plain data.

        :raises AnsibleActionFail: if the module fails or does not return in time.
        """
        returned: dict[str, Any] = self.execute(module, arguments)
        if returned.get("failed"):
            raise AnsibleActionFail(f"{module} failed: {self.masked(str(returned.get('msg') or returned))}")
        return returned

    def execute(self, module: str, arguments: Mapping[str, Any], extra_s: float = 0) -> dict[str, Any]:
        """Call a module on the node, and return its return values as plain data, even if it failed.

        :param extra_s: the number of seconds to add to the timeout, which is derived from the arguments of the module.
        :raises AnsibleActionFail: if the module does not return in time.
        """
        limit_s = extra_s + call_limit_s(module, arguments)
        try:
            with deadline(limit_s):
                self.need_python()
                return cast("dict[str, Any]", store.json_data(self._call(module, arguments)))
        except Hung as hung:
            raise AnsibleActionFail(
                f"{module} did not return on {self.host} within {limit_s:.0f} s; a process or a file system of the "
                f"node hangs. Look for processes in state D on it.") from hung

    def need_python(self) -> None:
        """Query the Python of the host of the task, unless this run has already done so.

        :raises AnsibleActionFail: if Python is missing or too old.
        """
        host = self._task.delegate_to or self.host
        note = self._python_note(host)
        if not note:
            variables = self.task_vars.get("ansible_delegated_vars", {}).get(host, self.task_vars)
            python = str(self._templar.template(C.config.get_config_value("INTERPRETER_PYTHON", variables=variables)))
            if python.startswith("auto"):
                mode = python if python.endswith("_silent") else f"{python}_silent"
                python = str(discover_interpreter(self, "python", mode, variables))
            output = self._low_level_execute_command(node_python.command(python), sudoable=False)["stdout"]
            note = {"problem": node_python.problem(host, python, output)}
            self.records.write_note(self.host, f"python-{host}", note)
        if note["problem"]:
            raise AnsibleActionFail(note["problem"])

    def _python_note(self, host: str) -> dict[str, Any]:
        return self.records.read_notes([self.host], f"python-{host}").get(self.host, {})

    def _call(self, module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a module. If the lease of the node belongs to a run that has ended, call it again to take the lease."""
        ended: list[str] = []
        while True:
            returned: dict[str, Any] = self._execute_module(
                module, module_args=dict(arguments), task_vars=self.task_vars)
            holder = returned.get("holder")
            if not holder:
                return returned
            if holder["run"] in ended or not run.has_ended(holder):
                raise AnsibleActionFail(f"{self.host}: {returned['msg']}")
            ended.append(holder["run"])
            pass_lease(self._task, self.host, self.context.plan["docker_socket"], ended)

    def masked(self, text: str) -> str:
        """Return text from a node, with the secrets of this run and anything that looks like a secret masked."""
        return redact(text, self.secrets)

    def judge_and_record(self, record: store.ObservationRecord, surveyed: bool = False,
                         only: list[str] | None = None) -> dict[str, Any]:
        """Judge the observation, write the result of the stage, and return the result of the task.

        The task fails if a critical check failed.

        :param surveyed: whether all hosts were observed before, so that the judge can compare them.
        :param only: the checks to replace in a result that this run has already written.
        """
        clock = time.monotonic()
        found: list[contract.CheckOutcome] = []
        if not record.failure:
            try:
                found = store.json_data(self.judge.judge(replace(
                    self.context, host=self.observer, observed=record.observed,
                    survey=self._survey() if surveyed else None)))
            except Exception as error:
                record = replace(record, failure=self.context.failure or (
                    f"The observation of {self.host} cannot be judged: {self.masked(unexpected(error))}"))
            # Not every judge reports the failure of another task.
            reason = reason_line(self.context.failure) if self.context.failure else ""
            if self.context.failure and not any(reason in f"{check['message']} {check['actual']}" for check in found
                                                if check["status"] == contract.FAILED):
                record = replace(record, failure=self.context.failure)
        result_checks = contract.Checks(self.judge.CHECKS)
        if record.failure:
            check = "observation" if record.reachable else "node_reachable"
            wanted = "an observation of the node" if record.reachable else "a connection over SSH"
            result_checks.expect(check, False, wanted, "none", message=record.failure)
        elif not found:
            result_checks.not_run("observation", "There is nothing in the observation that this stage checks.")
        found = [*found, *result_checks.as_list()]
        try:
            found = contract.apply_waivers(found, self.inputs.get(f"{self.stage}_waive"), self.stage, self.judge.CHECKS)
        except contract.UnknownCheck as mistake:
            raise AnsibleActionFail(str(mistake)) from mistake
        if only and not record.failure:
            found = contract.renewed(self.records.read_result(self.host, self.stage), found, only)
        result: contract.StageResult = store.json_data(contract.stage_result(
            self.stage, self.host, found, self.context.plan, {**record.observed, **self.context.measured},
            record.started_at, store.timestamp(), round(record.spent_s + time.monotonic() - clock, 3), record.failure,
            COLLECTION_VERSION, self.records.run_id))
        if self.stage in currency.OF_A_SERVICE:
            saved = self.records.read_results(self.host, currency.OBSERVING)
            result["deployed"] = currency.newest({**saved, self.stage: result})
        path = self.records.write_result(result)
        failed = contract.failures(result)
        if self.context.check_mode and not failed:
            changes = dict.fromkeys(
                check["message"] or "" for check in found if str(check["message"]).startswith(WOULD))
            if changes or not self.context.phase:
                self.say(f"{self.stage}: {' '.join(changes) or 'Nothing would be changed.'}")
        return {"changed": False, "failed": bool(failed), "status": result["status"],
                "path": None if self.context.check_mode else str(path),
                "reachable": record.reachable and not self._python_note(self.host).get("problem"),
                "observed": self.returned(record.observed), "msg": mask_known(summary(result, failed), self.secrets)}

    def returned(self, observed: Observation) -> dict[str, Any]:
        """Return the part of an observation that the role needs."""
        return {key: observed[key] for key in self.judge.RETURNED if key in observed}

    def say(self, text: str) -> None:
        """Print a line about the host."""
        say(self._display, f"[{self.host}] {text}", self.secrets)

    def warn(self, text: str) -> None:
        """Print a warning about the host."""
        warn(self._display, f"{self.host}: {text}", self.secrets)

    def _survey(self) -> Any:
        survey = self.judge.survey
        return survey and self.survey(lambda observations: survey(observations, self.inputs), self.context.phase)

    def survey(self, make: Callable[[dict[str, dict[str, Any]]], dict[str, Any]], phase: str = "") -> Any:
        """Return the part of a survey of all hosts that concerns this host, see `Records.survey`.

        Hosts whose observation cannot be used are excluded, so that the other hosts can be judged.

        :raises ValueError: if this host is excluded.
        """
        def without_faulty(observations: dict[str, dict[str, Any]]) -> dict[str, Any]:
            try:
                return _parts(make(observations))
            except Exception:
                faults: dict[str, str] = {}
                for host, observed in observations.items():
                    try:
                        make({host: observed})
                    except Exception as error:
                        faults[host] = self.masked(unexpected(error))
                if not faults:
                    raise
            usable = {host: observed for host, observed in observations.items() if host not in faults}
            return {**_parts(make(usable) if usable else {}), **{host: {"fault": why} for host, why in faults.items()}}

        observers = {self.plans.observer(host, self.stage, self.play_hosts): None for host in self.play_hosts}
        part = self.records.survey(self.observer, observers, self.stage, self._task._uuid, without_faulty, phase)
        if "fault" in part:
            raise ValueError(part["fault"])
        return part["part"]


def hold_lease(records: store.Records) -> None:
    """Take or renew the lease of the results folder. Raise AnsibleActionFail if another run holds it."""
    try:
        records.hold_lease()
    except store.LeaseHeld as held:
        raise AnsibleActionFail(f"Nothing was changed. {held}") from held
    except OSError as error:
        raise AnsibleActionFail(f"The results folder cannot be written ({error}); set report_path to a folder of this "
                                f"user.") from error


def pass_lease(task: Any, host: str, docker_socket: str, ended: Iterable[str] = ()) -> None:
    """Let the modules of a task hold the lease of the node, except in check mode and if they run on another host.

    :param ended: the ids of runs whose process has ended.
    """
    if not task.check_mode and task.delegate_to in (None, host):
        request = {**run.RUN, "docker_socket": docker_socket, "gone": list(ended)}
        task.environment = [*(task.environment or ()), {lease.VARIABLE: json.dumps(request)}]


class Hung(BaseException):
    """A call did not return in time. This is not an `Exception`, because connection plugins retry after exceptions."""


@contextlib.contextmanager
def deadline(limit_s: float) -> Iterator[None]:
    """Raise `Hung` in this block after ``limit_s`` seconds.

    If the task has a timeout, nothing is raised, because Ansible uses the same signal for it.
    """
    def expired(_signal: int, _frame: FrameType | None) -> None:
        raise Hung

    if signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, None):
        yield
        return
    signal.signal(signal.SIGALRM, expired)
    try:
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def call_limit_s(module: str, arguments: Mapping[str, Any]) -> float:
    """Return the number of seconds after which a call of a module counts as hung."""
    calls = max(1, len(arguments.get("servers") or ())) * (1 + len(arguments.get("requests") or ()))
    return CALLS_S.get(module, CALL_S) + calls * sum(float(arguments.get(name) or 0) for name in TIMES)


def _parts(survey: dict[str, Any]) -> dict[str, Any]:
    return {host: {"part": part} for host, part in survey.items()}


def unexpected(error: Exception) -> str:
    """Return the type and message of an exception, and the line of this collection that raised it."""
    calls = [call for call in traceback.extract_tb(error.__traceback__) if "ascend" in call.filename]
    place = f" ({PurePath(calls[-1].filename).name}, line {calls[-1].lineno})" if calls else ""
    return f"{type(error).__name__}: {error_line(error)}{place}"


def summary(result: contract.StageResult, failed: list[str]) -> str:
    """Return one line about a result. It contains the failed checks or, if no check failed, the warnings."""
    if failed:
        return "%d of %d checks failed on %s. %s" % (
            len(failed), len(result["checks"]), result["host"], " | ".join(failed))
    warnings = [contract.sentence(check) for check in result["checks"] if check["status"] == contract.WARNED]
    return "%s: %s, %d checks%s" % (
        result["stage"], result["status"], len(result["checks"]), ". " + " | ".join(warnings) if warnings else "")
