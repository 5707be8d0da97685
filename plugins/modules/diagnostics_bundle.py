#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics_bundle
short_description: Collect data about a failure on a node, and return its likely causes
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Collects the output of C(npu-smi) and C(hccn_tool), the kernel log, the state of the host, and the states and logs
    of the containers of this collection. Packs them into one archive on the node.
  - The data are collected in parallel, and each command has a timeout.
  - Containers in any state are included, such as containers that have exited and previous containers that an upgrade
    has kept. For containers that this collection did not create, only the state is included, without the labels and
    the command.
  - Secrets are masked before the archive is written.
  - The logs of the containers are searched for known causes. For each log, the most likely cause is returned first.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._docker
options:
  path:
    description: The path of the C(.tar.gz) archive to write. Only its owner can read the archive.
    type: path
    required: true
  log_lines:
    description: The maximum number of lines to collect from the end of the log of each container.
    type: int
    default: 5000
  timeout_s:
    description: The timeout in seconds of each tool and of each response from Docker.
    type: int
    default: 20
  npus:
    description: The NPUs whose network ports are queried, as the numbers N of C(/dev/davinciN).
    type: list
    elements: int
    default: []
  controller_time_s:
    description: The time on the controller, in seconds since the epoch. With V(0), the clocks are not compared.
    type: float
    default: 0
  driver_path:
    description: The directory in which the driver is installed.
    type: path
    default: /usr/local/Ascend/driver
attributes:
  check_mode:
    support: full
    details:
      - In check mode, all data are collected and the likely causes are returned, but no archive is written.
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Collect data about the failure
  ascend.vllm.diagnostics_bundle:
    path: /var/lib/ascend-vllm/diagnostics.tar.gz
    npus: [0, 1, 2, 3, 4, 5, 6, 7]
"""

RETURN = r"""
path:
  description: The path of the archive.
  type: str
  returned: success
files:
  description: >-
    The files in the archive, with the name of the file as key. The value is the exit code of the command. It is 0 if
    the data were read from a file or from Docker. It is null if there is no exit code, for example because the command
    timed out or the file could not be read.
  type: dict
  returned: success
diagnosis:
  description: The likely causes, each with its evidence, a remedy and the log that contains the evidence.
  type: list
  elements: dict
  returned: success
  sample:
    - cause: out_of_memory
      evidence: "RuntimeError: NPU out of memory."
      remedy: Lower gpu-memory-utilization or max-num-seqs.
      line: 4711
      time: 11-20 10:00:00
      process: Worker_TP3 pid=9
      source: container-vllm-ascend.log
clock_offset_s:
  description:
    - The number of seconds by which the clock of the node is ahead of O(controller_time_s). It includes the time to
      start the module on the node.
  type: float
  returned: success
