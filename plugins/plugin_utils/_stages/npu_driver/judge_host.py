# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the driver, the firmware, the files, Docker and the host of a node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import kernel_log
from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_number
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import VIRTUAL_FUNCTIONS
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import BadDriver, Mount, OlderKernel
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import versions
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver.drift import Difference

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import NpuObservation

    class NodeObservation(NpuObservation, total=False):
        """The return values of npu_info, with the time of the call."""

        #: Start and end of the call by the clock of the controller, ``{"sent_at", "received_at"}``, in seconds since
        #: the epoch.
        round_trip: dict[str, float]


class Cluster(TypedDict):
    """The result of the survey for one host."""

    #: Number of observed nodes.
    nodes: int
    #: Differences for which the host is an outlier.
    differences: list[Difference]


_GIB = 2**30


# Driver and firmware ----------------------------------------------------------------------------------------------


def _driver(checks: Checks, context: Context, observed: NodeObservation) -> None:
    release = context.plan["release"]
    loaded, installed = observed["npu_smi"]["driver_version"], _fields(observed, "driver_version").get("Version")
    found = loaded or installed
    if not found or not _is_version(found):
        for name in ("driver_minimum", "driver_recommended", "driver_known_bad", "driver_loaded"):
            checks.not_run(name, f"The version of the driver is unknown ({found or 'no npu-smi, no version.info'}).")
        return
    enough = versions.at_least(found, release["driver_minimum"])
    checks.expect("driver_minimum", enough, "%s or newer" % release["driver_minimum"], found,
                  message=None if enough else "driver %s is older than %s, which release %s needs" % (
                      found, release["driver_minimum"], release["id"]))
    checks.expect("driver_recommended", versions.at_least(found, release["driver_recommended"]),
                  "%s or newer" % release["driver_recommended"], found)
    bad = [each for each in release["driver_known_bad"]
           if _is_bad(each, found, observed["system"]["kernel"], context.plan["model"]["arguments"])]
    checks.expect("driver_known_bad", not bad, "none of the drivers with a known defect", found,
                  message="driver %s: %s" % (found, "; and ".join(" ".join(each["reason"].split()) for each in bad))
                  if bad else None)
    if loaded and installed:
        checks.expect("driver_loaded", loaded == installed, installed, loaded, message=None if loaded == installed else
                      "%s is installed, but %s is loaded" % (installed, loaded))
    else:
        known = "loaded" if loaded else "installed"
        checks.not_run("driver_loaded", f"Only the {known} version of the driver is known.")


