# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action returns the rows of a node, and displays the table of all nodes and balancers."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.action import serving_status
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import FakeNode, displayed, new_action
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

NAME = "vllm-ascend-qwen25-vl"


@pytest.fixture
def status(tmp_path):
    """Return a function (result of the module, args) -> (result, requests, displayed lines)."""
    def run(returned=None, **args):
        node = FakeNode(*[returned] if returned else [])
        action = new_action(serving_status, {"plan": valid(), **args}, node.execute)
        result = action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path)})
        assert node.results == []
        return result, node.requests, displayed(action)
    return run


def test_instance_that_is_not_deployed_has_a_row(status):
    result, requests, lines = status({
        "docker_engine_error": None, "image": "sha256:1", "containers": [], "instances": [], "now_s": 0})
    assert result["rows"] == [["node1", NAME, "none", "-", "-", "-", "-", "0,1", "-", "not deployed", "-"]]
    ((module, arguments),) = requests
    assert (module, arguments["load"], lines) == ("ascend.vllm.serving_info", True, [])


def test_unreachable_node_has_a_row(status, tmp_path):
    result = status(AnsibleConnectionFailure("timed out"))[0]
    assert result["rows"] == [["node1", "-", "not reachable", *[""] * 8]]
    assert not (tmp_path / "node1").exists()


def test_starts_of_the_containers_are_saved_for_the_report(status, tmp_path):
    instance = {"name": NAME, "port": 8888, "state": "missing", "container": None, "reason": None}
    status({"docker_engine_error": None, "image": None, "containers": [], "instances": [instance], "now_s": 0})
    saved = Records(tmp_path, run_id="a later run").read_current("node1", {})
    assert saved["containers"] == {NAME: None}
    assert saved["observed_at"].endswith("Z")


def test_no_containers_are_recorded_if_the_docker_engine_does_not_respond(status, tmp_path):
    status({"docker_engine_error": "refused", "image": None, "containers": [], "instances": [], "now_s": 0})
    assert Records(tmp_path).read_current("node1", {})["observed_at"] is None


def test_displayed_table_includes_the_balancers(status):
    row = ["node1", NAME, "running", "ready", "0", "0", "0 %", "0,1", "5m", "as planned", "sha256:1"]
    server = {"name": "node1:8888", "status": "DOWN", "disabled": True, "sessions": 3, "check": "L4CON",
              "watched": True, "engine": "down (hangs)"}
    other = {"name": "node2:8888", "status": "UP", "disabled": False, "sessions": 0, "check": "L7OK/200",
             "watched": False, "engine": "Connection refused"}
    result, requests, (shown,) = status(show=[row], balancers=[
        {"item": "node1", "error": None, "servers": [server, other]}, {"item": "lb", "unreachable": True}])
    assert requests == []
    assert shown.strip().splitlines() == result["lines"]
    assert "node1  vllm-ascend-qwen25-vl  running" in shown
    assert ("balancer on node1: node1:8888 DOWN (disabled, active requests: 3, L4CON, engine down (hangs)), "
            "node2:8888 UP (active requests: 0, L7OK/200, no watchdog: Connection refused)") in shown
    assert "balancer on lb: not reachable" in shown
