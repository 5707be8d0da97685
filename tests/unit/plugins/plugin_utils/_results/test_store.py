# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts exchange data through the results folder."""

from __future__ import annotations

import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import (
    BadHostName,
    LeaseHeld,
    NoPlan,
    ObservationRecord,
    Records,
)

ROOT = Path(__file__).resolve().parents[5]
HOSTS = ["n1", "n2", "n3"]


@pytest.fixture
def records(tmp_path):
    found = Records(tmp_path / "results")
    for host in HOSTS:
        found.write_observation(host, "hccl", ObservationRecord(observed={"own": host}))
    return found


class SurveyMaker:
    """A function that makes a survey and counts its calls."""

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


def test_plan_of_another_run_is_refused(records):
    inputs = {"serving_port": "digest"}
    with pytest.raises(NoPlan, match=r"plan.json does not exist"):
        records.read_plan("n1", inputs)
    records.write_plan("n1", {"hash": "1"}, inputs)
    assert records.read_plan("n1", inputs) == {"hash": "1"}
    with pytest.raises(NoPlan, match=f"plan.json belongs to run {records.run_id}"):
        Records(records.root, run_id="another").read_plan("n1", inputs)
    with pytest.raises(NoPlan, match=r"plan.json was resolved with different values of serving_port"):
        records.read_plan("n1", {"serving_port": "other"})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"plan": {}}'])
def test_damaged_file_is_ignored(records, content):
    records.write_plan("n1", {"hash": "1"}, {})
    (records.root / "n1" / "plan.json").write_text(content, "utf-8")
    with pytest.raises(NoPlan):
        records.read_plan("n1", {})


def test_check_mode_saves_the_observation_but_no_result(tmp_path):
    dry = Records(tmp_path, dry=True)
    dry.write_observation("n1", "hccl", ObservationRecord(observed={"own": 1}))
    path = dry.write_result({"host": "n1", "stage": "hccl"})
    assert dry.read_observation("n1", "hccl").observed == {"own": 1}
    assert not path.exists()


def test_files_contain_the_id_of_their_run(records):
    saved = json.loads((records.root / "n1" / "observed" / "hccl.json").read_text("utf-8"))
    assert saved["run_id"] == records.run_id


def written(records):
    """Write a file of each kind, and return {path relative to the results folder: permissions}."""
    for host in HOSTS[:2]:
        records.write_plan(host, {"a": 1}, {"b": "c"})
        records.write_note(host, "group", {"state": "ready"})
        records.write_result(contract.stage_result("serving", host, []))
    records.survey("n1", HOSTS[:2], "hccl", "task 1", SurveyMaker())
    records.write(records.root / "report.json", "{}")
    return {str(path.relative_to(records.root)): stat.S_IMODE(path.stat().st_mode)
            for path in records.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0])
def test_results_follow_the_umask_and_other_files_are_private(records, umask):
    before = os.umask(umask)
    try:
        modes = written(records)
    finally:
        os.umask(before)
    public = {"report.json", "n1/serving.json", "n2/serving.json"}
    assert {path for path in modes if not path.startswith("n3")} == public | {".lock"} | {
        f"{host}/{name}" for host in HOSTS[:2] for name in (
            "plan.json", "observed/hccl.json", "observed/hccl.survey.json", "observed/group.note.json")}
    assert {path: oct(mode) for path, mode in modes.items() if not path.startswith("n3")} == {
        path: oct(0o666 & ~umask if path in public else 0o600) for path in modes if not path.startswith("n3")}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_metrics_are_readable_by_all_users_and_other_forms_follow_the_umask(records, umask):
    before = os.umask(umask)
    try:
        modes = [records.write_form(name, "text").stat().st_mode & 0o777 for name in ("report.prom", "junit.xml")]
    finally:
        os.umask(before)
    assert [oct(mode) for mode in modes] == ["0o644", oct(0o666 & ~umask)]


def test_form_without_content_removes_that_of_an_earlier_run(records):
    path = records.write_form("hosts_failed.txt", "n1\n")
    assert path.read_text() == "n1\n"
    assert not records.write_form("hosts_failed.txt", "").exists()
    records.write_form("hosts_failed.txt", "")


