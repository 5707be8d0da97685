# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the unit tests. They are in this folder because ansible-test sees no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Do not fail because a busy machine is slow.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The collection's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A folder of real terminal outputs with expected parse results, if the machine has one."""
    folder = Path(os.environ.get("ASCEND_VLLM_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"no corpus of real outputs at {folder} (set ASCEND_VLLM_CORPUS)")
    return folder


@pytest.fixture
def docker(tmp_path):
    """A Docker engine behind a unix socket that obeys its arguments: see fake_docker.py."""
    from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import FakeDocker

    with FakeDocker(str(tmp_path / "docker.sock")) as running:
        yield running
