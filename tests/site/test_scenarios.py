# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Molecule scenarios, as `molecule test` runs them by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ("npu_driver", "hccl", "image", "site")
# Each takes five to fifteen minutes: `make test-all` runs them too.
LONG = ("weights", "serving_faults", "lifecycle", "topology", "benchmark")

pytestmark = [pytest.mark.bed, pytest.mark.slow]


def test_every_scenario_is_run():
    assert {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")} == {*SCENARIOS, *LONG}


@pytest.mark.parametrize("scenario", [*SCENARIOS, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_scenario(runs, scenario):
    done = runs[scenario].result()
    assert done.returncode == 0, done.stdout[-20000:]
