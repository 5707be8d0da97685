#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell whether a node has an image, what it is, and whether there is room for it
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Asks the Docker engine of the node for one image and for its own architecture and data folder.
  - For an image that is needed, the engine can ask the registry for its digest and architectures, without a pull.
options:
  reference:
    description: The image by the name that the containers use, C(<repository>:<tag>).
    type: str
    required: true
  digest:
    description: The digest that pins the image.
    type: str
    default: ""
  mirror:
    description: The registry to pull from in the place of the image's own.
    type: str
    default: ""
  pull:
    description: V(missing) and V(always) ask the registry when the image is needed. V(never) asks nobody.
    type: str
    choices: [missing, never, always]
    default: never
  folder:
    description: A folder for a copy of an archive, whose free space is told.
    type: path
attributes:
  check_mode:
    support: full
    description: Only reads.
"""

EXAMPLES = r"""
- name: Look for the image
  ascend.vllm.image_info:
    reference: quay.io/ascend/vllm-ascend:v0.11.0rc1
"""

RETURN = r"""
source:
  description: The name by which to pull the image.
  type: str
  returned: success
needed:
  description: Whether the node lacks the image, or the one that the digest pins, or is to ask for it with C(always).
  type: bool
  returned: success
registry:
  description: C(digest), C(architectures) and C(error) of what the registry would give, or null when it was not asked.
  type: dict
  returned: success
folder:
  description: C(path), C(free_bytes) and C(same_disk) (as Docker's data folder) of O(folder), or null.
  type: dict
  returned: success
image:
  description: C(id), C(digests), C(tags), C(architecture), C(size_bytes) and C(created), or null when it is not there.
  type: dict
  returned: success
engine:
  description: C(version), C(architecture) (as C(uname -m)) and C(data_root) of Docker, and C(free_bytes) below it.
  type: dict
  returned: success
"""

import os
import pathlib
import shutil
import socket

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import images


def main():
    module = AnsibleModule(
        argument_spec={
            "reference": {"type": "str", "required": True},
            "digest": {"type": "str", "default": ""},
            "mirror": {"type": "str", "default": ""},
            "pull": {"type": "str", "choices": ["missing", "never", "always"], "default": "never"},
            "folder": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params
    docker = module.get_bin_path("docker")
    if not docker:
        module.fail_json(msg="The node has no docker command; install Docker before the image stage.")
    try:
        engine = images.describe_engine(_ask(module, docker, "info", "--format", "{{json .}}"))
        engine["free_bytes"] = shutil.disk_usage(engine["data_root"]).free
        folder = _folder(options["folder"], engine["data_root"]) if options["folder"] else None
        listed = _ask(module, docker, "image", "ls", "--quiet", "--no-trunc", options["reference"]).split()
        found = images.describe_image(_ask(module, docker, "image", "inspect", listed[0])) if listed else None
    except (images.ImageError, OSError) as error:
        module.fail_json(msg=str(error))
    source = images.pull_name(options["reference"], options["digest"], options["mirror"])
    needed = options["pull"] == "always" or not images.holds(found, options["digest"])
    registry = None
    if needed and options["pull"] != "never":
        registry = images.ask_registry(source, _connect, images.registry_login(_docker_config(), source))
    module.exit_json(changed=False, reference=options["reference"], source=source, image=found, engine=engine,
                     needed=needed, registry=registry, folder=folder)


def _folder(path, data_root):
    existing = path
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    return {"path": path, "free_bytes": shutil.disk_usage(existing).free,
            "same_disk": os.stat(existing).st_dev == os.stat(data_root).st_dev}


def _connect(connection):
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.settimeout(connection.timeout)
    found.connect(host.partition("://")[2])
    return found


def _docker_config():
    """Docker's config.json of the user who pulls, or None."""
    folder = os.environ.get("DOCKER_CONFIG") or str(pathlib.Path.home() / ".docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return None


def _ask(module, *command):
    status, output, errors = module.run_command(list(command))
    if status:
        raise images.ImageError("%s failed: %s" % (" ".join(command[1:3]), (errors or output).strip()))
    return output


if __name__ == "__main__":
    main()
