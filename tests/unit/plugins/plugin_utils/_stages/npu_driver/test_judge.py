# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of npu_driver: a healthy node passes, and each fault shows under its own check and no other."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge as npu_driver
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver.judge import CHECKS, judge, request
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults

INPUTS = defaults("npu_driver")
PLAN = valid()
SERVICE = PLAN["instances"][0]["name"]
ECC = dict.fromkeys(("HBM Single Bit Error Count", "HBM Double Bit Error Count", "HBM Single Bit Isolated Pages Count",
                     "HBM Double Bit Isolated Pages Count"), "0")


def healthy():
    """What npu_info returns of a node that can carry the default plan, before anything is deployed."""
    return {
        "npu_smi": {
            "path": "/usr/local/bin/npu-smi", "error": None, "tool_version": "25.3.rc1", "driver_version": "25.3.rc1",
            "complete": True, "processes": [],
            "chips": [{
                "npu": number, "chip": 0, "phy_id": None, "device": number, "name": "910B3", "health": "OK",
                "power_w": 93.1, "temperature_c": 41, "bus_id": "0000:C%d:00.0" % number, "aicore_percent": 0,
                "hbm_used_mb": 3390, "hbm_total_mb": 65536, "error_codes": None, "error_information": None,
                "ecc": dict(ECC), "board": {"Compatibility": "OK"},
            } for number in range(8)]},
        "tools": [{"command": "npu-smi info", "rc": 0, "duration_s": 0.3, "timed_out": False, "error": None}],
        "files": {
            "/usr/local/Ascend/driver/version.info": {"kind": "driver_version", "fields": {
                "Version": "25.3.rc1", "compatible_version_fw": "[7.0.0,7.8.99]"}},
            "/usr/local/Ascend/firmware/version.info": {"kind": "firmware_version", "fields": {
                "Version": "7.8.0.2.212", "package_version": "25.3.rc1", "compatible_version_drv": "[25.3,25.3.]"}},
            "/etc/ascend_install.info": {"kind": "install_info", "fields": {"UserName": "HwHiAiUser"}}},
        "device_nodes": [{"path": path, "type": "character device", "owner": "HwHiAiUser", "group": "HwHiAiUser",
                          "mode": "0660"} for path in
                         ["/dev/davinci%d" % number for number in range(8)]
                         + ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]],
        "pci": [{"address": "0000:c%d:00.0" % number, "device": "0xd802"} for number in range(8)],
        "docker_engine": {"version": "26.1.4", "architecture": "aarch64", "data_root": "/var/lib/docker",
                          "storage_driver": "overlay2", "default_runtime": "runc", "runtimes": ["runc"], "image": None,
                          "containers": []},
        "holders": [],
        "system": {"architecture": "aarch64", "kernel": "5.10.0-182.0.0.95.oe2203sp3.aarch64",
                   "os": {"id": "openEuler", "version": "22.03", "name": "openEuler 22.03 (LTS-SP3)"},
                   "memory_bytes": 2**40, "memory_available_bytes": 2**39, "memlock_bytes": None, "uptime_s": 9000.0,
                   "shm": {"path": "/dev/shm", "existing": "/dev/shm", "total_bytes": 2**38, "free_bytes": 2**38}},
        "disks": [{"path": path, "existing": "/", "total_bytes": 2**42, "free_bytes": 2**41}
                  for path in ("/var/lib/docker", PLAN["model"]["path"])],
        "paths": [{"path": mount["source"], "type": mount["type"] if mount["origin"] == "host" else None}
                  for mount in PLAN["instances"][0]["mounts"]],
        "python": {"executable": "/usr/bin/python3", "version": "3.9.9", "requests": "2.28.1"},
        "kernel_log": {"lines": [], "error": None},
        "clock": {"started_at": 1000.5, "finished_at": 1001.5},
        "round_trip": {"sent_at": 1000.0, "received_at": 1002.0},
    }


def changed(changes):
    """A healthy observation with values set by their path (``npu_smi|chips|3|health``); None takes an item out."""
    observed = healthy()
    for path, value in changes.items():
        place = observed
        *folders, name = [int(part) if part.isdigit() else part for part in path.split("|")]
        for folder in folders:
            place = place[folder]
        if isinstance(name, int) and value is None:
            del place[name]
        else:
            place[name] = value
    return observed


