# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `ansible_collections.ascend.vllm` this very clone under plain pytest; ansible-test brings its own finder.

And keeps both cores of a small machine busy: what a test marked ``ahead(function, *arguments)`` waits for is called
while the tests before it run. Only so much goes on at once that nobody times out.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from unit.conftest import corpus, root  # noqa: F401  for the tests beside the unit tests

ROOT = Path(__file__).resolve().parents[1]

if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
    _AnsibleCollectionFinder(paths=[str(ROOT / "playbooks" / "collections")])._install()

# How many calls go on at once beside a test, and while the session has nothing to do but to wait for them.
BESIDE, ALONE = 2, 3


def order(item) -> tuple[bool, bool]:
    """The tests that wait for calls come last; of those the scenarios first, since they take longest.

    Of the others those of a bed come last: the rest sleep a lot, while calls go on.
    """
    ahead, bed = (item.get_closest_marker(name) is not None for name in ("ahead", "bed"))
    return ahead, ahead != bed


class Ahead:
    """The calls of a session, begun in the order of the tests that wait for them."""

    def __init__(self):
        self.waiting = SimpleQueue()
        self.outcomes = {}
        self.lanes = []

    def plan(self, items) -> None:
        for item in items:
            mark = item.get_closest_marker("ahead")
            if mark:
                self.outcomes[item.nodeid] = outcome = Future()
                self.waiting.put((outcome, *mark.args))

    def allow(self, lanes: int) -> None:
        """Let so many calls go on at once; never fewer than before."""
        for _ in range(len(self.lanes), lanes):
            self.lanes.append(threading.Thread(target=self._work))
            self.lanes[-1].start()

    def _work(self) -> None:
        with suppress(Empty):
            while True:
                outcome, function, *arguments = self.waiting.get_nowait()
                try:
                    outcome.set_result(function(*arguments))
                except BaseException as error:  # also what pytest.skip raises
                    outcome.set_exception(error)

    def end(self) -> None:
        """Begin no more of them, and wait for those that run: they take down what they brought up."""
        with suppress(Empty):
            while True:
                self.waiting.get_nowait()
        for lane in self.lanes:
            lane.join()


AHEAD_KEY = pytest.StashKey[Ahead]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=order)


def pytest_collection_finish(session):
    session.config.stash[AHEAD_KEY] = ahead = Ahead()
    if not session.config.option.collectonly:
        ahead.plan(session.items)


def pytest_runtest_setup(item):
    item.config.stash[AHEAD_KEY].allow(ALONE if item.get_closest_marker("ahead") else BESIDE)


def pytest_sessionfinish(session):
    if AHEAD_KEY in session.config.stash:
        session.config.stash[AHEAD_KEY].end()


@pytest.fixture
def outcome(request):
    """What the call of the test's mark ``ahead`` returned; what it raised is raised here."""
    return request.config.stash[AHEAD_KEY].outcomes[request.node.nodeid].result()
