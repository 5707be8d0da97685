# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of driver, firmware, files, Docker and host, and differences from other nodes, fail their checks."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE, valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.npu_driver.npu_case import (
    INPUTS,
    PLAN,
    assert_only_fault,
    changed,
    check_named,
    faults,
    healthy,
    holder,
    judged,
)

CHIP = "npu_smi|chips|3|"
OLDER_KERNELS = (
    "4.14.0-115.el7a.0.1.aarch64", "4.19.90-25.10.v2101.ky10.aarch64", "4.19.90-52.22.v2207.ky10.aarch64",
    "4.19.90-2211.5.0.0178.22.uel20.aarch64", "4.19.90-2102.2.0.0062.ctl2.aarch64",
    "4.19.90-2107.6.0.0192.8.oe1.bclinux.aarch64", "4.19.0-6-amd64", "4.19.0-6-arm64", "5.4.0-26-generic",
    "5.4.119-19.0009.28.tl3.x86_64")
OLDER_SYSTEMS = {
    "CentOS 7.5": "CentOS Linux 7 (AltArch)", "CentOS 7.6": "CentOS Linux 7 (AltArch)",
    "Kylin V10 SP2": "Kylin Linux Advanced Server V10 (Sword)",
    "Kylin V10 SP3": "Kylin Linux Advanced Server V10 (Lance)", "UOS V20": "UOS Server 20",
    "CTYunOS 22.06": "CTyunOS 22.06", "BC-Linux 21.10": "BigCloud Enterprise Linux 21.10 LTS",
    "Debian 10": "Debian GNU/Linux 10 (buster)", "Debian 10.2": "Debian GNU/Linux 10 (buster)",
    "Ubuntu 20.04": "Ubuntu 20.04.6 LTS", "TencentOS 3": "TencentOS Server 3.1 (Final)"}
LINUX_6 = "6.6.0-72.0.0.76.oe2403sp1.aarch64"


@pytest.mark.parametrize(("changes", "check_id", "subject", "status", "text"), [
    ({"npu_smi|driver_version": "24.1.rc3", "files|/usr/local/Ascend/driver/version.info|fields|Version": "24.1.rc3",
      "files|/usr/local/Ascend/firmware/version.info|fields": {}},
     "driver_minimum", None, "failed", "driver 24.1.rc3 is older than 25.0.RC1, which release v0.11.0rc1 needs"),
    ({"npu_smi|driver_version": "25.3.0"}, "driver_loaded", None, "warned",
     "25.3.rc1 is installed, but 25.3.0 is loaded"),
    ({CHIP + "board": {"Compatibility": "NOK"}}, "firmware", None, "failed",
     "driver 25.3.rc1, firmware 25.3.rc1: incompatible according to npu-smi on npu 3"),
    ({"device_nodes|1": None}, "device_nodes", "/dev/davinci1", "failed", "/dev/davinci1 is missing"),
    ({CHIP + "device": 16}, "npu_numbers", None, "warned", "0, 1, 2, 4, 5, 6, 7, 16"),
    ({"device_nodes|1|type": "file"}, "device_nodes", "/dev/davinci1", "failed", "is a file, not a character device"),
    ({"device_nodes|1|mode": "0060"}, "device_nodes", "/dev/davinci1", "failed", "has mode 0060"),
    ({"paths|0|type": None}, "mount_sources", "/usr/local/dcmi", "failed",
     "/usr/local/dcmi is missing; expected a directory"),
    ({"paths|1|type": "directory"}, "mount_sources", "/usr/local/bin/npu-smi", "failed",
     "is a directory; expected a file"),
    ({"paths|5|type": "file"}, "mount_sources", PLAN["model"]["path"], "failed", "is a file; expected a directory"),
    ({"pci|7": None}, "pci_devices", None, "warned", "expected 8, found 7"),
    ({"pci": []}, "pci_devices", None, "not_run", "no Huawei accelerator"),
    ({"system|architecture": "riscv64"}, "architecture", None, "failed", "aarch64 or x86_64, found riscv64"),
    ({"system|kernel": "4.18.0-147.5.2.15.h1109.eulerosv2r10.x86_64"}, "kernel", None, "warned",
     "5.10 or newer, found 4.18.0"),
    ({"docker_engine|version": "18.06.3-ce"}, "docker_engine_version", None, "warned", "18.09 to 28.5, found 18.06"),
    ({"docker_engine|version": "29.0.1"}, "docker_engine_version", None, "warned", "29.0.1"),
    ({"python|requests": None, "python|error": "ModuleNotFoundError: No module named 'certifi'"}, "python_requests",
     None, "failed", "/usr/bin/python3 (Python 3.9.9): ModuleNotFoundError: No module named 'certifi'"),
    ({"python|requests": "unknown", "python|error": "no answer within 30 s"}, "python_requests", None, "not_run",
     "did not finish the imports of community.docker: no answer within 30 s"),
    ({"system|shm|total_bytes": 2**26}, "shm", None, "warned", "8 GiB, found 0.1 GiB"),
    ({"disks|0|free_bytes": 2**30}, "disk_space", "/var/lib/docker", "warned", "1.0 GiB free, but 40.0 GiB is needed"),
    ({"disks|1|free_bytes": 2**35}, "disk_space", PLAN["model"]["path"], "warned", "32.0 GiB free, but 43.3 GiB"),
    ({"clock": {"started_at": 1040.5, "finished_at": 1041.5}}, "clock_skew", None, "warned",
     "+40.0 s ± 0.5 s"),
    ({"clock": {"started_at": 960.5, "finished_at": 961.5}}, "clock_skew", None, "warned", "-40.0 s"),
    ({"round_trip|received_at": 1090.0}, "clock_skew", None, "not_run", "took too long"),
    ({"round_trip": None}, "clock_skew", None, "not_run", "was not measured"),
    ({"kernel_log|lines": [{"seconds_ago": 60, "text": "[ascend] [ERROR] x", "kind": "driver"}]}, "kernel_log", None,
     "warned", "lines: 1, the newest 60 s ago: [ascend] [ERROR] x"),
    ({"kernel_log|lines": [{"seconds_ago": 60, "text": "Heartbeat lost!", "kind": "hang"}]}, "kernel_log", "hang",
     "warned", "lines: 1, the newest 60 s ago: Heartbeat lost!"),
    ({"kernel_log|error": "Permission denied"}, "kernel_log", None, "not_run", "Permission denied"),
])
def test_fault_affects_only_its_check(changes, check_id, subject, status, text):
    also = {("driver_recommended", None): "warned"} if check_id == "driver_minimum" else {}
    assert_only_fault(changes, check_id, subject, status, text, also)


