# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a group make the same decision, and fail if a node of the group is no longer part of the run."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action import serving_group
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import displayed, new_action
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid, valid_group

PLAN = valid_group("data_parallel", serving_api_key="set")
NAME = PLAN["node2"]["instances"][0]["name"]


@pytest.fixture
def act(tmp_path):
    """Return a function (host, state, …) -> the result of the action on that host.

    Both containers run as planned until its attribute ``observe(host, **changes)`` changes the container of a host.
    """
    def observe(host, **changes):
        (instance,) = PLAN[host]["instances"]
        container = {"hash": instance["hash"], "status": "running", "image": "sha256:1", "interface": "eth0",
                     "secrets": "key-1", **changes}
        Records(tmp_path).write_observation(host, "serving", ObservationRecord("before", {
            "image": "sha256:1", "instances": [{"container": container}],
            "addresses": [{"interface": "eth0", "address": instance["address"]}]}))

    def perform(host, state, **args):
        action = new_action(serving_group, {"plan": PLAN[host], "state": state, **args})
        result = action.run(task_vars={"inventory_hostname": host, "inventory_dir": str(tmp_path),
                                       "report_path": str(tmp_path)})
        result["shown"] = displayed(action)
        return result

    perform.observe, perform.release = observe, Records(tmp_path).release
    for name in PLAN:
        observe(name)
    return perform


def test_group_that_runs_as_planned_is_not_restarted(act):
    for host in PLAN:
        act(host, "prepared", secrets="key-1")
    for host in PLAN:
        result = act(host, "decided")
        assert (result["current"], result["reasons"], result["shown"]) == (True, {}, [])


def test_stopped_member_causes_a_restart_of_all_members(act):
    act.observe("node2", status="exited")
    for host in PLAN:
        act(host, "prepared", secrets="key-1")
    reasons = {"node2": f"{NAME} is exited"}
    assert [act(host, "decided")["reasons"] for host in PLAN] == [reasons, reasons]
    assert act("node1", "decided")["shown"] == [
        f"All containers of node1's group are restarted: node2: {NAME} is exited"]
    assert act("node2", "decided")["shown"] == []


def test_changed_api_key_causes_a_restart_of_all_members(act):
    act("node1", "prepared", secrets="key-2")
    act("node2", "prepared")
    assert not act("node2", "decided")["current"]


def test_member_that_left_the_run_prevents_the_decision(act):
    act("node1", "prepared", secrets="key-1")
    with pytest.raises(AnsibleActionFail, match=r" hosts were removed from the run before they were prepared: node2;"):
        act("node1", "decided")


def test_node_without_a_group_is_refused(tmp_path):
    action = new_action(serving_group, {"plan": valid(), "state": "decided"})
    with pytest.raises(AnsibleActionFail, match=r"^The plan of node1 has no group; set serving_topology"):
        action.run(task_vars={"inventory_hostname": "node1", "inventory_dir": str(tmp_path)})


def test_notes_of_an_earlier_run_are_ignored(act, monkeypatch):
    for host in PLAN:
        act(host, "prepared", secrets="key-1")
    act.release()
    monkeypatch.setattr(run, "RUN_ID", "the next run")
    act.observe("node1")
    act("node1", "prepared", secrets="key-1")
    with pytest.raises(AnsibleActionFail, match="before they were prepared: node2;"):
        act("node1", "decided")
