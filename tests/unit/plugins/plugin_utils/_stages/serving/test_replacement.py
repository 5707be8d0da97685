# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and upgrading a service depends on what runs, not only on the plan."""

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
    assert names(replacement.previous_containers(there, NAME)) == [NAME + "-12-previous", NAME + "-previous"]
    assert replacement.deployment(containers("aXb"), "a.b") == []


@pytest.fixture
def plan():
    return valid(serving_replicas=2)


def test_what_runs_as_planned_is_not_replaced(plan):
    there = as_planned(plan) + containers("other", NAME + "-previous")
    assert replacement.replacement_reasons(observed(plan, there), plan) == []


@pytest.mark.parametrize(("change", "reason"), [
    (lambda there: there.pop(), f"{NAME}-1 does not exist"),
    (lambda there: there[0].update(hash="older"), f"{NAME} has plan older instead of"),
    (lambda there: there[0].update(image="sha256:j"), f"{NAME} runs image sha256:j instead of sha256:i"),
    (lambda there: there[1].update(status="exited"), f"{NAME}-1 is exited"),
    (lambda there: there.extend(containers(NAME + "-2")), f"{NAME}-2 is no longer planned"),
])
def test_whatever_differs_is_replaced(plan, change, reason):
    there = as_planned(plan)
    change(there)
    (found,) = replacement.replacement_reasons(observed(plan, there), plan)
    assert found.startswith(reason)


@pytest.mark.parametrize(("there", "expected"), [
    ((NAME, NAME + "-1"), {"remove": [], "rename": [NAME, NAME + "-1"]}),
    ((NAME, NAME + "-previous"), {"remove": [NAME], "rename": []}),  # an interrupted upgrade
    ((NAME + "-previous",), {"remove": [], "rename": []}),
    (("other",), {"remove": [], "rename": []}),
])
def test_upgrade_keeps_the_containers_that_were_verified_last(there, expected):
    assert replacement.upgrade_steps(containers(*there), NAME) == expected


@pytest.mark.parametrize(("replicas", "ours", "unplanned"), [
    (1, [NAME], []),
    (2, [NAME, NAME + "-1", NAME + "-3"], [NAME + "-3"]),
    (1, ["other", "other-1", NAME + "-x", NAME + "-1-2"], []),
])
def test_unplanned_containers(replicas, ours, unplanned):
    assert replacement.unplanned_containers(ours, valid(serving_replicas=replicas)) == unplanned


@pytest.mark.parametrize(("before", "now", "expected"), [
    ((NAME,), (NAME, NAME + "-previous"), {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # with more instances than before
    ((NAME,), (NAME, NAME + "-1", NAME + "-previous"),
     {"remove": [NAME, NAME + "-1"], "rename": [NAME], "start": [NAME]}),
    # failed before anything was renamed: stopped ones are started again, nothing is removed
    ((NAME, NAME + "-1"), (NAME, NAME + "-1"), {"remove": [], "rename": [], "start": [NAME, NAME + "-1"]}),
    # failed between two of them
    ((NAME, NAME + "-1"), (NAME + "-previous", NAME + "-1"),
     {"remove": [], "rename": [NAME], "start": [NAME, NAME + "-1"]}),
    # after an interrupted upgrade the verified one comes back
    ((NAME, NAME + "-previous"), (NAME, NAME + "-previous"), {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # a first deployment
    ((), (NAME,), {"remove": [NAME], "rename": [], "start": []}),
    ((NAME, "other"), (NAME, "other"), {"remove": [], "rename": [], "start": [NAME]}),
])
def test_rollback_steps(before, now, expected):
    found = replacement.rollback_steps(containers(*now), containers(*before), NAME, "unless-stopped")
    assert dict(found, start=names(found["start"])) == expected
    assert {container["restart_policy"] for container in found["start"]} <= {"always"}


def before_upgrade(*described):
    """The containers of ``[(suffix of the name, status, restart policy)]``."""
    return [container for suffix, status, policy in described
            for container in containers(NAME + suffix, status=status, restart_policy=policy)]


@pytest.mark.parametrize(("before", "policies"), [
    # each its own, which is neither that of now (stopping set it to "no") nor the one that the upgrade has planned
    ([("", "running", "always"), ("-1", "running", "on-failure")], ["always", "on-failure"]),
    ([("", "running", "no")], ["no"]),
    ([("", "restarting", "always")], ["always"]),
    # stopped before the upgrade: its own policy is lost
    ([("", "exited", "no")], ["unless-stopped"]),
    ([("", "exited", "on-failure")], ["on-failure"]),
    # an interrupted upgrade had stopped the previous one
    ([("", "running", "always"), ("-previous", "exited", "no")], ["unless-stopped"]),
])
def test_rollback_starts_containers_with_the_restart_policy_from_before_the_upgrade(before, policies):
    before = before_upgrade(*before)
    now = [dict(container, status="exited", restart_policy="no") for container in before]
    found = replacement.rollback_steps(now, before, NAME, "unless-stopped")
    assert [container["restart_policy"] for container in found["start"]] == policies


def test_plan_of_running_containers_has_their_own_names_and_ports():
    before = containers(NAME + "-previous", port=9000, served_name="old") + containers(NAME + "-1", port=9001)
    found = replacement.plan_of_running(before, [NAME], "10.0.0.1")
    assert [(each["name"], each["port"], each["url"]) for each in found["instances"]] == [
        (NAME, 9000, "http://10.0.0.1:9000")]
    assert (found["model"], found["image"]) == ({"served_name": "old"}, {"reference": "sha256:i"})
    assert replacement.plan_of_running([], [], "10.0.0.1") == {"instances": []}
