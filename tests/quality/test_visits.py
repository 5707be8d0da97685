# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools behind `make coverage` and `make mutation`."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from visits import catalogue, record, table

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import plan_with

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("mutate", ROOT / "tests" / "mutation" / "mutate.py")
mutate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutate)


@pytest.mark.parametrize(("code", "expected"), [
    ("if a < 1:\n    pass\n", {"not a < 1", "a <= 1", "2"}),
    ("b = a and not c\n", {"a or not c", "a", "not c", "c"}),
    ('b = [x for x in a["key"] if x]\n', {'[x for x in a["key"]]'}),
    ("def f(a: int = 1) -> int:\n    'Text.'\n    return a + 1\n", {"2", "return None", "a - 1"}),
    ("for a in b:\n    c.append(a)\n    continue\n", {"pass", "break"}),
    ('b = "text"\nc = "a sentence of words"\nd = f"{a + 1}"\n', {'"textX"'}),
])
def test_all_mutants_of_code_are_found(tmp_path, code, expected):
    (tmp_path / "a.py").write_text(code, "utf-8")
    found = {each.new.replace("'", '"') for each in mutate.mutants("a.py", tmp_path)}
    assert {new[1:-1] if new.startswith("(") else new for new in found} == expected


def test_listed_survivors_are_mutants():
    for each in yaml.safe_load((ROOT / "tests" / "mutation" / "survivors.yml").read_text("utf-8")):
        keys = {mutate.key(mutant) for mutant in mutate.mutants(each["file"])}
        assert f"{each['file']}: {each['change'].strip()}" in keys, "remove it from survivors.yml"


def test_every_row_has_a_floor():
    floors = yaml.safe_load((ROOT / "tests" / "visits" / "floors.yml").read_text("utf-8"))
    rows = {row for row, _items, _visited in table.rows(table.Visits([]))}
    assert rows | {"lines", "branches", "messages"} == set(floors)
    for rule in floors.values():
        assert all(rule.get("except", {}).values()), "an exception needs a reason"


def options_that_are_never_set(options, texts):
    """Return the options ``module.option`` that are in none of the files that mention the module."""
    return sorted(name for name in options if not any(
        re.search(rf"\b{name.split('.')[0]}\b", text) and re.search(rf"\b{name.split('.')[1]}\b", text)
        for text in texts))


def test_every_module_option_is_set_by_the_collection_or_a_test():
    patterns = ("roles/*/tasks/*.yml", "playbooks/*.yml", "plugins/action/*.py", "plugins/plugin_utils/**/*.py",
                "tests/unit/plugins/modules/*.py", "tests/unit/plugins/module_utils/**/*.py",
                "tests/unit/plugins/action/*.py")
    texts = [path.read_text("utf-8") for pattern in patterns for path in ROOT.glob(pattern)]
    floors = yaml.safe_load((ROOT / "tests" / "visits" / "floors.yml").read_text("utf-8"))
    assert set(options_that_are_never_set(table.options(), texts)) <= set(floors["module options"].get("except", {}))
    assert options_that_are_never_set({"npu_info.colour"}, texts) == ["npu_info.colour"]


def listed_replacements(text):
    """Return ``[(stand-in, its files, what it may hide)]`` from the list in the test bed's README."""
    _before, _heading, section = text.partition("## Stand-ins\n")
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines()
            if line.startswith("| ")][2:]
    return [(name, re.findall(r"`([^`]+)`", files), hidden) for name, files, hidden in rows]


def test_files_of_listed_replacements_exist():
    listed = listed_replacements((ROOT / "molecule" / "testbed" / "README.md").read_text("utf-8"))
    assert len(listed) > 10
    assert [file for _name, files, _hidden in listed for file in files if not (ROOT / file).exists()] == []
    assert [name for name, files, hidden in listed if not files or not hidden] == []


def test_every_replacement_in_a_scenario_is_listed():
    listed = listed_replacements((ROOT / "molecule" / "testbed" / "README.md").read_text("utf-8"))
    files = {file for _name, each, _hidden in listed for file in each}
    replacing = {str(path.relative_to(ROOT)) for path in (ROOT / "molecule").rglob("*")
                 if path.is_file() and path.parent.name in ("files", "mpi") and "stand-in" in path.read_text("utf-8")}
    assert replacing
    assert replacing <= files


