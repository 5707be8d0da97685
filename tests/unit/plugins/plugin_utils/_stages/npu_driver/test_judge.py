# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The npu_driver stage as a whole."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge
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


def test_module_arguments():
    arguments = judge.request(context(PLAN, inputs=INPUTS)).arguments
    assert arguments["timeout_s"] == 5.0
    assert arguments["npu_smi"] is None
    assert arguments["driver_path"] == "/usr/local/Ascend/driver"
    mounts = [{"source": "/etc/site/version.info", "type": "file"}]  # not that of the driver
    plan = valid(serving_driver_path="/opt/Ascend/driver", serving_mounts=mounts)
    moved = judge.request(context(plan, inputs=INPUTS)).arguments
    assert moved["driver_path"] == "/opt/Ascend/driver"
    assert "/usr/local/dcmi" in arguments["paths"]
    assert arguments["disk_paths"] == [PLAN["model"]["path"]]
    assert arguments["image"] == PLAN["image"]["reference"]
