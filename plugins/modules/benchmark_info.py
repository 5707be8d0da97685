#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_info
short_description: Return how far a benchmark client is, its result, and which service it measured
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Describes the container of the service, and the client's container with the end of its log.
  - With O(wait_s) it returns as soon as the client has ended, so that one call watches for a while.
  - The result is read out of the client's file system, so nothing is left on the node.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._attributes.info
  - ascend.vllm._docker
options:
  service:
    description: The name of the service's container.
    type: str
    required: true
  model_path:
    description: The folder of the model, whose manifest is read. A link is resolved on the node.
    type: path
  driver_version_file:
    description: The C(version.info) of the driver.
    type: path
  client:
    description: The name of the client's container.
    type: str
  wait_s:
    description: Seconds to wait for the client to end.
    type: float
    default: 0
  result:
    description: The file that the client writes, as seen in its container. Read when the client has ended.
    type: str
  maximum_bytes:
    description: A larger result is not read.
    type: int
    default: 4194304
"""

EXAMPLES = r"""
- name: Watch a client for ten seconds
  ascend.vllm.benchmark_info:
    service: vllm-ascend-qwen25-vl
    client: vllm-ascend-qwen25-vl-benchmark
    wait_s: 10
    result: /tmp/ascend-vllm-benchmark.json
"""

RETURN = r"""
service:
  description:
    - The container of the service, or null when there is none. Beside its C(id), C(image), C(running), C(started_at),
      C(restarts) and C(labels) also C(weights) and C(driver), the SHA-256 of the manifest of the model and of the
      driver's version file; null for a file that is not there.
  type: dict
  returned: success
client:
  description:
    - C(running), C(exit_code), C(error), the end of the C(log), and C(ended_at) in seconds since 1970. Null when there
      is no such container.
  type: dict
  returned: success
result:
  description: The text of the result; null while the client runs or when it left none.
  type: str
  returned: success
"""

import hashlib
import time
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import model_paths

if TYPE_CHECKING:
    from typing import Any

DOCKER_TIMEOUT_S = 20
LOG_LINES = 60
POLL_S = 0.5


def service_of(docker: DockerEngine, name: str, model_path: str | None,
               driver_version_file: str | None) -> dict[str, Any] | None:
    """Return what identifies the server: its container, its image, and digests of what it reads; None without one."""
    found = containers.inspect(docker, name)
    if found is None:
        return None
    return {**{key: found[key] for key in ("id", "image", "running", "started_at", "restarts", "labels")},
            "weights": digest(model_paths(model_path).manifest) if model_path else None,
            "driver": digest(driver_version_file) if driver_version_file else None}


def digest(path: str) -> str | None:
    """Return the SHA-256 of a small file, None when it is not there."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return None


def client_of(docker: DockerEngine, name: str, wait_s: float) -> dict[str, Any] | None:
    """Return the client as soon as it has ended, or when the time is over; None without one."""
    until = time.monotonic() + wait_s
    while True:
        found = containers.inspect(docker, name)
        if found is None:
            return None
        if not found["running"] or time.monotonic() >= until:
            break
        time.sleep(POLL_S)
    # A progress bar is one line of many carriage returns.
    lines = docker.log(found["id"], LOG_LINES).replace("\r", "\n").splitlines()
    return {
        "running": found["running"],
        "exit_code": None if found["running"] else found["exit_code"],
        "ended_at": None if found["running"] else found["finished_s"],
        "error": found["error"],
        "log": [line for line in lines if line.strip()][-LOG_LINES:],
    }


def observe(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the module returns; raises DockerError."""
    docker = DockerEngine(options["docker_socket"], DOCKER_TIMEOUT_S)
    client = client_of(docker, options["client"], options["wait_s"]) if options["client"] else None
    result = None
    if client and not client["running"] and options["result"]:
        content = docker.read_file(options["client"], options["result"], options["maximum_bytes"])
        result = None if content is None else content.decode("utf-8", "replace")
    service = service_of(docker, options["service"], options["model_path"], options["driver_version_file"])
    return {"service": service, "client": client, "result": result}


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "service": {"type": "str", "required": True},
        "model_path": {"type": "path"},
        "driver_version_file": {"type": "path"},
        "client": {"type": "str"},
        "wait_s": {"type": "float", "default": 0},
        "result": {"type": "str"},
        "maximum_bytes": {"type": "int", "default": 4 * 1024 * 1024},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    try:
        module.exit_json(changed=False, **observe(module.params))
    except DockerError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
