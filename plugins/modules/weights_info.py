#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_info
short_description: Verify the files of a model against its manifest
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Lists the files of a model, hashes them in parallel, and compares them with the manifest that
    M(ascend.vllm.weights_staging) recorded.
  - Reads the headers of the safetensors files, the index, the quantization description, the configuration and the
    tokenizer class.
  - Does not change the model. The digests are written to O(digest_cache), so that unchanged files do not have to be
    read again by the next verification.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._attributes.info, ascend.vllm._model_files]
attributes:
  check_mode:
    details: The module does not change anything except the digest cache, which is not written in check mode.
options:
  draft: {type: path, description: "The path of the draft model, which is described in RV(draft)."}
seealso: [{module: ascend.vllm.weights_staging}]
"""

EXAMPLES = r"""
- name: Read every byte of the model and verify it
  ascend.vllm.weights_info:
    path: /data/Qwen2.5-VL-32B-Instruct-w8a8
    verify: full
  register: weights

- name: Fail if a file differs from the manifest
  ansible.builtin.assert:
    that:
      - weights.manifest is not none
      - weights.faults | length == 0
"""

RETURN = r"""
draft: {type: dict, returned: success, description: "The other values, from RV(path) on, for the folder in
  O(draft), or null without it."}
path: {type: str, sample: /data/Qwen2.5-VL-32B-Instruct-w8a8, returned: success, description: "The value of O(path)."}
files:
  description: The files in the folder. Hidden files are not part of the model.
  type: list
  elements: dict
  returned: success
  contains:
    path: {type: str, sample: config.json, description: "The path relative to the folder."}
    size: {type: int, description: "The size in bytes."}
    sha256: {type: str, description: "The SHA-256 digest of the content. It is null if the manifest does not contain the
      file, or if the file is a link to a path outside the folder, which is not read."}
bytes: {type: int, returned: success, description: "The size of all files in the folder in bytes."}
outside: {type: list, elements: str, returned: success, description: "The files that are links to files outside the
  folder. Such links are broken in a container that mounts only the folder."}
identity: {type: str, returned: success, description: "The SHA-256 digest of the names, sizes, timestamps and inodes of
  the files. It is the same on all nodes that mount the same file system."}
digest: {type: str, returned: success, description: "The SHA-256 digest of the sorted lines C(<sha256>  <path>) of the
  files in the manifest, or of all files if there is no manifest. Nodes with the same digest have the same model."}
hashed_bytes: {type: int, returned: success, description: "The number of hashed bytes. Other digests were cached."}
manifest:
  description: The manifest of the model, or null if there is none.
  type: dict
  returned: success
  contains:
    schema: {type: str, sample: ascend.vllm/weights-manifest/v1, description: "The name and version of the format."}
    source: {type: str, sample: modelscope, description: "The source of the model."}
    repository: {type: str, description: "The repository, or null."}
    revision: {type: str, description: "The commit or branch, or null."}
    asked: {type: dict, description: "The C(source), C(repository), C(endpoint) and C(revision) that were requested."}
    recorded_at: {type: str, sample: "2026-11-29T12:00:00Z", description: "When the manifest was recorded, in UTC."}
    bytes: {type: int, description: "The size of the model in bytes."}
    digest: {type: str, description: "The digest of the model, as described in RV(digest)."}
    files:
      description: The files of the model, each with C(path), C(size) and C(sha256) as in RV(files), C(sha256_from)
        (V(hub) if the source published the digest, or V(staging) if it was computed when the model was staged), and
        C(written) (whether M(ascend.vllm.weights_staging) wrote the file and may remove it).
      type: list
      elements: dict
manifest_path:
  description: The path of the manifest.
  type: str
  returned: success
  sample: /var/lib/ascend-vllm/weights/8f14e45fceea167a/manifest.json
faults: {type: list, elements: dict, returned: success, description: "The differences from the manifest, each with
  C(path), C(fault) (V(missing), V(size) or V(sha256)), and the C(expected) and the C(actual) size or digest. C(actual)
  is null if the file is missing or is a link to a file outside the folder."}
shards:
  description: The headers of the safetensors files, with the paths of the files as keys.
  type: dict
  returned: success
  contains:
    tensor_bytes: {type: int, description: "The size of the tensors in bytes, or null."}
    error: {type: str, description: "The reason why the file is not a complete safetensors file, or null."}
index:
  description: The index files.
  type: list
  elements: dict
  returned: success
  contains:
    path: {type: str, description: "The path of the index relative to the folder."}
    shards: {type: list, elements: str, description: "The shards that the index names."}
    total_size: {type: int, description: "The size of the tensors in bytes according to the index, or null."}
    tensor_bytes: {type: int, description: "The bytes of the tensors in the shards, or null if a shard cannot be read."}
    faults: {type: list, elements: str, description: "The differences between the index and the shards, as sentences."}
config:
  description: Values of C(config.json), or null if the file does not exist.
  type: dict
  returned: success
  contains:
    architectures: {type: list, elements: str, description: "The architectures of the model."}
    vision: {type: bool, description: "Whether the model has a vision encoder."}
    transformers: {type: str, description: "The version of the C(transformers) library that wrote the file, or null."}
tokenizer_class: {type: str, sample: Qwen2Tokenizer, returned: success, description: "The class of the tokenizer in
  C(tokenizer_config.json), or null."}
quantization:
  description: Values of C(quant_model_description.json), or null if the file does not exist.
  type: dict
  returned: success
  contains:
    type: {type: str, sample: W8A8, description: "The quantization type, or null."}
    version: {type: str, description: "The version of the description, or null."}
    types: {type: dict, sample: {W8A8: 448, FLOAT: 321}, description: "The number of tensors by quantization type."}
    prefixes: {type: dict, sample: {model.layers: 1090, visual: 391}, description: "The number of tensors by the first
      two parts of their names."}
    mixed: {type: list, elements: str, description: "Fused layers with several types, as sentences."}
content_faults: {type: list, elements: str, returned: success, description: "Files that cannot be read, as sentences."}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._host import commands, lease
from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.observation import observe


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "path": {"type": "path", "required": True},
        "verify": {"type": "str", "choices": ["changed", "full"], "default": "changed"},
        "workers": {"type": "int", "default": 8},
        "digest_cache": {"type": "path", "default": files.DIGEST_CACHE},
        "draft": {"type": "path"},
    })
    lease.hold(module)
    options = module.params
    folders = [path for path in (options["path"], options["draft"]) if path]
    for sentence in commands.hung_paths(folders).values():
        module.fail_json(msg="%s; check the mount, and whether its file server responds." % sentence)
    try:
        observed, *drafts = [
            observe(path, options["verify"] == "full", options["workers"],
                    files.DigestCache.of(path, options["digest_cache"], write=not module.check_mode))
            for path in folders]
    except (OSError, ValueError) as error:
        module.fail_json(msg="The model in %s cannot be read: %s" % (options["path"], error))
    module.exit_json(changed=False, draft=drafts[0] if drafts else None, **observed)


if __name__ == "__main__":
    main()
