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