"""

import io
import json
import os
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands, facts
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import Diagnosis

    # A text, and the exit code of the command that printed it. The code is 0 if the text was read from a file or from
    # Docker, and None if this failed.
    Collected = tuple[str, Optional[int]]

    class SourcedDiagnosis(Diagnosis):
        """A cause, and the file of the archive in which the cause was found."""

        source: str


COMMANDS = {
    "npu-smi-info.txt": ["npu-smi", "info"],
    "npu-smi-mapping.txt": ["npu-smi", "info", "-m"],
    "kernel.txt": ["dmesg", "--ctime"],
    "memory.txt": ["free", "-m"],
    "disks.txt": ["df", "-h"],
    "addresses.txt": ["ip", "address"],
    "routes.txt": ["ip", "route"],
    "listeners.txt": ["ss", "-ltnp"],
    "processes.txt": ["ps", "-eo", "pid,ppid,user,stat,etime,rss,comm"],
}
# The collected keys of each container in Docker's list. The command is omitted, because it can contain secrets.
LISTED = ("Id", "Names", "Image", "ImageID", "Created", "State", "Status", "Ports", "Mounts", "NetworkSettings")
FABRIC = ("link", "net_health", "ip", "gateway", "netdetect", "link_stat")


def run(command: list[str], timeout: float) -> Collected:
    """Return the output and the exit code of a command. The code is None if the command is missing or timed out."""
    outcome = commands.run(command, timeout, merge=True)
    return outcome.stdout + ("\n(%s)\n" % outcome.error if outcome.error else ""), outcome.rc


def read(path: str) -> Collected:
    """Return (text of a file, 0), or (reason why the file cannot be read, None)."""
    hung = commands.hung_paths([path])
    if hung:
        return "%s\n" % hung[path], None
    try:
        return facts.read_file(path), 0
    except OSError as missing:
        return "%s\n" % missing, None


def attempt(source: Callable[[], Collected]) -> Collected:
    """Return the text and the code of a source, or the exception, so that the other sources are still collected."""
    try:
        return source()
    except Exception as error:
        return "%s: %s\n" % (type(error).__name__, error), None


def query(request: Callable[..., Any], *arguments: Any) -> Collected:
    """Return (response of Docker as text, 0), or (reason why there is no response, None)."""
    try:
        found = request(*arguments)
    except DockerError as error:
        return "%s\n" % error, None
    return found if isinstance(found, str) else json.dumps(found, indent=2) + "\n", 0


def list_containers(docker: DockerEngine) -> list[dict[str, Any]]:
    """Return all containers, without their commands and foreign labels, which can contain secrets of other people.

    Containers of other people are included because they can use NPUs and ports.
    """
    listed = docker.get(labels.list_query(every_state=True)) or ()
    return [dict({key: each[key] for key in LISTED if key in each}, Labels=labels.own(each.get("Labels") or {}))
            for each in listed]


def our_containers(docker: DockerEngine) -> list[dict[str, Any]]:
    """Return ``docker inspect`` of all containers of this collection, or an empty list if Docker does not respond."""
    try:
        listed = docker.get(labels.list_query(labels.INSTANCE, every_state=True)) or ()
        found = [docker.get(containers.inspect_query(each["Id"])) for each in listed]
    except DockerError:
        return []
    return [each for each in found if each]


def sources(docker: DockerEngine, ours: list[dict[str, Any]],
            options: dict[str, Any]) -> dict[str, Callable[[], Collected]]:
    """Return ``{file name: function that collects its text}``."""
    timeout, driver = options["timeout_s"], options["driver_path"]
    tools = dict(COMMANDS)
    for npu in options["npus"]:
        for item in FABRIC:
            tools["hccn/%d-%s.txt" % (npu, item)] = ["hccn_tool", "-i", str(npu), "-" + item, "-g"]
    files = {
        "driver-version.txt": os.path.join(driver, "version.info"),
        "firmware-version.txt": os.path.join(os.path.dirname(driver), "firmware", "version.info"),
        "ascend-install.txt": "/etc/ascend_install.info",
        "hccn-conf.txt": "/etc/hccn.conf",
    }
    found: dict[str, Callable[[], Collected]] = {}
    found.update((name, partial(run, command, timeout)) for name, command in tools.items())
    found.update((name, partial(read, path)) for name, path in files.items())
    found["docker-engine.json"] = partial(query, docker.get, "/info")
    found["containers.json"] = partial(query, list_containers, docker)
    for each in ours:
        file = "container-" + each["Name"].lstrip("/")
        found[file + ".json"] = partial(query, docker.get, containers.inspect_query(each["Id"]))
        found[file + ".log"] = partial(query, containers.log, docker, each["Id"], options["log_lines"])
    return found


def collect(options: dict[str, Any]) -> dict[str, Collected]:
    """Return ``{file name: (text, exit code)}``, collected in parallel, with secrets masked."""
    docker = DockerEngine(options["docker_socket"], options["timeout_s"])
    ours = our_containers(docker)
    wanted = sources(docker, ours, options)
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = dict(zip(wanted, pool.map(attempt, wanted.values())))
    secrets = [secret for each in ours for secret in containers.secret_values(each)]
    # The lines of JSON files are not truncated, because the files would no longer be valid JSON.
    return {name: (redact(text, secrets, line_limit=not name.endswith(".json")), code)
            for name, (text, code) in found.items()}


def triage(found: dict[str, Collected]) -> list[SourcedDiagnosis]:
    """Return the causes of failures in the logs of the containers. For each log, the most likely cause is first."""
    return [
        {"cause": diagnosis["cause"], "evidence": diagnosis["evidence"], "remedy": diagnosis["remedy"],
         "line": diagnosis["line"], "time": diagnosis["time"], "process": diagnosis["process"], "source": name}
        for name, (text, _code) in sorted(found.items()) if name.startswith("container-") and name.endswith(".log")
        for diagnosis in diagnose(text) if diagnosis["cause"] != "startup_ok" and diagnosis["evidence"]
    ]


def pack(path: str, found: dict[str, Collected], diagnosis: list[SourcedDiagnosis]) -> None:
    """Write the archive atomically, readable by its owner only."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    texts = {name: text for name, (text, _code) in found.items()}
    texts["diagnosis.json"] = json.dumps(diagnosis, indent=2) + "\n"
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".bundle-")
    with os.fdopen(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in sorted(texts.items()):
            data = text.encode("utf-8")
            entry = tarfile.TarInfo("diagnostics/" + name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    os.replace(temporary, path)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "log_lines": {"type": "int", "default": 5000},
            "timeout_s": {"type": "int", "default": 20},
            "npus": {"type": "list", "elements": "int", "default": []},
            "driver_path": {"type": "path", "default": "/usr/local/Ascend/driver"},
            "controller_time_s": {"type": "float", "default": 0},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    options = module.params
    ahead = round(time.time() - options["controller_time_s"], 1) if options["controller_time_s"] else 0.0
    # On a fresh installation of the driver, hccn_tool is not on root's PATH.
    os.environ["PATH"] += ":/usr/local/bin:/usr/local/sbin:" + os.path.join(options["driver_path"], "tools")
    found = collect(options)
    diagnosis = triage(found)
    if not module.check_mode:
        pack(options["path"], found, diagnosis)
    module.exit_json(changed=not module.check_mode, path=options["path"], diagnosis=diagnosis, clock_offset_s=ahead,
                     files={name: code for name, (_text, code) in found.items()})


if __name__ == "__main__":
    main()
