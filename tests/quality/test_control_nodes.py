# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection works with the newest and the oldest ansible-core in the README. The oldest supports Python 3.7 nodes.

The virtual environments are kept in the cache of the test bed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed")
UNIT_TESTS = ROOT / "tests" / "unit" / "requirements.txt"

BUILDING = threading.Lock()  # tests and ``ahead`` calls can need the same environment at the same time

pytestmark = pytest.mark.slow


def python(*versions):
    """Return the interpreter of the first version that pyenv or the PATH provides. Skip the test if there is none."""
    for version in versions:
        found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
        found += filter(None, [shutil.which(f"python{version}")])
        if found:
            return found[0]
    return pytest.skip(f"no Python {' or '.join(versions)} on this machine")


def environment(interpreter, *requirements):
    """Create a virtual environment with these requirements if it does not exist, and return its folder of commands."""
    content = "".join(Path(item).read_text("utf-8") if Path(item).is_file() else item for item in requirements)
    folder = CACHE / "control" / hashlib.sha256(f"{interpreter} {content}".encode()).hexdigest()[:12]
    with BUILDING:
        if not (folder / "ready").exists():
            subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([folder / "bin" / "pip", "install", "-qq", *requirements], check=True)
            (folder / "ready").touch()
    return folder / "bin"


def run(commands, *command):
    done = subprocess.run([commands / command[0], *map(str, command[1:])], cwd=ROOT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False,
                          env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"})
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def newest():
    if sys.version_info >= (3, 12):
        pytest.skip("all other tests already run on such a control node")
    return environment(python("3.12", "3.13", "3.14"), "-r", ROOT / "requirements.txt", "-r", UNIT_TESTS, "pytest")


def oldest():
    return environment(python("3.11", "3.10", "3.12"), "ansible>=9,<10", "jmespath", "jsonschema")


def unit_tests_with_the_newest_core():
    commands = newest()
    # Parser tests with random input do not depend on ansible-core.
    return run(commands, "ansible", "--version"), run(
        commands, "pytest", "-q", "-m", "not hypothesis", "tests/unit", "tests/site/test_inputs.py")


@pytest.mark.ahead.with_args(unit_tests_with_the_newest_core)
def test_unit_tests_pass_with_the_newest_core(outcome):
    version, tests = outcome
    assert "[core 2.21" in version
    assert " passed" in tests


@pytest.mark.parametrize("core", [newest, oldest], ids=["newest", "oldest"])
def test_plan_of_the_sample_inventory_is_resolved(core):
    assert "vllm serve" in run(core(), "ansible-playbook", "-i", "inventories/sample", "playbooks/plan.yml")


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
