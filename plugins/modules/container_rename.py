#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: container_rename
short_description: Rename Docker containers
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Renames containers in the given order. The containers may be running or stopped.
  - A container that already has its new name is not changed.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._docker]
options:
  renames:
    description: The containers to rename.
    type: list
    elements: dict
    required: true
    suboptions:
      from: {type: str, required: true, description: "The current name."}
      to: {type: str, required: true, description: "The new name. The module fails if another container has this name."}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
seealso: [{module: community.docker.docker_container}]
"""

EXAMPLES = r"""
- name: Keep the previous container
  ascend.vllm.container_rename:
    renames: [{from: vllm-ascend-qwen25-vl, to: vllm-ascend-qwen25-vl-previous}]
"""

RETURN = r"""
renamed: {type: list, elements: str, returned: success, description: "The new names of the renamed containers."}
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlencode

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError


def rename(docker: DockerEngine, renames: Iterable[Mapping[str, str]], check_mode: bool = False) -> list[str]:
    """Rename containers, ``[{"from", "to"}]``. Return the new names of those that did not have them yet.

    :raises DockerError: also if there is no such container, or if another container has the new name.
    """
    renamed = []
    for each in renames:
        old, new = each["from"], each["to"]
        exists, is_taken = (containers.inspect(docker, name) is not None for name in (old, new))
        if exists and is_taken:
            raise DockerError("%s cannot be renamed, because a container %s exists" % (old, new))
        if not exists and not is_taken:
            raise DockerError("%s cannot be renamed to %s, because there is no such container" % (old, new))
        if exists:
            if not check_mode:
                docker.post("/containers/%s/rename?%s" % (quote(old, safe=""), urlencode({"name": new})))
            renamed.append(new)
    return renamed


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "renames": {"type": "list", "elements": "dict", "required": True, "options": {
            "from": {"type": "str", "required": True},
            "to": {"type": "str", "required": True},
        }},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    try:
        renamed = rename(DockerEngine(module.params["docker_socket"]), module.params["renames"], module.check_mode)
    except DockerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(renamed), renamed=renamed)


if __name__ == "__main__":
    main()
