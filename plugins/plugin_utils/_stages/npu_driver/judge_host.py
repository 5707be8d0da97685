# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge driver, firmware, files, host and engine of a node. PRIVATE to ``checks/npu_driver.py``."""

from __future__ import annotations

import re

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import versions

_GIB = 2**30


# Driver and firmware --------------------------------------------------------------------------------------------------


def _driver(checks, context):
    observed, release = context.observed, context.plan["release"]
    loaded, installed = observed["npu_smi"]["driver_version"], _fields(observed, "driver_version").get("Version")
    found = loaded or installed
    if not found or not _is_version(found):
        for name in ("driver_minimum", "driver_recommended", "driver_known_bad", "driver_loaded"):
            checks.not_run(name, "the driver's version is not known (%s)" % (found or "no npu-smi, no version.info"))
        return
    enough = versions.at_least(found, release["driver_minimum"])
    checks.expect("driver_minimum", enough, "%s or newer" % release["driver_minimum"], found,
                  message=None if enough else "driver %s is older than %s, which release %s needs" % (
                      found, release["driver_minimum"], release["id"]))
    checks.expect("driver_recommended", versions.at_least(found, release["driver_recommended"]),
                  "%s or newer" % release["driver_recommended"], found)
    bad = next((bad for bad in release["driver_known_bad"] if versions.matches(found, bad["version"])), None)
    checks.expect("driver_known_bad", bad is None, "none of " + (
        ", ".join(bad["version"] for bad in release["driver_known_bad"]) or "the known ones"), found,
        message="driver %s: %s" % (found, " ".join(bad["reason"].split())) if bad else None)
    if loaded and installed:
        checks.expect("driver_loaded", loaded == installed, installed, loaded, message=None if loaded == installed else
                      "%s is installed, but %s is loaded" % (installed, loaded))
    else:
        checks.not_run("driver_loaded", "only the %s driver's version is known" % ("loaded" if loaded else "installed"))


def _firmware(checks, context):
    """What the vendor says of driver and firmware: the board's own verdict, and the ranges in both version files."""
    observed = context.observed
    driver, firmware = _fields(observed, "driver_version"), _fields(observed, "firmware_version")
    actual = "driver %s, firmware %s" % (driver.get("Version", "unknown"),
                                         firmware.get("package_version") or firmware.get("Version", "unknown"))
    boards = {"npu %d" % chip["npu"]: (chip["board"] or {}).get("Compatibility") or "NA"
              for chip in observed["npu_smi"]["chips"]}
    misfits = [npu for npu, verdict in boards.items() if verdict not in ("NA", "OK")]
    verdicts = [_in_ranges(driver.get("Version"), firmware.get("compatible_version_drv")),
                _in_ranges(firmware.get("Version"), driver.get("compatible_version_fw")),
                False if misfits else True if "OK" in boards.values() else None]
    ok, message = True, None
    if False in verdicts:
        ok, message = False, "%s: incompatible by %s" % (
            actual, "npu-smi on " + ", ".join(misfits) if misfits else "the ranges in their version files")
    elif True not in verdicts:
        ok, message = None, "neither npu-smi nor the version files tell whether driver and firmware fit"
    checks.expect("firmware", ok, "a pair that the vendor calls compatible", actual, message=message)


def _in_ranges(version, ranges):
    try:
        return versions.in_ranges(version, ranges) if version and ranges else None
    except ValueError:  # internal version numbers
        return None


def _fields(observed, kind):
    return next((content["fields"] for content in observed["files"].values() if content.get("kind") == kind), {})


def _is_version(text):
    try:
        return bool(versions.key(text))
    except ValueError:
        return False


# Files and host -------------------------------------------------------------------------------------------------------