def judged(observed, plan=None, peers=None, **inputs):
    peers = {"node1": observed, "node2": healthy()} if peers is None else peers
    survey = npu_driver.survey(peers, INPUTS).get("node1")
    return judge(context(plan or PLAN, observed, dict(INPUTS, **inputs), survey=survey))


def faults(checks):
    """``{(id, subject): status}`` of what did not pass; drift is judged by its own tests."""
    return {(check["id"], check["subject"]): check["status"] for check in checks
            if check["status"] != "passed" and check["id"] != "drift"}


def holder(device=1, process="python3", container=None, pid=4711, memory=20000):
    return {"device": device, "pid": pid, "process": process, "memory_mb": memory, "container": container}


def container(name, labels=None):
    return {"id": "a" * 64, "name": name, "image_name": "vllm", "labels": labels or {}}


def test_a_healthy_node_passes_every_check():
    checks = judged(healthy())
    assert faults(checks) == {}
    assert {check["id"] for check in checks} == {check.id for check in CHECKS}
    assert contract.stage_status(checks) == "passed"


CHIP = "npu_smi|chips|3|"
ONE_FAULT = [
    ({CHIP + "name": "910A"}, "npu_type", "npu 3", "failed", "910A"),
    ({CHIP + "hbm_total_mb": 32768}, "hbm_total", "npu 3", "failed", "32768 MB"),
    ({CHIP + "health": "Alarm", CHIP + "error_codes": ["80E01801", "81078603"], CHIP + "error_information": "a\nb"},
     "health", "npu 3", "failed", "Alarm: 80E01801, 81078603 (a / b)"),
    ({CHIP + "health": "Critical", CHIP + "error_codes": []}, "health", "npu 3", "failed", "Critical: no error code"),
    ({CHIP + "health": "UNKNOWN"}, "health", "npu 3", "failed", "UNKNOWN: error codes could not be read"),
    ({CHIP + "health": "Warning", CHIP + "error_codes": ["80E18401"]}, "health_warning", "npu 3", "warned",
     "Warning: 80E18401"),
    ({CHIP + "temperature_c": 90}, "temperature_high", "npu 3", "warned", "90 °C"),
    ({CHIP + "temperature_c": None}, "temperature", "npu 3", "not_run", "does not tell"),
    ({CHIP + "ecc|HBM Double Bit Isolated Pages Count": "9", CHIP + "ecc|HBM Single Bit Isolated Pages Count": "7"},
     "isolated_pages_warning", "npu 3", "warned", "16 pages"),
    ({CHIP + "ecc|HBM Double Bit Error Count": "1"}, "ecc_errors", "npu 3", "warned", "1 errors"),
    ({"npu_smi|chips|1|aicore_percent": 11}, "npu_idle", "npu 1", "failed", "AICore 11 %, HBM 3390 MB"),
    ({"npu_smi|chips|1|hbm_used_mb": 6145}, "npu_idle", "npu 1", "failed", "AICore 0 %, HBM 6145 MB"),
    ({"holders": [holder()]}, "npus_free", "npu 1", "failed",
     "/dev/davinci1 is held by process 4711 (python3, 20000 MB)"),
    ({"holders": [holder(container=container("other"))]}, "npus_free", "npu 1", "failed", "in container other (vllm)"),
    ({"holders": [holder(container=container("old", {labels.INSTANCE: "1"}))]}, "npus_free", "npu 1", "failed",
     "a service of ours that the plan does not have"),
    ({"holders": [holder(container=container(SERVICE))]}, "npus_free", "npu 1", "failed", "in container " + SERVICE),
    ({"npu_smi|driver_version": "24.1.rc3", "files|/usr/local/Ascend/driver/version.info|fields|Version": "24.1.rc3",
      "files|/usr/local/Ascend/firmware/version.info|fields": {}},
     "driver_minimum", None, "failed", "driver 24.1.rc3 is older than 25.0.RC1, which release v0.11.0rc1 needs"),
    ({"npu_smi|driver_version": "25.5.0"}, "driver_loaded", None, "warned",
     "25.3.rc1 is installed, but 25.5.0 is loaded"),
    ({CHIP + "board": {"Compatibility": "NOK"}}, "firmware", None, "failed",
     "driver 25.3.rc1, firmware 25.3.rc1: incompatible by npu-smi on npu 3"),
    ({"files|/usr/local/Ascend/driver/version.info|fields|compatible_version_fw": "[7.0.0,7.7.99]"}, "firmware", None,
     "failed", "incompatible by the ranges"),
    ({"device_nodes|1": None}, "device_nodes", "/dev/davinci1", "failed", "/dev/davinci1 is missing"),
    ({"device_nodes|1|type": "file"}, "device_nodes", "/dev/davinci1", "failed", "is a file, not a character device"),
    ({"device_nodes|1|mode": "0060"}, "device_nodes", "/dev/davinci1", "failed", "has the mode 0060"),
    ({"paths|0|type": None}, "mount_sources", "/usr/local/dcmi", "failed",
     "/usr/local/dcmi is missing; a directory is to be mounted"),
    ({"paths|1|type": "directory"}, "mount_sources", "/usr/local/bin/npu-smi", "failed",
     "is a directory, but a file is to be mounted"),
    ({"paths|5|type": "file"}, "mount_sources", PLAN["model"]["path"], "failed", "is a file, but a directory"),
    ({"pci|7": None}, "pci_devices", None, "warned", "expected 8, found 7"),
    ({"pci": []}, "pci_devices", None, "not_run", "no accelerator"),
    ({"system|architecture": "riscv64"}, "architecture", None, "failed", "aarch64 or x86_64, found riscv64"),
    ({"system|kernel": "4.19.90-89.18.v2401.ky10.aarch64"}, "kernel", None, "warned", "5.10 or newer, found 4.19.90"),
    ({"docker_engine|version": "18.06.3-ce"}, "docker_engine_version", None, "warned", "18.09 to 28.5.1, found 18.06"),
    ({"docker_engine|version": "29.0.1"}, "docker_engine_version", None, "warned", "29.0.1"),
    ({"python|requests": None}, "python_requests", None, "failed", "/usr/bin/python3 (Python 3.9.9)"),
    ({"system|shm|total_bytes": 2**26}, "shm", None, "warned", "8 GiB, found 0.1 GiB"),
    ({"system|memlock_bytes": 65536}, "memlock", None, "warned", "32 GiB or unlimited, found 0.0 GiB"),
    ({"disks|0|free_bytes": 2**30}, "disk_space", "/var/lib/docker", "warned", "1.0 GiB free, 40.0 GiB are needed"),
    ({"disks|1|free_bytes": 2**35}, "disk_space", PLAN["model"]["path"], "warned", "32.0 GiB free, 43.3 GiB"),
    ({"clock": {"started_at": 1040.5, "finished_at": 1041.5}}, "clock_skew", None, "warned",
     "+40.0 s, give or take 0.5 s"),
    ({"clock": {"started_at": 960.5, "finished_at": 961.5}}, "clock_skew", None, "warned", "-40.0 s"),
    ({"round_trip|received_at": 1090.0}, "clock_skew", None, "not_run", "took too long"),
    ({"round_trip": None}, "clock_skew", None, "not_run", "was not measured"),
    ({"kernel_log|lines": [{"seconds_ago": 60, "text": "[ascend] [ERROR] x"}]}, "kernel_log", None, "warned",
     "1 lines, the newest 60 s ago: [ascend] [ERROR] x"),
    ({"kernel_log|error": "Permission denied"}, "kernel_log", None, "not_run", "Permission denied"),
    ({"tools|0|duration_s": 2.5}, "tool_slow", None, "warned", "npu-smi info 2.5 s"),
    ({"tools|0|timed_out": True, "tools|0|duration_s": 5.0}, "tool_wedged", None, "failed", "npu-smi info 5.0 s"),
]


