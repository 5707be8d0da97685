# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts exchange data through the results folder."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import NoPlan, ObservationRecord, Records

HOSTS = ["n1", "n2", "n3"]


@pytest.fixture
def records(tmp_path):
    found = Records(tmp_path / "results")
    for host in HOSTS:
        found.write_observation(host, "hccl", ObservationRecord(observed={"own": host}))
    return found


class SurveyMaker:
    """Makes a survey, and counts how often it is called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, peers):
        self.calls += 1
        time.sleep(0.05)
        return {host: {"others": sorted(set(peers) - {host}), "saw": observed["own"]}
                for host, observed in peers.items()}


def test_survey_is_made_once_for_all_hosts_of_a_task(records):
    make = SurveyMaker()
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda host: records.survey(host, HOSTS, "hccl", "task 1", make), HOSTS))
    assert make.calls == 1
    assert parts[1] == {"others": ["n1", "n3"], "saw": "n2"}


def test_another_task_has_its_own_survey(records):
    make = SurveyMaker()
    records.survey("n1", HOSTS, "hccl", "task 1", make)
    records.write_observation("n2", "hccl", ObservationRecord(observed={"own": "changed"}))
    assert records.survey("n1", HOSTS, "hccl", "task 2", make)["saw"] == "n1"
    assert records.survey("n2", HOSTS, "hccl", "task 2", make)["saw"] == "changed"
    assert make.calls == 2


def test_survey_is_renewed_if_an_observation_is_newer(records):
    make = SurveyMaker()
    records.survey("n1", HOSTS[:1], "hccl", "task 1", make)
    assert records.survey("n2", HOSTS[:2], "hccl", "task 1", make)["others"] == ["n1"]
    later = time.time() + 5
    records.write_observation("n2", "hccl", ObservationRecord(observed={"own": "changed"}))
    os.utime(records.root / "n2/observed/hccl.json", (later, later))
    assert records.survey("n2", HOSTS[:2], "hccl", "task 1", make)["saw"] == "changed"


def test_files_of_another_run_are_ignored(records):
    records.write_note("n1", "group", {"state": "ready"})
    other = Records(records.root, run_id="another")
    assert records.read_observation("n1", "hccl").observed == {"own": "n1"}
    assert records.read_notes(HOSTS, "group") == {"n1": {"state": "ready"}}
    assert other.read_observation("n1", "hccl") is None
    assert other.read_observations(HOSTS, "hccl") == {}
    assert other.read_notes(HOSTS, "group") == {}


def test_observation_belongs_to_one_phase(records):
    records.write_observation("n1", "serving", ObservationRecord(phase="before", observed={"own": 1}))
    assert records.read_observation("n1", "serving") is None
    assert records.read_observation("n1", "serving", "before").observed == {"own": 1}


def test_failed_observations_are_left_out(records):
    records.write_observation("n2", "hccl", ObservationRecord(failure="n2 is not reachable", reachable=False))
    assert sorted(records.read_observations(HOSTS, "hccl")) == ["n1", "n3"]
    assert records.read_observation("n2", "hccl").failure == "n2 is not reachable"


def test_plan_of_another_run_is_an_error(records):
    inputs = {"serving_port": "digest"}
    with pytest.raises(NoPlan, match=r"plan.json does not exist"):
        records.read_plan("n1", inputs)
    records.write_plan("n1", {"hash": "1"}, inputs)
    assert records.read_plan("n1", inputs) == {"hash": "1"}
    with pytest.raises(NoPlan, match=f"plan.json belongs to the run {records.run_id}"):
        Records(records.root, run_id="another").read_plan("n1", inputs)
    with pytest.raises(NoPlan, match=r"plan.json was resolved with different values of serving_port"):
        records.read_plan("n1", {"serving_port": "other"})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"plan": {}}'])
def test_damaged_file_is_ignored(records, content):
    records.write_plan("n1", {"hash": "1"}, {})
    (records.root / "n1" / "plan.json").write_text(content, "utf-8")
    with pytest.raises(NoPlan):
        records.read_plan("n1", {})


def test_check_mode_writes_files_of_the_run_but_no_result(tmp_path):
    dry = Records(tmp_path, dry=True)
    dry.write_observation("n1", "hccl", ObservationRecord(observed={"own": 1}))
    path = dry.write_result({"host": "n1", "stage": "hccl"})
    assert dry.read_observation("n1", "hccl").observed == {"own": 1}
    assert not path.exists()


def test_files_contain_the_id_of_their_run(records):
    saved = json.loads((records.root / "n1" / "observed" / "hccl.json").read_text("utf-8"))
    assert saved["run_id"] == records.run_id
