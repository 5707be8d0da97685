#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_transfer_info
short_description: Return the progress of a container that downloads or quantizes a model
version_added: 0.9.0
description:
  - Inspects a container and the folder that the container writes to.
  - P(ascend.vllm.weights_progress#module) calls this module repeatedly until the container has exited.
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes, ascend.vllm._options.docker]
options:
  container: {type: str, required: true, description: "The name of the container."}
  folder: {type: path, required: true, description: "The folder that the container writes to."}
  done: {type: str, default: "", description: "The path of a file that exists as soon as the transfer is complete, even
    if the container is still running."}
"""

EXAMPLES = r"""
- name: Inspect the client of the hub
  ascend.vllm.weights_transfer_info:
    container: ascend-vllm-download
    folder: /data/.ascend-vllm/model/staging
  register: transfer

- name: Show the progress
  ansible.builtin.debug:
    msg: "{{ transfer.bytes | human_readable }}{{ '' if transfer.running else ', finished' }}"
"""

RETURN = r"""
bytes: {type: int, returned: success, description: "The space that the folder uses on the disk in bytes."}
running: {type: bool, returned: success, description: "Whether the container is running."}
exit_code: {type: int, returned: success, description: "The exit code of the container, V(0) while it is running."}
done: {type: bool, returned: success, description: "Whether the file O(done) exists."}
output: {type: str, returned: if the container has exited, description: "The last lines of the container's output."}
"""

import os
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import staged_bytes

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import TransferObservation

DOCKER_TIMEOUT_S = 60  # Docker is slow while the disks are busy
LOG_LINES = 20


def observe(options: dict[str, Any]) -> TransferObservation:
    """Return the state of the container and the size of its folder. Raise DockerError if there is no container."""
    docker = DockerEngine(options["docker_socket"], DOCKER_TIMEOUT_S)
    found = containers.inspect(docker, options["container"])
    if found is None:
        raise DockerError("the container %s does not exist" % options["container"])
    result: TransferObservation = {
        "running": found["running"],
        "exit_code": found["exit_code"],
        "done": bool(options["done"]) and os.path.exists(options["done"]),
        "bytes": staged_bytes(options["folder"]),
    }
    if not found["running"]:
        result["output"] = containers.log(docker, found["id"], LOG_LINES).strip()
    return result


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "container": {"type": "str", "required": True},
        "folder": {"type": "path", "required": True},
        "done": {"type": "str", "default": ""},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    lease.hold(module)
    try:
        module.exit_json(changed=False, **observe(module.params))
    except DockerError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
