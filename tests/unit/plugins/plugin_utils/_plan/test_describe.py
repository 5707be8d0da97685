# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a plan describes the whole plan."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.describe import describe, describe_all
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    valid,
    valid_group,
)


def test_text_contains_the_whole_plan():
    resolved = valid(serving_replicas=2, serving_api_key="set", serving_args={"seed": 7})
    text = describe(resolved, "node1")
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == f"node1: plan {resolved['hash']}"
    assert "--seed 7" in lines
    assert "--max-num-batched-tokens 50000" in lines
    for instance in resolved["instances"]:
        for part in [*instance["devices"], instance["url"], instance["name"], instance["secrets_path"]]:
            assert part in text
        for name, value in instance["environment"].items():
            assert f"{name}={value}" in text
    for warning in resolved["warnings"]:
        assert warning["message"] in text


def test_health_check_is_described():
    assert "no health check" in describe(valid(serving_health_interval_s=0), "node1")
    assert "checked every 30 s, unhealthy after 10 failures" in describe(valid(), "node1")


def test_group_is_described():
    resolved = valid_group("data_parallel")
    head, other = (describe(found, host) for host, found in resolved.items())
    assert "data_parallel of node1 (192.0.2.11), node2 (192.0.2.12); this host has rank 1" in other
    assert "at http://192.0.2.11:8888" in head
    assert "without an API" in other
    assert "--headless" in other


def test_equal_plans_share_one_text():
    plans = {f"n{number}": valid(serving_address=f"192.0.2.{number}") for number in range(16)}
    (text,) = describe_all(plans)
    assert text.startswith(", ".join(plans) + ":\n")
    assert "at http://<address>:8888" in text
    assert "192.0.2" not in text
    assert text.count("\n") == describe(plans["n0"], "n0").count("\n")


def test_text_of_a_single_plan_keeps_the_address():
    assert describe_all({"n1": valid()}) == [describe(valid(), "n1")]


def test_different_plan_shows_only_differences():
    plans = {"n1": valid(), "n2": valid(serving_address="192.0.2.2"), "n3": valid(serving_args={"seed": 7})}
    _first, other = describe_all(plans)
    assert other.splitlines() == ["n3: as above, except for", "+                 --seed 7"]
