#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_info
short_description: Return the progress and the result of a benchmark client, and the service that it measures
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Describes the container of the service, and the container of the client with the end of its log.
  - With O(wait_s), the module returns as soon as the client has exited.
  - The result is read from the file system of the client, so no file is left on the node.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._attributes.info
  - ascend.vllm._docker
options:
  service:
    description: Name of the container of the service.
    type: str
    required: true
  model_path:
    description: Folder of the model, for the digest of its manifest. Links are resolved on the node.
    type: path
  driver_version_file:
    description: The C(version.info) file of the driver.
    type: path
  client:
    description: Name of the container of the client.
    type: str
  wait_s:
    description: Maximum time in seconds to wait for the client to exit.
    type: float
    default: 0
  result:
    description: Path of the result in the container of the client. It is read after the client has exited.
    type: str
  maximum_bytes:
    description: Maximum size of the result. The module fails if the result is larger.
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
  description: The container of the service, or null if it does not exist.
  type: dict
  returned: success
  contains:
    id:
      description: ID of the container.
      type: str
    image:
      description: ID of its image.
      type: str
    running:
      description: Whether it is running.
      type: bool
    started_at:
      description: Its start, as Docker prints it.
      type: str
    restarts:
      description: Number of automatic restarts.
      type: int
    labels:
      description: The labels of this collection on it.
      type: dict
    weights:
      description: SHA-256 of the manifest of the model; null if the model has none.
      type: str
    driver:
      description: SHA-256 of the version file of the driver; null if there is none.
      type: str
client:
  description: The container of the client, or null if it does not exist.
  type: dict
  returned: success
  contains:
    running:
      description: Whether it is running.
      type: bool
    exit_code:
      description: Its exit code; null while it is running.
      type: int
    ended_at:
      description: Its end in seconds since 1970; null while it is running.
      type: float
    error:
      description: Why it could not be started; null otherwise.
      type: str
    log:
      description: The last lines of its log.
      type: list
      elements: str
result:
  description: Text of the result; null while the client is running, and if it wrote no result.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.benchmark import observe


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
