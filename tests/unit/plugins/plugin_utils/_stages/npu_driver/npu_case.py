# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations of a node for tests of the npu_driver stage, and helpers that judge them."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults

INPUTS = defaults("npu_driver")
PLAN = valid()
SERVICE = PLAN["instances"][0]["name"]
ECC = dict.fromkeys(("HBM Single Bit Error Count", "HBM Double Bit Error Count", "HBM Single Bit Isolated Pages Count",
                     "HBM Double Bit Isolated Pages Count"), "0")


def healthy():
    """Return the observation of a node that meets the default plan, before anything is deployed."""
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
        "pci": [{"address": "0000:c%d:00.0" % number, "device": "0xd802", "virtual": False, "ports": []}
                for number in range(8)],
        "docker_engine": {"version": "26.1.4", "architecture": "aarch64", "image_root": "/var/lib/docker",
                          "security_options": ["seccomp"], "image": None, "containers": []},
        "holders": [],
        "system": {"architecture": "aarch64", "kernel": "5.10.0-182.0.0.95.oe2203sp3.aarch64",
                   "os": {"id": "openEuler", "version": "22.03", "name": "openEuler 22.03 (LTS-SP3)"},
                   "memory_bytes": 2**40, "memory_available_bytes": 2**39, "uptime_s": 9000.0,
                   "selinux": None,
                   "shm": {"path": "/dev/shm", "existing": "/dev/shm", "total_bytes": 2**38, "free_bytes": 2**38}},
        "disks": [{"path": path, "existing": "/", "total_bytes": 2**42, "free_bytes": 2**41}
                  for path in ("/var/lib/docker", PLAN["model"]["path"])],
        "paths": [{"path": mount["source"], "type": mount["type"] if mount["origin"] == "host" else None}
                  for mount in PLAN["instances"][0]["mounts"]],
        "python": {"executable": "/usr/bin/python3", "version": "3.9.9", "requests": "2.28.1", "error": None},
        "kernel_log": {"lines": [], "corrected": 0, "error": None},
        "clock": {"started_at": 1000.5, "finished_at": 1001.5},
        "round_trip": {"sent_at": 1000.0, "received_at": 1002.0},
    }


def changed(changes):
    """Return a healthy observation with changes ``{path: value}``. A path looks like ``npu_smi|chips|3|health``.

    The value None removes an item of a list.
    """
    observed = healthy()
    for path, value in changes.items():
        target = observed
        *keys, last = [int(part) if part.isdigit() else part for part in path.split("|")]
        for key in keys:
            target = target[key]
        if isinstance(last, int) and value is None:
            del target[last]
        else:
            target[last] = value
    return observed


def judged(observed, plan=None, peers=None, **inputs):
    """Return the checks of node1. `peers` are the observations of all hosts (default: node1 and a healthy node2)."""
    peers = {"node1": observed, "node2": healthy()} if peers is None else peers
    cluster = judge.survey(peers, INPUTS).get("node1")
    return judge.judge(context(plan or PLAN, observed, dict(INPUTS, **inputs), survey=cluster))


def faults(checks):
    """Return ``{(id, subject): status}`` of the checks that did not pass, except drift."""
    return {(check["id"], check["subject"]): check["status"] for check in checks
            if check["status"] != "passed" and check["id"] != "drift"}


def holder(device=1, process="python3", container=None, pid=4711, memory=20000):
    return {"device": device, "pid": pid, "process": process, "memory_mb": memory, "container": container}


def container(name, labels=None):
    return {"id": "a" * 64, "name": name, "image_name": "vllm", "labels": labels or {}}


def check_named(checks, name):
    """Return the check with this id, and assert that it has exactly one outcome."""
    (found,) = [check for check in checks if check["id"] == name]
    return found


def assert_only_fault(changes, check_id, subject, status, text, also=()):
    """Assert that changes to a healthy node affect only one check, and the checks in `also`.

    :param also: ``{(id, subject): status}``.
    """
    checks = judged(changed(changes))
    assert faults(checks) == {(check_id, subject): status, **dict(also)}
    check = next(check for check in checks if (check["id"], check["subject"]) == (check_id, subject))
    assert text in "%s expected %s, found %s" % (check["message"], check["expected"], check["actual"])
    assert check["remedy"]
