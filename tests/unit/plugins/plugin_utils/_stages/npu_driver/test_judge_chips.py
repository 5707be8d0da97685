# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of NPUs, and processes that use planned NPUs, fail their checks."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.npu_driver.npu_case import (
    SERVICE,
    assert_only_fault,
    changed,
    check_named,
    container,
    faults,
    healthy,
    holder,
    judged,
)

CHIP = "npu_smi|chips|3|"


@pytest.mark.parametrize(("changes", "check_id", "subject", "status", "text"), [
    ({CHIP + "name": "910A"}, "npu_type", "npu 3", "failed", "910A"),
    ({CHIP + "hbm_total_mb": 32768}, "hbm_total", "npu 3", "failed", "32768 MB"),
    ({CHIP + "health": "Alarm", CHIP + "error_codes": ["80E01801", "81078603"], CHIP + "error_information": "a\nb"},
     "health", "npu 3", "failed", "Alarm: 80E01801, 81078603 (a / b)"),
    ({CHIP + "health": "Critical", CHIP + "error_codes": []}, "health", "npu 3", "failed", "Critical: no error code"),
    ({CHIP + "health": "UNKNOWN"}, "health", "npu 3", "failed", "UNKNOWN: error codes could not be read"),
    ({CHIP + "health": "Warning", CHIP + "error_codes": ["80E18401"]}, "health_warning", "npu 3", "warned",
     "Warning: 80E18401"),
    ({CHIP + "temperature_c": 90}, "temperature_high", "npu 3", "warned", "90 °C"),
    ({CHIP + "temperature_c": None}, "temperature", "npu 3", "not_run", "does not print this value"),
    ({CHIP + "ecc|HBM Double Bit Isolated Pages Count": "9", CHIP + "ecc|HBM Single Bit Isolated Pages Count": "7"},
     "isolated_pages_warning", "npu 3", "warned", "16 pages"),
    ({CHIP + "ecc|HBM Double Bit Error Count": "1"}, "ecc_errors", "npu 3", "warned", "1 errors"),
    ({"npu_smi|chips|1|aicore_percent": 11}, "npu_idle", "npu 1", "failed", "AICore 11 %, HBM 3390 MB"),
    ({"npu_smi|chips|1|hbm_used_mb": 6145}, "npu_idle", "npu 1", "failed", "AICore 0 %, HBM 6145 MB"),
    ({"holders": [holder()]}, "npus_free", "npu 1", "failed",
     "/dev/davinci1 is used by process 4711 (python3, 20000 MB)"),
    ({"holders": [holder(container=container("other"))]}, "npus_free", "npu 1", "failed", "in container other (vllm)"),
    ({"holders": [holder(container=container("old", {labels.INSTANCE: "1"}))]}, "npus_free", "npu 1", "failed",
     "a service that is not in the plan"),
    ({"holders": [holder(container=container(SERVICE))]}, "npus_free", "npu 1", "failed", "in container " + SERVICE),
    ({"tools|0|duration_s": 2.5}, "tool_slow", None, "warned", "npu-smi info 2.5 s"),
    ({"tools|0|timed_out": True, "tools|0|duration_s": 5.0}, "tool_hung", None, "failed", "npu-smi info 5.0 s"),
])
def test_fault_affects_only_its_check(changes, check_id, subject, status, text):
    also = {("temperature_high", "npu 3"): "not_run"} if check_id == "temperature" else {}
    assert_only_fault(changes, check_id, subject, status, text, also)


def test_values_above_both_limits_fail_and_warn():
    observed = changed({CHIP + "temperature_c": 105, CHIP + "ecc|HBM Double Bit Isolated Pages Count": "64"})
    found = faults(judged(observed))
    assert found == {("temperature", "npu 3"): "failed", ("temperature_high", "npu 3"): "warned",
                     ("isolated_pages", "npu 3"): "failed", ("isolated_pages_warning", "npu 3"): "warned"}


def test_missing_npu_is_named():
    checks = judged(changed({"npu_smi|chips|3": None}))
    assert faults(checks) == {("npu_count", None): "failed"}
    message = check_named(checks, "npu_count")["message"]
    assert message == "7 of 8 NPU chips answer; missing: /dev/davinci3"
    truncated = judged(changed({"npu_smi|chips|7": None, "npu_smi|complete": False}))
    assert "the table of npu-smi is truncated" in check_named(truncated, "npu_count")["message"]


