# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action waits until requests are done or NPUs are free, up to a timeout, and displays a line for each change."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action import serving_wait
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import (
    FakeNode,
    displayed,
    new_action,
    warnings,
)
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

NAME = "vllm-ascend-qwen25-vl"
REQUESTS = {"until": "requests_done", "timeout_s": 25}
NPUS = {"until": "npus_free", "timeout_s": 15, "devices": [0]}


@pytest.fixture
def wait(monkeypatch, tmp_path):
    """Return a function (args, module results, variables) -> (result, requests, displayed lines, warnings).

    10 s pass between two module calls.
    """
    def run(args, *results, check_mode=False, **variables):
        clock, node = [0.0], FakeNode(*results)
        monkeypatch.setattr(serving_wait.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(serving_wait.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + 10))
        action = new_action(serving_wait, {"plan": valid(), **args}, node.execute, check_mode)
        result = action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path), **variables})
        assert node.results == []
        return result, node.requests, displayed(action), warnings(action)
    return run


def running(count, shutdown_timeout_s=0, name=NAME, status="running"):
    return {"docker_engine_error": None, "containers": [{
        "name": name, "status": status, "shutdown_timeout_s": shutdown_timeout_s,
        "load": {"running": count, "waiting": 0, "kv_cache_usage": 0.0}}]}


def test_action_waits_for_requests_and_displays_them_once(wait):
    result, requests, lines, warned = wait(REQUESTS, running(2), running(2), running(0))
    assert (result["seconds"], result["left"], len(result["containers"])) == (20, [], 1)
    assert lines == [f"node1: {NAME} has requests: 2 running, 0 waiting (0 s)"]
    assert warned == []
    assert requests[0] == ("ascend.vllm.serving_info", {
        "instances": [], "load": True, "docker_socket": "/var/run/docker.sock", "ca": None,
        "server_name": "192.0.2.11"})


def test_warning_names_the_requests_that_will_be_aborted(wait):
    result, _requests, _lines, warned = wait(REQUESTS, *[running(1)] * 4)
    assert result["left"] == [f"{NAME} has requests: 1 running, 0 waiting"]
    assert warned == [f"node1: requests are aborted after serving_drain_timeout_s: {NAME} has requests: 1 running, 0 "
                      "waiting."]


@pytest.mark.parametrize(("observed", "balanced", "calls"), [
    (running(1, shutdown_timeout_s=600), False, 1),    # vLLM finishes its requests when it is stopped
    (running(1, shutdown_timeout_s=600), True, 4),
    (running(1, name="another-deployment"), False, 1),
    (running(1, status="exited"), False, 1),
])
def test_action_waits_only_for_running_containers_of_the_deployment(wait, observed, balanced, calls):
    _result, requests, _lines, _warned = wait(REQUESTS, *[observed] * calls, balancer_enabled=balanced)
    assert len(requests) == calls


def test_docker_socket_and_container_name_come_from_the_plan(wait):
    plan = valid(plan_docker_socket="/run/other.sock", serving_container_name="other")
    result, requests, _lines, _warned = wait(dict(REQUESTS, plan=plan), running(0, name="other"))
    assert requests[0][1]["docker_socket"] == "/run/other.sock"
    assert [container["name"] for container in result["containers"]] == ["other"]


@pytest.mark.parametrize(("args", "returned"), [(REQUESTS, running(1)), (NPUS, {
    "npu_smi": {"error": None, "chips": [{"device": 0, "hbm_used_mb": 50000}]}, "holders": []})])
def test_check_mode_observes_once(wait, args, returned):
    result, _requests, _lines, warned = wait(args, returned, check_mode=True)
    assert len(result["left"]) == 1
    assert warned == []


def test_action_fails_if_the_docker_engine_does_not_respond(wait):
    with pytest.raises(AnsibleActionFail, match="node1: no response"):
        wait(REQUESTS, {"docker_engine_error": "no response", "containers": []})


def npus(used_mb):
    return {"npu_smi": {"error": None, "chips": [{"device": 0, "hbm_used_mb": used_mb}]}, "holders": []}


def test_action_waits_until_npus_are_free(wait):
    result, requests, _lines, _warned = wait(NPUS, npus(50000), npus(3000))
    assert result["seconds"] == 10
    assert requests[0][0] == "ascend.vllm.npu_info"


def test_action_fails_and_names_the_npus_that_stay_busy(wait):
    with pytest.raises(AnsibleActionFail, match=r"On node1 the NPUs are not free .* NPU 0 is not free, but no process"):
        wait(NPUS, *[npus(50000)] * 3)


def test_no_module_is_called_without_npus(wait):
    assert wait(dict(NPUS, devices=[]))[1] == []


def test_module_failure_fails_the_action(wait):
    with pytest.raises(AnsibleActionFail, match="no python"):
        wait(NPUS, {"failed": True, "msg": "no python"})


def test_npu_below_the_memory_limit_for_idle_npus_counts_as_free(wait):
    result, _requests, _lines, _warned = wait(NPUS, npus(50000), serving_idle_hbm_mb=60000)
    assert result["left"] == []
