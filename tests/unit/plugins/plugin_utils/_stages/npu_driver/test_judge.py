# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A healthy node passes the npu_driver stage, and inputs change the limits and the request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.npu_driver.npu_case import (
    INPUTS,
    PLAN,
    changed,
    faults,
    healthy,
    judged,
)


def test_healthy_node_passes_every_check():
    checks = judged(healthy())
    assert faults(checks) == {}
    assert {check["id"] for check in checks} == {check.id for check in judge.CHECKS}
    assert contract.stage_status(checks) == "passed"


def test_waived_check_shows_the_reason():
    checks = judged(changed({"npu_smi|chips|3|health": "Alarm", "npu_smi|chips|3|error_codes": []}))
    waive = [{"id": "npu_driver.health", "reason": "spare"}]
    waived = contract.apply_waivers(checks, waive, "npu_driver", judge.CHECKS)
    assert contract.stage_status(waived) == "waived"
    assert "spare" in next(check["message"] for check in waived if check["status"] == "waived")


def test_request_contains_the_paths_of_the_plan():
    arguments = judge.request(context(PLAN, inputs=INPUTS)).arguments
    assert validated("ascend.vllm.npu_info", arguments)["docker_socket"] == "/var/run/docker.sock"
    assert arguments["timeout_s"] == 5.0
    assert arguments["npu_smi"] is None
    assert arguments["driver_path"] == "/usr/local/Ascend/driver"
    mounts = [{"source": "/etc/site/version.info", "type": "file"}]  # must not be taken for the driver's file
    plan = valid(serving_driver_path="/opt/Ascend/driver", serving_mounts=mounts)
    moved = judge.request(context(plan, inputs=INPUTS)).arguments
    assert moved["driver_path"] == "/opt/Ascend/driver"
    assert "/usr/local/dcmi" in arguments["paths"]
    assert arguments["disk_paths"] == [PLAN["model"]["path"]]
    assert arguments["image"] == PLAN["image"]["reference"]


CHIP = "npu_smi|chips|1|"


@pytest.mark.parametrize(("name", "value", "changes", "check", "default", "expected"), [
    ("temperature_limit_c", 60, {CHIP + "temperature_c": 70}, ("temperature", "npu 1"), None, "failed"),
    ("temperature_warning_c", 60, {CHIP + "temperature_c": 70}, ("temperature_high", "npu 1"), None, "warned"),
    ("isolated_pages_limit", 4, {CHIP + "ecc|HBM Double Bit Isolated Pages Count": "5"}, ("isolated_pages", "npu 1"),
     None, "failed"),
    ("isolated_pages_warning", 4, {CHIP + "ecc|HBM Double Bit Isolated Pages Count": "5"},
     ("isolated_pages_warning", "npu 1"), None, "warned"),
    ("idle_aicore_percent", 40, {CHIP + "aicore_percent": 30}, ("npu_idle", "npu 1"), "failed", None),
    ("idle_hbm_mb", 9000, {CHIP + "hbm_used_mb": 8000}, ("npu_idle", "npu 1"), "failed", None),
    ("shm_minimum_gib", 512, {}, ("shm", None), None, "warned"),
    ("image_space_gib", 4096, {}, ("disk_space", "/var/lib/docker"), None, "warned"),
    ("clock_skew_s", 60, {"clock": {"started_at": 1040.5, "finished_at": 1041.5}}, ("clock_skew", None), "warned",
     None),
    ("tool_slow_s", 0.2, {}, ("tool_slow", None), None, "warned"),
])
def test_inputs_change_the_limits(name, value, changes, check, default, expected):
    observed = changed(changes)
    assert faults(judged(observed)).get(check) == default
    assert faults(judged(observed, **{"npu_driver_" + name: value})).get(check) == expected


@pytest.mark.parametrize(("name", "value", "argument"), [
    ("npu_smi_path", "/opt/npu-smi", "npu_smi"), ("tool_timeout_s", 9, "timeout_s"),
    ("kernel_log_minutes", 5, "kernel_log_minutes"),
])
def test_inputs_are_passed_to_the_module(name, value, argument):
    inputs = dict(INPUTS, **{"npu_driver_" + name: value})
    assert judge.request(context(PLAN, inputs=inputs)).arguments[argument] == value


def test_request_contains_the_paths_of_all_deployments_on_the_node():
    other = valid(plan_model="qwen3_8b", serving_state_path="/srv/text")
    arguments = judge.request(replace(context(PLAN, inputs=INPUTS), node_plans=[PLAN, other])).arguments
    assert arguments["disk_paths"] == [PLAN["model"]["path"], "/data/Qwen3-8B"]
    assert {mount["source"] for mount in other["instances"][0]["mounts"]} <= set(arguments["paths"])
    assert {mount["source"] for mount in PLAN["instances"][0]["mounts"]} <= set(arguments["paths"])
