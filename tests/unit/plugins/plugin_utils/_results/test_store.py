# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts learn of each other through the folder of results, and how long a stage took."""
from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records

HOSTS = ["n1", "n2", "n3"]


@pytest.fixture
def records(tmp_path):
    found = Records(tmp_path / "results")
    for host in HOSTS:
        found.write_observed(host, "hccl", {"own": host}, time.monotonic())
    return found


class Make:
    """Counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, peers):
        self.calls += 1
        time.sleep(0.05)
        return {host: {"others": sorted(set(peers) - {host}), "saw": observed["own"]}
                for host, observed in peers.items()}


def test_a_survey_is_made_once_for_all_hosts_of_a_task(records):
    make = Make()
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda host: records.survey(host, HOSTS, "hccl", "task 1", make), HOSTS))
    assert make.calls == 1
    assert parts[1] == {"others": ["n1", "n3"], "saw": "n2"}


def test_another_task_has_its_own_survey(records):
    make = Make()
    records.survey("n1", HOSTS, "hccl", "task 1", make)
    records.write_observed("n2", "hccl", {"own": "changed"}, time.monotonic())
    assert records.survey("n1", HOSTS, "hccl", "task 2", make)["saw"] == "n1"
    assert records.survey("n2", HOSTS, "hccl", "task 2", make)["saw"] == "changed"
    assert make.calls == 2


def test_an_observation_that_is_younger_than_the_survey_of_its_task_is_not_missed(records):
    make = Make()
    records.survey("n1", HOSTS[:1], "hccl", "task 1", make)
    assert records.survey("n2", HOSTS[:2], "hccl", "task 1", make)["others"] == ["n1"]
    later = time.time() + 5
    records.write_observed("n2", "hccl", {"own": "changed"}, time.monotonic())
    os.utime(records.root / "n2/observed/hccl.json", (later, later))
    assert records.survey("n2", HOSTS[:2], "hccl", "task 1", make)["saw"] == "changed"


def test_timing_is_of_all_tasks_of_a_stage_and_not_of_what_lies_between(records):
    begin = time.monotonic()
    records.write_observed("n1", "hccl", {"own": 1}, begin - 2)
    first = records.read_observed(["n1"], "hccl")["n1"]
    assert first["timing"]["spent_s"] == pytest.approx(2, abs=0.5)
    records.write_observed("n1", "hccl", {**first, "more": 1}, time.monotonic() - 3)
    second = records.read_observed(["n1"], "hccl")["n1"]["timing"]
    assert second["started_at"] == first["timing"]["started_at"]
    assert second["spent_s"] == pytest.approx(5, abs=1)
