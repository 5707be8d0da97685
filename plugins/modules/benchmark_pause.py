#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_pause
short_description: Stop a service for an offline benchmark, and see to it that it comes back
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Stops the container of the service and leaves a guard on the node, which starts it again once no client of a
    benchmark has run for a while. So the service comes back even when the controller or the connection is gone.
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
  grace:
    description: Seconds without a running client after which the guard starts the service.
    type: int
    default: 120
  stop_timeout:
    description: Seconds that the service is given to end by itself.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Nothing is stopped or started.
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

import os
import shutil

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._host import background

# The folder of the guard: while its file is there, the guard is on duty. Not in /tmp, which may be emptied.
GUARDS = "/var/tmp/ascend-vllm-guard-"
# A service that cannot be started is tried again: the engine itself may be away for a moment.
GUARD = """\
docker=$1 service=$2 client=$3 grace=$4 pause=$5 idle=0
while [ -e on-duty ]; do
  sleep "$pause"
  if [ "$("$docker" inspect --format '{{.State.Running}}' "$client" 2> /dev/null)" = true ]; then
    idle=0
  else
    idle=$((idle + pause))
  fi
  if [ "$idle" -ge "$grace" ] && [ -e on-duty ] && "$docker" start "$service" > /dev/null 2>&1; then
    rm -f on-duty
  fi
done
"""
PAUSE_S = 5


def docker(module, *arguments):
    status, output, errors = module.run_command([module.get_bin_path("docker", required=True), *arguments])
    if status:
        module.fail_json(msg="docker %s failed: %s" % (arguments[0], (errors or output).strip()))
    return output.strip()


def is_running(module, name):
    return docker(module, "inspect", "--type", "container", "--format", "{{.State.Running}}", name) == "true"


def watch_over(options, program, folder):
    """Put a guard on duty before anything is stopped."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder, 0o700)
    with open(os.path.join(folder, "on-duty"), "w"):
        pass
    background.start(["/bin/sh", "-c", GUARD, "sh", program, options["service"], options["client"],
                    str(options["grace"]), str(min(PAUSE_S, max(1, options["grace"])))], folder, dict(os.environ))


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "state": {"type": "str", "choices": ["paused", "resumed"], "required": True},
        "service": {"type": "str", "required": True},
        "client": {"type": "str", "required": True},
        "grace": {"type": "int", "default": 120},
        "stop_timeout": {"type": "int", "default": 60},
    })
    options = module.params
    folder = GUARDS + options["service"]
    paused = options["state"] == "paused"
    changed = is_running(module, options["service"]) == paused
    if not module.check_mode:
        if paused:
            watch_over(options, module.get_bin_path("docker", required=True), folder)
            docker(module, "stop", "--time", str(options["stop_timeout"]), options["service"])
        else:
            docker(module, "start", options["service"])
            shutil.rmtree(folder, ignore_errors=True)
    module.exit_json(changed=changed, running=is_running(module, options["service"]))


if __name__ == "__main__":
    main()