def _files(checks, context):
    observed, plan = context.observed, context.plan
    nodes = {node["path"]: node for node in observed["device_nodes"]}
    devices = dict.fromkeys(device for instance in plan["instances"] for device in instance["devices"])
    _each(checks, "device_nodes", {path: _device_fault(nodes.get(path)) for path in devices}, "a character device")
    mounts = {mount["source"]: mount for instance in plan["instances"] for mount in instance["mounts"]}
    paths = {path["path"]: path for path in observed["paths"]}
    _each(checks, "mount_sources", {
        source: _mount_fault(mount, paths.get(source)) for source, mount in mounts.items()}, "of the planned type")


def _each(checks, name, faults, expected):
    """One entry per fault of ``{subject: fault or None}``, or one for all of them if there is none."""
    for subject, fault in faults.items():
        if fault:
            checks.expect(name, False, expected, fault, subject=subject, message="%s %s" % (subject, fault))
    if not any(faults.values()):
        checks.expect(name, True, expected, "%d of %d" % (len(faults), len(faults)))


def _device_fault(node):
    if node is None or node["type"] is None:
        return "is missing"
    if node["type"] != "character device":
        return "is a %s, not a character device" % node["type"]
    usable = int(node["mode"], 8) & 0o600 == 0o600
    return None if usable else "has the mode %s, with which its owner cannot use it" % node["mode"]


def _mount_fault(mount, path):
    """What is wrong with a source. Those that later stages bring may still be missing."""
    if path is None or path["type"] is None:
        return "is missing; a %s is to be mounted" % mount["type"] if mount["origin"] in ("host", "site") else None
    fits = path["type"] == mount["type"]
    return None if fits else "is a %s, but a %s is to be mounted" % (path["type"], mount["type"])


def _host(checks, context):
    observed, inputs, plan = context.observed, context.inputs, context.plan
    system = observed["system"]
    known = [name for name in plan["release"]["architectures"] if name in plan["hardware"]["architectures"]]
    checks.expect("architecture", system["architecture"] in known, " or ".join(known), system["architecture"])
    _version_range(checks, "kernel", system["kernel"], inputs, "npu_driver_kernel_minimum")
    found = len(observed["pci"])
    if found:
        wanted = len(plan["hardware"]["npu_devices"])
        checks.expect("pci_devices", found == wanted, wanted, found)
    else:
        checks.not_run("pci_devices", "the PCI bus shows no accelerator of Huawei (virtual machine or container)")
    shm, least = system["shm"]["total_bytes"], inputs["npu_driver_shm_minimum_gib"]
    checks.expect("shm", shm >= least * _GIB, "%g GiB" % least, _gib(shm))
    limit, least = system["memlock_bytes"], inputs["npu_driver_memlock_minimum_gib"]
    checks.expect("memlock", limit is None or limit >= least * _GIB, "%g GiB or unlimited" % least,
                  "unlimited" if limit is None else _gib(limit))
    python = observed["python"]
    checks.expect("python_requests", python["requests"] is not None, "the requests library",
                  "requests %s" % python["requests"] if python["requests"] else
                  "no requests library for %s (Python %s)" % (python["executable"], python["version"]))


def _version_range(checks, name, found, inputs, *bounds):
    """Compare the leading numbers of a version (5.10.0-182.oe2203, 20.10.24+dfsg1) with inputs; empty is no bound."""
    keys = []
    for text in [re.sub(r"(?<=[0-9])[^0-9.].*", "", found), *(inputs[bound] for bound in bounds)]:
        try:
            keys.append(versions.key(text) if text else None)
        except ValueError:
            checks.not_run(name, "%r is no version (one of the node's %s, %s)" % (
                text, found, ", ".join(bounds)))
            return
    key, minimum, maximum = [*keys, None][:3]
    expected = " to ".join(str(inputs[bound]) for bound in bounds if inputs[bound])
    checks.expect(name, (minimum is None or key >= minimum) and (maximum is None or key <= maximum),
                  expected if maximum else expected + " or newer", found)


def _gib(size):
    return "%.1f GiB" % (size / _GIB)


