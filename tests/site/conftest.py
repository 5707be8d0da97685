# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the Molecule scenarios of the session beside its other tests, which keep only one of the cores busy."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Each has a bed of its own, and waits for nodes and servers more than it works.
AT_ONCE = 2
RUNS = pytest.StashKey[dict]()


def molecule(scenario):
    binaries = Path(sys.executable).parent
    return subprocess.run(
        [binaries / "molecule", "test", "--scenario-name", scenario, "--destroy", "always"], cwd=ROOT, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"})


def pytest_collection_finish(session):
    """Starts the selected scenarios in their order; ``session.stash[RUNS]`` is ``{scenario: future of its run}``."""
    selected = [item.callspec.params["scenario"] for item in session.items
                if "scenario" in item.fixturenames and item.path.name == "test_scenarios.py"]
    if not selected or session.config.option.collectonly:
        session.stash[RUNS] = {}
        return
    pool = ThreadPoolExecutor(AT_ONCE)
    session.stash[RUNS] = {scenario: pool.submit(molecule, scenario) for scenario in selected}
    # A session that ends early starts no more of them.
    session.config.add_cleanup(lambda: pool.shutdown(cancel_futures=True))


@pytest.fixture(scope="session")
def runs(request):
    return request.session.stash[RUNS]
