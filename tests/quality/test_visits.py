# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools behind `make coverage` and `make mutation`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from visits import record, table

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
def test_mutants(tmp_path, code, expected):
    (tmp_path / "a.py").write_text(code, "utf-8")
    found = {each.new.replace("'", '"') for each in mutate.mutants("a.py", tmp_path)}
    assert {new[1:-1] if new.startswith("(") else new for new in found} == expected


def test_listed_survivors_are_mutants():
    for each in yaml.safe_load((ROOT / "tests" / "mutation" / "survivors.yml").read_text("utf-8")):
        keys = {mutate.key(mutant) for mutant in mutate.mutants(each["file"])}
        assert f"{each['file']}: {each['change'].strip()}" in keys, "remove it from survivors.yml"


def test_every_row_has_a_floor():
    floors = yaml.safe_load((ROOT / "tests" / "visits" / "floors.yml").read_text("utf-8"))
    rows = {what for what, _every, _seen in table.rows(table.Visits([]))}
    assert rows | {"lines", "branches", "messages"} == set(floors)
    for rule in floors.values():
        assert all(rule.get("except", {}).values()), "an exception needs a reason"


def test_secrets_are_not_recorded():
    assert record.changed({"serving_api_key": "sesame", "serving_port": 8888, "other": 1}) == ["serving_api_key"]


def test_templated_values_are_not_compared_with_templates():
    assert record.changed({"report_path": "/results", "serving_port": 9000}, templated=True) == ["serving_port"]


def test_nested_keys_have_paths():
    assert record.keys({"a": [{"b": 1}, {"c": {}}], "d": None}) == {"a", "a.b", "a.c", "d"}


def test_a_run_is_recorded(tmp_path):
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
    assert {path.partition(":")[0] for path in visited.tasks} == {
        "playbooks/nodes.yml", "playbooks/plan.yml", "roles/plan/tasks/main.yml"}
    assert "plan.plan" in visited.returns
    assert "9000" not in json.dumps(sorted(visited.inputs | visited.options))
