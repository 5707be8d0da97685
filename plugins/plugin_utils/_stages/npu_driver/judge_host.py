# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge driver, firmware, files, Docker and host of a node. PRIVATE to this folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Mount
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import versions
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver.drift import Difference

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import NpuObservation

    class RoundTrip(TypedDict):
        """Start and end of the module call by the clock of the controller, in seconds since the epoch."""

        sent_at: float
        received_at: float

    class NodeObservation(NpuObservation, total=False):
        """The observation of npu_info, with the time of the call."""

        round_trip: RoundTrip


class Cluster(TypedDict):
    """The result of the survey for one host."""

    #: Number of observed nodes.
    nodes: int
    #: Differences of which the host is an outlier.
    differences: list[Difference]


_GIB = 2**30


def _observed(context: Context) -> NodeObservation:
    return cast("NodeObservation", context.observed)


# Driver and firmware ----------------------------------------------------------------------------------------------


def _driver(checks: Checks, context: Context) -> None:
    observed, release = _observed(context), context.plan["release"]
    loaded, installed = observed["npu_smi"]["driver_version"], _fields(observed, "driver_version").get("Version")
    found = loaded or installed
    if not found or not _is_version(found):
        for name in ("driver_minimum", "driver_recommended", "driver_known_bad", "driver_loaded"):
            checks.not_run(name, "the version of the driver is unknown (%s)" % (found or "no npu-smi, no version.info"))
        return
    enough = versions.at_least(found, release["driver_minimum"])
    checks.expect("driver_minimum", enough, "%s or newer" % release["driver_minimum"], found,
                  message=None if enough else "driver %s is older than %s, which release %s needs" % (
                      found, release["driver_minimum"], release["id"]))
    checks.expect("driver_recommended", versions.at_least(found, release["driver_recommended"]),
                  "%s or newer" % release["driver_recommended"], found)
    bad = next((each for each in release["driver_known_bad"] if versions.matches(found, each["version"])), None)
    checks.expect("driver_known_bad", bad is None, "none of " + (
        ", ".join(each["version"] for each in release["driver_known_bad"]) or "the known ones"), found,
        message="driver %s: %s" % (found, " ".join(bad["reason"].split())) if bad else None)
    if loaded and installed:
        checks.expect("driver_loaded", loaded == installed, installed, loaded, message=None if loaded == installed else
                      "%s is installed, but %s is loaded" % (installed, loaded))
    else:
        checks.not_run("driver_loaded", "only the %s version of the driver is known" % (
            "loaded" if loaded else "installed"))


def _firmware(checks: Checks, context: Context) -> None:
    """Judge by the vendor's verdicts: that of npu-smi for each board, and the ranges in both version files."""
    observed = _observed(context)
    driver, firmware = _fields(observed, "driver_version"), _fields(observed, "firmware_version")
    actual = "driver %s, firmware %s" % (driver.get("Version", "unknown"),
                                         firmware.get("package_version") or firmware.get("Version", "unknown"))
    boards = {"npu %d" % chip["npu"]: (chip["board"] or {}).get("Compatibility") or "NA"
              for chip in observed["npu_smi"]["chips"]}
    incompatible = [npu for npu, verdict in boards.items() if verdict not in ("NA", "OK")]
    verdicts = [_in_ranges(driver.get("Version"), firmware.get("compatible_version_drv")),
                _in_ranges(firmware.get("Version"), driver.get("compatible_version_fw")),
                False if incompatible else True if "OK" in boards.values() else None]
    ok: bool | None
    message: str | None
    if False in verdicts:
        source = "npu-smi on " + ", ".join(incompatible) if incompatible else "the ranges in their version files"
        ok, message = False, "%s: incompatible according to %s" % (actual, source)
    elif True in verdicts:
        ok, message = True, None
    else:
        ok, message = None, "neither npu-smi nor the version files state whether driver and firmware are compatible"
    checks.expect("firmware", ok, "versions that the vendor declares compatible", actual, message=message)


def _in_ranges(version: str | None, ranges: str | None) -> bool | None:
    try:
        return versions.in_ranges(version, ranges) if version and ranges else None
    except ValueError:  # an internal version number
        return None


def _fields(observed: NpuObservation, kind: str) -> dict[str, str]:
    return next((content["fields"] for content in observed["files"].values() if content.get("kind") == kind), {})


def _is_version(text: str) -> bool:
    try:
        return bool(versions.key(text))
    except ValueError:
        return False


