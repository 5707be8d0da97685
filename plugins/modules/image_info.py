#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Return information about an image on a node, and about the disk space for it
version_added: 0.9.0
description:
  - Queries the Docker engine of the node for one image, and for the architecture and the data folder of the engine.
  - If the image has to be pulled, the Docker engine can also query the registry for the digest and the architectures of
    the image without pulling it.
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes, ascend.vllm._options.docker]
options:
  reference: {type: str, required: true, description: "The image that the containers use, as C(<repository>:<tag>)."}
  digest: {type: str, default: "", description: "The digest that pins the image. When empty, any is accepted."}
  mirror: {type: str, default: "", description: "The registry to pull from instead of the registry in the name of the
    image. When empty, the registry in the name is used."}
  pull:
    description:
      - V(missing) queries the registry if the node does not have the image with this O(digest).
      - V(always) queries the registry in any case.
      - V(never) does not query the registry.
    type: str
    choices: [missing, never, always]
    default: never
  folder: {type: path, description: "The folder to which an archive would be copied. Its free space is returned."}
"""

EXAMPLES = r"""
- name: Look for the image
  ascend.vllm.image_info: {reference: "quay.io/ascend/vllm-ascend:v0.11.0rc1"}
"""

RETURN = r"""
source: {type: str, returned: success, description: "The name by which the image is pulled."}
needed: {type: bool, returned: success, description: "Whether the image has to be pulled or loaded, because the node
  does not have the image with this O(digest). With O(pull=always), the value is always true."}
registry: {type: dict, returned: success, description: "C(digest), C(architectures) and C(error) of the image in the
  registry, or null if the registry was not queried."}
folder: {type: dict, returned: success, description: "The C(path) and C(free_bytes) of O(folder), and whether it is on
  the same file system as the folder of Docker's images (C(same_disk)), or null if O(folder) is not set."}
image: {type: dict, returned: success, description: "C(id), C(digests), C(tags), C(architecture), C(size_bytes) and
  C(created) of the image, or null if the node does not have it."}
docker_engine: {type: dict, returned: success, description: "C(version), C(architecture) (as C(uname -m) prints it),
  C(security_options), C(image_root) (the folder in which it stores images) and C(free_bytes) (the free space in this
  folder) of the Docker engine."}
"""

import os
import pathlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine_facts, images
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands, lease
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts as host

DOCKER_TIMEOUT_S = 30  # long enough for a slow registry


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "reference": {"type": "str", "required": True},
        "digest": {"type": "str", "default": ""},
        "mirror": {"type": "str", "default": ""},
        "pull": {"type": "str", "choices": ["missing", "never", "always"], "default": "never"},
        "folder": {"type": "path"},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    folder = module.params["folder"]
    lease.hold(module, *([os.path.join(folder, "archive-" + lease.run_id())] if folder else []))
    try:
        module.exit_json(changed=False, **observe(module.params))
    except (DockerError, OSError) as error:
        module.fail_json(msg=str(error))


def observe(options: dict[str, Any]) -> images.ImageObservation:
    """Return the values that the module returns. Raise DockerError or OSError on failure."""
    docker = DockerEngine(options["docker_socket"], DOCKER_TIMEOUT_S)
    facts = engine_facts.query(docker)
    hung = commands.hung_paths(path for path in (facts["image_root"], options["folder"]) if path)
    if hung:
        raise OSError("%s; check its mount" % "; ".join(hung.values()))
    image_disk = host.disk(facts["image_root"])
    engine: images.DockerEngineWithSpace = {**facts, "free_bytes": image_disk["free_bytes"]}
    folder = _folder(options["folder"], image_disk["existing"]) if options["folder"] else None
    found = images.inspect(docker, options["reference"])
    source = images.pull_name(options["reference"], options["digest"], options["mirror"])
    needed = options["pull"] == "always" or not images.holds(found, options["digest"])
    registry = None
    if needed and options["pull"] != "never":
        registry = images.query_registry(docker, source, images.registry_login(_docker_config(), source))
    return {"reference": options["reference"], "source": source, "image": found, "docker_engine": engine,
            "needed": needed, "registry": registry, "folder": folder}


def _folder(path: str, image_root: str) -> images.FolderFacts:
    disk = host.disk(path)
    return {"path": path, "free_bytes": disk["free_bytes"],
            "same_disk": os.stat(disk["existing"]).st_dev == os.stat(image_root).st_dev}


def _docker_config() -> str | None:
    """Return the content of Docker's config.json of the user who pulls the image, or None if it cannot be read."""
    folder = os.environ.get("DOCKER_CONFIG") or str(pathlib.Path.home() / ".docker")
    try:
        return host.read_file(os.path.join(folder, "config.json"))
    except OSError:
        return None


if __name__ == "__main__":
    main()
