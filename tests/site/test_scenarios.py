# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the Molecule scenarios with `molecule test`. Each scenario has its own bed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ("hccl", "npu_driver", "site", "image")  # the longest first
# Each takes three to fifteen minutes: only `make test-all` runs them.
LONG = ("weights", "serving_faults", "lifecycle", "topology", "benchmark", "collection_upgrade",
        "deployments", "default_inputs", "tls")

pytestmark = [pytest.mark.bed, pytest.mark.slow]


def molecule(scenario):
    binaries = Path(sys.executable).parent
    return subprocess.run(
        [binaries / "molecule", "test", "--scenario-name", scenario, "--destroy", "always"], cwd=ROOT, check=False,
        # ssh in another scenario would make a shared stdin non-blocking, which Ansible refuses.
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"})


def test_every_scenario_is_run():
    assert {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")} == {*SCENARIOS, *LONG}


@pytest.mark.parametrize("scenario", [
    *(pytest.param(name, marks=pytest.mark.ahead(molecule, name)) for name in SCENARIOS),
    *(pytest.param(name, marks=[pytest.mark.ahead(molecule, name), pytest.mark.long]) for name in LONG)])
def test_scenario_succeeds(scenario, outcome):
    assert outcome.returncode == 0, outcome.stdout[-20000:]
