# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Molecule scenarios of the stages that are finished, as `molecule test` runs them by hand, and the whole site."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ("npu_driver", "hccl", "site")

pytestmark = [pytest.mark.bed, pytest.mark.slow]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario):
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        [binaries / "molecule", "test", "--scenario-name", scenario, "--destroy", "always"], cwd=ROOT, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout[-20000:]
