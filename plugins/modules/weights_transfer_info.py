#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_transfer_info
short_description: Tell how far a container is that brings a model to a node
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Looks once at a container and at the folder that it fills. P(ascend.vllm.weights_progress#module) waits with it.
options:
  container:
    description: The container's name.
    type: str
    required: true
  folder:
    description: The folder that it fills.
    type: path
    required: true
  done:
    description: A file that tells that the task is done while the container goes on.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Only reads.
"""

EXAMPLES = r"""
- name: Look at the hub's client
  ascend.vllm.weights_transfer_info:
    container: ascend-vllm-download
    folder: /data/.ascend-vllm/model/staging
"""

RETURN = r"""
bytes:
  description: What the folder holds on the disk.
  type: int
  returned: success
running:
  description: Whether the container runs.
  type: bool
  returned: success
exit_code:
  description: The exit code of a container that has ended.
  type: int
  returned: success
done:
  description: Whether O(done) exists.
  type: bool
  returned: success
output:
  description: The last lines that the container printed.
  type: str
  returned: when it has ended
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import staged_bytes

LINES = "20"


def main():
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "folder": {"type": "path", "required": True},
            "done": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    docker = module.get_bin_path("docker", required=True)
    status, output, errors = module.run_command([docker, "container", "inspect", options["container"]])
    if status:
        module.fail_json(msg="The container %s is gone: %s" % (options["container"], errors.strip()))
    state = json.loads(output)[0]["State"]
    result = {
        "changed": False,
        "running": state["Running"],
        "exit_code": state["ExitCode"],
        "done": bool(options["done"]) and os.path.exists(options["done"]),
        "bytes": staged_bytes(options["folder"]),
    }
    if not state["Running"]:
        _status, output, errors = module.run_command([docker, "logs", "--tail", LINES, options["container"]])
        result["output"] = (output + errors).strip()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