@pytest.mark.parametrize(("changes", "check_id", "subject", "status", "said"), ONE_FAULT)
def test_one_fault_shows_under_its_check_alone(changes, check_id, subject, status, said):
    checks = judged(changed(changes))
    found = faults(checks)
    assert found.pop((check_id, subject)) == status
    # What one fault also touches, and no more.
    also = {"temperature": {("temperature_high", "npu 3"): "not_run"},
            "driver_minimum": {("driver_recommended", None): "warned"}}.get(check_id, {})
    assert found == also
    check = next(check for check in checks if (check["id"], check["subject"]) == (check_id, subject))
    assert said in "%s expected %s, found %s" % (check["message"], check["expected"], check["actual"])
    assert check["remedy"]


def test_an_overheated_chip_and_worn_out_hbm_fail_and_warn():
    observed = changed({CHIP + "temperature_c": 105, CHIP + "ecc|HBM Double Bit Isolated Pages Count": "64"})
    found = faults(judged(observed))
    assert found == {("temperature", "npu 3"): "failed", ("temperature_high", "npu 3"): "warned",
                     ("isolated_pages", "npu 3"): "failed", ("isolated_pages_warning", "npu 3"): "warned"}


def test_a_lost_npu_is_named():
    checks = judged(changed({"npu_smi|chips|3": None}))
    assert faults(checks) == {("npu_count", None): "failed"}
    message = next(check["message"] for check in checks if check["id"] == "npu_count")
    assert message == "7 of 8 NPU chips answer; missing: /dev/davinci3"
    cut = judged(changed({"npu_smi|chips|7": None, "npu_smi|complete": False}))
    assert "npu-smi's table was cut" in next(check["message"] for check in cut if check["id"] == "npu_count")


