# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a group come to one decision, and do not count on one that left."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action.serving_group import ActionModule
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, Records
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid_group

PLAN = valid_group("data_parallel", serving_api_key="set")


@pytest.fixture
def act(tmp_path):
    """Return a function (host, state, …) -> the result of the action there; both nodes run as planned until told."""
    def see(host, **container):
        (instance,) = PLAN[host]["instances"]
        running = {"hash": instance["hash"], "status": "running", "image": "sha256:1", "interface": "eth0",
                   "secrets": "key-1", **container}
        Records(tmp_path).write_observation(host, "serving", ObservationRecord("before", {
            "image": "sha256:1", "instances": [{"container": running}],
            "addresses": [{"interface": "eth0", "address": instance["address"]}]}))

    def perform(host, state, **args):
        loader = DataLoader()
        task = Mock(args={"plan": PLAN[host], "state": state, **args}, async_val=0, check_mode=False)
        action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._display = Mock()
        result = action.run(task_vars={"inventory_hostname": host, "inventory_dir": str(tmp_path),
                                       "report_path": str(tmp_path)})
        result["shown"] = [call.args[0] for call in action._display.display.call_args_list]
        return result

    perform.see = see
    for name in PLAN:
        see(name)
    return perform


def test_a_group_that_runs_as_planned_is_left_alone(act):
    for host in PLAN:
        act(host, "prepared", secrets="key-1")
    for host in PLAN:
        result = act(host, "decided")
        assert (result["current"], result["reasons"], result["shown"]) == (True, {}, [])


def test_one_member_that_is_not_restarts_all(act):
    act.see("node2", status="exited")
    for host in PLAN:
        act(host, "prepared", secrets="key-1")
    reasons = {"node2": "has a container that is exited"}
    assert [act(host, "decided")["reasons"] for host in PLAN] == [reasons, reasons]
    assert act("node1", "decided")["shown"] == [
        "The group of node1 is started as a whole: node2 has a container that is exited"]
    assert act("node2", "decided")["shown"] == []


def test_another_key_restarts_all(act):
    act("node1", "prepared", secrets="key-2")
    act("node2", "prepared")
    assert not act("node2", "decided")["current"]


def test_nothing_is_decided_without_all(act):
    act("node1", "prepared", secrets="key-1")
    with pytest.raises(AnsibleActionFail, match=r"^node2 left the run before its part of the group was prepared"):
        act("node1", "decided")


def test_what_was_told_in_an_earlier_run_does_not_count(act, monkeypatch):
    for host in PLAN:
        act(host, "prepared", secrets="key-1")
    monkeypatch.setattr(run, "RUN_ID", "the next run")
    act.see("node1")
    act("node1", "prepared", secrets="key-1")
    with pytest.raises(AnsibleActionFail, match="node2 left the run"):
        act("node1", "decided")
