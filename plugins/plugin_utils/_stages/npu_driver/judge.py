# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The npu_driver stage: whether NPUs, driver and host can carry the plan, before anything is brought there.

Sources of the thresholds: HBM pages and temperature, MindCluster 7.3 (ascend-dmi and fault-diag documents); engine
versions, its 01_environment_dependencies.md; idle HBM, public npu-smi tables of 910B (2.8 to 4.2 GB without a process).
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import drift, judge_chips, judge_host

CHECKS = (
    Check("npu_smi", CRITICAL, "npu-smi answers with its table",
          "Install the driver (HDK), or set npu_driver_npu_smi_path; run as root."),
    Check("tool_wedged", CRITICAL, "No call of the vendor's tool hangs",
          "The NPU or its driver hangs: read the kernel's log, end what holds the NPU, reset it or reboot the node."),
    Check("tool_slow", WARNING, "Every call of the vendor's tool answers quickly",
          "A tool that slows down often hangs next: read the kernel's log and look for processes in state D."),
    Check("npu_count", CRITICAL, "Every NPU of the hardware profile answers",
          "Look for the NPU with lspci and in the kernel's log; reseat or replace it, or correct plan_hardware."),
    Check("npu_type", CRITICAL, "The chips are those of the hardware profile",
          "Set plan_hardware to what the node is: images are built for one kind of chip."),
    Check("hbm_total", CRITICAL, "Every chip has the HBM of the hardware profile",
          "Set plan_hardware to what the node is, or replace the NPU."),
    Check("health", CRITICAL, "No chip reports an alarm",
          "Look the error codes up in the vendor's health management list; reset the NPU or have it replaced."),
    Check("health_warning", WARNING, "No chip reports a warning",
          "Look the error codes up in the vendor's health management list."),
    Check("temperature", CRITICAL, "No chip is overheated", "Stop the load; look for fans, air flow and heat sinks."),
    Check("temperature_high", WARNING, "No chip is hot",
          "Benchmarks are not to be believed at this temperature; look for fans and air flow."),
    Check("isolated_pages", CRITICAL, "No chip has used up its spare HBM rows", "Have the NPU replaced."),
    Check("isolated_pages_warning", WARNING, "Few HBM pages are isolated", "Watch the NPU and plan its replacement."),
    Check("ecc_errors", WARNING, "HBM has no double-bit error since the driver was loaded",
          "Run the vendor's HBM stress test (ascend-dmi) for an hour; have the NPU replaced if errors come back."),
    Check("npus_free", CRITICAL, "The planned NPUs are free or held by our own service",
          "End what holds them, or leave them out of serving_npus; npu_driver_allowed_holders lists what may stay."),
    Check("npu_idle", CRITICAL, "Planned NPUs that nobody holds are idle",
          "Something holds them unseen, often a container of another engine or what a crash left: reset the NPU."),
    Check("driver_minimum", CRITICAL, "The driver is not older than the release needs",
          "Upgrade driver and firmware (HDK), or choose a plan_release for this driver."),
    Check("driver_recommended", WARNING, "The driver is the one that goes with the release, or newer",
          "Upgrade driver and firmware (HDK) when the node can be taken out."),
    Check("driver_known_bad", WARNING, "The driver is not known for a defect",
          "Install another version of the driver, or do what the message says."),
    Check("driver_loaded", WARNING, "The loaded driver is the installed one", "Reboot the node."),
    Check("firmware", CRITICAL, "Driver and firmware fit each other",
          "Install driver and firmware of the same HDK, then reboot the node."),
    Check("device_nodes", CRITICAL, "The planned device nodes are there",
          "Reload the driver or reboot the node; a plain file at /dev/davinciN was made by a container's mount."),
    Check("mount_sources", CRITICAL, "What the container mounts is there, with the right type",
          "Install the driver anew or correct serving_mounts. Docker makes an empty folder of a source that is "
          "missing: remove such folders first."),
    Check("pci_devices", WARNING, "The PCI bus has as many accelerators as the hardware profile",
          "A card has left the bus: power the node off and on, reseat or replace the card."),
    Check("architecture", CRITICAL, "The release has an image for this architecture",
          "Choose another node or plan_release."),
    Check("kernel", WARNING, "The kernel is recent enough", "Upgrade the operating system to a supported one."),
    Check("docker_engine", CRITICAL, "The container engine answers",
          "Install Docker and start it (systemctl start docker); run as root."),
    Check("docker_engine_version", WARNING, "The container engine's version is in the tested range",
          "Install a version in the range, or set npu_driver_engine_minimum and npu_driver_engine_maximum."),
    Check("python_requests", CRITICAL, "Python on the node can manage containers",
          "Install the package python3-requests for the interpreter that is named."),
    Check("shm", WARNING, "/dev/shm of the host is large enough", "Mount /dev/shm larger (mount -o remount,size=…)."),
    Check("memlock", WARNING, "Enough memory can be locked", "Raise the limit memlock in /etc/security/limits.conf."),
    Check("disk_space", WARNING, "Image and weights have room", "Free space, or choose another weights_path."),
    Check("clock_skew", WARNING, "The node's clock goes with the controller's", "Set up chrony or ntpd on both."),
    Check("kernel_log", WARNING, "The kernel has logged no NPU error lately",
          "Read the lines in the result; compare with health and ECC counters of the NPU."),
    Check("drift", WARNING, "The node is like the others of the cluster", "Bring the outliers to the others' version."),
)


RETURNED = ()


def request(context):
    """What to ask of the node, see `judging.Judge`."""
    plan, inputs = context.plan, context.inputs
    sources = sorted({mount["source"] for instance in plan["instances"] for mount in instance["mounts"]})
    return Request("ascend.vllm.npu_info", {
        "npu_smi": inputs["npu_driver_npu_smi_path"] or None,
        "driver_path": plan["hardware"]["driver_path"],
        "timeout_s": inputs["npu_driver_tool_wedged_s"],
        "paths": sources,
        "disk_paths": [plan["model"]["path"]],
        "docker_socket": plan["docker_socket"],
        "image": plan["image"]["reference"],
        "kernel_log_minutes": inputs["npu_driver_kernel_log_minutes"],
    })


def survey(observations, inputs):
    """Return ``{host: {"nodes": int, "outliers": [see `drift.compare`]}}``, the outliers of which the host is one."""
    drifts = drift.compare({host: drift.facts(observed) for host, observed in observations.items()})
    return {host: {"nodes": len(observations), "outliers": [found for found in drifts if host in found["outliers"]]}
            for host in observations}


def judge(context):
    """Judge one host. Subjects are chips (``npu 3``, ``npu 6 chip 1`` where an NPU has several), paths or facts."""
    checks = Checks(CHECKS)
    for part in judge_chips.PARTS + judge_host.PARTS:
        part(checks, context)
    return checks.as_list()
