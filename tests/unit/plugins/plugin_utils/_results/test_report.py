# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import report, rows
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    accuracy,
    benchmark,
    current,
    result,
    serving,
    summary,
)

SCHEMA = json.loads((Path(__file__).resolve().parents[5] / "docs/schemas/report-v2.json").read_text("utf-8"))


def test_stage_without_a_result_is_not_run():
    found = summary(result("npu_driver", "node1"))
    assert found["hosts"]["node2"]["npu_driver"]["status"] == "not_run"
    assert found["hosts"]["node1"]["serving"]["status"] == "not_run"
    assert found["passing_hosts"] == ["node1"]


def test_host_without_results_is_neither_passing_nor_failing():
    found = summary(result("npu_driver", "node1", ok=False))
    assert (found["passing_hosts"], found["failing_hosts"]) == ([], ["node1"])


def test_report_matches_its_schema():
    found = summary(result("npu_driver", "node1", ok=False), result("npu_driver", "node2", cool=False))
    jsonschema.validate(found, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(dict(found, status="fine"), SCHEMA)


def test_types_have_the_same_keys_as_the_report_and_its_schema():
    found = summary(result("npu_driver", "node1", ok=False), serving("node2"), accuracy("node1"), benchmark("node1"))
    jsonschema.validate(found, SCHEMA)
    parts = SCHEMA["properties"]
    for kind, data, schema in [
            (report.Report, found, SCHEMA),
            (report.Cell, found["hosts"]["node1"]["npu_driver"],
             parts["hosts"]["additionalProperties"]["additionalProperties"]),
            (report.Finding, found["findings"][0], parts["findings"]["items"]),
            (rows.Service, found["services"][0], parts["services"]["items"]),
            (rows.Figure, found["figures"][0], parts["figures"]["items"]),
            (rows.Comparison, found["comparisons"][0], parts["comparisons"]["items"])]:
        assert sorted(kind.__annotations__) == sorted(data), kind
        assert set(schema["required"]) <= set(data), kind


@pytest.mark.parametrize(("ok", "cool", "status"), [
    (True, True, "stale"), (True, False, "stale"), (False, True, "failed")])
def test_result_of_another_plan_is_stale_unless_it_failed(ok, cool, status):
    found = summary(result("hccl", "node1", ok=ok, cool=cool), current={"node1": current("ba9876543210")})
    jsonschema.validate(found, SCHEMA)
    cell = found["hosts"]["node1"]["hccl"]
    assert (cell["status"], cell["stale"]) == (status, "the plan was 0123456789ab and is now ba9876543210.")
    assert found["status"] == status
    assert found["passing_hosts"] == []
    stale = [each for each in found["findings"] if each["id"] == "hccl.current"]
    assert [(each["host"], each["expected"], each["actual"], each["remedy"]) for each in stale] == ([
        ("node1", {"plan": "ba9876543210"}, {"plan": "0123456789ab"}, "Run playbooks/site.yml --tags hccl.")]
        if status == "stale" else [])


def test_result_of_the_current_plan_is_not_stale():
    found = summary(result("hccl", "node1"), current={"node1": current()})
    assert (found["status"], found["hosts"]["node1"]["hccl"]["changes"]) == ("passed", [])
    assert found["deployed"] == {"node1": current()}


@pytest.mark.parametrize(("finished", "age", "old"), [
    ("2026-11-23T12:00:00Z", 0, False), ("2026-11-22T12:00:00Z", 86400, False), ("2026-11-22T11:59:59Z", 86401, True),
    ("2026-11-23T12:00:09Z", 0, False), ("yesterday", None, False), (None, None, False)])
def test_cell_has_an_age_and_may_be_old(finished, age, old):
    cell = summary({**result("hccl", "node1"), "finished_at": finished})["hosts"]["node1"]["hccl"]
    assert (cell["age_s"], cell["old"]) == (age, old)


@pytest.mark.parametrize(("results", "fail_on", "expected"), [
    ([result("hccl", "node1", ok=False)], ["failed"], (["failed"], "node1")),
    ([result("hccl", "node2")], ["failed"], ([], None)),
    ([result("hccl", "node2")], ["failed", "stale"], (["stale"], "node2")),
    ([result("hccl", "node2", ok=False)], ["failed", "stale"], (["failed"], "node2")),
    ([result("hccl", "node2")], ["failed", "not_run"], (["not_run"], "node1")),
])
def test_report_fails_on_the_chosen_statuses(results, fail_on, expected):
    found = summary(*results, current={"node2": current("ba9876543210")}, fail_on=fail_on)
    assert (found["fails_on"], report.failing_host(found)) == expected


def test_host_on_which_nothing_could_be_checked_does_not_pass():
    found = summary(result("hccl", "node1", ok=None), result("hccl", "node2"), result("image", "node2", ok=None))
    assert (found["status"], found["passing_hosts"], found["failing_hosts"]) == ("passed", ["node2"], [])


def test_results_of_this_run_are_marked():
    new = {**result("hccl", "node1"), "run_id": "now"}
    found = summary(new, result("image", "node1"), run=("now", "2026-11-23T11:00:00Z"), left_out=("node3",))
    assert [stage for stage, cell in found["hosts"]["node1"].items() if cell["this_run"]] == ["hccl"]
    assert found["coverage"] == {"run_id": "now", "started_at": "2026-11-23T11:00:00Z", "stages": ["hccl"],
                                 "hosts": ["node1"], "left_out": ["node3"]}
    jsonschema.validate(found, SCHEMA)


def test_finding_names_the_file_with_the_evidence():
    (finding,) = summary(result("hccl", "node1", ok=False))["findings"]
    assert (finding["stage"], finding["evidence"], finding["finished_at"]) == (
        "hccl", "node1/hccl.json", "2026-11-23T12:00:00Z")


def test_deployments_of_a_node_follow_each_other():
    found = summary(hosts=("node1", "node2", "text", "alone"), nodes={"node1": "node1", "text": "node1", "alone": "x"})
    assert list(found["hosts"]) == ["node1", "text", "node2", "alone"]
    assert found["nodes"] == {"node1": "node1", "text": "node1", "alone": "x"}
