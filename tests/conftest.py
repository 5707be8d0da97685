# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `ansible_collections.ascend.vllm` this very clone under plain pytest; ansible-test brings its own finder.

And keeps both cores of a small machine busy: what a test marked ``ahead(function, *arguments)`` waits for is called
while the tests before it run. Only so much goes on at once that nobody times out: see `LANES`.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from unit.conftest import corpus, root  # noqa: F401  for the tests beside the unit tests

ROOT = Path(__file__).resolve().parents[1]

if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
    _AnsibleCollectionFinder(paths=[str(ROOT / "playbooks" / "collections")])._install()

# The order of the tests, and how many calls go on beside them: one beside tests that work; two beside those of the test
# bed, which rather wait for nodes; three where the session has nothing to do but to wait for them.
WORKING, WAITING, AHEAD = range(3)
LANES = {WORKING: 1, WAITING: 2, AHEAD: 3}


def kind(item) -> int:
    if item.get_closest_marker("ahead"):
        return AHEAD
    return WAITING if item.get_closest_marker("bed") else WORKING


class Ahead:
    """The calls of a session, in the order of the tests that wait for them."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(max(LANES.values()))
        self.lanes = threading.Semaphore(0)
        self.open = 0
        self.ended = False
        self.calls = {}

    def plan(self, items) -> None:
        for item in items:
            mark = item.get_closest_marker("ahead")
            if mark:
                self.calls[item.nodeid] = self.pool.submit(self._call, *mark.args)

    def _call(self, function, *arguments):
        with self.lanes:
            if self.ended:
                raise CancelledError
            return function(*arguments)

    def allow(self, lanes: int) -> None:
        """Let so many calls go on at once; never fewer than before."""
        for _ in range(self.open, lanes):
            self.lanes.release()
        self.open = max(self.open, lanes)

    def end(self) -> None:
        """Start no more of them, and wait for those that run: they take down what they brought up."""
        self.ended = True
        self.allow(max(LANES.values()))
        self.pool.shutdown(cancel_futures=True)


AHEAD_KEY = pytest.StashKey[Ahead]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=kind)


def pytest_collection_finish(session):
    session.config.stash[AHEAD_KEY] = ahead = Ahead()
    if not session.config.option.collectonly:
        ahead.plan(session.items)


def pytest_runtest_setup(item):
    item.config.stash[AHEAD_KEY].allow(LANES[kind(item)])


def pytest_sessionfinish(session):
    if AHEAD_KEY in session.config.stash:
        session.config.stash[AHEAD_KEY].end()


@pytest.fixture
def outcome(request):
    """What the call of the test's mark ``ahead`` returned; what it raised is raised here."""
    return request.config.stash[AHEAD_KEY].calls[request.node.nodeid].result()
