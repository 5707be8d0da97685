#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: npu_info
short_description: Return the state of the Ascend NPUs, their driver and their host
version_added: 0.9.0
description:
  - Returns in one call the information that C(npu-smi) shows about every chip (table, error codes, ECC counters,
    board), the versions of the driver and the firmware, the device nodes, the state of Docker, the processes and
    containers that use NPUs, and properties of the host.
  - The calls of C(npu-smi) run in parallel, each with a timeout. A call that exceeds it is killed, and has
    C(timed_out) set in RV(tools).
  - The module does not fail if a part of this information cannot be read. Instead, this part is null or has an
    C(error).
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes, ascend.vllm._options.docker]
options:
  npu_smi: {type: path, description: "The path of C(npu-smi). By default, the tool is searched for in C(PATH),
    C(/usr/local/bin) and C(/usr/local/sbin)."}
  driver_path: {type: path, default: /usr/local/Ascend/driver, description: "The installation directory of the driver."}
  timeout_s: {type: float, default: 5, description: "Timeout in seconds of each C(npu-smi) call and Docker request."}
  paths: {type: list, elements: path, default: [], description: "The paths to describe in RV(paths), such as the
    sources of mounts of a container."}
  disk_paths: {type: list, elements: path, default: [], description: "The paths whose free space is returned. They do
    not have to exist. The folder of Docker's images is always included."}
  image: {type: str, description: "The name of an image to look up on the node. By default, no image is looked up."}
  kernel_log_minutes: {type: int, default: 60, description: "The maximum age in minutes of the kernel log records."}
notes: ["Docker, the kernel log and the processes of other users can only be read with root privileges."]
seealso: [{module: ascend.vllm.hccn_info}]
"""

EXAMPLES = r"""
- name: Query the NPUs, the disk of the weights and the sources of two mounts
  ascend.vllm.npu_info:
    disk_paths: [/data]
    paths: [/usr/local/dcmi, /etc/ascend_install.info]
    image: quay.io/ascend/vllm-ascend:v0.11.0rc1
  register: npu

- name: Fail if a chip is not healthy
  ansible.builtin.assert:
    that:
      - npu.npu_smi.error is none
      - npu.npu_smi.chips | rejectattr('health', 'equalto', 'OK') | length == 0
"""

RETURN = r"""
npu_smi:
  description: The information that C(npu-smi) shows.
  returned: success
  type: dict
  contains:
    path: {type: str, description: "The path of the tool, or null if it was not found."}
    error: {type: dict, description: "If C(npu-smi) did not show its table, the C(message) of the error and the C(code)
      that the driver library returned (or null); otherwise null."}
    tool_version: {type: str, description: "The version of C(npu-smi), or null."}
    driver_version: {type: str, sample: 25.3.rc1, description: "The version of the loaded driver, or null."}
    complete: {type: bool, description: "Whether all rows of the device table were printed."}
    chips:
      description: The chips. A value that the product does not have is null.
      type: list
      elements: dict
      contains:
        npu: {type: int, description: "The number of the NPU."}
        chip: {type: int, description: "The number of the chip on the NPU, or null."}
        phy_id: {type: int, description: "The physical number of the chip, or null for products with one chip per NPU."}
        device: {type: int, description: "The N of C(/dev/davinciN)."}
        name: {type: str, sample: 910B3, description: "The name of the chip."}
        health: {type: str, sample: OK, description: "The health of the chip."}
        bus_id: {type: str, sample: 0000:C1:00.0, description: "The PCI address, or null."}
        power_w: {type: float, description: "The power in watts, or null."}
        temperature_c: {type: int, description: "The temperature in degrees Celsius, or null."}
        hugepages_used: {type: int, description: "The number of huge pages in use, or null."}
        hugepages_total: {type: int, description: "The number of huge pages, or null."}
        aicore_percent: {type: int, description: "The load of the AI cores in percent, or null."}
        memory_used_mb: {type: int, description: "The DDR memory in use in MB, or null."}
        memory_total_mb: {type: int, description: "The DDR memory in MB, or null."}
        hbm_used_mb: {type: int, description: "The HBM in use in MB, or null."}
        hbm_total_mb: {type: int, description: "The HBM in MB, or null."}
        error_codes: {type: list, elements: str, description: "The error codes of a chip that is not healthy, or null."}
        error_information: {type: str, description: "The descriptions of the error codes, or null."}
        ecc: {type: dict, sample: {HBM Double Bit Isolated Pages Count: "0"}, description: "The ECC counters as printed,
          or null if they could not be read."}
        board: {type: dict, sample: {Software Version: 25.3.rc1}, description: "The information about the board as
          printed, or null if it could not be read."}
    processes: {type: list, elements: dict, description: "The processes on the NPUs, each with the numbers of its C(npu)
      and its C(chip), its C(pid), its C(name), which is truncated to 15 characters, the HBM that it uses in MB
      (C(memory_mb)), and its process id in its container (C(pid_in_container)). All but C(npu), C(pid) and C(name) can
      be null."}
tools: {type: list, elements: dict, returned: success, description: "The calls of C(npu-smi), each with its C(command),
  its exit code C(rc) (null if it was not started or timed out), its duration in seconds (C(duration_s)), C(timed_out),
  and the C(error), which is the reason why it was not started or had no result, or null."}
files: {type: dict, returned: success, description: "The version files of the driver and the firmware, and the file
  that their installer wrote, with their paths as keys. Each has its C(kind) (V(driver_version), V(firmware_version),
  V(install_info) or V(other)) and its C(fields), the values as they are written in the file, or an C(error) if it
  could not be read."}
device_nodes: {type: list, elements: dict, returned: success, description: "The device nodes C(/dev/davinci*),
  C(/dev/davinci_manager), C(/dev/devmm_svm) and C(/dev/hisi_hdc), each with the keys of RV(paths)."}
pci: {type: list, elements: dict, returned: success, description: "The Huawei accelerators on the PCI bus, each with its
  PCI C(address), its C(device) id, C(virtual) (whether it is a virtual function of an NPU), and C(ports) (the PCI
  addresses of the ports between the accelerator and the processor)."}
holders: {type: list, elements: dict, returned: success, description: "The processes and containers that use an NPU.
  Each has C(device) (the N of C(/dev/davinciN), null if the table of C(npu-smi) lacks the chip), C(pid) and
  C(process) (its name), or if only a container is known, the C(pid) of its main process and a null C(process),
  C(memory_mb) (the HBM that it uses in MB, null if unknown), and C(container) with its C(id), C(name), C(image_name)
  and C(labels), or null. Labels other than those of this collection are omitted, because they can contain secrets."}
docker_engine: {type: dict, returned: success, description: "The state of Docker. If Docker did not respond, it has
  only C(error), the reason. Otherwise, it has C(version), C(architecture) (as C(uname -m) prints it), C(image_root)
  (the folder in which images are stored; that of containerd if Docker uses the image store of containerd),
  C(security_options), C(image) (as in RV(ascend.vllm.image_info#module:image); null if O(image) is not set or the
  node does not have it), and the running C(containers)."}
system: {type: dict, returned: success, description: "Properties of the host: its C(architecture) (as C(uname -m) prints
  it), the release of the C(kernel), C(id), C(version) and C(name) of the C(os) (null if unknown), C(memory_bytes),
  C(memory_available_bytes), the space in C(/dev/shm) with the keys of RV(disks) (C(shm)), the mode of C(selinux)
  (V(enforcing) or V(permissive), or null if it is disabled), and the uptime in seconds (C(uptime_s))."}
disks: {type: list, elements: dict, returned: success, description: "The space at O(disk_paths) and in the folder of
  Docker's images, each with C(path), C(existing) (the path, or the nearest directory above it that exists),
  C(total_bytes) and C(free_bytes), which is the space that is free for unprivileged users. If the file system does
  not respond, there are only C(path) and C(error)."}
paths:
  description: The files at O(paths), each with C(path) and C(type) (V(file), V(directory) and so on, or null if it does
    not exist). An existing file also has C(owner), C(group) and C(mode). A symbolic link also has C(target), a
    device has C(major) and C(minor), and a path that cannot be read has C(error).
  returned: success
  type: list
  elements: dict
  sample: [{path: /dev/davinci0, type: character device, owner: root, group: root, mode: "0660", major: 236, minor: 0}]
python: {type: dict, returned: success, description: "The C(executable) and C(version) of the Python that runs modules
  on the node, the version of C(requests) (null if the imports of community.docker fail, V(unknown) if they time
  out), and the C(error) of these imports, or null."}
kernel_log: {type: dict, returned: success, description: "The NPU errors in the kernel log. C(lines) are the newest 50
  errors, with the oldest of them first, each with its age in C(seconds_ago), its C(text), and its C(kind), which is
  V(hang), V(pinning), V(application), V(link), V(iommu) or V(driver). C(corrected) is the number of errors that PCIe
  links of NPUs corrected, and C(error) is the reason why the kernel log could not be read, or null."}
clock: {type: dict, returned: success, description: "The start (C(started_at)) and end (C(finished_at)) of the module
  according to the clock of the node, in seconds since the epoch."}
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import kernel_log, observation, version_files
from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, engine_facts, images
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands as tools
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts, holders, lease

ARGUMENTS = {
    "npu_smi": {"type": "path"},
    "driver_path": {"type": "path", "default": "/usr/local/Ascend/driver"},
    "timeout_s": {"type": "float", "default": 5},
    "paths": {"type": "list", "elements": "path", "default": []},
    "disk_paths": {"type": "list", "elements": "path", "default": []},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "image": {"type": "str"},
    "kernel_log_minutes": {"type": "int", "default": 60},
}


def observe(params: dict[str, Any], tool: str | None, started: float) -> observation.NpuObservation:
    """Observe this host. The path of npu-smi is None if it was not found; ``started`` is in seconds since the epoch."""
    def run_all(commands: dict[Any, list[str]]) -> dict[Any, tools.Outcome]:
        return tools.run_all(commands, params["timeout_s"])

    with ThreadPoolExecutor(max_workers=3) as pool:
        python = pool.submit(facts.python)
        docker = pool.submit(_docker_engine, params)
        opened = pool.submit(holders.open_files, npus=True, skip=observation.OWN_TOOLS)
        npu_smi, outcomes = observation.query(run_all, tool)
        docker_engine, at_npus = docker.result(), opened.result()[1]
    system, accelerators = facts.system(), facts.accelerators()
    disks = params["disk_paths"] + ([docker_engine["image_root"]] if "image_root" in docker_engine else [])
    files = _files(params["driver_path"])
    hung = tools.hung_paths([*params["paths"], *disks, *files], params["timeout_s"])
    return {
        "npu_smi": npu_smi,
        "tools": [outcome.summary() for outcome in outcomes],
        "files": {path: {"error": hung[path]} if path in hung else version_files.read(path) for path in files},
        "device_nodes": facts.device_nodes(),
        "pci": accelerators,
        "docker_engine": docker_engine,
        "holders": holders.npu_holders(
            at_npus, docker_engine.get("containers", []), npu_smi["chips"], npu_smi["processes"]),
        "system": system,
        "disks": [{"path": path, "error": hung[path]} if path in hung else facts.disk(path) for path in disks],
        "paths": [{"path": path, "type": None, "error": hung[path]} if path in hung else facts.describe_path(path)
                  for path in params["paths"]],
        "python": python.result(),
        "kernel_log": _kernel_log(params, system, accelerators, npu_smi["chips"]),
        "clock": {"started_at": started, "finished_at": time.time()},
    }


def _files(driver: str) -> tuple[str, ...]:
    """Return the version files of the driver and the firmware, and the file that the installer wrote."""
    return (os.path.join(driver, "version.info"), os.path.join(os.path.dirname(driver), "firmware", "version.info"),
            "/etc/ascend_install.info")


def _docker_engine(params: dict[str, Any]) -> dict[str, Any]:
    docker = DockerEngine(params["docker_socket"], params["timeout_s"])
    try:
        image = images.inspect(docker, params["image"]) if params["image"] else None
        return {**engine_facts.query(docker), "image": image, "containers": containers.find(docker)}
    except DockerError as error:
        return {"error": str(error)}


def _kernel_log(params: dict[str, Any], system: dict[str, Any], accelerators: list[dict[str, Any]],
                chips: list[observation.Chip]) -> kernel_log.KernelLog:
    bus_ids = [address for each in accelerators for address in [each["address"], *each["ports"]]]
    bus_ids += [chip["bus_id"] for chip in chips]
    try:
        records = kernel_log.read()
    except OSError as error:
        return {"lines": [], "corrected": 0, "error": str(error)}
    return kernel_log.errors(records, system["uptime_s"], params["kernel_log_minutes"] * 60, bus_ids)


def main() -> None:
    started = time.time()
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    lease.hold(module)
    tool = module.params["npu_smi"] or module.get_bin_path("npu-smi", opt_dirs=["/usr/local/bin", "/usr/local/sbin"])
    if tool and not os.access(tool, os.X_OK):
        tool = None
    module.exit_json(changed=False, **observe(module.params, tool, started))


if __name__ == "__main__":
    main()
