# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of runs, and the run since which a figure is different."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import history
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import HISTORY_RUNS, Records
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    NOW,
    benchmark,
    result,
    summary,
)


def run(number, *values, at=None, plan="a"):
    """Return the entry of a run that measured these values, one per host."""
    return {"at": f"2026-11-{number:02d}T00:00:00Z", "plan_hashes": [plan], "covered": ["benchmark"], "figures": [
        {"host": f"node{host}", "name": "throughput", "unit": "tok/s", "value": value, "at": at or f"measured {number}"}
        for host, value in enumerate(values, 1)]}


@pytest.mark.parametrize(("values", "index"), [
    ([100, 101, 99, 80, 81], 3),
    ([100, 101, 99, 100, 120, 121, 119], 4),  # an improvement is a change, too
    ([100, 101, 99, 80], None),  # one measurement after it is not enough
    ([100, 80, 81, 80], None),  # nor is one before it
    ([100, 101, 60, 100, 99, 101], None),  # an outlier
    ([100, 130, 90, 120, 95, 125, 100, 110], None),  # noise
    ([100, 101, 99, 100, 97, 96, 97], None),  # less than 5 percent
    ([0, 0, 0, 5, 5], 3),
    ([], None),
])
def test_change_is_found_at_the_first_value_after_it(values, index):
    assert history.change(values) == index


def test_changed_figure_names_the_first_run_after_the_change():
    runs = [run(number, 100 if number < 5 else 80, 100, plan="a" if number < 5 else "b") for number in range(1, 8)]
    (found,) = history.changes(runs)
    assert (found["host"], found["before"], found["after"]) == ("node1", 100, 80)
    assert (found["run"]["at"], found["run"]["plan_hashes"], found["last"]["plan_hashes"]) == (
        "2026-11-05T00:00:00Z", ["b"], ["a"])


def test_run_that_did_not_measure_again_has_no_value():
    runs = [run(1, 100, 50), run(2, 100, 50, at="measured 1"), run(3, 90, 60)]
    assert history.measurements(runs)[("node1", "throughput", "tok/s")] == [(0, 100), (2, 90)]
    assert history.medians(runs) == {("throughput", "tok/s"): [(1, 75), (3, 75)]}


def test_entry_has_the_figures_and_the_time_of_their_measurement():
    results = {"node1": {"benchmark": benchmark("node1"), "hccl": result("hccl", "node1", ok=False)}}
    found = history.entry(summary(*results["node1"].values(), hosts=["node1"]), results)
    assert (found["at"], found["failing_hosts"], found["headline"]) == (NOW, ["node1"], "1 of 1 hosts failed: node1")
    assert found["figures"] == [
        {"host": "node1", "name": "output throughput", "unit": "token/s", "value": 1234.5678, "at": NOW}]
    results["node1"]["benchmark"]["observed"] = {"figures": "none"}
    assert history.entry(summary(*results["node1"].values(), hosts=["node1"]), results)["figures"] == []


def test_history_keeps_the_newest_runs(tmp_path):
    for number in range(HISTORY_RUNS + 3):
        found = Records(tmp_path, run_id=f"202611{number:04d}").add_to_history(run(number + 1, number))
    assert len(found) == HISTORY_RUNS == len(list((tmp_path / "history").iterdir()))
    assert [entry["figures"][0]["value"] for entry in (found[0], found[-1])] == [3, HISTORY_RUNS + 2]


def test_run_without_new_results_and_damaged_entries_are_not_in_the_history(tmp_path):
    warnings = []
    records = Records(tmp_path, run_id="1", warn=warnings.append)
    assert records.add_to_history({**run(1, 5), "covered": []}) == []
    records.add_to_history(run(1, 5))
    (tmp_path / "history" / "2.json").write_text("{")
    assert [json.dumps(entry["covered"]) for entry in records.add_to_history({**run(2), "covered": []})] == [
        '["benchmark"]']
    assert "2.json" in warnings[-1]
