#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_pause
short_description: Stop a service for an offline benchmark, and make sure that it is started again
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Stops the container of the service and leaves a guard process on the node, which starts it again when no client of
    the benchmark has run for a while. So the service comes back even when the controller or the connection is lost.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._docker
options:
  state:
    description: C(paused) stops the service, C(resumed) starts it again and ends the guard.
    type: str
    choices: [paused, resumed]
    required: true
  service:
    description: The name of the service's container.
    type: str
    required: true
  client:
    description: The name of the client's container.
    type: str
    required: true
  grace_s:
    description: Seconds without a running client after which the guard starts the service.
    type: int
    default: 120
  stop_timeout_s:
    description: Seconds that the service has to end before it is killed.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    details:
      - Nothing is stopped or started.
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Free the NPUs of the service
  ascend.vllm.benchmark_pause:
    state: paused
    service: vllm-ascend-qwen25-vl
    client: vllm-ascend-qwen25-vl-benchmark
"""

RETURN = r"""
running:
  description: Whether the service runs now.
  type: bool
  returned: success
"""

import inspect
import os
import shutil
import sys
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, engine
from ansible_collections.ascend.vllm.plugins.module_utils._host import background

if TYPE_CHECKING:
    from typing import Any

DOCKER_TIMEOUT_S = 60
# The folder of the guard, which is on duty as long as its file is there. Not in /tmp, which may be emptied.
GUARDS = "/var/tmp/ascend-vllm-guard-"
# Runs beside docker_engine.py, a copy of _docker/engine.py: the files of a module are removed when it ends.
GUARD = """\
import os, sys, time
from docker_engine import DockerEngine, DockerError

socket, service, client, grace_s, pause_s = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
docker, idle_s = DockerEngine(socket), 0
while os.path.exists("on-duty"):
    time.sleep(pause_s)
    try:
        found = docker.get("/containers/%s/json" % client)
        idle_s = 0 if found and found["State"]["Running"] else idle_s + pause_s
        if idle_s >= grace_s and os.path.exists("on-duty"):
            docker.post("/containers/%s/start" % service)
            os.remove("on-duty")
    except (DockerError, OSError):
        idle_s += pause_s  # it is tried again: Docker itself may be away for a moment
"""
PAUSE_S = 5


def is_running(docker: engine.DockerEngine, name: str) -> bool:
    """Return whether a container runs; raises DockerError, also when there is none."""
    found = containers.inspect(docker, name)
    if found is None:
        raise engine.DockerError("there is no container %s" % name)
    return found["running"]


def start_guard(options: dict[str, Any], folder: str) -> None:
    """Put a guard on duty before anything is stopped."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder, 0o700)
    for name, text in (("guard.py", GUARD), ("docker_engine.py", inspect.getsource(engine)),
                       ("on-duty", "")):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    pause_s = min(PAUSE_S, max(1, options["grace_s"]))
    background.start([sys.executable, "guard.py", options["docker_socket"], options["service"], options["client"],
                      str(options["grace_s"]), str(pause_s)], folder, dict(os.environ))


def pause(docker: engine.DockerEngine, options: dict[str, Any], folder: str) -> None:
    """Stop the service, which the guard starts again if nobody else does."""
    start_guard(options, folder)
    docker.post("/containers/%s/stop?t=%d" % (options["service"], options["stop_timeout_s"]), options["stop_timeout_s"])


def resume(docker: engine.DockerEngine, options: dict[str, Any], folder: str) -> None:
    """Start the service and end the guard."""
    docker.post("/containers/%s/start" % options["service"])
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "state": {"type": "str", "choices": ["paused", "resumed"], "required": True},
        "service": {"type": "str", "required": True},
        "client": {"type": "str", "required": True},
        "grace_s": {"type": "int", "default": 120},
        "stop_timeout_s": {"type": "int", "default": 60},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    options = module.params
    docker = engine.DockerEngine(options["docker_socket"], DOCKER_TIMEOUT_S)
    paused = options["state"] == "paused"
    try:
        changed = is_running(docker, options["service"]) == paused
        if not module.check_mode:
            (pause if paused else resume)(docker, options, GUARDS + options["service"])
        module.exit_json(changed=changed, running=is_running(docker, options["service"]))
    except engine.DockerError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