def test_plan_and_status_of_any_run_describe_a_host(records):
    assert records.read_current("n1", {}) == {
        "plan": None, "image": None, "weights": None, "containers": {}, "observed_at": None}
    earlier = Records(records.root, run_id="earlier")
    earlier.write_plan("n1", {"hash": "0123456789ab"}, {})
    earlier.write_note("n1", "status", {"observed_at": "2026-11-23T12:00:00Z", "containers": {"a": "x"}})
    weights = contract.stage_result("weights", "n1", [], observed={"digest": "2" * 64})
    assert records.read_current("n1", {"weights": weights}) == {
        "plan": "0123456789ab", "image": None, "weights": "2" * 64, "containers": {"a": "x"},
        "observed_at": "2026-11-23T12:00:00Z"}


BAD_NAMES = ["../../x", "/etc/x", "..", ".", "", "a/b", ".hidden", "a\nb", "a\x1b[31m", "a\u202eb", "x" * 256, "a\0b",
             "report.md", "report.json", "report.html", "report.prom", "junit.xml", "hosts_passed.txt", "history"]


@pytest.mark.parametrize("host", BAD_NAMES)
def test_unsafe_host_name_is_refused(records, host):
    before = sorted(records.root.parent.rglob("*"))
    for access in (lambda: records.write_result(contract.stage_result("serving", host, [])),
                   lambda: records.write_plan(host, {}, {}), lambda: records.write_note(host, "group", {}),
                   lambda: records.write_observation(host, "serving", ObservationRecord()),
                   lambda: records.remove_results(["n1", host], ["hccl"]), lambda: records.read_results(host, ["hccl"]),
                   lambda: records.survey(host, [host], "hccl", "task 1", SurveyMaker())):
        with pytest.raises(BadHostName, match="rename the host"):
            access()
    assert sorted(records.root.parent.rglob("*")) == before


@pytest.mark.parametrize("host", ["node1", "10.0.0.1", "fe80::1", "Knoten-Ä", "节点 1", "a%2fb", "report", "n" * 255])
def test_any_other_host_name_becomes_a_folder(records, host):
    assert records.folder(host).parent == records.root


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "{}", '{"schema": 1', "[" * 100_000, "\0\0\0"])
def test_damaged_file_counts_as_missing_and_is_named(records, damage):
    warnings = []
    records = Records(records.root, warn=warnings.append, run_id=records.run_id)
    undamaged = contract.stage_result("hccl", "n1", [])
    records.write_result(undamaged)
    paths = [records.folder("n1") / name for name in (
        "serving.json", "plan.json", "observed/serving.json", "observed/group.note.json", "observed/hccl.survey.json")]
    for path in [*paths, records.root / "report.json"]:
        path.write_text(damage)
    found = records.read_results("n1", ["hccl", "serving", "weights"])
    assert found["hccl"] == undamaged
    assert list(found) == ["hccl", "serving"]
    (check,) = found["serving"]["checks"]
    assert (found["serving"]["status"], check["id"], check["status"]) == ("not_run", "serving.observation", "not_run")
    assert str(paths[0]) in check["message"]
    assert found["serving"]["error"] in check["message"]
    assert records.read_result("n1", "serving") is None
    assert records.read_report() is None
    assert len(warnings) == 2
    with pytest.raises(NoPlan):
        records.read_plan("n1", {})
    assert records.read_observation("n1", "serving") is None
    assert records.read_notes(["n1"], "group") == {}
    assert records.survey("n1", ["n1"], "hccl", "task 1", SurveyMaker())["saw"] == "n1"
    assert all("counts as missing" in warning for warning in warnings)


def test_secrets_are_masked_in_results_and_known_secrets_in_reports(tmp_path):
    records = Records(tmp_path, known_secrets=["hunter\"22"])
    checks = contract.Checks(())
    checks.not_run("observation", 'said hunter"22')
    records.write_result(contract.stage_result("hccl", "n1", checks.as_list(), observed={
        "log": ['hunter"22', "HF_TOKEN=s3cret"]}))
    records.write(tmp_path / "report.json", json.dumps({"services": ['hunter"22']}))
    assert "hunter" not in (tmp_path / "n1/hccl.json").read_text() + (tmp_path / "report.json").read_text()
    assert records.read_report() == {"services": ["(redacted)"]}
    assert records.read_result("n1", "hccl")["observed"] == {
        "log": ["(redacted)", "HF_TOKEN=(redacted)"]}


