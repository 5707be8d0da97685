#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: npu_info
short_description: Return the state of the Ascend NPUs, their driver and their host
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Returns in one call what C(npu-smi) shows of every chip (table, error codes, ECC counters, board), versions of
    driver and firmware, device nodes, the Docker engine, who holds an NPU, and what the host has to offer.
  - The tool's calls run side by side, each within a time limit; one that does not answer is named and not waited for.
  - Nothing is judged and nothing is changed. What cannot be read is null or has an C(error).
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._attributes.info
  - ascend.vllm._docker
options:
  npu_smi:
    description: The program. Left out, it is searched for in C(PATH), C(/usr/local/bin) and C(/usr/local/sbin).
    type: path
  driver_path:
    description: Where the driver is installed.
    type: path
    default: /usr/local/Ascend/driver
  timeout_s:
    description: Seconds that each call of a tool, and each answer of Docker, may take.
    type: float
    default: 5
  workers:
    description: Calls of the tool that run at a time. They wait for their device rather than for a processor.
    type: int
    default: 8
  paths:
    description: Paths to describe, such as the sources of a container's mounts.
    type: list
    elements: path
    default: []
  disk_paths:
    description: Paths whose free space is returned. They need not exist. Docker's data folder is always added.
    type: list
    elements: path
    default: []
  image:
    description: Name of an image that may be on the node already.
    type: str
  kernel_log_minutes:
    description: How far to look back in the kernel's log.
    type: int
    default: 60
notes:
  - Without the rights of root neither Docker, the kernel's log nor the processes of other users can be read.
seealso:
  - module: ascend.vllm.hccn_info
"""

EXAMPLES = r"""
- name: Query the NPUs of the node
  ascend.vllm.npu_info:
  register: npu

- name: Query the NPUs, and where the model is going to be
  ascend.vllm.npu_info:
    disk_paths: [/data]
    paths: [/usr/local/dcmi, /etc/ascend_install.info]
"""

RETURN = r"""
npu_smi:
  description:
    - What C(npu-smi) shows. C(error) is null or the C(message) and C(code) of its failure.
    - A chip has the columns of the table, C(device) (N of C(/dev/davinciN)), C(error_codes), C(ecc) and C(board).
  returned: success
  type: dict
  sample:
    path: /usr/local/bin/npu-smi
    error:
    driver_version: 25.3.rc1
    complete: true
    chips: [{npu: 0, chip: 0, device: 0, name: 910B3, health: OK, temperature_c: 41, hbm_total_mb: 65536}]
    processes: []
tools:
  description: Every call of a tool with C(command), C(rc), C(duration_s), C(timed_out) and C(error).
  returned: success
  type: list
  elements: dict
files:
  description: Version and install files by path, each with C(kind) and C(fields), or an C(error).
  returned: success
  type: dict
device_nodes:
  description: C(/dev/davinci*), C(davinci_manager), C(devmm_svm) and C(hisi_hdc) with type, owner, group and mode.
  returned: success
  type: list
  elements: dict
pci:
  description: Huawei's accelerators on the PCI bus.
  returned: success
  type: list
  elements: dict
holders:
  description:
    - Who holds which NPU, with C(device) (N of C(/dev/davinciN)), C(pid), C(process), C(memory_mb) and C(container),
      its C(id), C(name), C(image_name) and C(labels), or null.
  returned: success
  type: list
  elements: dict
docker_engine:
  description:
    - The Docker engine with C(version), C(architecture), C(data_root), C(storage_driver), C(default_runtime),
      C(runtimes), C(image) (or null) and its running C(containers), or an C(error).
  returned: success
  type: dict
system:
  description: Architecture, kernel, operating system, memory, C(/dev/shm) and the limit of locked memory.
  returned: success
  type: dict
disks:
  description: Free and total bytes of the paths asked for and of Docker's data folder.
  returned: success
  type: list
  elements: dict
paths:
  description: What stands at the paths asked for; C(type) is null where nothing does.
  returned: success
  type: list
  elements: dict
python:
  description: The interpreter, and the version of the C(requests) library or null.
  returned: success
  type: dict