# The options follow Docker's documentation, because no node with these options was available.
@pytest.mark.parametrize(("options", "selinux", "subject", "remedy"), [
    (["cgroupns", "seccomp"], "enforcing", None, None),
    (["selinux"], "permissive", None, None),
    (["selinux"], "enforcing", "selinux", "selinux-enabled"),
    (["seccomp", "userns"], None, "userns", "Remove userns-remap"),
    (["rootless"], None, "rootless", "plan_docker_socket"),
])
def test_unsuitable_security_option_of_docker_causes_a_warning(options, selinux, subject, remedy):
    checks = judged(changed({"docker_engine|security_options": options, "system|selinux": selinux}))
    assert faults(checks) == ({("docker_engine_setup", subject): "warned"} if subject else {})
    assert remedy is None or remedy in check_named(checks, "docker_engine_setup")["remedy"]


def test_checks_that_need_docker_are_not_run_if_it_does_not_respond():
    observed = changed({"docker_engine": {"error": "Docker does not respond: x"}, "holders": [holder()]})
    checks = judged(observed)
    assert faults(checks) == {("docker_engine", None): "failed", ("docker_engine_version", None): "not_run",
                              ("docker_engine_setup", None): "not_run", ("disk_space", "image"): "not_run",
                              ("npus_free", "npu 1"): "failed"}
    assert "its container is unknown" in check_named(checks, "npus_free")["message"]


def test_driver_with_a_known_defect_and_outdated_driver_cause_warnings():
    checks = judged(changed({"npu_smi|driver_version": "25.5.1", "system|kernel": LINUX_6, "files": {}}))
    found = faults(checks)
    assert found == {("driver_known_bad", None): "warned", ("driver_loaded", None): "not_run"}
    assert "7078" in check_named(checks, "driver_known_bad")["message"]
    found = faults(judged(changed({"npu_smi|driver_version": "25.2.0", "files": {}})))
    assert found == {("driver_recommended", None): "warned", ("driver_loaded", None): "not_run"}


