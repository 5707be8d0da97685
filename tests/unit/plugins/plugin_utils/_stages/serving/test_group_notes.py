# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a group read each other's notes of the same run."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.group_notes import GroupNotes
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid_group

GROUPS = {host: plan["group"] for host, plan in valid_group("data_parallel").items()}


@pytest.fixture
def notes(tmp_path):
    """Return ``{host: its GroupNotes}`` in one run."""
    return {host: GroupNotes(Records(tmp_path, run_id="1"), group) for host, group in GROUPS.items()}


def test_members_read_the_notes_of_all_members(notes):
    notes["node1"].write("prepared")
    assert notes["node2"].read() == ({"node1": {"state": "prepared", "reason": None}}, ["node2"])
    notes["node2"].write("prepared", "has no container")
    expected = {"node1": {"state": "prepared", "reason": None},
                "node2": {"state": "prepared", "reason": "has no container"}}
    assert [notes[host].require("prepared") for host in GROUPS] == [expected, expected]


def test_only_the_last_note_of_a_member_counts(notes):
    notes["node1"].write("prepared")
    notes["node1"].write("started")
    assert notes["node1"].read()[0]["node1"]["state"] == "started"


def test_member_in_another_state_is_missing(notes):
    notes["node1"].write("started")
    notes["node2"].write("prepared")
    assert notes["node1"].read(["started"])[1] == ["node2"]
    with pytest.raises(AnsibleActionFail, match=r" hosts were removed from the run before they were started: node2;"):
        notes["node1"].require("started")


def test_notes_of_another_run_are_ignored(notes, tmp_path):
    notes["node1"].write("started")
    other = GroupNotes(Records(tmp_path, run_id="2"), GROUPS["node1"])
    assert other.read() == ({}, ["node1", "node2"])
