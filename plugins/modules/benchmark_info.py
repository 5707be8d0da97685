#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_info
short_description: Return the state of a service, and the progress and the result of the client that measures it
version_added: 0.9.0
description:
  - Returns the state of the container of the service, the state of the container of the client, and the last lines of
    the log of the client.
  - With O(wait_s), the module returns as soon as the client has exited.
  - The result is read from the file system of the client container, so no file remains on the node.
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes, ascend.vllm._options.docker]
options:
  service: {type: str, required: true, description: "The name of the container of the service."}
  model_path: {type: path, description: "The folder of the model, whose manifest is hashed for RV(service.weights).
    Symbolic links are resolved on the node. By default, RV(service.weights) is null."}
  driver_version_file: {type: path, description: "The path of the file C(version.info) of the driver, which is hashed
    for RV(service.driver). By default, RV(service.driver) is null."}
  client: {type: str, description: "The name of the client container. By default, RV(client) and RV(result) are null."}
  wait_s: {type: float, default: 0, description: "The maximum time in seconds to wait for the client to exit."}
  result: {type: str, description: "The path of the result in the container. It is read when the client has exited."}
"""

EXAMPLES = r"""
- name: Wait at most ten seconds for the client to exit
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
    id: {type: str, description: "The ID of the container."}
    image: {type: str, description: "The ID of the image of the container."}
    running: {type: bool, description: "Whether the container is running."}
    started_at: {type: str, description: "The time at which the container was started, in the format of Docker."}
    restarts: {type: int, description: "The number of automatic restarts of the container."}
    labels: {type: dict, description: "The labels that this collection has set on the container."}
    weights: {type: str, description: "The SHA-256 digest of the manifest of the model, or null without a manifest."}
    driver: {type: str, description: "The SHA-256 digest of the version file of the driver, or null without it."}
client: {type: dict, returned: success, description: "The container of the client, or null if it does not exist. It has
  C(running), C(exit_code), C(ended_at) (in seconds since the epoch), C(error) (the reason why it could not be started,
  or null), and C(log) (the last lines of its log). While it is running, C(exit_code) and C(ended_at) are null."}
result: {type: str, returned: success, description: "The content of the result, or null if there is none yet."}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.benchmark import observe


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "service": {"type": "str", "required": True},
        "model_path": {"type": "path"},
        "driver_version_file": {"type": "path"},
        "client": {"type": "str"},
        "wait_s": {"type": "float", "default": 0},
        "result": {"type": "str"},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    lease.hold(module)
    try:
        module.exit_json(changed=False, **observe(module.params))
    except DockerError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
