# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the unit tests. They are in this folder because ansible-test does not read other folders."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A test must not fail because the machine is busy.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The collection's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder with real terminal output and the expected parse results. Skips the test if there is none."""
    folder = Path(os.environ.get("ASCEND_VLLM_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"no corpus of real outputs at {folder} (set ASCEND_VLLM_CORPUS)")
    return folder


def accepts_on_a_closed_socket() -> bool:
    """Return whether a thread waits for a connection to a socket that another thread has closed."""
    return any(frame.f_code is socket.socket.accept.__code__ and frame.f_locals["self"].fileno() < 0
               for frame in sys._current_frames().values())


@pytest.fixture(autouse=True)
def closed_sockets():
    """Fail if a thread still waits on a socket that the test closed.

    The kernel repeats such a wait after a signal, such as the end of a child process. It then uses the number of the
    closed descriptor, which can belong to the server of another test by then.
    """
    yield
    end = time.monotonic() + 5  # A thread that does not wait yet gets an error from the closed socket.
    while accepts_on_a_closed_socket():
        assert time.monotonic() < end, "shut the socket down and wait for the thread before closing the socket"
        time.sleep(0.01)


@pytest.fixture
def docker(tmp_path):
    """A fake Docker engine behind a Unix socket, see fake_docker.py."""
    from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import FakeDocker

    with FakeDocker(str(tmp_path / "docker.sock")) as running:
        yield running