def test_interrupted_write_keeps_the_old_content(records, monkeypatch):
    records.write_note("n1", "group", {"state": "ready"})

    def fail(*_paths):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        records.write_note("n1", "group", {"state": "failed"})
    assert records.read_notes(["n1"], "group") == {"n1": {"state": "ready"}}
    assert [path.name for path in records.folder("n1").rglob(".*")] == []


def test_lone_surrogate_does_not_prevent_a_result(records):
    path = records.write_result(contract.stage_result("hccl", "n1", [], observed={"text": "a\ud800"}))
    assert "a" in json.loads(path.read_text("utf-8"))["observed"]["text"]


LEASE = ".lease.json"


def hold_by_another_run(folder, age_s=0, **changes):
    """Make another run hold the lease on a folder, and return the path of the lease."""
    path = folder / LEASE
    path.write_text(json.dumps({**run.RUN, "run": "a", **changes}))
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def test_lease_is_acquired_renewed_and_released(tmp_path):
    records = Records(tmp_path)
    records.hold_lease()
    os.utime(tmp_path / LEASE, (0, 0))
    records.hold_lease()
    assert time.time() - (tmp_path / LEASE).stat().st_mtime < 60
    assert json.loads((tmp_path / LEASE).read_text())["run"] == run.RUN_ID
    records.release()
    records.release()
    assert not (tmp_path / LEASE).exists()


def test_run_is_refused_while_another_run_holds_the_lease(tmp_path):
    path = hold_by_another_run(tmp_path, user="anna", controller="laptop", since="2026-01-02T03:04:05Z")
    before = path.read_text()
    with pytest.raises(LeaseHeld, match=(
            f"The results folder {tmp_path} is in use by run a, started by anna on laptop \\(process {run.RUN['pid']}, "
            "since 2026-01-02T03:04:05Z\\); wait until it finishes, or stop it. If that process no longer exists, "
            "remove "
            f"{path}")):
        Records(tmp_path).hold_lease()
    Records(tmp_path).release()
    assert path.read_text() == before


@pytest.mark.parametrize(("age_s", "changes"), [
    (0, {"pid": 2**22 + 1}),  # higher than any process id
    (0, {"pid_started": "1"}),  # another process now has this id
    (lease.LIMIT_S + 1, {"processes": "another controller", "pid": 2**22 + 1}),
])
def test_lease_of_a_finished_run_is_taken_over(tmp_path, age_s, changes):
    hold_by_another_run(tmp_path, age_s, **changes)
    Records(tmp_path).hold_lease()
    assert json.loads((tmp_path / LEASE).read_text())["run"] == run.RUN_ID


def test_lease_of_another_controller_is_not_taken_over_before_it_expires(tmp_path):
    hold_by_another_run(tmp_path, lease.LIMIT_S - 60, processes="another controller", pid=2**22 + 1)
    with pytest.raises(LeaseHeld):
        Records(tmp_path).hold_lease()


@pytest.mark.parametrize("content", ["", "{}", "[1]"])
def test_damaged_lease_counts_as_missing(tmp_path, content):
    (tmp_path / LEASE).write_text(content)
    Records(tmp_path).hold_lease()
    assert json.loads((tmp_path / LEASE).read_text())["run"] == run.RUN_ID


def test_value_for_all_hosts_is_made_once_per_run(tmp_path):
    def made_again():
        raise AssertionError("made again")
    first, later = Records(tmp_path, run_id="1"), Records(tmp_path, run_id="2")
    assert first.once("nodes", lambda: {"node1": ["a", "b"]}) == {"node1": ["a", "b"]}
    assert Records(tmp_path, run_id="1").once("nodes", made_again) == {"node1": ["a", "b"]}
    assert later.once("nodes", dict) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"nodes.json", ".lock"}  # no temporary file is left
