# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status table shows each instance, planned or not."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import status_table
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.serving.containers_case import (
    NAME,
    as_planned,
    containers,
    observed,
)


@pytest.fixture
def plan():
    return valid(serving_replicas=2)


def test_every_planned_or_existing_instance_has_a_row(plan):
    existing = as_planned(plan)[:1] + containers(NAME + "-previous", status="exited") + containers("other")
    load = {"running": 3, "waiting": 1, "kv_cache_usage": 0.42}
    existing[0].update(load=load, image_digest="sha256:0123456789abcdef")
    states = {NAME: "ready", NAME + "-1": "missing"}
    found = observed(existing, now_s=100 + 3700, instances=[
        {"name": name, "state": state, "reason": None, "container": None} for name, state in states.items()])
    assert list(map(list, status_table.rows("node1", plan, found))) == [
        ["node1", NAME, "running", "ready", "3", "1", "42 %", "0,1", "1h 1m", "as planned", "sha256:0123456789ab"],
        ["node1", NAME + "-1", "none", "-", "-", "-", "-", "2,3", "-", "not deployed", "-"],
        ["node1", NAME + "-previous", "exited", "stopped", "0", "0", "0 %", "0,1", "-", "kept by an upgrade",
         "sha256:i"]]


@pytest.mark.parametrize(("state", "health", "reason", "shown"), [
    ("failed", "unhealthy", "the completion request failed", "hung"), ("ready", "unhealthy", None, "ready"),
    ("starting", "starting", "no response", "starting"), ("failed", None, "no response", "failed"),
    ("failed", None, "the certificate of the server is not accepted: certificate has expired",
     "certificate not accepted")])
def test_state_is_determined_from_instance_and_health_check(plan, state, health, reason, shown):
    container = {"status": "running", "health": health and {"status": health}}
    found = observed(as_planned(plan), instances=[
        {"name": NAME, "state": state, "reason": reason, "container": container}])
    assert status_table.rows("node1", plan, found)[0].state == shown


@pytest.mark.parametrize(("change", "plan_cell"), [
    ({"hash": "older"}, "drift older"), ({"image": "sha256:j"}, "other image"), ({}, "as planned")])
def test_difference_from_the_plan_is_shown(plan, change, plan_cell):
    existing = as_planned(plan)
    existing[0].update(change)
    assert status_table.rows("node1", plan, observed(existing))[0].plan == plan_cell


def test_container_that_is_not_ours_is_marked(plan):
    found = observed([], instances=[{"name": NAME, "state": "ready", "reason": None, "container": None}])
    assert status_table.rows("node1", plan, found)[0].container == "not ours"


def test_node_whose_docker_engine_does_not_respond_has_a_row(plan):
    (row,) = status_table.rows("node1", plan, observed([], docker_engine_error="no response"))
    assert row[:3] == ("node1", "-", "no response")
    lines = status_table.table([row])
    assert lines[0].split()[:2] == ["host", "instance"]
    assert lines[1].startswith("node1  -")


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0s"), (42, "42s"), (420, "7m"), (18720, "5h 12m"), (273600, "3d 4h")])
def test_duration_is_shown_with_at_most_two_units(seconds, text):
    assert status_table.duration(seconds) == text
