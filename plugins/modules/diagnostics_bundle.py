#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics_bundle
short_description: Collect data about a failure on a node, and find its cause
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Collects the output of the vendor's tools, the kernel log, the state of the host, and the state and logs of this
    collection's containers in parallel, each with a timeout, and packs them into one archive on the node.
  - Includes containers in any state, also those that have exited and those that an upgrade keeps.
  - Secrets are masked before anything is written.
  - The logs are triaged, and the likely causes are returned, the most likely one first.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._docker
options:
  path:
    description: The archive to write, a C(.tar.gz). Only root can read it.
    type: path
    required: true
  log_lines:
    description: Maximum number of lines from the end of each container's log.
    type: int
    default: 5000
  timeout_s:
    description: Timeout of each tool and of each answer of Docker, in seconds.
    type: int
    default: 20
  npus:
    description: The NPUs whose network port is queried, as the numbers N of C(/dev/davinciN).
    type: list
    elements: int
    default: []
  driver_path:
    description: The directory in which the driver is installed.
    type: path
    default: /usr/local/Ascend/driver
attributes:
  check_mode:
    support: full
    details:
      - Everything is collected and triaged, and no archive is written.
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
  description: The archive.
  type: str
  returned: success
files:
  description: >-
    The files in it, each with the exit code of its command, 0 if it was read, or null if that failed or timed out.
  type: dict
  returned: success
diagnosis:
  description: The likely causes, the most likely one first, each with its evidence and a remedy.
  type: list
  elements: dict
  returned: success
  sample:
    - cause: out_of_memory
      evidence: "RuntimeError: NPU out of memory."
      remedy: Lower gpu-memory-utilization or max-num-seqs.
      source: container-vllm-ascend.log
"""

import io
import json
import os
import tarfile
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

    # A text and the exit code of its command: 0 if it was read, None without an answer.
    Collected = tuple[str, Optional[int]]

    class SourcedDiagnosis(Diagnosis):
        """A cause and the file of the bundle in which it was found."""

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
# Resources of the Docker API. All containers are listed, since others may hold NPUs and ports.
DOCKER = {
    "docker-engine.json": "/info",
    "containers.json": labels.list_query(every_state=True),
}
FABRIC = ("link", "net_health", "ip", "gateway", "netdetect", "link_stat")


def run(command: list[str], timeout: float) -> Collected:
    """Return the output and exit code of a command; the code is None where it was missing or too slow."""
    outcome = commands.run(command, timeout, merge=True)
    return outcome.stdout + ("\n(%s)\n" % outcome.error if outcome.error else ""), outcome.rc


def read(path: str) -> Collected:
    """Return the text of a file, or the reason why it cannot be read."""
    hung = commands.hung_paths([path])
    if hung:
        return "%s\n" % hung[path], None
    try:
        return facts.read_file(path), 0
    except OSError as missing:
        return "%s\n" % missing, None


def attempt(source: Callable[[], Collected]) -> Collected:
    """Return what a source collects. One that fails must not cost what the others have found."""
    try:
        return source()
    except Exception as error:
        return "%s: %s\n" % (type(error).__name__, error), None


def query(request: Callable[..., Any], *arguments: Any) -> Collected:
    """Return an answer of Docker as text, or the reason why there is none."""
    try:
        found = request(*arguments)
    except DockerError as error:
        return "%s\n" % error, None
    return found if isinstance(found, str) else json.dumps(found, indent=2) + "\n", 0


def our_containers(docker: DockerEngine) -> list[dict[str, Any]]:
    """Return the output of ``docker inspect`` for our containers in any state; empty if Docker does not answer."""
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
    found.update((name, partial(query, docker.get, resource)) for name, resource in DOCKER.items())
    for each in ours:
        file = "container-" + each["Name"].lstrip("/")
        found[file + ".json"] = partial(query, docker.get, containers.inspect_query(each["Id"]))
        found[file + ".log"] = partial(query, docker.log, each["Id"], options["log_lines"])
    return found


def collect(options: dict[str, Any]) -> dict[str, Collected]:
    """Return ``{file name: (text, exit code)}``, collected in parallel, with secrets masked."""
    docker = DockerEngine(options["docker_socket"], options["timeout_s"])
    ours = our_containers(docker)
    wanted = sources(docker, ours, options)
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = dict(zip(wanted, pool.map(attempt, wanted.values())))
    secrets = [secret for each in ours for secret in containers.secret_values(each)]
    return {name: (redact(text, secrets), code) for name, (text, code) in found.items()}


def triage(found: dict[str, Collected]) -> list[SourcedDiagnosis]:
    """Return the causes in the logs of the containers, ranked per log."""
    return [
        {"cause": diagnosis["cause"], "evidence": diagnosis["evidence"], "remedy": diagnosis["remedy"], "source": name}
        for name, (text, _code) in sorted(found.items()) if name.startswith("container-") and name.endswith(".log")
        for diagnosis in diagnose(text) if diagnosis["cause"] not in ("unknown", "startup_ok")
    ]


def pack(path: str, found: dict[str, Collected], diagnosis: list[SourcedDiagnosis]) -> None:
    """Write the archive, readable by its owner only."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    texts = {name: text for name, (text, _code) in found.items()}
    texts["diagnosis.json"] = json.dumps(diagnosis, indent=2) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in sorted(texts.items()):
            data = text.encode("utf-8")
            entry = tarfile.TarInfo("diagnostics/" + name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "log_lines": {"type": "int", "default": 5000},
            "timeout_s": {"type": "int", "default": 20},
            "npus": {"type": "list", "elements": "int", "default": []},
            "driver_path": {"type": "path", "default": "/usr/local/Ascend/driver"},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    options = module.params
    # On a fresh installation of the driver hccn_tool is not on root's PATH.
    os.environ["PATH"] += ":/usr/local/bin:/usr/local/sbin:" + os.path.join(options["driver_path"], "tools")
    found = collect(options)
    diagnosis = triage(found)
    if not module.check_mode:
        pack(options["path"], found, diagnosis)
    module.exit_json(changed=not module.check_mode, path=options["path"], diagnosis=diagnosis,
                     files={name: code for name, (_text, code) in found.items()})


if __name__ == "__main__":
    main()