# Files and host ---------------------------------------------------------------------------------------------------


def _files(checks: Checks, context: Context) -> None:
    observed, plan = _observed(context), context.plan
    nodes = {node["path"]: node for node in observed["device_nodes"]}
    devices = dict.fromkeys(device for instance in plan["instances"] for device in instance["devices"])
    _expect_none(checks, "device_nodes", {path: _device_fault(nodes.get(path)) for path in devices},
                 "a character device")
    mounts = {mount["source"]: mount for instance in plan["instances"] for mount in instance["mounts"]}
    paths = {path["path"]: path for path in observed["paths"]}
    _expect_none(checks, "mount_sources", {
        source: _mount_fault(mount, paths.get(source)) for source, mount in mounts.items()}, "of the planned type")


def _expect_none(checks: Checks, name: str, faults: Mapping[str, str | None], expected: str) -> None:
    """Add an outcome for each fault of ``{subject: fault or None}``; a single one if there are none."""
    for subject, fault in faults.items():
        if fault:
            checks.expect(name, False, expected, fault, subject=subject, message="%s %s" % (subject, fault))
    if not any(faults.values()):
        checks.expect(name, True, expected, "%d of %d" % (len(faults), len(faults)))


def _device_fault(node: Mapping[str, Any] | None) -> str | None:
    if node is None or node["type"] is None:
        return "is missing"
    if node["type"] != "character device":
        return "is a %s, not a character device" % node["type"]
    usable = int(node["mode"], 8) & 0o600 == 0o600
    return None if usable else "has mode %s, so its owner cannot use it" % node["mode"]


def _mount_fault(mount: Mount, path: Mapping[str, Any] | None) -> str | None:
    """Return the fault of a source. Sources that later stages create may be missing."""
    if path is not None and path.get("error"):
        return "cannot be examined: %s" % path["error"]
    if path is None or path["type"] is None:
        return "is missing; expected a %s" % mount["type"] if mount["origin"] in ("host", "site") else None
    return None if path["type"] == mount["type"] else "is a %s; expected a %s" % (path["type"], mount["type"])


def _host(checks: Checks, context: Context) -> None:
    observed, inputs, plan = _observed(context), context.inputs, context.plan
    system = observed["system"]
    known = [name for name in plan["release"]["architectures"] if name in plan["hardware"]["architectures"]]
    checks.expect("architecture", system["architecture"] in known, " or ".join(known), system["architecture"])
    _version_range(checks, "kernel", system["kernel"], inputs, "npu_driver_kernel_minimum")
    found = len(observed["pci"])
    if found:
        wanted = len(plan["hardware"]["npu_devices"])
        checks.expect("pci_devices", found == wanted, wanted, found)
    else:
        checks.not_run("pci_devices", "there is no Huawei accelerator on the PCI bus (virtual machine or container)")
    shm, minimum = system["shm"]["total_bytes"], inputs["npu_driver_shm_minimum_gib"]
    checks.expect("shm", shm >= minimum * _GIB, "%g GiB" % minimum, _gib(shm))
    limit, minimum = system["memlock_bytes"], inputs["npu_driver_memlock_minimum_gib"]
    checks.expect("memlock", limit is None or limit >= minimum * _GIB, "%g GiB or unlimited" % minimum,
                  "unlimited" if limit is None else _gib(limit))
    python = observed["python"]
    checks.expect("python_requests", python["requests"] is not None, "the requests library",
                  "requests %s" % python["requests"] if python["requests"] else
                  "no requests library for %s (Python %s)" % (python["executable"], python["version"]))


def _version_range(checks: Checks, name: str, found: str, inputs: Mapping[str, Any], minimum_input: str,
                   maximum_input: str | None = None) -> None:
    """Compare the numbers at the start of a version (5.10.0-182.oe2203, 20.10.24+dfsg1) with inputs.

    An empty input is not a bound.
    """
    minimum, maximum = inputs[minimum_input], inputs[maximum_input] if maximum_input else ""
    try:
        version = versions.key(re.sub(r"(?<=[0-9])[^0-9.].*", "", found))
        not_older = not minimum or version >= versions.key(minimum)
        not_newer = not maximum or version <= versions.key(maximum)
    except ValueError as error:
        checks.not_run(name, "%s (one of %s on the node, %s)" % (
            error, found, ", ".join(filter(None, (minimum_input, maximum_input)))))
        return
    expected = " to ".join(str(bound) for bound in (minimum, maximum) if bound)
    checks.expect(name, not_older and not_newer, expected if maximum else expected + " or newer", found)


