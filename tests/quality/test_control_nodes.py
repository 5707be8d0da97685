# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection works with every ansible-core that meta/runtime.yml allows. The oldest supports Python 3.7 nodes.

Their environments are kept in the cache of the test bed. ansible-test with the ansible-core of the tests themselves is
in test_quality.py. At the end of a session, conftest.py prints the versions with which ansible-test has not passed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible import release
from cores import PYTHONS, cores, environment, interpreter, not_passed

ROOT = Path(__file__).resolve().parents[2]
OWN_CORE = ".".join(release.__version__.split(".")[:2])
UNIT_TESTS = ROOT / "tests" / "unit" / "requirements.txt"

pytestmark = pytest.mark.slow


def python(*versions):
    """Return the first of these versions of Python on this machine; skip the test if there is none."""
    return interpreter(*versions) or pytest.skip(f"no Python {' or '.join(versions)} on this machine")


def run(commands, *command, exit_code=0, **variables):
    done = subprocess.run([commands / command[0], *map(str, command[1:])], cwd=ROOT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False,
                          env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", **variables})
    assert done.returncode == exit_code, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def newest():
    if sys.version_info >= (3, 12):
        pytest.skip("these tests themselves run on such a control node")
    return environment(python(*PYTHONS["2.21"]), "-r", ROOT / "requirements.txt", "-r", UNIT_TESTS, "pytest")


def oldest():
    return environment(python("3.11", "3.10", "3.12"), "ansible>=9,<10", "jmespath", "jsonschema")


def ansible_test(suite, core):
    """Run a suite of ansible-test with another ansible-core."""
    commands = environment(python(*PYTHONS[core]), f"ansible-core~={core}.0")
    return run(commands, ROOT / "tests" / "ansible-test", suite, CONTROL_NODE=str(commands))


def unit_tests_with_the_newest_core():
    commands = newest()
    # Parser tests with random input do not depend on ansible-core.
    return run(commands, "ansible", "--version"), run(
        commands, "pytest", "-q", "-m", "not hypothesis", "tests/unit", "tests/site/test_inputs.py")


@pytest.mark.long
@pytest.mark.ahead.with_args(unit_tests_with_the_newest_core)
def test_unit_tests_pass_with_the_newest_core(outcome):
    version, tests = outcome
    assert "[core 2.21" in version
    assert " passed" in tests


def test_versions_of_python_are_known_for_every_core():
    assert sorted(PYTHONS) == cores()


def test_suites_that_have_not_passed_are_named(monkeypatch):
    monkeypatch.setattr("cores.interpreter", lambda *versions: None if "3.14" in versions else "/usr/bin/python3")
    passed = {f"{core} {suite}" for core in cores() for suite in ("sanity", "units")}
    assert not_passed(passed) == ""
    assert not_passed(passed - {"2.19 units", "2.20 sanity", "2.20 units"}) == (
        "2.19 units, 2.20 sanity and units (no Python 3.12, 3.13, 3.14)")


@pytest.mark.long
@pytest.mark.parametrize(("core", "suite"), [
    pytest.param(core, suite, marks=pytest.mark.ahead(ansible_test, suite, core))
    for core in cores() if core != OWN_CORE for suite in ("units", "sanity")])
def test_ansible_test_suite_passes_with_another_core(core, suite, record_property, outcome):
    assert outcome
    record_property("ansible-test", f"{core} {suite}")


@pytest.mark.parametrize("core", [newest, oldest], ids=["newest", "oldest"])
def test_plan_of_the_sample_inventory_is_resolved(core):
    assert "vllm serve" in run(core(), "ansible-playbook", "-i", "inventories/sample", "playbooks/plan.yml")


@pytest.mark.parametrize("core", [newest, oldest], ids=["newest", "oldest"])
def test_stage_is_judged(core, tmp_path):
    """The node has no npu-smi at the given path."""
    commands = core()
    variables = {"ansible_connection": "local", "ansible_python_interpreter": str(commands / "python"),
                 "npu_driver_npu_smi_path": str(tmp_path / "npu-smi")}
    (tmp_path / "hosts.json").write_text(json.dumps({"npu_nodes": {"hosts": {"here": variables}}}), "utf-8")
    assert "found npu-smi was not found" in run(
        commands, "ansible-playbook", "-i", tmp_path / "hosts.json", "playbooks/npu_driver.yml", exit_code=2)


@pytest.mark.parametrize(("module", "arguments"), [
    ("npu_info", {}), ("weights_info", {"path": "/usr/share/doc/python3"}), ("chat_info", {"servers": []})])
def test_modules_run_on_nodes_with_python_3_7(module, arguments, tmp_path):
    commands, node = oldest(), python("3.7")
    assert "[core 2.16" in run(commands, "ansible", "--version")
    inventory = tmp_path / "hosts.yml"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": str(node)}
    inventory.write_text(json.dumps({"all": {"hosts": {"old": variables}}}), "utf-8")
    options = ["-a", json.dumps(arguments)] if arguments else []
    output = run(commands, "ansible", "-i", inventory, "old", "-m", f"ascend.vllm.{module}", *options)
    assert "old | SUCCESS" in output
