# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of a group determines its interface, the reasons to restart the group, and the failed members."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid_group

ADDRESSES = [{"interface": name, "address": address} for name, address in (
    ("eth0", "192.0.2.12"), ("eth0", "192.0.2.99"), ("bond1.7", "198.51.100.12"))]


@pytest.mark.parametrize(("address", "wanted", "found", "message"), [
    ("192.0.2.12", None, "eth0", None),
    ("192.0.2.99", None, "eth0", None),
    ("198.51.100.12", None, "bond1.7", None),
    ("198.51.100.12", "bond1.7", "bond1.7", None),
    ("203.0.113.5", None, None, "no interface has 203.0.113.5; the node has eth0 (192.0.2.12), "),
    ("192.0.2.12", "eth1", None, "serving_interface is eth1, which does not have 192.0.2.12; the node has eth0"),
])
def test_interface_with_the_address_is_found_or_all_interfaces_are_listed(address, wanted, found, message):
    name, missing = group.interface(address, wanted, ADDRESSES)
    assert name == found
    assert missing is message is None or missing.startswith(message)


PLAN = valid_group("data_parallel", serving_api_key="set")


def observed(host, **container):
    """Return the observation of a node that runs as planned, with changes to its container."""
    (instance,) = PLAN[host]["instances"]
    running = {"command": [], "hash": instance["hash"], "status": "running", "image": "sha256:1", "interface": "eth0",
               "secrets": "key-1", **container}
    return {"image": "sha256:1", "instances": [{"container": running if container.get("hash", True) else None}],
            "addresses": [{"interface": "eth0", "address": instance["address"]}]}


@pytest.mark.parametrize("host", ["node1", "node2"])
@pytest.mark.parametrize(("container", "reason"), [
    ({}, None),
    ({"hash": ""}, "does not exist"),
    ({"hash": "older"}, "has plan older instead of "),
    ({"status": "exited"}, "is exited"),
    ({"image": "sha256:2"}, "runs image sha256:2 instead of sha256:1"),
    ({"interface": "eth1"}, "uses the interface eth1 instead of eth0"),
])
def test_difference_from_the_plan_is_a_reason_to_restart(host, container, reason):
    found = group.restart_reason(PLAN[host], observed(host, **container), "key-1")
    assert found is reason is None or found.startswith(f"{PLAN[host]['instances'][0]['name']} {reason}")


def test_changed_api_key_restarts_only_the_head():
    assert group.restart_reason(PLAN["node1"], observed("node1"), "key-2").endswith(
        " was started with other API keys or another certificate")
    assert group.restart_reason(PLAN["node2"], observed("node2", secrets=None), "new") is None


def observation(state, reason=None):
    return {"docker_engine_error": None, "now_s": 1010,
            "instances": [{"state": state, "reason": reason, "causes": [{"cause": "link_timeout"}]}]}


@pytest.mark.parametrize(("found", "late", "note"), [
    (None, False, ("failed", "the node is no longer reachable")),
    ({"docker_engine_error": "no Docker", "instances": []}, False, ("failed", "no Docker")),
    (observation("ready"), True, ("ready", None)),
    (observation("starting", "slow"), False, ("starting", "slow")),
    (observation("starting", "slow"), True, ("late", "slow")),
    (observation("failed", "exit 1"), False, ("failed", "exit 1")),
    (observation("missing", "removed"), False, ("failed", "removed")),
])
def test_observation_determines_the_state_of_a_node(found, late, note):
    state = group.own_state(found, late, 1000.0)
    assert (state["state"], state["reason"]) == note


def test_note_of_a_failure_contains_the_causes_and_the_clock_offset():
    state = group.own_state(observation("failed", "exit 1"), False, 1000.0)
    assert (state["causes"], state["clock_offset_s"]) == ([{"cause": "link_timeout"}], 10.0)
    assert "causes" not in group.own_state(observation("ready"), False, 1000.0)


GROUP = PLAN["node1"]["group"]


@pytest.mark.parametrize(("states", "timed_out", "finished", "failed"), [
    (("ready", "ready"), False, True, []),
    (("ready", "starting"), False, False, []),
    (("ready", "started"), True, True, ["node2"]),
    (("starting", "failed"), False, True, ["node2"]),
    (("failed", "failed"), False, True, ["node1", "node2"]),
    (("late", "ready"), False, True, ["node1"]),
])
def test_states_of_the_members_determine_the_outcome(states, timed_out, finished, failed):
    notes = {host: {"state": state, "reason": None} for host, state in zip(("node1", "node2"), states)}
    found, members = group.outcome(GROUP, notes, timed_out)
    assert found is finished
    assert [member["host"] for member in members] == failed


def test_member_that_left_the_run_counts_as_failed():
    notes = {"node1": {"state": "failed", "reason": "exit code 1"}}
    assert group.outcome(GROUP, notes) == (True, [
        {"host": "node1", "state": "failed", "reason": "exit code 1"},
        {"host": "node2", "state": "failed", "reason": "it was removed from the run before it was started"}])


# --- Notes

GROUPS = {host: plan["group"] for host, plan in valid_group("data_parallel").items()}


@pytest.fixture
def notes(tmp_path):
    """Return ``{host: its GroupNotes}`` in one run."""
    return {host: group.GroupNotes(Records(tmp_path, run_id="1"), own) for host, own in GROUPS.items()}


def test_members_read_the_notes_of_all_members(notes):
    notes["node1"].write("prepared")
    assert notes["node2"].read() == {"node1": {"state": "prepared", "reason": None}}
    notes["node2"].write("prepared", "has no container")
    expected = {"node1": {"state": "prepared", "reason": None},
                "node2": {"state": "prepared", "reason": "has no container"}}
    assert [notes[host].require("prepared") for host in GROUPS] == [expected, expected]


def test_only_the_last_note_of_a_member_counts(notes):
    notes["node1"].write("prepared")
    notes["node1"].write("started")
    assert notes["node1"].read()["node1"]["state"] == "started"


def test_member_in_another_state_is_missing(notes):
    notes["node1"].write("started")
    notes["node2"].write("prepared")
    with pytest.raises(AnsibleActionFail, match=r" hosts were removed from the run before they were started: node2;"):
        notes["node1"].require("started")


def test_notes_of_another_run_are_ignored(notes, tmp_path):
    notes["node1"].write("started")
    other = group.GroupNotes(Records(tmp_path, run_id="2"), GROUPS["node1"])
    assert other.read() == {}