def test_every_chip_of_an_npu_is_counted():
    checks = judged(healthy(), valid(plan_release="v0.18.0", plan_hardware="atlas_800_a3"))
    message = check_named(checks, "npu_count")["message"]
    assert message.startswith("8 of 16 NPU chips answer; missing: /dev/davinci8, ")


@pytest.mark.parametrize(("error", "tools", "expected"), [
    ({"message": "npu-smi was not found", "code": None}, [],
     {"npu_smi": "failed", "tool_slow": "not_run", "tool_hung": "not_run"}),
    ({"message": "dcmi module initialize failed. ret is -8005", "code": -8005}, None, {"npu_smi": "failed"}),
    ({"message": "npu-smi info: no answer within 5 s", "code": None},
     [{"command": "npu-smi info", "rc": None, "duration_s": 5.0, "timed_out": True, "error": "no answer within 5 s"}],
     {"npu_smi": "not_run", "tool_hung": "failed"}),
])
def test_no_chip_check_passes_without_npu_smi(error, tools, expected):
    observed = changed({"npu_smi|error": error, "npu_smi|chips": [], "npu_smi|driver_version": None})
    observed["tools"] = observed["tools"] if tools is None else tools
    checks = judged(observed)
    found = {name: status for (name, _subject), status in faults(checks).items()}
    assert {name: found.pop(name) for name in expected} == expected
    assert found == dict.fromkeys((
        "npu_count", "npu_type", "hbm_total", "health", "health_warning", "temperature", "temperature_high",
        "isolated_pages", "isolated_pages_warning", "ecc_errors", "npus_free", "npu_idle", "driver_loaded"), "not_run")
    assert contract.stage_status(checks) == "failed"


def test_each_error_of_the_dcmi_library_has_its_own_remedy():
    remedies = set()
    for code in (-8005, -8020, None):
        checks = judged(changed({"npu_smi|error": {"message": "dcmi", "code": code}, "npu_smi|chips": []}))
        remedies.add(check_named(checks, "npu_smi")["remedy"])
    assert len(remedies) == 3


def test_planned_service_may_use_its_npus():
    service = container(SERVICE, {labels.INSTANCE: "0123456789ab"})
    observed = changed({"holders": [holder(0, container=service), holder(1, container=service)],
                        "docker_engine|image": {"id": "sha256:1", "digests": []}})
    for number in (0, 1):
        observed["npu_smi"]["chips"][number].update(aicore_percent=98, hbm_used_mb=60000)
    checks = judged(observed)
    assert faults(checks) == {}
    assert "npu_idle" not in {check["id"] for check in checks}
    assert contract.stage_status(checks) == "passed"
    assert check_named(checks, "npus_free")["actual"] == "used by " + SERVICE


def test_other_npus_and_allowed_holders_are_ignored():
    observed = changed({"holders": [holder(5), holder(1, process="npu-exporter", memory=None),
                                    holder(0, container=container("monitor")), holder(None)]})
    assert ("npus_free", "npu 1") in faults(judged(observed))
    assert faults(judged(observed, npu_driver_allowed_holders=["npu-exporter", "monitor"])) == {}


@pytest.mark.parametrize(("hardware", "chips"), [("atlas_800i_a2", 8), ("atlas_800_a3", 16)])
def test_node_with_other_hardware_passes_if_it_is_planned(hardware, chips):
    plan = valid(plan_hardware=hardware)
    observed = healthy()
    several = chips // 8
    base = observed["npu_smi"]["chips"][0]
    observed["npu_smi"]["chips"] = [
        dict(copy.deepcopy(base), npu=number // several, chip=number % several, device=number,
             name=plan["hardware"]["chip_names"][0]) for number in range(chips)]
    observed["pci"] *= several
    assert faults(judged(observed, plan)) == {}
    observed["npu_smi"]["chips"][5]["health"] = "Alarm"
    subject = "npu 2 chip 1" if several == 2 else "npu 5"
    assert faults(judged(observed, plan)) == {("health", subject): "failed"}
