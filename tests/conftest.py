# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this clone importable as `ansible_collections.ascend.vllm` in pytest; ansible-test has its own finder.

This module also keeps both cores of a small machine busy. If a test is marked ``ahead(function, *arguments)``, the
function is called during the preceding tests. The number of parallel calls is limited so that no call times out.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from cores import not_passed
from unit import conftest as unit_tests

ROOT = Path(__file__).resolve().parents[1]
corpus, root = unit_tests.corpus, unit_tests.root  # fixtures, also for tests outside tests/unit

if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
    _AnsibleCollectionFinder(paths=[str(ROOT / "playbooks" / "collections")])._install()

# The number of parallel calls while another test runs, and while the session only waits for calls.
WHILE_TESTING, WHILE_WAITING = 2, 3


def order(item) -> tuple[bool, bool]:
    """Return the sort key of a test: tests that wait for calls are last, and among them the long scenarios are first.

    Among the other tests, those that use a bed are last: they often sleep, so calls can run in the meantime.
    """
    ahead, bed = (item.get_closest_marker(name) is not None for name in ("ahead", "bed"))
    return ahead, ahead != bed


class Ahead:
    """The calls of a session, started in the order of the tests that wait for them."""

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
        """Allow this number of parallel calls, or the previous one if that is larger."""
        for _lane in range(len(self.lanes), lanes):
            self.lanes.append(threading.Thread(target=self._work))
            self.lanes[-1].start()

    def _work(self) -> None:
        with suppress(Empty):
            while True:
                outcome, function, *arguments = self.waiting.get_nowait()
                try:
                    outcome.set_result(function(*arguments))
                except BaseException as error:  # includes the exception that pytest.skip raises
                    outcome.set_exception(error)

    def stop(self) -> None:
        """Start no more calls, and wait for the running ones, so that they remove what they have started."""
        with suppress(Empty):
            while True:
                self.waiting.get_nowait()
        for lane in self.lanes:
            lane.join()


AHEAD_KEY = pytest.StashKey[Ahead]()


def pytest_configure():
    if os.environ.get("ASCEND_VLLM_VISITS"):
        from visits import unit

        unit.wrap()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=order)


def pytest_collection_finish(session):
    session.config.stash[AHEAD_KEY] = ahead = Ahead()
    if not session.config.option.collectonly:
        ahead.plan(session.items)


def pytest_runtest_setup(item):
    item.config.stash[AHEAD_KEY].allow(WHILE_WAITING if item.get_closest_marker("ahead") else WHILE_TESTING)


def pytest_sessionfinish(session):
    if AHEAD_KEY in session.config.stash:
        session.config.stash[AHEAD_KEY].stop()


def pytest_terminal_summary(terminalreporter):
    """Print the suites of ansible-test that have not passed, with their versions of ansible-core, if any has."""
    passed = {value for report in terminalreporter.stats.get("passed", ()) for name, value in report.user_properties
              if name == "ansible-test"}
    if passed:
        terminalreporter.write_line(f"ansible-test has not passed in this session: {not_passed(passed) or 'none left'}")


@pytest.fixture
def outcome(request):
    """The return value of the function in the test's ``ahead`` mark; an exception of the function is raised here."""
    return request.config.stash[AHEAD_KEY].outcomes[request.node.nodeid].result()
