# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the visits of unit tests in this process.

These are the checks that judges return, the inputs of plans, judges, actions and rendered tasks, the catalogue entries
that plans and judges show, and the options and return keys of actions and modules.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path

from ansible.errors import AnsibleAction
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.plugin_utils import _role_inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import resolve
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages import judging, registry
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge_host
from visits import catalogue, record

STAGES = "ansible_collections.ascend.vllm.plugins.plugin_utils._stages."
ACTIONS = "ansible_collections.ascend.vllm.plugins.action."


def wrap() -> None:
    """Wrap the functions that every test of a plan, a judge, an action or a module calls."""
    _wrap_checks()
    _wrap_inputs()
    _wrap_catalogue()
    _wrap_actions()
    _wrap_modules()


def _wrap_checks() -> None:
    add = contract.Checks._add
    stages = {frozenset(check.id for check in contract.COMMON + tuple(judge.CHECKS)): stage
              for stage, judge in registry.JUDGES.items()}

    @functools.wraps(add)
    def recorded(self, check_id, status, *arguments):
        stage = stages.get(frozenset(self._table))
        if stage:
            record.write("check", by="unit", id=f"{stage}.{check_id}", status=status)
        return add(self, check_id, status, *arguments)

    contract.Checks._add = recorded


def _write_inputs(variables, templated=False) -> None:
    for name in record.changed(variables, templated):
        record.write("input", name=name)


def _wrap_inputs() -> None:
    begin, planned, read = judging.Context.__init__, resolve._resolve, _role_inputs.role_inputs

    @functools.wraps(begin)
    def recorded_begin(self, *arguments, **fields):
        begin(self, *arguments, **fields)
        _write_inputs(self.inputs, templated=True)

    @functools.wraps(planned)
    def recorded_plan(entries, inputs, *arguments, **named):
        _write_inputs(inputs, templated=True)
        plan, findings = planned(entries, inputs, *arguments, **named)
        messages = [(each["id"], each["message"]) for each in findings.warnings + findings.refusals]
        for name in catalogue.shown(plan, messages, bool(findings.refusals)):
            record.write("catalogue", name=name)
        return plan, findings

    @functools.wraps(read)
    def recorded_inputs(templar, task_vars, *roles):
        inputs = read(templar, task_vars, *roles)
        _write_inputs({name: value for name, value in task_vars.items() if name in inputs})
        return inputs

    # Tests also call functions of stages that no judge has imported yet.
    for path in (record.ROOT / "plugins" / "plugin_utils" / "_stages").rglob("[!_]*.py"):
        importlib.import_module(STAGES + ".".join(path.relative_to(record.ROOT).with_suffix("").parts[3:]))
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(STAGES):
            for name, function in list(vars(module).items()):
                if inspect.isfunction(function) and function.__module__ == module.__name__ and (
                        "inputs" in inspect.signature(function).parameters):
                    setattr(module, name, _with_inputs(function))
    role_case = importlib.import_module("ansible_collections.ascend.vllm.tests.unit.roles.role_case")
    role_case.rendered = _with_inputs(role_case.rendered, templated=False)
    judging.Context.__init__ = recorded_begin
    resolve._resolve = recorded_plan
    # Actions import the function by name, so none may be imported before it is wrapped.
    assert not any(name.startswith(ACTIONS) for name in sys.modules)
    for module in list(sys.modules.values()):
        if getattr(module, "role_inputs", None) is read:
            module.role_inputs = recorded_inputs


def _wrap_catalogue() -> None:
    """Record which known driver defects and which older kernels are recognized."""
    for function, name_of in (("_is_bad", catalogue.driver), ("_is_kernel", catalogue.kernel)):
        setattr(judge_host, function, _with_entry(getattr(judge_host, function), name_of))


def _with_entry(function, name_of):
    @functools.wraps(function)
    def recorded(entry, *arguments):
        applies = function(entry, *arguments)
        if applies:
            record.write("catalogue", name=name_of(entry))
        return applies

    return recorded


def _with_inputs(function, templated=True):
    """Wrap a stage's function so that it also records its inputs."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def recorded(*arguments, **named):
        try:
            inputs = signature.bind(*arguments, **named).arguments.get("inputs")
        except TypeError:  # the function raises it again
            inputs = None
        if isinstance(inputs, Mapping):
            _write_inputs(inputs, templated)
        return function(*arguments, **named)

    return recorded


def _wrap_actions() -> None:
    """Record the options and return keys of actions, which are imported when a test needs them."""
    from ansible.plugins.action import ActionBase

    def recorded_class(cls, **named):
        run = cls.__dict__.get("run")
        if cls.__module__.startswith(ACTIONS) and run is not None:
            @functools.wraps(run)
            def recorded(self, *arguments, **fields):
                result, variables = {}, fields.get("task_vars") or {}
                hosts = variables.get("hostvars")
                for values in (variables, *(hosts.values() if isinstance(hosts, dict) else ())):
                    _write_inputs(values)
                try:
                    result = run(self, *arguments, **fields)
                except AnsibleAction as failure:
                    result = failure.result
                    raise
                finally:
                    record.write("module", name=cls.__module__[len(ACTIONS):], options=sorted(self._task.args),
                                 returned=sorted(record.keys(result)))
                return result

            cls.run = recorded

    ActionBase.__init_subclass__ = classmethod(recorded_class)


def _wrap_modules() -> None:
    exit_json = AnsibleModule.exit_json

    @functools.wraps(exit_json)
    def recorded(self, **returned):
        file = Path(sys._getframe(1).f_code.co_filename)
        if file.parent.name == "modules":
            given = [name for name, option in self.argument_spec.items()
                     if self.params.get(name) not in (None, option.get("default"))]
            record.write("module", name=file.stem, options=sorted(given), returned=sorted(record.keys(returned)))
        return exit_json(self, **returned)

    AnsibleModule.exit_json = recorded
    for path in (record.ROOT / "plugins" / "modules").glob("[!_]*.py"):
        module = importlib.import_module(f"ansible_collections.ascend.vllm.plugins.modules.{path.stem}")
        # Not a function of module_utils, which does not get the options.
        if getattr(getattr(module, "observe", None), "__module__", None) == module.__name__:
            module.observe = _with_options(path.stem, module)


def _with_options(name, module):
    """Wrap a module's `observe` so that it also records the options that are not defaults, and the return keys."""
    from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import documented_options

    observe, documented = module.observe, documented_options(module)

    @functools.wraps(observe)
    def recorded(options, *arguments):
        returned = observe(options, *arguments)
        given = [each for each, value in options.items() if value != documented[each].get("default")]
        record.write("module", name=name, options=sorted(given), returned=sorted(record.keys(returned)))
        return returned

    return recorded
