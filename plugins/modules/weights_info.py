#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_info
short_description: Tell what the weights of a model on a node are, and what is wrong with them
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Lists the files of a model, hashes them in parallel, and holds them against the manifest beside the folder.
  - Reads the safetensors headers, the index, the quantization description, the configuration and the tokenizer's class.
  - What is known of a model on a read-only mount is kept in C(/var/lib/ascend-vllm/weights).
  - A digest is remembered by size, modification time, inode and device in C(/var/lib/ascend-vllm/digests), so an
    unchanged model is proven again without reading it.
options:
  path:
    description: The model's folder.
    type: path
    required: true
  verify:
    description: Whether to hash the files that changed since the last proof, or every file.
    type: str
    choices: [changed, full]
    default: changed
  workers:
    description: Files that are hashed at a time.
    type: int
    default: 8
  memory:
    description: The folder on the node that keeps the digests of earlier proofs.
    type: path
    default: /var/lib/ascend-vllm/digests
attributes:
  check_mode:
    support: full
    description: The same is returned; digests are not remembered.
"""

EXAMPLES = r"""
- name: Prove the weights, reading every byte
  ascend.vllm.weights_info:
    path: /data/Qwen2.5-VL-32B-Instruct-w8a8
    verify: full
"""

RETURN = r"""
files:
  description: The files in the folder with C(path), C(size) in bytes and C(sha256), null for those of no manifest.
  type: list
  elements: dict
  returned: success
digest:
  description: SHA-256 over the sorted lines C(<sha256>  <path>) of the manifest's files, or of all without a manifest.
  type: str
  returned: success
outside:
  description: Files that are links out of the folder.
  type: list
  elements: str
  returned: success
identity:
  description: SHA-256 over names, sizes, time stamps and inodes; equal on all nodes that mount one file system.
  type: str
  returned: success
manifest:
  description: The manifest beside the folder, or null.
  type: dict
  returned: success
faults:
  description: What differs from it, with C(path), C(fault) (missing, size, sha256), C(expected), C(actual).
  type: list
  elements: dict
  returned: success
hashed_bytes:
  description: Bytes that were read and hashed now; the digests of the rest were remembered.
  type: int
  returned: success
shards:
  description: Each shard with C(tensors), C(tensor_bytes) and C(error).
  type: dict
  returned: success
index:
  description: Each index file with its shards, tensors, C(total_size), C(tensor_bytes) and C(faults).
  type: list
  elements: dict
  returned: success
quantization:
  description: C(type), C(types), C(prefixes) and C(mixed) of quant_model_description.json, or null.
  type: dict
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import inspect


def observe(path, full, workers, memory):
    """Everything that the checks need to know of the model in the folder."""
    stats = files.list_model(path)
    place = files.place(path)
    manifest = files.read_json(place.manifest)
    # What lies beside the files of the manifest is no part of the model.
    listed = {entry["path"] for entry in manifest["files"]} if manifest else set(stats)
    digests = files.digest_files(
        path, {name: stats[name] for name in stats if name in listed}, memory, full, workers)
    content = inspect(path, stats)
    return {
        "path": path,
        "real_path": os.path.realpath(path),
        "files": [{"path": name, "size": stats[name].st_size, "sha256": digests.sha256.get(name)}
                  for name in sorted(stats)],
        "bytes": sum(stat.st_size for stat in stats.values()),
        "outside": files.list_outside(path, stats),
        "identity": files.identify(stats),
        "digest": files.model_digest(digests.sha256),
        "hashed_bytes": digests.hashed_bytes,
        "hashed_s": round(digests.seconds, 3),
        "manifest": manifest,
        "manifest_path": place.manifest,
        "faults": files.compare(manifest["files"], stats, digests.sha256) if manifest else [],
        "shards": content["shards"],
        "index": content["index"],
        "config": content["config"],
        "tokenizer_class": content["tokenizer_class"],
        "quantization": content["quantization"],
        "content_faults": content["faults"],
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "verify": {"type": "str", "choices": ["changed", "full"], "default": "changed"},
            "workers": {"type": "int", "default": 8},
            "memory": {"type": "path", "default": files.MEMORY_FOLDER},
        },
        supports_check_mode=True,
    )
    options = module.params
    memory = files.Memory.of(options["path"], options["memory"], keep=not module.check_mode)
    try:
        observed = observe(options["path"], options["verify"] == "full", options["workers"], memory)
    except (OSError, ValueError) as error:
        module.fail_json(msg="The model in %s cannot be read: %s" % (options["path"], error))
    module.exit_json(changed=False, **observed)


if __name__ == "__main__":
    main()