def _docker_engine(checks, context):
    engine, inputs = context.observed["docker_engine"], context.inputs
    if "error" in engine:
        checks.expect("docker_engine", False, "an engine that answers", engine["error"], message=engine["error"])
        checks.not_run("docker_engine_version", "the engine does not answer")
        return
    checks.expect("docker_engine", True, "an engine that answers", "Docker %s" % engine["version"])
    _version_range(checks, "docker_engine_version", engine["version"], inputs,
                   "npu_driver_engine_minimum", "npu_driver_engine_maximum")


def _space(checks, context):
    """Room for what is not there yet; what is there is proven by its own stage."""
    observed, plan, inputs = context.observed, context.plan, context.inputs
    disks = {disk["path"]: disk for disk in observed["disks"]}
    engine, weights = observed["docker_engine"], plan["model"]["path"]
    there = {path["path"] for path in observed["paths"] if path["type"]}
    needs = {}
    if "data_root" in engine and not engine["image"]:
        needs[engine["data_root"]] = inputs["npu_driver_image_space_gib"] * _GIB
    if weights not in there:
        needs[weights] = plan["model"]["weights_bytes"] * 1.05
    faults = {path: "has %s free, %s are needed" % (_gib(disks[path]["free_bytes"]), _gib(need))
              if disks[path]["free_bytes"] < need else None for path, need in needs.items()}
    if "error" in engine:
        checks.not_run("disk_space", "the engine does not tell its folder", subject="image")
    _each(checks, "disk_space", faults, "enough for what is not there yet")


def _clock(checks, context):
    """The node read its clock between sending and receiving, so the round trip bounds the offset on both sides."""
    observed, limit = context.observed, context.inputs["npu_driver_clock_skew_s"]
    clock, trip = observed["clock"], observed.get("round_trip")
    if not trip:
        checks.not_run("clock_skew", "the round trip to the node was not measured")
        return
    latest, earliest = clock["started_at"] - trip["sent_at"], clock["finished_at"] - trip["received_at"]
    offset, doubt = (latest + earliest) / 2, abs(latest - earliest) / 2
    actual = "%+.1f s, give or take %.1f s" % (offset, doubt)
    if doubt > limit:
        checks.not_run("clock_skew", "the answer took too long to tell the offset (%s)" % actual)
        return
    checks.expect("clock_skew", abs(offset) - doubt <= limit, "within %g s" % limit, actual)


def _kernel_log(checks, context):
    log, minutes = context.observed["kernel_log"], context.inputs["npu_driver_kernel_log_minutes"]
    if log["error"]:
        checks.not_run("kernel_log", "the kernel's log cannot be read: %s" % log["error"])
        return
    lines = log["lines"]
    checks.expect("kernel_log", not lines, "no NPU error in %s minutes" % minutes, "%d lines" % len(lines),
                  message="%d lines, the newest %d s ago: %s" % (
                      len(lines), lines[-1]["seconds_ago"], lines[-1]["text"]) if lines else None)


def _drift(checks, context):
    survey = context.survey
    if survey is None or survey["nodes"] < 2:
        checks.not_run("drift", "no other node to compare with")
        return
    for found in survey["outliers"]:
        own = found["outliers"][context.host]
        alike = ", ".join(host for host, value in found["outliers"].items() if value == own)
        checks.expect("drift", False, found["majority"] or "one value", own, subject=found["fact"], message=(
            "%s is %s on %s, but %s on most nodes" % (found["fact"], own, alike, found["majority"]) if found["majority"]
            else "%s differs, with no majority: %s" % (found["fact"], ", ".join(
                "%s has %s" % item for item in found["outliers"].items()))))
    if not survey["outliers"]:
        checks.expect("drift", True, "like most of %d nodes" % survey["nodes"],
                      "like most of %d nodes" % survey["nodes"])


PARTS = (_driver, _firmware, _files, _host, _docker_engine, _space, _clock, _kernel_log, _drift)
