# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Molecule scenarios, as `molecule test` runs them by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ("npu_driver", "hccl", "image", "site")
# Each takes five to fifteen minutes: `make test-all` runs them too.
LONG = ("weights", "serving_faults", "lifecycle", "topology", "benchmark")
# Each has a bed of its own. They wait for nodes and servers more than they work: three keep two cores busy.
AT_ONCE = 3

pytestmark = [pytest.mark.bed, pytest.mark.slow]


def molecule(scenario):
    binaries = Path(sys.executable).parent
    return subprocess.run(
        [binaries / "molecule", "test", "--scenario-name", scenario, "--destroy", "always"], cwd=ROOT, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def runs(request):
    """``{scenario: future of its run}`` of those that this session has selected, started in their order."""
    selected = [item.callspec.params["scenario"] for item in request.session.items
                if item.parent is request.node and "scenario" in item.fixturenames]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {scenario: pool.submit(molecule, scenario) for scenario in selected}
    pool.shutdown(cancel_futures=True)  # a session that ends early starts no more of them


def test_every_scenario_is_run():
    assert {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")} == {*SCENARIOS, *LONG}


@pytest.mark.parametrize("scenario", [*SCENARIOS, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_scenario(runs, scenario):
    done = runs[scenario].result()
    assert done.returncode == 0, done.stdout[-20000:]