def _gib(size: float) -> str:
    return "%.1f GiB" % (size / _GIB)


def _docker_engine(checks: Checks, context: Context) -> None:
    engine = _observed(context)["docker_engine"]
    if "error" in engine:
        checks.expect("docker_engine", False, "an answer from Docker", engine["error"], message=engine["error"])
        checks.not_run("docker_engine_version", "Docker does not answer")
        return
    checks.expect("docker_engine", True, "an answer from Docker", "Docker %s" % engine["version"])
    _version_range(checks, "docker_engine_version", engine["version"], context.inputs,
                   "npu_driver_docker_engine_minimum", "npu_driver_docker_engine_maximum")


def _space(checks: Checks, context: Context) -> None:
    """Judge the space for an image and weights that are not on the node yet."""
    observed, plan, inputs = _observed(context), context.plan, context.inputs
    disks = {disk["path"]: disk for disk in observed["disks"]}
    engine, weights = observed["docker_engine"], plan["model"]["path"]
    existing = {path["path"] for path in observed["paths"] if path["type"]}
    needs: dict[str, float] = {}
    if "data_root" in engine and not engine["image"]:
        needs[engine["data_root"]] = inputs["npu_driver_image_space_gib"] * _GIB
    if weights not in existing:
        needs[weights] = plan["model"]["weights_bytes"] * 1.05
    faults = {path: _space_fault(disks[path], need) for path, need in needs.items()}
    if "error" in engine:
        checks.not_run("disk_space", "the data directory of Docker is unknown", subject="image")
    _expect_none(checks, "disk_space", faults, "enough for image and weights")


def _space_fault(disk: Mapping[str, Any], need: float) -> str | None:
    if disk.get("error"):
        return "cannot be examined: %s" % disk["error"]
    return None if disk["free_bytes"] >= need else "has %s free, but %s are needed" % (
        _gib(disk["free_bytes"]), _gib(need))


def _clock(checks: Checks, context: Context) -> None:
    """Judge the offset of the clocks. The node read its clock during the round trip, which bounds the offset."""
    observed, limit = _observed(context), context.inputs["npu_driver_clock_skew_s"]
    clock, trip = observed["clock"], observed.get("round_trip")
    if not trip:
        checks.not_run("clock_skew", "the round trip to the node was not measured")
        return
    latest, earliest = clock["started_at"] - trip["sent_at"], clock["finished_at"] - trip["received_at"]
    offset, error = (latest + earliest) / 2, abs(latest - earliest) / 2
    actual = "%+.1f s ± %.1f s" % (offset, error)
    if error > limit:
        checks.not_run("clock_skew", "the answer took too long to measure the offset (%s)" % actual)
        return
    checks.expect("clock_skew", abs(offset) - error <= limit, "within %g s" % limit, actual)


def _kernel_log(checks: Checks, context: Context) -> None:
    log, minutes = _observed(context)["kernel_log"], context.inputs["npu_driver_kernel_log_minutes"]
    if log["error"]:
        checks.not_run("kernel_log", "the kernel log cannot be read: %s" % log["error"])
        return
    lines = log["lines"]
    checks.expect("kernel_log", not lines, "no NPU error in %s minutes" % minutes, "%d lines" % len(lines),
                  message="%d lines, the newest %d s ago: %s" % (
                      len(lines), lines[-1]["seconds_ago"], lines[-1]["text"]) if lines else None)


def _drift(checks: Checks, context: Context) -> None:
    cluster: Cluster | None = context.survey
    if cluster is None or cluster["nodes"] < 2:
        checks.not_run("drift", "there is no other node to compare with")
        return
    for each in cluster["differences"]:
        value = each["outliers"][context.host]
        if each["majority"]:
            hosts = ", ".join(host for host, other in each["outliers"].items() if other == value)
            message = "%s is %s on %s, but %s on most nodes" % (each["fact"], value, hosts, each["majority"])
        else:
            message = "%s differs, without a majority: %s" % (each["fact"], ", ".join(
                "%s has %s" % item for item in each["outliers"].items()))
        checks.expect("drift", False, each["majority"] or "one value", value, subject=each["fact"], message=message)
    if not cluster["differences"]:
        checks.expect("drift", True, "the values of most of %d nodes" % cluster["nodes"],
                      "the values of most of %d nodes" % cluster["nodes"])


PARTS = (_driver, _firmware, _files, _host, _docker_engine, _space, _clock, _kernel_log, _drift)
