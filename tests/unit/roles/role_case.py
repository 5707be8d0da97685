# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render tasks and templates of roles as Ansible does, without running them."""

from __future__ import annotations

import importlib.util
from functools import lru_cache

import yaml
from ansible import template
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid


def trusted(value):
    """Return a value whose strings Ansible renders. Since ansible-core 2.19, it treats other strings as data."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(trusted, value))
    return getattr(template, "trust_as_template", str)(value) if isinstance(value, str) else value


def program(path):
    """Return a program of a role as a module. runpy cannot read the files of a collection that Ansible has loaded."""
    spec = importlib.util.spec_from_file_location("program_of_a_role", ROOT / "roles" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=None)
def content(path):
    """Return the content of a YAML file of a role."""
    return trusted(yaml.safe_load((ROOT / "roles" / path).read_text("utf-8")))


@lru_cache(maxsize=None)
def defaults():
    """Return the defaults of all roles and a plan, as variables."""
    found = {"__plan_resolved": {"plan": valid(), "run": "r1"}}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        found.update(content(path.relative_to(ROOT / "roles")) or {})
    return found


def task_of(role, file, name):
    """Return the keywords of a task or block, with the variables and module defaults of the blocks around it."""
    def find(items, around):
        for item in items:
            found = {**item, "vars": {**around.get("vars", {}), **item.get("vars", {})},
                     "module_defaults": {**around.get("module_defaults", {}), **item.get("module_defaults", {})}}
            if item.get("name") == name:
                yield found
            for section in ("block", "rescue", "always"):
                yield from find(item.get(section, ()), found)

    (task,) = find(content(f"{role}/tasks/{file}.yml"), {})
    return task


def rendered(role, where, inputs, facts=None):
    """Return a rendered value from a role.

    :param where: a file in the folder templates, or (tasks file, name of the task or block, keys of the value in it).
    :param inputs: the inputs that differ from their defaults.
    :param facts: additional variables. The plan and the variables of the task are always set.
    """
    variables = {**defaults(), "inventory_hostname": "node1", "ansible_host": "192.0.2.11", "inventory_dir": "/site",
                 "ansible_check_mode": False, "ansible_managed": "managed", "groups": {"npu_nodes": ["node1"]},
                 "role_path": str(ROOT / "roles" / role), "ansible_search_path": [str(ROOT / "roles" / role)]}
    loader = DataLoader()
    if isinstance(where, str):
        loader.set_basedir(str(ROOT / "roles" / role / "templates"))  # for the templates that it includes
        value = trusted((ROOT / "roles" / role / "templates" / where).read_text("utf-8"))
    else:
        file, name, *keys = where
        value = task = task_of(role, file, name)
        variables.update(task["vars"])
        for key in keys:
            value = value[key]
        if keys == ["when"]:
            value = trusted("{{ %s }}" % value)
    return Templar(loader=loader, variables={**variables, **inputs, **(facts or {})}).template(value)
