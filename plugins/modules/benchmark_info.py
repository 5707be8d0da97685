#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_info
short_description: Tell how a benchmark client is doing, what it left, and which service it measured
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Describes the container of the service, and the client's container with the end of its log.
  - With O(wait) it returns as soon as the client has ended, so that one call watches for a while.
  - The result is read out of the client's file system, so nothing is left on the node.
options:
  service:
    description: The name of the service's container.
    type: str
    required: true
  weights:
    description: The file whose digest stands for the weights, such as their manifest.
    type: path
  driver:
    description: The C(version.info) of the driver.
    type: path
  client:
    description: The name of the client's container.
    type: str
  wait:
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
attributes:
  check_mode:
    support: full
    description: Nothing is changed.
"""

EXAMPLES = r"""
- name: Watch a client for ten seconds
  ascend.vllm.benchmark_info:
    service: vllm-ascend-qwen25-vl
    client: vllm-ascend-qwen25-vl-benchmark
    wait: 10
    result: /tmp/ascend-vllm-benchmark.json
"""

RETURN = r"""
service:
  description: >-
    C(id), C(image), C(running), C(started_at), C(restarts) and C(labels) of the container, SHA-256 of the weights' file
    and of the driver's; null when there is no such container.
  type: dict
  returned: success
client:
  description: >-
    C(running), C(exit_code), the end of the C(log), and C(ended_at) in seconds since 1970; null when there is no such
    container.
  type: dict
  returned: success
result:
  description: The text of the result; null while the client runs or when it left none.
  type: str
  returned: success
"""

import calendar
import hashlib
import io
import json
import tarfile
import time

from ansible.module_utils.basic import AnsibleModule

LOG_LINES = "60"
POLL_S = 0.5


def ask(module, *arguments):
    """The output of a docker command, None when it fails."""
    status, output, _errors = module.run_command([module.get_bin_path("docker", required=True), *arguments])
    return None if status else output


def describe(module, name):
    """The container as the engine describes it, None when there is none."""
    output = ask(module, "inspect", "--type", "container", name)
    return json.loads(output)[0] if output else None


def service_of(module, options):
    """Who serves: the container, its image, and digests of what it reads."""
    found = describe(module, options["service"])
    return found and {
        "id": found["Id"],
        "image": found["Image"],
        "running": found["State"]["Running"],
        "started_at": found["State"]["StartedAt"],
        "restarts": found["RestartCount"],
        "labels": found["Config"]["Labels"] or {},
        "weights": digest(options["weights"]),
        "driver": digest(options["driver"]),
    }


def digest(path):
    """SHA-256 of a small file, None when it is not there."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except (OSError, TypeError):
        return None


def client_of(module, name, wait):
    """The client once it has ended, or after the time that was given for it."""
    until = time.monotonic() + wait
    while True:
        found = describe(module, name)
        if not found or not found["State"]["Running"] or time.monotonic() >= until:
            break
        time.sleep(POLL_S)
    if not found:
        return None
    # A progress bar is one line of many carriage returns.
    docker = module.get_bin_path("docker", required=True)
    _status, output, errors = module.run_command([docker, "logs", "--tail", LOG_LINES, name])
    lines = (output + errors).replace("\r", "\n").splitlines()
    return {
        "running": found["State"]["Running"],
        "exit_code": None if found["State"]["Running"] else found["State"]["ExitCode"],
        "ended_at": None if found["State"]["Running"] else seconds(found["State"]["FinishedAt"]),
        "error": found["State"]["Error"] or None,
        "log": [line for line in lines if line.strip()][-int(LOG_LINES):],
    }


def seconds(text):
    """Seconds since 1970 of a time of Docker's, such as 2026-11-25T19:05:22.123456789Z."""
    whole, _dot, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (fraction or "0"))


def read_result(module, name, path, maximum):
    """One file out of a container that has ended, None when it is not there; a tar stream, so bytes."""
    docker = module.get_bin_path("docker", required=True)
    status, stream, _errors = module.run_command([docker, "cp", "%s:%s" % (name, path), "-"], encoding=None)
    if status:
        return None
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        member = archive.next()
        if member is None or not member.isfile():
            return None
        if member.size > maximum:
            module.fail_json(msg="The result %s has %d bytes, more than the %d that are read." % (
                path, member.size, maximum))
        return archive.extractfile(member).read().decode("utf-8", "replace")


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "service": {"type": "str", "required": True},
        "weights": {"type": "path"},
        "driver": {"type": "path"},
        "client": {"type": "str"},
        "wait": {"type": "float", "default": 0},
        "result": {"type": "str"},
        "maximum_bytes": {"type": "int", "default": 4 * 1024 * 1024},
    })
    options = module.params
    client = client_of(module, options["client"], options["wait"]) if options["client"] else None
    result = None
    if client and not client["running"] and options["result"]:
        result = read_result(module, options["client"], options["result"], options["maximum_bytes"])
    module.exit_json(changed=False, service=service_of(module, options), client=client, result=result)


if __name__ == "__main__":
    main()