def test_every_chip_of_an_npu_counts():
    checks = judged(healthy(), valid(plan_release="v0.18.0", plan_hardware="atlas_800_a3"))
    message = next(check["message"] for check in checks if check["id"] == "npu_count")
    assert message.startswith("8 of 16 NPU chips answer; missing: /dev/davinci8, ")


@pytest.mark.parametrize(("error", "tools", "expected"), [
    ({"message": "npu-smi was not found", "code": None}, [],
     {"npu_smi": "failed", "tool_slow": "not_run", "tool_wedged": "not_run"}),
    ({"message": "dcmi module initialize failed. ret is -8005", "code": -8005}, None, {"npu_smi": "failed"}),
    ({"message": "npu-smi info: no answer within 5 s", "code": None},
     [{"command": "npu-smi info", "rc": None, "duration_s": 5.0, "timed_out": True, "error": "no answer within 5 s"}],
     {"npu_smi": "not_run", "tool_wedged": "failed"}),
])
def test_nothing_passes_without_the_tool(error, tools, expected):
    observed = changed({"npu_smi|error": error, "npu_smi|chips": [], "npu_smi|driver_version": None})
    observed["tools"] = observed["tools"] if tools is None else tools
    checks = judged(observed)
    found = {name: status for (name, _subject), status in faults(checks).items()}
    assert {name: found.pop(name) for name in expected} == expected
    assert found == dict.fromkeys((
        "npu_count", "npu_type", "hbm_total", "health", "health_warning", "temperature", "temperature_high",
        "isolated_pages", "isolated_pages_warning", "ecc_errors", "npus_free", "npu_idle", "driver_loaded"), "not_run")
    assert contract.stage_status(checks) == "failed"


def test_each_failure_of_the_library_has_its_remedy():
    remedies = set()
    for code in (-8005, -8020, None):
        checks = judged(changed({"npu_smi|error": {"message": "dcmi", "code": code}, "npu_smi|chips": []}))
        remedies.add(next(check["remedy"] for check in checks if check["id"] == "npu_smi"))
    assert len(remedies) == 3


def test_an_engine_that_does_not_answer():
    observed = changed({"docker_engine": {"error": "the engine does not answer: x"}, "holders": [holder()]})
    checks = judged(observed)
    assert faults(checks) == {("docker_engine", None): "failed", ("docker_engine_version", None): "not_run",
                              ("disk_space", "image"): "not_run", ("npus_free", "npu 1"): "failed"}
    assert "its container is not known" in next(check["message"] for check in checks if check["id"] == "npus_free")


def test_our_own_service_may_hold_its_npus_and_use_them():
    own = container(SERVICE, {labels.INSTANCE: "0123456789ab"})
    observed = changed({"holders": [holder(0, container=own), holder(1, container=own)],
                        "docker_engine|image": {"id": "sha256:1", "digests": []}})
    for number in (0, 1):
        observed["npu_smi"]["chips"][number].update(aicore_percent=98, hbm_used_mb=60000)
    checks = judged(observed)
    assert faults(checks) == {}
    assert "npu_idle" not in {check["id"] for check in checks}
    assert contract.stage_status(checks) == "passed"
    assert next(check["actual"] for check in checks if check["id"] == "npus_free") == "held by our own " + SERVICE


def test_holders_of_other_npus_and_allowed_ones_do_not_matter():
    observed = changed({"holders": [holder(5), holder(1, process="npu-exporter", memory=None),
                                    holder(0, container=container("monitor")), holder(None)]})
    assert ("npus_free", "npu 1") in faults(judged(observed))
    assert faults(judged(observed, npu_driver_allowed_holders=["npu-exporter", "monitor"])) == {}


