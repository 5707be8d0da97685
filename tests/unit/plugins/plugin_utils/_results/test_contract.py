# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import jsonschema
import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import (
    CRITICAL,
    INFO,
    WARNING,
    Check,
    Checks,
    UnknownCheck,
    apply_waivers,
    failures,
    mistyped_tags,
    renewed,
    selected_stages,
    stage_result,
    stage_status,
)

TABLE = (
    Check("count", CRITICAL, "All NPUs are present", "Look for the missing card."),
    Check("temperature", WARNING, "NPUs are cool", "Check the fans."),
    Check("speed", INFO, "The speed is known", "Record a baseline."),
)


def checks(*outcomes):
    found = Checks(TABLE)
    for check_id, ok in outcomes:
        found.expect(check_id, ok, expected=8, actual=7, message="no tool" if ok is None else None)
    return found.as_list()


@pytest.mark.parametrize(("outcomes", "status"), [
    ([], "not_run"),
    ([("count", True)], "passed"),
    ([("count", True), ("temperature", False)], "warned"),
    ([("count", False), ("temperature", False)], "failed"),
    ([("count", None), ("temperature", True)], "not_run"),
    ([("count", True), ("temperature", None)], "passed"),
    ([("count", True), ("speed", False)], "warned"),
    ([("speed", None)], "not_run"),
])
def test_stage_status_is_the_worst_status(outcomes, status):
    assert stage_status(checks(*outcomes)) == status


def test_unsupported_check_does_not_count_as_passed():
    found = Checks(TABLE)
    found.expect("count", True)
    found.unsupported("speed", "This tool has no such query.")
    assert stage_status(found.as_list()) == "unsupported"


def test_check_that_is_not_in_the_table_is_an_error():
    with pytest.raises(KeyError):
        Checks(TABLE).expect("typo", True)


@pytest.mark.parametrize("waive", [["count"], ["npu_driver.count"], [{"id": "count", "reason": "ticket 12"}]])
def test_waived_check_neither_fails_nor_passes(waive):
    found = apply_waivers(checks(("count", False), ("temperature", True)), waive, "npu_driver", TABLE)
    assert [check["status"] for check in found] == ["waived", "passed"]
    assert stage_status(found) == "waived"
    if isinstance(waive[0], dict):
        assert found[0]["message"].startswith("ticket 12")


def test_passed_check_is_not_waived():
    assert apply_waivers(checks(("count", True)), ["count"], "npu_driver", TABLE)[0]["status"] == "passed"


def test_waiver_of_an_unknown_check_suggests_a_similar_one():
    with pytest.raises(UnknownCheck, match=r"npu_driver_waive names the check 'cuont'.*did you mean 'count'"):
        apply_waivers([], ["cuont"], "npu_driver", TABLE)


def test_second_part_of_a_stage_renews_only_its_own_checks():
    first = stage_result("npu_driver", "n1", checks(("count", True), ("temperature", None)))
    second = checks(("count", False), ("temperature", True), ("temperature", False))
    found = renewed(first, second, ["temperature"])
    assert [(check["id"], check["status"]) for check in found] == [
        ("count", "passed"), ("temperature", "passed"), ("temperature", "warned")]
    assert stage_result("npu_driver", "n1", found)["checks"][0] == first["checks"][0]
    assert renewed(None, second, ["temperature"]) == second


def test_result_matches_its_schema(root):
    schema = json.loads((root / "docs/schemas/stage-result-v1.json").read_text("utf-8"))
    plan = {"hash": "0123456789ab", "release": {"id": "v0.11.0rc1"}, "model": {"id": "m"}}
    found = checks(("count", False), ("temperature", None))
    result = stage_result("npu_driver", "node1", found, plan, {"npus": 7}, "2026-11-23T12:00:00Z",
                          "2026-11-23T12:00:01Z", 1.0, None, "0.1.0")
    jsonschema.validate(result, schema)
    assert result["checks"][0]["id"] == "npu_driver.count"
    assert failures(result) == ["npu_driver.count: expected 8, found 7. Look for the missing card."]
    for broken in ({"status": "fine"}, {"checks": [dict(result["checks"][0], remedy=None)]}, {"plan_hash": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(dict(result, **broken), schema)


@pytest.mark.parametrize(("run", "skip", "stages"), [
    (["all"], [], ["npu_driver", "hccl", "image", "weights", "serving", "functional", "accuracy", "benchmark"]),
    (["benchmark"], [], ["benchmark"]),
    (["benchmark", "npu_driver"], [], ["npu_driver", "benchmark"]),
    (["all"], ["accuracy", "hccl"], ["npu_driver", "image", "weights", "serving", "functional", "benchmark"]),
    (["untagged"], [], []),
    (None, None, ["npu_driver", "hccl", "image", "weights", "serving", "functional", "accuracy", "benchmark"]),
])
def test_selected_stages_follow_the_tags(run, skip, stages):
    assert selected_stages(run, skip) == stages


@pytest.mark.parametrize(("tags", "similar"), [
    (["benchmrk"], {"benchmrk": "benchmark"}),
    (["npu-driver", "hccl"], {"npu-driver": "npu_driver"}),
    (["all"], {}), (["benchmark"], {}), (["site_network"], {}), (None, {}),
])
def test_similar_stage_is_suggested_for_a_mistyped_tag(tags, similar):
    assert mistyped_tags(tags) == similar
