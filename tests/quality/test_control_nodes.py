# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other control node that the README promises: the newest ansible-core, on a Python of 3.12 or later."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed")

pytestmark = pytest.mark.slow


def newer_python():
    """A Python of 3.12 or later under pyenv or on the PATH, else None."""
    found = sorted((Path.home() / ".pyenv" / "versions").glob("3.1[2-4].*/bin/python3"))
    found += filter(None, (shutil.which(f"python3.{minor}") for minor in (12, 13, 14)))
    return next(iter(found), None)


@pytest.fixture(scope="module")
def environment():
    """The folder of commands of a virtual environment with ansible-core 2.21 and what the unit tests need."""
    if sys.version_info >= (3, 12):
        pytest.skip("these tests themselves run on such a control node")
    python = newer_python()
    if python is None:
        pytest.skip("no Python of 3.12 or later on this machine")
    requirements = [ROOT / "requirements.txt", ROOT / "tests" / "unit" / "requirements.txt"]
    content = b"".join(path.read_bytes() for path in requirements) + str(python).encode()
    folder = CACHE / f"control-{hashlib.sha256(content).hexdigest()[:12]}"
    if not (folder / "ready").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        wanted = [word for path in requirements for word in ("-r", path)]
        subprocess.run([folder / "bin" / "pip", "install", "-qq", *wanted, "pytest"], check=True)
        (folder / "ready").touch()
    return folder / "bin"


def run(environment, *command):
    done = subprocess.run([environment / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True,
                          check=False, env={**os.environ, "PATH": f"{environment}:{os.environ['PATH']}"})
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_unit_tests_hold_under_core_2_21(environment):
    assert "[core 2.21" in run(environment, "ansible", "--version")
    assert " passed" in run(environment, "pytest", "-q", "tests/unit", "tests/site/test_inputs.py")


def test_the_sample_inventory_has_a_plan_under_core_2_21(environment):
    assert "vllm serve" in run(environment, "ansible-playbook", "-i", "inventories/sample", "playbooks/plan.yml")
