# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the npu_driver stage.

It checks whether NPUs, driver and host meet the requirements of the plan, before images and weights are copied to the
node. The thresholds have these sources:

- HBM pages and temperature: the ascend-dmi and fault-diag documents of MindCluster 7.3
- Docker versions: 01_environment_dependencies.md of MindCluster
- HBM of an idle chip: public npu-smi tables of the 910B (2.8 to 4.2 GB without a process)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context, Observation, Outcomes, Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import drift, judge_chips, judge_host

CHECKS = (
    Check("npu_smi", CRITICAL, "npu-smi prints its table",
          "Install the driver (HDK), or set npu_driver_npu_smi_path; run as root.",
          "npu-smi prints a table on every product (outputs of HDK 22.0 to 26.1 in the tests); errors by code: "
          "dcmi reference, return codes."),
    Check("tool_hung", CRITICAL, "No call of npu-smi hangs",
          "The NPU or its driver hangs: read the kernel log, stop the processes that use the NPU, then reset it or "
          "reboot the node.",
          "No limit is published: npu_driver_tool_timeout_s."),
    Check("tool_slow", WARNING, "Every call of npu-smi returns quickly",
          "A slow tool often hangs later: read the kernel log, and look for processes in state D."),
    Check("npu_count", CRITICAL, "Every NPU of the hardware profile is present",
          "Look for the NPU with lspci and in the kernel log; reseat or replace it, or correct plan_hardware.",
          "hardware.yml: the installation page of vLLM Ascend (8 NPUs of an A2, 16 chips of an A3)."),
    Check("npu_type", CRITICAL, "The chips match the hardware profile",
          "Set plan_hardware to the hardware of the node: an image is built for one type of chip.",
          "hardware.yml: names in public npu-smi tables; image tags name the chip (Dockerfiles of vLLM Ascend)."),
    Check("hbm_total", CRITICAL, "Every chip has the HBM of the hardware profile",
          "Set plan_hardware to the hardware of the node, or replace the NPU.",
          "hardware.yml: HBM in public npu-smi tables (32768 or 65536 MB)."),
    Check("health", CRITICAL, "No chip reports an alarm",
          "Look up the error codes in the vendor's health management list; reset or replace the NPU.",
          "States of npu-smi info -t health in its reference: OK, Warning, Alarm, Critical."),
    Check("health_warning", WARNING, "No chip reports a warning",
          "Look up the error codes in the vendor's health management list."),
    Check("temperature", CRITICAL, "No chip is overheated", "Stop the load; check fans, air flow and heat sinks.",
          "MindCluster 7.3, documents of fault-diag."),
    Check("temperature_high", WARNING, "No chip is hot",
          "Check fans and air flow. Benchmark results are not reliable at this temperature."),
    Check("isolated_pages", CRITICAL, "No chip has used up its spare HBM rows", "Replace the NPU.",
          "MindCluster 7.3, documents of ascend-dmi: spare rows are used up at 64 pages."),
    Check("isolated_pages_warning", WARNING, "Few HBM pages are isolated", "Monitor the NPU and plan its replacement."),
    Check("ecc_errors", WARNING, "HBM has no double-bit error since the driver was loaded",
          "Run the vendor's HBM stress test (ascend-dmi) for an hour; replace the NPU if the errors recur."),
    Check("npus_free", CRITICAL, "The planned NPUs are free or used by the planned service",
          "Stop the process or container that uses them, or remove them from serving_npus; "
          "npu_driver_allowed_holders lists those that may remain.",
          "One container per NPU: return code -8020 of dcmi, vllm-ascend issues 632 and 2698."),
    Check("npu_idle", CRITICAL, "Planned NPUs without a known process are idle",
          "A hidden process uses the NPU, often in a container of another container engine, or a crash left it busy: "
          "reset the NPU.",
          "Public npu-smi tables of NPUs without a process: 2.8 to 4.2 GB of HBM (910B), 2.8 to 3.2 GB (A3)."),
    Check("driver_minimum", CRITICAL, "The driver meets the minimum of the release",
          "Upgrade driver and firmware (HDK), or choose a plan_release for this driver.",
          "releases.yml: release notes of the CANN of the image."),
    Check("driver_recommended", WARNING, "The driver is the recommended one of the release, or newer",
          "Upgrade driver and firmware (HDK) at the next maintenance of the node."),
    Check("driver_known_bad", WARNING, "The driver has no known defect",
          "Follow the advice in the message, or install another version of the driver."),
    Check("driver_loaded", WARNING, "The loaded driver is the installed one", "Reboot the node."),
    Check("firmware", CRITICAL, "Driver and firmware are compatible",
          "Install driver and firmware of the same HDK, then reboot the node.",
          "dcmi_get_device_compatibility in github.com/hicann/driver: the driver accepts the firmware, or the "
          "firmware accepts the driver."),
    Check("device_nodes", CRITICAL, "The planned device nodes exist",
          "Reload the driver or reboot the node; a regular file at /dev/davinciN was created by a container's mount.",
          "Installation page of vLLM Ascend: devices of docker run."),
    Check("npu_numbers", WARNING, "npu-smi numbers the NPUs as their device files",
          "Compare npu-smi info -m with /dev/davinciN. serving_npus has the numbers of device files, whereas load and "
          "processes have those of npu-smi."),
    Check("mount_sources", CRITICAL, "The sources of the container's mounts exist and have the right type",
          "Reinstall the driver or correct serving_mounts. Docker creates an empty directory for a missing source: "
          "remove such directories first.",
          "Installation page of vLLM Ascend: volumes of docker run."),
    Check("pci_devices", WARNING, "The PCI bus has as many accelerators as the hardware profile",
          "A card is no longer on the bus: power-cycle the node, reseat or replace the card."),
    Check("architecture", CRITICAL, "The release has an image for this architecture",
          "Choose another node or another plan_release.",
          "releases.yml: image workflows of vLLM Ascend."),
    Check("kernel", WARNING, "The kernel is recent enough, or that of a system that the vendor supports",
          "Upgrade the operating system to one of the vendor's list for this hardware."),
    Check("docker_engine", CRITICAL, "The Docker engine responds",
          "Install the Docker engine and start it (systemctl start docker); run as root. Podman and iSulad are not "
          "supported.",
          "The collection uses the API of the Docker engine."),
    Check("docker_engine_version", WARNING, "The version of the Docker engine is in the tested range",
          "Install a version in the range, or set npu_driver_docker_engine_minimum and "
          "npu_driver_docker_engine_maximum."),
    Check("docker_engine_setup", WARNING, "Docker's security options leave devices and mounts to the containers",
          "Change the option in /etc/docker/daemon.json and restart Docker."),
    Check("python_requests", CRITICAL, "Python on the node can manage containers",
          "Install the package python3-requests for the interpreter in the message, with what its error names.",
          "Imports of community.docker (facts.python)."),
    Check("shm", WARNING, "/dev/shm of the host is large enough", "Enlarge /dev/shm (mount -o remount,size=…)."),
    Check("disk_space", WARNING, "There is enough space for image and weights",
          "Free space, or choose another weights_path."),
    Check("clock_skew", WARNING, "The clocks of node and controller agree", "Set up chrony or ntpd on both."),
    Check("kernel_log", WARNING, "The kernel logged no NPU error recently",
          "Read the lines in the result, and compare them with health and ECC counters of the NPU."),
    Check("drift", WARNING, "Hardware and versions are those of most nodes",
          "Install the versions of the other nodes on the outliers."),
)

