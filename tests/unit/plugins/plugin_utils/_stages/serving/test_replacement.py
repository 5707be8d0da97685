# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and replacing a service is decided from what runs, whatever the plan says."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import replacement
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.serving.containers_case import (
    NAME,
    as_planned,
    containers,
    observed,
)


def names(found):
    return [container["name"] for container in found]


def test_other_deployments_are_not_this_one():
    there = containers(NAME, NAME + "-1", NAME + "-12-previous", NAME + "-previous", NAME + "-x", "other", NAME + "2")
    assert names(replacement.deployment(there, NAME)) == [NAME, NAME + "-1", NAME + "-12-previous", NAME + "-previous"]
    assert names(replacement.put_aside(there, NAME)) == [NAME + "-12-previous", NAME + "-previous"]
    assert replacement.deployment(containers("aXb"), "a.b") == []


@pytest.fixture
def plan():
    return valid(serving_replicas=2)


def test_what_runs_as_planned_is_not_replaced(plan):
    assert replacement.outdated(observed(plan, as_planned(plan) + containers("other", NAME + "-previous")), plan) == []


@pytest.mark.parametrize(("change", "reason"), [
    (lambda there: there.pop(), f"{NAME}-1 is not there"),
    (lambda there: there[0].update(hash="older"), f"{NAME} has plan older instead of"),
    (lambda there: there[0].update(image="sha256:j"), f"{NAME} runs image sha256:j instead of sha256:i"),
    (lambda there: there[1].update(status="exited"), f"{NAME}-1 is exited"),
    (lambda there: there.extend(containers(NAME + "-2")), f"{NAME}-2 is no longer planned"),
])
def test_whatever_differs_is_replaced(plan, change, reason):
    there = as_planned(plan)
    change(there)
    (found,) = replacement.outdated(observed(plan, there), plan)
    assert found.startswith(reason)


# containers there -> what is done to make room, and after a failure with these containers -> how to come back
ROOM = [
    ((NAME, NAME + "-1"), {"stop": [NAME, NAME + "-1"], "remove": [], "rename": [NAME, NAME + "-1"]}),
    ((NAME, NAME + "-previous"), {"stop": [], "remove": [NAME], "rename": []}),  # an upgrade was cut short
    ((NAME + "-previous",), {"stop": [], "remove": [], "rename": []}),
    (("other",), {"stop": [], "remove": [], "rename": []}),
]


@pytest.mark.parametrize(("there", "expected"), ROOM)
def test_room_is_made_and_the_last_verified_kept(there, expected):
    assert replacement.aside(containers(*there), NAME) == expected


@pytest.mark.parametrize(("before", "now", "expected"), [
    ((NAME,), (NAME, NAME + "-previous"), {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # with more instances than before
    ((NAME,), (NAME, NAME + "-1", NAME + "-previous"),
     {"remove": [NAME, NAME + "-1"], "rename": [NAME], "start": [NAME]}),
    # failed before anything was put aside: stopped ones are started again, nothing is removed
    ((NAME, NAME + "-1"), (NAME, NAME + "-1"), {"remove": [], "rename": [], "start": [NAME, NAME + "-1"]}),
    # failed between two of them
    ((NAME, NAME + "-1"), (NAME + "-previous", NAME + "-1"),
     {"remove": [], "rename": [NAME], "start": [NAME, NAME + "-1"]}),
    # after an upgrade that was cut short the verified one comes back
    ((NAME, NAME + "-previous"), (NAME, NAME + "-previous"), {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # a first deployment
    ((), (NAME,), {"remove": [NAME], "rename": [], "start": []}),
    ((NAME, "other"), (NAME, "other"), {"remove": [], "rename": [], "start": [NAME]}),
])
def test_the_way_back(before, now, expected):
    assert replacement.restoration(containers(*now), containers(*before), NAME) == expected


def test_previous_containers_are_waited_for_under_their_own_address():
    before = containers(NAME + "-previous", port=9000, served_name="old") + containers(NAME + "-1", port=9001)
    found = replacement.served(before, [NAME], "10.0.0.1")
    assert [(each["name"], each["port"], each["url"]) for each in found["instances"]] == [
        (NAME, 9000, "http://10.0.0.1:9000")]
    assert (found["model"], found["image"]) == ({"served_name": "old"}, {"reference": "sha256:i"})
    assert replacement.served([], [], "10.0.0.1") == {"instances": []}