kernel_log:
  description: C(lines) of NPU errors with C(seconds_ago) and C(text), and C(error) where the log cannot be read.
  returned: success
  type: dict
clock:
  description: C(started_at) and C(finished_at) of this call by the node's clock, in seconds since the epoch.
  returned: success
  type: dict
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import kernel_log, observation
from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, images
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands as tools
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts, holders

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.kernel_log import KernelLog
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import Chip

ARGUMENTS = {
    "npu_smi": {"type": "path"},
    "driver_path": {"type": "path", "default": "/usr/local/Ascend/driver"},
    "timeout_s": {"type": "float", "default": 5},
    "workers": {"type": "int", "default": 8},
    "paths": {"type": "list", "elements": "path", "default": []},
    "disk_paths": {"type": "list", "elements": "path", "default": []},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "image": {"type": "str"},
    "kernel_log_minutes": {"type": "int", "default": 60},
}


def observe(params: dict[str, Any], tool: str | None) -> dict[str, Any]:
    """Return everything that the judge of the stage needs to know of this host."""
    def run_all(commands: dict[Any, list[str]]) -> dict[Any, tools.Outcome]:
        return tools.run_all(commands, params["timeout_s"], params["workers"])

    with ThreadPoolExecutor(max_workers=2) as pool:
        asked = pool.submit(_docker_engine, params)
        opened = pool.submit(holders.open_files, npus=True, skip=observation.ECHO)
        npu_smi, outcomes = observation.query(run_all, tool)
        docker_engine, at_npus = asked.result(), opened.result()[1]
    system, accelerators = facts.system(), facts.accelerators()
    data_root = [docker_engine["data_root"]] if "data_root" in docker_engine else []
    return {
        "npu_smi": npu_smi,
        "tools": [outcome.summary() for outcome in outcomes],
        "files": {path: observation.version_file(path) for path in _files(params["driver_path"])},
        "device_nodes": facts.device_nodes(),
        "pci": accelerators,
        "docker_engine": docker_engine,
        "holders": holders.npu_holders(
            at_npus, docker_engine.get("containers", []), npu_smi["chips"], npu_smi["processes"]),
        "system": system,
        "disks": [facts.disk(path) for path in params["disk_paths"] + data_root],
        "paths": [facts.describe_path(path) for path in params["paths"]],
        "python": facts.python(),
        "kernel_log": _kernel_log(params, system, accelerators, npu_smi["chips"]),
    }


def _files(driver: str) -> tuple[str, ...]:
    """Return the version files of the driver and of the firmware beside it, and the file that the installer wrote."""
    return (os.path.join(driver, "version.info"), os.path.join(os.path.dirname(driver), "firmware", "version.info"),
            "/etc/ascend_install.info")


def _docker_engine(params: dict[str, Any]) -> dict[str, Any]:
    docker = DockerEngine(params["docker_socket"], params["timeout_s"])
    try:
        return {**docker.facts(), "image": images.inspect(docker, params["image"]) if params["image"] else None,
                "containers": containers.find(docker)}
    except DockerError as error:
        return {"error": str(error)}


def _kernel_log(params: dict[str, Any], system: dict[str, Any], accelerators: list[dict[str, Any]],
                chips: list[Chip]) -> KernelLog:
    bus_ids = [each["address"] for each in accelerators] + [chip["bus_id"] for chip in chips]
    try:
        records = kernel_log.read()
    except OSError as error:
        return {"lines": [], "error": str(error)}
    return {"lines": kernel_log.errors(records, system["uptime_s"], params["kernel_log_minutes"] * 60, bus_ids),
            "error": None}


def main() -> None:
    started = time.time()
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    tool = module.params["npu_smi"] or module.get_bin_path("npu-smi", opt_dirs=["/usr/local/bin", "/usr/local/sbin"])
    if tool and not os.access(tool, os.X_OK):
        tool = None
    observed = observe(module.params, tool)
    module.exit_json(changed=False, clock={"started_at": started, "finished_at": time.time()}, **observed)


if __name__ == "__main__":
    main()
