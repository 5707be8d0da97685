# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of the examples of modules are valid, and their values are registered by an earlier task.

Most examples cannot run in this test, because they need NPUs, a container or a model. tests/site/test_examples.py runs
them on a bed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
# Variables that the roles or Ansible set.
GIVEN = {"ansible_play_hosts_all", "ansible_failed_result", "vault_api_key", "item"}


def options(documented):
    """Return the argument spec of documented options."""
    kept = ("type", "elements", "choices", "required", "default", "aliases")
    return {name: {**{key: option[key] for key in kept if key in option},
                   **({"options": options(option["suboptions"])} if "suboptions" in option else {})}
            for name, option in documented.items()}


def tasks(entries):
    """Yield the tasks, and those of blocks before the block."""
    for task in entries:
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part, ()))
        yield task


def problems(module, examples, documented, returned):
    """Return one sentence for each argument or value that does not exist, or that has the wrong type."""
    found, registered = [], {}
    for task in tasks(yaml.safe_load(examples)):
        for name in re.findall(r"(?<![\w.\]])([a-z_]\w*)(?=\.[a-z])", " ".join(re.findall(r"{{(.*?)}}", str(task)))):
            if name not in registered and name not in GIVEN:
                found.append(f"{task['name']}: no task before it registers {name}")
        for name, value in registered.items():
            found += [f"{task['name']}: {module} does not return {key}"
                      for key in re.findall(rf"\b{name}\.(\w+)", str(task)) if key not in value]
        if f"ascend.vllm.{module}" in task:
            checked = ArgumentSpecValidator(options(documented)).validate(task[f"ascend.vllm.{module}"] or {})
            found += [f"{task['name']}: {message}" for message in checked.error_messages]
            if "register" in task:
                registered[task["register"]] = {*returned, "failed", "changed"}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_examples_of_a_module_are_valid(path):
    documentation, examples, returned, _metadata = get_docstring(str(path), fragment_loader, is_module=True)
    assert f"ascend.vllm.{path.stem}:" in examples
    # Only in a rescue is there a failed task.
    assert not [task["name"] for task in yaml.safe_load(examples)
                if "ansible_failed_result" in str(task) and "rescue" not in task]
    assert problems(path.stem, examples, documentation["options"], returned or {}) == []


@pytest.mark.parametrize(("example", "problem"), [
    ("{name: a, ascend.vllm.m: {path: /data, mode: x}}", "a: value of mode must be one of: y, got: x"),
    ("{name: a, ascend.vllm.m: {}}", "a: missing required arguments: path"),
    ("{name: a, ascend.vllm.m: {path: /data, size: 3}}", "a: size. Supported parameters include"),
    ("{name: a, ansible.builtin.debug: {msg: '{{ found.size }}'}}", "a: no task before it registers found"),
    ("{name: a, ascend.vllm.m: {path: /d}, register: found}\n- {name: b, ansible.builtin.debug: {var: found.size}}",
     "b: m does not return size"),
])
def test_problem_is_found(example, problem):
    documented = {"path": {"type": "path", "required": True}, "mode": {"type": "str", "choices": ["y"]}}
    (found,) = problems("m", f"- {example}", documented, {"bytes": {}})
    assert found.startswith(problem)