@pytest.mark.parametrize(("driver", "release", "arguments", "message"), [
    ("25.3.rc1", "v0.11.0rc1", {}, None),
    ("25.2.0", "v0.18.0", {}, None),
    ("25.5.0", "v0.18.0", {}, "vllm-ascend issue 7078"),
    ("25.5.2", "v0.18.0", {}, "set safetensors-load-strategy to eager"),
    ("26.0.rc1", "v0.23.0", {}, "set safetensors-load-strategy to eager"),
    ("26.0.rc1", "v0.23.0", {"safetensors-load-strategy": "eager"}, None),
    ("25.3.rc1", "v0.23.0", {}, "error 207008"),
    ("25.3.rc1", "v0.23.0", {"compilation-config": '{"cudagraph_mode":"FULL_DECODE_ONLY"}'}, None),
    ("25.5.0", "v0.30.0", {}, "FULL_AND_PIECEWISE, needs 25.5.1"),
    ("25.5.1", "v0.30.0", {"safetensors-load-strategy": "eager"}, None),
    ("26.0.0", "v0.30.0", {}, None),
])
def test_known_defect_of_a_driver_depends_on_release_and_options(driver, release, arguments, message):
    plan = valid(plan_release=release, serving_args=arguments)
    observed = changed({"npu_smi|driver_version": driver, "system|kernel": LINUX_6})
    check = check_named(judged(observed, plan=plan), "driver_known_bad")
    assert check["status"] == ("warned" if message else "passed"), check
    assert not message or message in check["message"]


@pytest.mark.parametrize(("driver", "release", "message"), [
    ("25.5.1", "v0.18.0", None), ("26.0.rc1", "v0.23.0", None), ("25.3.rc1", "v0.23.0", "error 207008")])
def test_some_defects_of_drivers_have_no_effect_on_older_kernels(driver, release, message):
    observed = changed({"npu_smi|driver_version": driver, "system|kernel": "5.10.0-182.0.0.95.oe2203sp3.aarch64"})
    check = check_named(judged(observed, plan=valid(plan_release=release)), "driver_known_bad")
    assert check["status"] == ("warned" if message else "passed"), check
    assert not message or message in check["message"]


@pytest.mark.parametrize(("release", "bad"), [
    (release, bad) for release, entry in CATALOGUE["releases"].items() for bad in entry["driver_known_bad"]])
def test_every_known_defect_causes_a_warning_unless_an_option_avoids_it(release, bad):
    driver = bad["version"].replace("x", "0") if "version" in bad else "25.3.0"
    avoided = {bad["unless"]["option"]: bad["unless"]["value"]}
    for arguments, warned in (({}, True), (avoided, False)):
        observed = changed({"npu_smi|driver_version": driver, "system|kernel": LINUX_6})
        plan = valid(plan_release=release, serving_args=arguments)
        check = check_named(judged(observed, plan=plan), "driver_known_bad")
        assert (" ".join(bad["reason"].split()) in str(check["message"])) == warned


# For each system in older_kernels: one of its kernels, and a kernel of another build with the os-release of the system.
@pytest.mark.parametrize(("hardware", "kernel", "os"), [
    (hardware, kernel, os) for hardware, profile in CATALOGUE["hardware"].items() for older in profile["older_kernels"]
    for kernel, os in (
        (next(name for name in OLDER_KERNELS if name.startswith(older["version"]) and re.search(older["build"], name)),
         {"id": None, "name": None}),
        (older["version"] + ".1-custom", {"id": older["id"], "name": OLDER_SYSTEMS[older["system"]]}))])
def test_every_older_kernel_of_the_catalogue_passes(hardware, kernel, os):
    check = check_named(judged(changed({"system|kernel": kernel, "system|os": os}), plan=valid(
        plan_hardware=hardware, serving_tensor_parallel_size=8)), "kernel")
    assert (check["status"], "which the vendor supports" in check["message"]) == ("passed", True)
    unknown = check_named(judged(changed({"system|kernel": "4.1.1-custom", "system|os": os})), "kernel")
    assert unknown["status"] == "warned"


@pytest.mark.parametrize(("driver", "firmware", "boards", "status"), [
    ("[7.0.0,7.8.99]", "[23.0.0,23.0.0.]", None, "passed"),  # the driver accepts the firmware
    ("[7.0.0,7.2.99]", "[25.3,25.3.]", None, "passed"),      # the firmware accepts the driver
    ("[7.0.0, 7.2.99]", None, None, "failed"),               # the driver rejects the firmware
    ("[7.0.0,7.2.99]", "[23.0.0,23.0.0.]", None, "failed"),
    ("[7.0.0,7.2.99]", "[23.0.0,23.0.0.]", "OK", "passed"),  # npu-smi queries the running firmware
    ("[7.0.0,7.8.99]", "[25.3,25.3.]", "NOK", "failed"),
    ("[7.0.0,7.8.99]", None, "UNKNOWN", "passed"),
    (None, None, "NA", "not_run"),
])
def test_driver_and_firmware_match_if_one_accepts_the_other(driver, firmware, boards, status):
    folder = "files|/usr/local/Ascend/"
    observed = changed({folder + "driver/version.info|fields|compatible_version_fw": driver,
                        folder + "firmware/version.info|fields|compatible_version_drv": firmware})
    for chip in observed["npu_smi"]["chips"]:
        chip["board"] = {"Compatibility": boards} if boards else None
    assert check_named(judged(observed), "firmware")["status"] == status