def test_known_bad_and_too_old_for_the_recommendation():
    checks = judged(changed({"npu_smi|driver_version": "25.5.1", "files": {}}))
    found = faults(checks)
    assert found == {("driver_known_bad", None): "warned", ("driver_loaded", None): "not_run"}
    assert "7078" in next(check["message"] for check in checks if check["id"] == "driver_known_bad")
    found = faults(judged(changed({"npu_smi|driver_version": "25.2.0", "files": {}})))
    assert found == {("driver_recommended", None): "warned", ("driver_loaded", None): "not_run"}


def test_firmware_that_nobody_vouches_for_is_not_judged():
    observed = changed({"files": {}})
    for chip in observed["npu_smi"]["chips"]:
        chip["board"] = None
    assert faults(judged(observed))[("firmware", None)] == "not_run"


def test_a_driver_without_a_readable_version_is_not_judged():
    found = faults(judged(changed({"npu_smi|driver_version": "xxx"})))
    assert {name for name, _subject in found} == {
        "driver_minimum", "driver_recommended", "driver_known_bad", "driver_loaded"}


@pytest.mark.parametrize(("hardware", "chips"), [("atlas_800i_a2", 8), ("atlas_800_a3", 16)])
def test_other_hardware_is_data(hardware, chips):
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


@pytest.mark.parametrize(("inputs", "name", "status"), [
    ({"npu_driver_engine_minimum": "", "npu_driver_engine_maximum": ""}, "docker_engine_version", "passed"),
    ({"npu_driver_engine_minimum": "26.1.5", "npu_driver_engine_maximum": ""}, "docker_engine_version", "warned"),
    ({"npu_driver_engine_maximum": "recent"}, "docker_engine_version", "not_run"),
    ({"npu_driver_kernel_minimum": 5.1}, "kernel", "passed"),
    ({"npu_driver_kernel_minimum": "5.10.1"}, "kernel", "warned"),
])
def test_bounds_of_versions(inputs, name, status):
    assert next(check["status"] for check in judged(healthy(), **inputs) if check["id"] == name) == status


def drift(checks):
    return {check["subject"]: (check["status"], check["message"]) for check in checks if check["id"] == "drift"}


def test_drift_names_the_outliers():
    odd = changed({"system|kernel": "6.6.0", "npu_smi|chips|7|name": "910B2C"})
    peers = {"node1": odd, "node2": healthy(), "node3": healthy()}
    found = drift(judged(odd, peers=peers))
    assert found == {
        "NPUs": ("warned", "NPUs is 1 x 910B2C, 7 x 910B3 on node1, but 8 x 910B3 on most nodes"),
        "kernel": ("warned", "kernel is 6.6.0 on node1, but 5.10.0-182.0.0.95.oe2203sp3.aarch64 on most nodes")}
    others = judge(context(PLAN, healthy(), INPUTS, "node2", npu_driver.survey(peers, INPUTS)["node2"]))
    assert drift(others) == {None: ("passed", None)}


def test_drift_without_a_majority_and_without_peers():
    odd = changed({"system|kernel": "6.6.0"})
    found = drift(judged(odd, peers={"node1": odd, "node2": healthy()}))
    assert found == {"kernel": (
        "warned", "kernel differs, with no majority: node1 has 6.6.0, node2 has 5.10.0-182.0.0.95.oe2203sp3.aarch64")}
    assert drift(judged(healthy(), peers={}))[None][0] == "not_run"


def test_waived_checks_show_their_reason():
    checks = judged(changed({CHIP + "health": "Alarm", CHIP + "error_codes": []}))
    waived = contract.apply_waivers(checks, [{"id": "npu_driver.health", "reason": "spare"}], "npu_driver", CHECKS)
    assert contract.stage_status(waived) == "waived"
    assert "spare" in next(check["message"] for check in waived if check["status"] == "waived")


def test_arguments():
    made = request(context(PLAN, inputs=INPUTS)).arguments
    assert made["timeout_s"] == 5.0
    assert made["npu_smi"] is None
    assert made["driver_path"] == "/usr/local/Ascend/driver"
    mounts = [{"source": "/etc/site/version.info", "type": "file"}]  # not the one of the driver
    plan = valid(serving_driver_path="/opt/Ascend/driver", serving_mounts=mounts)
    moved = request(context(plan, inputs=INPUTS)).arguments
    assert moved["driver_path"] == "/opt/Ascend/driver"
    assert "/usr/local/dcmi" in made["paths"]
    assert made["disk_paths"] == [PLAN["model"]["path"]]
    assert made["image"] == PLAN["image"]["reference"]