def test_make_test_fails_if_unit_tests_do_not_reach_a_floor(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tests" / "visits" / "table.py", "--unit-only", tmp_path],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert {"  serving.docker_engine", "  release v0.11.0rc1"} <= set(done.stdout.splitlines())
    assert "module options" not in done.stdout


@pytest.mark.parametrize(("inputs", "expected"), [
    ({}, {"release v0.11.0rc1", "v0.11.0rc1 known_bugs memory_leak", "v0.11.0rc1 patches mrotary_embedding"}),
    ({"serving_patches": []}, {"release v0.11.0rc1", "v0.11.0rc1 known_bugs memory_leak"}),
    ({"plan_release": "v0.11.0", "serving_patches": ["mrotary_embedding"]}, {"v0.11.0 patches mrotary_embedding"}),
    ({"serving_topology": "prefill_decode"},
     {"qwen2_5_vl_32b_instruct_w8a8 unsupported prefill_decode", "v0.11.0rc1 known_bugs memory_leak"}),
])
def test_plan_shows_catalogue_entries(inputs, expected):
    plan = plan_with(**inputs)
    messages = [(each["id"], each["message"]) for each in plan["warnings"] + plan["refusals"]]
    found = set(catalogue.shown(plan, messages, bool(plan["refusals"])))
    assert found <= catalogue.entries()
    assert expected <= found
    assert ("v0.11.0rc1 patches mrotary_embedding" in found) == (not {"serving_patches", "plan_release"} & set(inputs))


def test_entry_that_a_test_changed_does_not_count_as_a_catalogue_entry():
    plan = plan_with({"releases": {"v0.11.0rc1": {"known_bugs": {"memory_leak": {"summary": "another"}}}}})
    assert set(catalogue.shown(plan, [], False)) == set()


@pytest.mark.parametrize(("change", "default_runs", "set_runs"), [
    ({}, {"playbooks/plan.yml"}, set()),
    ({"failed": True}, set(), set()),
    ({"check": True}, set(), set()),
    ({"inputs": ["serving_port"], "failed": True}, set(), {"playbooks/plan.yml"}),
    ({"inputs": ["image_waive"]}, {"playbooks/plan.yml"}, set()),  # the inventory of the simulated nodes sets it
])
def test_runs_with_and_without_inputs_are_distinguished(change, default_runs, set_runs):
    line = {"kind": "playbook", "by": "", "path": "playbooks/plan.yml", "check": False, "inputs": [], "tags": [],
            "failed": False}
    visited = table.Visits([{**line, **change}])
    assert (visited.default_runs, visited.set_runs) == (default_runs, set_runs)


def test_inputs_are_recorded_by_name_without_their_values():
    assert record.changed({"serving_api_key": "sesame", "serving_port": 8888, "other": 1}) == ["serving_api_key"]


def test_templated_values_are_not_compared_with_templates():
    assert record.changed({"report_path": "/results", "serving_port": 9000}, templated=True) == ["serving_port"]


def test_nested_keys_have_paths():
    assert record.keys({"a": [{"b": 1}, {"c": {}}], "d": None}) == {"a", "a.b", "a.c", "d"}


def test_run_of_a_playbook_is_recorded(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "npu_nodes: {hosts: {node1: {ansible_connection: local, ansible_host: 192.0.2.11, serving_port: 9000}}}\n",
        "utf-8")
    folder = tmp_path / "visits"
    folder.mkdir()
    subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "playbooks/plan.yml"], cwd=ROOT,
        check=True, stdout=subprocess.DEVNULL, env={
            "PATH": "/usr/bin:/bin", "ASCEND_VLLM_VISITS": str(folder), "ANSIBLE_CALLBACKS_ENABLED": "visits",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "visits" / "callback_plugins"), "HOME": str(tmp_path)})
    visited = table.Visits(record.read(folder))
    assert visited.set_runs == {"playbooks/nodes.yml", "playbooks/plan.yml"}
    assert visited.inputs == {"serving_port"}
    assert {path.partition(":")[0] for path in visited.tasks} == {"playbooks/nodes.yml", "playbooks/plan.yml"}
    assert "plan.msg" in visited.returns
    assert "9000" not in json.dumps(sorted(visited.inputs | visited.options))