def _is_bad(bad: BadDriver, version: str, kernel: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether an entry of the catalogue applies to this driver, this kernel and these options of the model."""
    major = re.match("[0-9]+", kernel)
    if major and int(major.group()) < bad.get("kernel", 0):
        return False
    if "unless" in bad and bad["unless"]["value"] in str(arguments.get(bad["unless"]["option"], "")):
        return False
    if "below" in bad:
        return not versions.at_least(version, bad["below"])
    return versions.matches(version, bad["version"])


def _firmware(checks: Checks, context: Context, observed: NodeObservation) -> None:
    """Judge the firmware as the driver does: the driver must accept the firmware, or the firmware the driver."""
    driver, firmware = _fields(observed, "driver_version"), _fields(observed, "firmware_version")
    actual = "driver %s, firmware %s" % (driver.get("Version", "unknown"),
                                         firmware.get("package_version") or firmware.get("Version", "unknown"))
    boards = {"npu %d" % chip["npu"]: str((chip["board"] or {}).get("Compatibility")).upper()
              for chip in observed["npu_smi"]["chips"]}
    incompatible = [npu for npu, verdict in boards.items() if verdict == "NOK"]
    lists = [_in_ranges(driver.get("Version"), firmware.get("compatible_version_drv")),
             _in_ranges(firmware.get("Version"), driver.get("compatible_version_fw"))]
    ok: bool | None = False
    message: str | None = None
    if incompatible:
        message = "%s: incompatible according to npu-smi on %s" % (actual, ", ".join(incompatible))
    elif "OK" in boards.values() or True in lists:
        ok = True
    elif False in lists:
        message = "%s: incompatible according to the ranges in their version files" % actual
    else:
        ok, message = None, "neither npu-smi nor the version files state whether driver and firmware are compatible"
    checks.expect("firmware", ok, "versions that the vendor declares compatible", actual, message=message)


def _in_ranges(version: str | None, ranges: str | None) -> bool | None:
    try:
        return versions.in_ranges(version, ranges) if version and ranges else None
    except ValueError:  # An internal version number cannot be compared.
        return None


def _fields(observed: NpuObservation, kind: str) -> dict[str, str]:
    return next((content["fields"] for content in observed["files"].values() if content.get("kind") == kind), {})


def _is_version(text: str) -> bool:
    try:
        return bool(versions.key(text))
    except ValueError:
        return False


# Files and host ---------------------------------------------------------------------------------------------------


def _files(checks: Checks, context: Context, observed: NodeObservation) -> None:
    plan = context.plan
    nodes = {node["path"]: node for node in observed["device_nodes"]}
    devices = dict.fromkeys(device for instance in plan["instances"] for device in instance["devices"])
    _expect_none(checks, "device_nodes", {path: _device_fault(nodes.get(path)) for path in devices},
                 "a character device", _number_remedy(plan["hardware"]["npu_devices"], nodes))
    _npu_numbers(checks, observed, nodes)
    mounts = {mount["source"]: mount for instance in plan["instances"] for mount in instance["mounts"]}
    paths = {path["path"]: path for path in observed["paths"]}
    _expect_none(checks, "mount_sources", {
        source: _mount_fault(mount, paths.get(source)) for source, mount in mounts.items()}, "of the planned type",
        _folder_remedy(plan["hardware"]["driver_path"], _fields(observed, "install_info")))


def _device_numbers(nodes: Iterable[str]) -> list[int]:
    return sorted(number for number in map(device_number, nodes) if number is not None)


def _number_remedy(planned: Sequence[int], nodes: Iterable[str]) -> str | None:
    """Return the remedy if the device files have other numbers than the hardware profile expects, or None."""
    found = _device_numbers(nodes)
    return None if set(found) <= set(planned) else (
        "The node has /dev/davinci%s: set device_numbers in a hardware profile of plan_catalogue to these numbers."
        % ", ".join(map(str, found)))


def _npu_numbers(checks: Checks, observed: NodeObservation, nodes: Iterable[str]) -> None:
    """Compare the numbers of npu-smi, which the driver assigns, with those of the device files, which the plan uses."""
    files = _device_numbers(nodes)
    numbers = sorted({chip["device"] for chip in observed["npu_smi"]["chips"] if chip["device"] is not None})
    if numbers and len(numbers) == len(files):  # otherwise, npu_count or device_nodes fails
        checks.expect("npu_numbers", numbers == files, ", ".join(map(str, files)), ", ".join(map(str, numbers)))


def _folder_remedy(planned: str, installed: Mapping[str, str]) -> str | None:
    """Return the remedy if the driver was installed in a different folder than the plan expects, or None."""
    folder = installed.get("Driver_Install_Path_Param", "").rstrip("/") + "/driver"
    return "The driver is installed in %s (/etc/ascend_install.info): set serving_driver_path to it." % folder \
        if folder not in ("/driver", planned) else None


def _expect_none(checks: Checks, name: str, faults: Mapping[str, str | None], expected: str,
                 remedy: str | None = None) -> None:
    """Record an outcome for each fault of ``{subject: fault or None}``, or a single outcome if there are no faults."""
    for subject, fault in faults.items():
        if fault:
            checks.expect(name, False, expected, fault, subject, "%s %s" % (subject, fault), remedy)
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
    """Return the fault of a mount source, or None. Sources that later stages create may be missing."""
    if path is not None and path.get("error"):
        return "cannot be examined: %s" % path["error"]
    if path is None or path["type"] is None:
        return "is missing; expected a %s" % mount["type"] if mount["origin"] in ("host", "site") else None
    return None if path["type"] == mount["type"] else "is a %s; expected a %s" % (path["type"], mount["type"])


def _host(checks: Checks, context: Context, observed: NodeObservation) -> None:
    inputs, plan, system = context.inputs, context.plan, observed["system"]
    known = [name for name in plan["release"]["architectures"] if name in plan["hardware"]["architectures"]]
    checks.expect("architecture", system["architecture"] in known, " or ".join(known), system["architecture"])
    older = next((each for each in plan["hardware"]["older_kernels"] if _is_kernel(each, system)), None)
    if older:
        checks.expect("kernel", True, "a kernel in the vendor's list", system["kernel"],
                      message="the kernel of %s, which the vendor supports" % older["system"])
    else:
        _version_range(checks, "kernel", system["kernel"], inputs, "npu_driver_kernel_minimum")
    _pci_devices(checks, observed["pci"], len(plan["hardware"]["npu_devices"]))
    shm, minimum = system["shm"]["total_bytes"], inputs["npu_driver_shm_minimum_gib"]
    checks.expect("shm", shm >= minimum * _GIB, "%g GiB" % minimum, _gib(shm))
    _python(checks, observed["python"])


def _is_kernel(older: OlderKernel, system: Mapping[str, Any]) -> bool:
    """Return whether a host has this kernel. If the kernel release names no system, /etc/os-release must name it."""
    kernel, os = system["kernel"], system["os"]
    return kernel.startswith(older["version"] + ".") and bool(
        re.search(older["build"], kernel) or (
            (os["id"] or "").lower() == older["id"] and re.search(older["name"], os["name"] or "")))


def _pci_devices(checks: Checks, found: Sequence[Mapping[str, Any]], wanted: int) -> None:
    """Compare the number of accelerators with the plan. Virtual functions do not count as accelerators."""
    cards = [each for each in found if not each.get("virtual") and each["device"] not in VIRTUAL_FUNCTIONS]
    if not cards:
        checks.not_run("pci_devices", "The PCI bus has only virtual functions of NPUs (virtual machine)." if found else
                       "There is no Huawei accelerator on the PCI bus (virtual machine or container).")
        return
    checks.expect("pci_devices", len(cards) == wanted, wanted, len(cards), remedy=(
        "Set plan_hardware to the hardware of the node, which has more cards." if len(cards) > wanted else None))


def _python(checks: Checks, python: Mapping[str, Any]) -> None:
    error, interpreter = python.get("error"), "%s (Python %s)" % (python["executable"], python["version"])
    if error and python["requests"]:
        checks.not_run("python_requests",
                       "%s did not finish the imports of community.docker: %s" % (interpreter, error))
        return
    checks.expect("python_requests", python["requests"] is not None, "the requests library",
                  "requests %s" % python["requests"] if python["requests"] else
                  "no usable requests library for %s%s" % (interpreter, ": %s" % error if error else ""))


def _version_range(checks: Checks, name: str, found: str, inputs: Mapping[str, Any], minimum_input: str,
                   maximum_input: str | None = None) -> None:
    """Compare the leading numbers of a version (such as 5.15.152.ve.10 or 20.10.24+dfsg1) with two inputs.

    If an input is empty, there is no limit on that side. The upper limit includes its patch versions: 28.5 includes
    28.5.2.
    """
    minimum, maximum = inputs[minimum_input], inputs[maximum_input] if maximum_input else ""
    depth = len(str(maximum).split("."))
    try:
        numbers = re.match(r"v?[0-9]+(?:\.[0-9]+)*", found)
        version = versions.key(numbers.group() if numbers else found)
        not_older = not minimum or version >= versions.key(minimum)
        not_newer = not maximum or version[:depth] <= versions.key(maximum)[:depth]
    except ValueError as error:
        checks.not_run(name, "%s (the node has %s; the inputs are %s)." % (
            error, found, ", ".join(filter(None, (minimum_input, maximum_input)))))
        return
    expected = " to ".join(str(bound) for bound in (minimum, maximum) if bound)
    checks.expect(name, not_older and not_newer, expected if maximum else expected + " or newer", found)


def _gib(size: float) -> str:
    return "%.1f GiB" % (size / _GIB)


def _docker_engine(checks: Checks, context: Context, observed: NodeObservation) -> None:
    engine = observed["docker_engine"]
    if "error" in engine:
        checks.expect("docker_engine", False, "a response from Docker", engine["error"], message=engine["error"])
        checks.not_run("docker_engine_version", "Docker does not respond.")
        checks.not_run("docker_engine_setup", "Docker does not respond.")
        return
    checks.expect("docker_engine", True, "a response from Docker", "Docker %s" % engine["version"])
    _version_range(checks, "docker_engine_version", engine["version"], context.inputs,
                   "npu_driver_docker_engine_minimum", "npu_driver_docker_engine_maximum")
    options, enforcing = engine.get("security_options", []), observed["system"].get("selinux") == "enforcing"
    bad = [each for each in _SETUPS if each in options and (each != "selinux" or enforcing)]
    for each in bad:
        reason, remedy = _SETUPS[each]
        checks.expect("docker_engine_setup", False, "not " + each, each, each, "Docker " + reason, remedy)
    if not bad:
        checks.expect("docker_engine_setup", True, "none of " + ", ".join(_SETUPS), ", ".join(options) or "none")


# {security option of Docker with which containers cannot use NPUs or mounts: (reason, remedy)}. Sources:
# Docker's documents on userns-remap and rootless mode (containers have no access to devices of the host's root), and on
# SELinux (a bind mount needs a label, but system folders such as /usr must not be relabeled).
_SETUPS = {
    "userns": ("maps root in a container to another user (userns-remap), who cannot open the device nodes",
               "Remove userns-remap from /etc/docker/daemon.json and restart Docker."),
    "rootless": ("runs without root privileges (rootless mode), so containers cannot open the device nodes",
                 "Install the Docker engine of the system, and set plan_docker_socket to its socket."),
    "selinux": ("labels containers and SELinux is enforcing, so containers cannot read the driver or the weights",
                "Set selinux-enabled to false in /etc/docker/daemon.json and restart Docker, or allow containers to "
                "read the folders (semanage fcontext -a -t container_file_t, restorecon)."),
}


def _space(checks: Checks, context: Context, observed: NodeObservation) -> None:
    """Judge the space for the image and the weights. Space is only needed for what the node does not have yet."""
    plan, inputs = context.plan, context.inputs
    disks = {disk["path"]: disk for disk in observed["disks"]}
    engine, weights = observed["docker_engine"], plan["model"]["path"]
    existing = {path["path"] for path in observed["paths"] if path["type"]}
    needs: dict[str, float] = {}
    if "error" not in engine and not engine["image"]:
        needs[engine["image_root"]] = inputs["npu_driver_image_space_gib"] * _GIB
    if weights not in existing:
        needs[weights] = plan["model"]["weights_bytes"] * 1.05
    faults = {path: _space_fault(disks[path], need) for path, need in needs.items()}
    if "error" in engine:
        checks.not_run("disk_space", "The folder of Docker's images is unknown.", subject="image")
    _expect_none(checks, "disk_space", faults, "enough for image and weights")


def _space_fault(disk: Mapping[str, Any], need: float) -> str | None:
    if disk.get("error"):
        return "cannot be examined: %s" % disk["error"]
    free = disk["free_bytes"]
    return None if free >= need else f"has {_gib(free)} free, but {_gib(need)} is needed"


def _clock(checks: Checks, context: Context, observed: NodeObservation) -> None:
    """Judge the offset of the node's clock. The node reads its clock during the round trip, which limits the error."""
    limit = context.inputs["npu_driver_clock_skew_s"]
    clock, trip = observed["clock"], observed.get("round_trip")
    if not trip:
        checks.not_run("clock_skew", "The round trip to the node was not measured.")
        return
    latest, earliest = clock["started_at"] - trip["sent_at"], clock["finished_at"] - trip["received_at"]
    offset, error = (latest + earliest) / 2, abs(latest - earliest) / 2
    actual = "%+.1f s ± %.1f s" % (offset, error)
    if error > limit:
        checks.not_run("clock_skew", "The response took too long to measure the offset (%s)." % actual)
        return
    checks.expect("clock_skew", abs(offset) - error <= limit, "within %g s" % limit, actual)


def _kernel_log(checks: Checks, context: Context, observed: NodeObservation) -> None:
    log, minutes = observed["kernel_log"], context.inputs["npu_driver_kernel_log_minutes"]
    if log["error"]:
        checks.not_run("kernel_log", "The kernel log cannot be read: %s" % log["error"])
        return
    expected, corrected = "no NPU error in %s minutes" % minutes, log.get("corrected", 0)
    kinds: dict[str, list[kernel_log.KernelLogLine]] = {}
    for line in log["lines"]:
        kinds.setdefault(line.get("kind", kernel_log.DRIVER), []).append(line)
    for kind, lines in kinds.items():
        subject, remedy = _LOG_KINDS[kind]
        checks.expect("kernel_log", False, expected, "lines: %d" % len(lines), subject,
                      f"lines: {len(lines)}, the newest {lines[-1]['seconds_ago']} s ago: {lines[-1]['text']}", remedy)
    if not kinds:
        checks.expect("kernel_log", True, expected, "corrected errors of a PCIe link: %d" % corrected
                      if corrected else "none")


# {kind of kernel log error: (subject, remedy)}. If the remedy is None, the check's own is shown.
_LOG_KINDS: dict[str, tuple[str | None, str | None]] = {
    kernel_log.DRIVER: (None, None),
    kernel_log.HANG: (
        "hang", "An NPU or its firmware no longer responds to the driver: stop the processes that use it, then reset "
        "it or reboot the node; if it happens again, upgrade the firmware or replace the NPU."),
    kernel_log.PINNING: (
        "pinned memory", "The driver could not pin pages of a file that is mapped into memory, so loading the weights "
        "hangs: set safetensors-load-strategy to eager in serving_args (vllm-ascend issue 7078, vLLM pull request "
        "50794). The NPU is not damaged."),
    kernel_log.APPLICATION: (
        "application", "The driver refused a request of a process, for example for memory that is not shared with it: "
        "read the log of that process. The NPU and its driver are not damaged."),
    kernel_log.LINK: (
        "PCIe link", "The PCIe link failed, at an NPU or at the port above it: power-cycle the node, reseat the "
        "card and its riser; if it happens again, replace them."),
    kernel_log.IOMMU: (
        "IOMMU", "The IOMMU (SMMU) blocked an NPU's access to memory: compare the IOMMU settings in the BIOS and on "
        "the kernel command line with the installation guide of the driver, and upgrade the driver and the firmware."),
}


def _drift(checks: Checks, context: Context, _observed: NodeObservation) -> None:
    cluster: Cluster | None = context.survey
    if cluster is None or cluster["nodes"] < 2:
        checks.not_run("drift", "There is no other node to compare with.")
        return
    for each in cluster["differences"]:
        value = each["outliers"][context.host]
        if each["majority"]:
            hosts = ", ".join(host for host, other in each["outliers"].items() if other == value)
            message = "%s: %s on %s, but %s on most nodes" % (each["fact"], value, hosts, each["majority"])
        else:
            message = "%s differs, without a majority: %s" % (each["fact"], ", ".join(
                "%s has %s" % item for item in each["outliers"].items()))
        checks.expect("drift", False, each["majority"] or "one value", value, subject=each["fact"], message=message)
    if not cluster["differences"]:
        checks.expect("drift", True, "the values of most of %d nodes" % cluster["nodes"],
                      "the values of most of %d nodes" % cluster["nodes"])


PARTS = (_driver, _firmware, _files, _host, _docker_engine, _space, _clock, _kernel_log, _drift)
