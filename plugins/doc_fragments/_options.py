# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options that several modules have, one group of options in each variable."""

    # Modules that send requests over TLS.
    CA = r"""
options:
  ca: {type: str, description: "The CA certificates to trust, in PEM format. By default, the system's are trusted."}
"""

    # Modules that use the Docker engine.
    DOCKER = r"""
options:
  docker_socket: {type: path, default: /var/run/docker.sock, description: "The path of the Unix socket of the Docker
    engine on the node. The roles of this collection set this option to their input C(plan_docker_socket)."}
attributes:
  action_group:
    description: C(module_defaults) can set the options of all modules in this group.
    support: full
    membership: [ascend.vllm.docker]
"""

    # Modules that verify the files of a model.
    FILES = r"""
options:
  path: {type: path, required: true, description: "The folder of the model on the node."}
  verify: {type: str, choices: [changed, full], default: changed, description: "The files to hash. V(changed) hashes the
    files whose digest is not in O(digest_cache). V(full) hashes all files."}
  workers: {type: int, default: 8, description: "The number of files that are hashed or downloaded at the same time."}
  digest_cache:
    description: The folder on the node in which the digests of hashed files are cached. The key of a digest consists of
      the size, timestamps (mtime, ctime), inode and device of the file. Therefore a file is hashed again only if it has
      changed, and nodes cannot share the folder. The folder must be writable only by root.
    type: path
    default: /var/lib/ascend-vllm/digests
"""

    # Actions of the stages.
    PLAN = r"""
options:
  plan: {type: dict, description: "The plan of the node. Set this option to use a plan that differs from the inventory,
    for example when an upgrade is rolled back. By default, the plan saved earlier in this run is used. If no plan has
    been saved yet, or if inputs have changed since then, the plan is resolved from the inventory."}
"""

    # Modules that observe the planned instances.
    SERVING = r"""
options:
  instances:
    description: The instances of the plan.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {type: str, required: true, description: "The name of the container."}
      port: {type: int, description: "The port of the API. An instance without a port is ready if its container runs."}
      bind: {type: str, required: true, description: "The address that the API listens on."}
      restarts: {type: int, description: "The number of restarts of the container at the previous observation. If the
        number increases during the start, the instance has crashed."}
  image: {type: str, description: "The name of the planned image. By default, RV(image) is null."}
  served_name: {type: str, description: "The name of the model in requests to the instances."}
  api_key: {type: str, default: "", description: "The API key of the service; empty if it requires none."}
  server_name: {type: str, description: "The name in the certificates of the instances. By default, their address."}
"""