def test_virtual_functions_do_not_count_as_cards():
    virtual = [{"address": "0000:c0:0%d.0" % number, "device": "0xd805", "virtual": True, "ports": []}
               for number in range(4)]
    assert check_named(judged(changed({"pci": healthy()["pci"] + virtual})), "pci_devices")["status"] == "passed"
    assert "virtual machine" in check_named(judged(changed({"pci": virtual})), "pci_devices")["message"]
    more = check_named(judged(changed({"pci": 2 * healthy()["pci"]})), "pci_devices")
    assert (more["status"], "plan_hardware" in more["remedy"]) == ("warned", True)


def test_corrected_errors_of_a_link_are_counted():
    check = check_named(judged(changed({"kernel_log|corrected": 3})), "kernel_log")
    assert (check["status"], check["actual"]) == ("passed", "corrected errors of a PCIe link: 3")


def test_firmware_without_a_vendor_verdict_is_not_judged():
    observed = changed({"files": {}})
    for chip in observed["npu_smi"]["chips"]:
        chip["board"] = None
    assert faults(judged(observed))[("firmware", None)] == "not_run"


def test_unreadable_driver_version_is_not_judged():
    found = faults(judged(changed({"npu_smi|driver_version": "xxx"})))
    assert {name for name, _subject in found} == {
        "driver_minimum", "driver_recommended", "driver_known_bad", "driver_loaded"}


@pytest.mark.parametrize(("inputs", "name", "status"), [
    ({"npu_driver_docker_engine_minimum": "", "npu_driver_docker_engine_maximum": ""}, "docker_engine_version",
     "passed"),
    ({"npu_driver_docker_engine_minimum": "26.1.5", "npu_driver_docker_engine_maximum": ""}, "docker_engine_version",
     "warned"),
    ({"npu_driver_docker_engine_maximum": "recent"}, "docker_engine_version", "not_run"),
    ({"npu_driver_kernel_minimum": 5.1}, "kernel", "passed"),
    ({"npu_driver_kernel_minimum": "5.10.1"}, "kernel", "warned"),
])
def test_inputs_limit_the_accepted_versions(inputs, name, status):
    assert check_named(judged(healthy(), **inputs), name)["status"] == status


def drift_outcomes(checks):
    return {check["subject"]: (check["status"], check["message"]) for check in checks if check["id"] == "drift"}


def test_drift_names_outliers():
    outlier = changed({"system|kernel": LINUX_6, "npu_smi|chips|7|name": "910B2C"})
    peers = {"node1": outlier, "node2": healthy(), "node3": healthy()}
    found = drift_outcomes(judged(outlier, peers=peers))
    assert found == {
        "NPUs": ("warned", "NPUs: 1 x 910B2C, 7 x 910B3 on node1, but 8 x 910B3 on most nodes"),
        "kernel": ("warned", f"kernel: {LINUX_6} on node1, but 5.10.0-182.0.0.95.oe2203sp3.aarch64 on most nodes")}
    others = judge.judge(context(PLAN, healthy(), INPUTS, "node2", judge.survey(peers, INPUTS)["node2"]))
    assert drift_outcomes(others) == {None: ("passed", None)}


def test_drift_is_reported_without_a_majority_and_not_run_without_other_nodes():
    outlier = changed({"system|kernel": LINUX_6})
    found = drift_outcomes(judged(outlier, peers={"node1": outlier, "node2": healthy()}))
    assert found == {"kernel": (
        "warned",
        f"kernel differs, without a majority: node1 has {LINUX_6}, node2 has 5.10.0-182.0.0.95.oe2203sp3.aarch64")}
    assert drift_outcomes(judged(healthy(), peers={}))[None][0] == "not_run"


def test_device_files_with_other_numbers_are_named():
    (found,) = [check for check in judged(changed({"device_nodes|1|path": "/dev/davinci10"}))
                if check["id"] == "device_nodes"]
    assert found["subject"] == "/dev/davinci1"
    assert found["remedy"].startswith("The node has /dev/davinci0, 2, 3, 4, 5, 6, 7, 10: set device_numbers")
