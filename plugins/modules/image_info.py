#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Return whether a node has an image, what it is, and whether there is room for it
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Asks the Docker engine of the node for one image and for its own architecture and data folder.
  - For an image that is needed, Docker can query the registry for its digest and architectures, without a pull.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._attributes.info
  - ascend.vllm._docker
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
    description: The registry to pull from instead of the one in the image's name.
    type: str
    default: ""
  pull:
    description: V(missing) and V(always) query the registry when the image is needed. V(never) does not ask it.
    type: str
    choices: [missing, never, always]
    default: never
  folder:
    description: A folder for a copy of an archive, whose free space is returned.
    type: path
"""

EXAMPLES = r"""
- name: Look for the image
  ascend.vllm.image_info:
    reference: quay.io/ascend/vllm-ascend:v0.11.0rc1
"""

RETURN = r"""
source:
  description: The name to pull the image by.
  type: str
  returned: success
needed:
  description: Whether the image, or the one that the digest pins, has to be pulled; true with O(pull=always).
  type: bool
  returned: success
registry:
  description: C(digest), C(architectures) and C(error) of the image in the registry, or null if it was not queried.
  type: dict
  returned: success
folder:
  description: C(path), C(free_bytes) and C(same_disk) (as Docker's data folder) of O(folder), or null.
  type: dict
  returned: success
image:
  description: C(id), C(digests), C(tags), C(architecture), C(size_bytes) and C(created), or null if there is none.
  type: dict
  returned: success
docker_engine:
  description:
    - C(version), C(architecture) (as C(uname -m)), C(data_root), C(storage_driver), C(default_runtime) and C(runtimes)
      of Docker, and C(free_bytes) below its data folder.
  type: dict
  returned: success
"""

import os
import pathlib
import shutil
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import images
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_file

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.ascend.vllm.plugins.module_utils._docker.images import (
        DockerEngineWithSpace,
        FolderFacts,
        ImageObservation,
    )

DOCKER_TIMEOUT_S = 30  # the registry may be far away


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "reference": {"type": "str", "required": True},
            "digest": {"type": "str", "default": ""},
            "mirror": {"type": "str", "default": ""},
            "pull": {"type": "str", "choices": ["missing", "never", "always"], "default": "never"},
            "folder": {"type": "path"},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **observe(module.params))
    except (DockerError, OSError) as error:
        module.fail_json(msg=str(error))


def observe(options: dict[str, Any]) -> ImageObservation:
    """Return what the module returns; raises DockerError, OSError."""
    docker = DockerEngine(options["docker_socket"], DOCKER_TIMEOUT_S)
    facts = docker.facts()
    hung = commands.hung_paths(path for path in (facts["data_root"], options["folder"]) if path)
    if hung:
        raise OSError("%s; check its mount" % "; ".join(hung.values()))
    engine: DockerEngineWithSpace = {**facts, "free_bytes": shutil.disk_usage(facts["data_root"]).free}
    folder = _folder(options["folder"], engine["data_root"]) if options["folder"] else None
    found = images.inspect(docker, options["reference"])
    source = images.pull_name(options["reference"], options["digest"], options["mirror"])
    needed = options["pull"] == "always" or not images.holds(found, options["digest"])
    registry = None
    if needed and options["pull"] != "never":
        registry = images.query_registry(docker, source, images.registry_login(_docker_config(), source))
    return {"reference": options["reference"], "source": source, "image": found, "docker_engine": engine,
            "needed": needed, "registry": registry, "folder": folder}


def _folder(path: str, data_root: str) -> FolderFacts:
    existing = path
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    return {"path": path, "free_bytes": shutil.disk_usage(existing).free,
            "same_disk": os.stat(existing).st_dev == os.stat(data_root).st_dev}


def _docker_config() -> str | None:
    """Return the content of Docker's config.json of the user who pulls, or None."""
    folder = os.environ.get("DOCKER_CONFIG") or str(pathlib.Path.home() / ".docker")
    try:
        return read_file(os.path.join(folder, "config.json"))
    except OSError:
        return None


if __name__ == "__main__":
    main()