RETURNED = ()


def check_inputs(context: Context) -> Iterator[str]:
    """Yield a sentence per limit that is below the value that causes a warning."""
    for low, high in (("temperature_warning_c", "temperature_limit_c"),
                      ("isolated_pages_warning", "isolated_pages_limit")):
        lower, higher = (context.inputs["npu_driver_" + name] for name in (low, high))
        if lower > higher:
            yield "npu_driver_%s (%s) must be at most npu_driver_%s (%s)." % (low, lower, high, higher)


def request(context: Context) -> Request:
    """Return the request that queries NPUs, driver and host."""
    plan, inputs, plans = context.plan, context.inputs, context.node_plans or [context.plan]
    sources = sorted({mount["source"] for each in plans for instance in each["instances"]
                      for mount in instance["mounts"]})
    return Request("ascend.vllm.npu_info", {
        "npu_smi": inputs["npu_driver_npu_smi_path"] or None, "driver_path": plan["hardware"]["driver_path"],
        "timeout_s": inputs["npu_driver_tool_timeout_s"], "paths": sources,
        "disk_paths": sorted({each["model"]["path"] for each in plans}),
        "docker_socket": plan["docker_socket"], "image": plan["image"]["reference"],
        "kernel_log_minutes": inputs["npu_driver_kernel_log_minutes"]})


def survey(observations: Mapping[str, Observation], inputs: Mapping[str, Any]) -> dict[str, judge_host.Cluster]:
    """Return ``{host: Cluster}`` with the number of nodes and the facts whose value on this host is an outlier."""
    found = drift.compare({host: drift.facts(cast("judge_host.NodeObservation", observed))
                           for host, observed in observations.items()})
    return {host: {"nodes": len(observations), "differences": [each for each in found if host in each["outliers"]]}
            for host in observations}


def judge(context: Context) -> Outcomes:
    """Return the outcome of every check.

    Subjects are chips (``npu 3``, or ``npu 6 chip 1`` if an NPU has several chips), paths or facts.
    """
    checks = Checks(CHECKS)
    for part in judge_chips.PARTS + judge_host.PARTS:
        part(checks, context)
    return checks.as_list()
