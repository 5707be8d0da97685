#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_pause
short_description: Stop a service for an offline benchmark, and ensure that it is started again
version_added: 0.9.0
description:
  - Stops the container of the service and starts a guard process on the node. The guard starts the service again when
    no client has been running for O(grace_s) seconds. Therefore the service is started again even if the connection to
    the controller is lost.
  - A reboot stops the guard. Therefore the restart policy V(unless-stopped) of the service is changed to V(always), so
    that Docker starts the service after a reboot.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._options.docker]
options:
  state: {type: str, choices: [paused, resumed], required: true, description: "V(paused) stops the service and starts
    the guard. V(resumed) starts the service again and stops the guard."}
  service: {type: str, required: true, description: "The name of the container of the service."}
  client: {type: str, required: true, description: "The name of the container of the client."}
  grace_s: {type: int, default: 120, description: "The seconds without a client before the guard starts the service."}
  stop_timeout_s: {type: int, default: 60, description: "The seconds that the service has to stop before it is killed."}
attributes:
  check_mode: {details: ["In check mode, neither the service nor the guard is started or stopped."]}
"""

EXAMPLES = r"""
- name: Free the NPUs of the service
  ascend.vllm.benchmark_pause:
    state: paused
    service: vllm-ascend-qwen25-vl
    client: vllm-ascend-qwen25-vl-benchmark
"""

RETURN = r"""
running: {type: bool, returned: success, description: "Whether the service is running."}
"""

import inspect
import os
import shutil
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, engine
from ansible_collections.ascend.vllm.plugins.module_utils._host import background, lease

DOCKER_TIMEOUT_S = 60
# Prefix of the folder of a guard. The guard exits after the file on-duty in the folder has been removed. The folder is
# not in /tmp, because the host may clean /tmp while the guard is running.
GUARDS = "/var/tmp/ascend-vllm-guard-"
# The guard imports docker_engine.py, a copy of _docker/engine.py, because Ansible removes the files of a module when
# the module exits.
GUARD = """\
import os, shutil, sys, time
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
            shutil.rmtree(os.getcwd())
    except (DockerError, OSError):
        idle_s += pause_s  # retried in the next round, because Docker may be restarting
"""
PAUSE_S = 5


def is_running(docker: engine.DockerEngine, name: str) -> bool:
    """Return whether a container is running. Raise DockerError if it does not exist or Docker does not respond."""
    found = containers.inspect(docker, name)
    if found is None:
        raise engine.DockerError("there is no container %s" % name)
    return found["running"]


def start_guard(options: dict[str, Any], folder: str) -> None:
    """Write the program of the guard to a folder and start the guard there."""
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
    """Start the guard and stop the service, in this order."""
    start_guard(options, folder)
    found = containers.inspect(docker, options["service"])
    # A reboot stops the guard, and then Docker does not start a stopped container with this policy. The next run of the
    # role serving sets the planned policy again.
    if found and found["restart_policy"] == "unless-stopped":
        docker.post("/containers/%s/update" % options["service"], body={"RestartPolicy": {"Name": "always"}})
    docker.post("/containers/%s/stop?t=%d" % (options["service"], options["stop_timeout_s"]), options["stop_timeout_s"])


def resume(docker: engine.DockerEngine, options: dict[str, Any], folder: str) -> None:
    """Start the service and stop the guard."""
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
    lease.hold(module)
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
