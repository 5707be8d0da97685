# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import prometheus
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    by_host,
    current,
    result,
    summary,
)

NOON = 1795435200  # 2026-11-23T12:00:00Z


def samples(*results, **options):
    text = prometheus.to_prometheus(summary(*results, **options), by_host(*results))
    assert text.endswith("\n")
    return [each for family in text_string_to_metric_families(text) for each in family.samples]


def values(found, name):
    return {tuple(each.labels.values()): each.value for each in found if each.name == f"ascend_vllm_{name}"}


def test_checks_stages_and_times_are_metrics():
    found = samples(result("hccl", "node1", ok=False), result("image", "node2"))
    assert values(found, "report_timestamp_seconds") == {("failed",): NOON}
    assert values(found, "stage_timestamp_seconds") == {("node1", "hccl"): NOON, ("node2", "image"): NOON}
    assert values(found, "check") == {
        ("node1", "hccl", "hccl.health", "critical", "failed"): 1,
        ("node1", "hccl", "hccl.temperature", "warning", "passed"): 1,
        ("node2", "image", "image.health", "critical", "passed"): 1,
        ("node2", "image", "image.temperature", "warning", "passed"): 1}
    stages = values(found, "stage")
    assert len(stages) == 16
    assert {key: value for key, value in stages.items() if key[2] != "not_run"} == {
        ("node1", "hccl", "failed"): 1, ("node2", "image", "passed"): 1}


def test_subjects_of_a_check_are_counted():
    each = result("hccl", "node1")
    found = samples({**each, "checks": [*each["checks"], {**each["checks"][0], "subject": "npu 4"}]})
    assert values(found, "check")["node1", "hccl", "hccl.health", "critical", "passed"] == 2


def test_checks_of_a_stale_result_are_stale():
    found = samples(result("hccl", "node1"), current={"node1": current("ba9876543210")})
    assert {key[-1] for key in values(found, "check")} == {"stale"}
    assert ("node1", "hccl", "stale") in values(found, "stage")


@pytest.mark.parametrize(("hostile", "shown"), [
    ('a"} 1\nb', 'a"} 1 b'), ("a\\", "a\\"), ('a",stage="b', 'a",stage="b'), ("a\x1b[2J", "a")])
def test_hostile_names_stay_in_their_label(hostile, shown):
    results = [result("hccl", hostile)]
    text = prometheus.to_prometheus(summary(*results, hosts=(hostile,)), by_host(*results, hosts=(hostile,)))
    found = [each for family in text_string_to_metric_families(text) for each in family.samples]
    assert len(found) == 1 + 8 + 1 + 2
    assert {each.labels["host"] for each in found if "host" in each.labels} == {shown}


def test_result_without_a_time_has_no_samples():
    found = samples({**result("hccl", "node1"), "finished_at": None})
    assert (values(found, "check"), values(found, "stage_timestamp_seconds")) == ({}, {})
