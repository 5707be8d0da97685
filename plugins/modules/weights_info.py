#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_info
short_description: Verify the files of a model against its manifest
version_added: 0.9.0
description:
  - Lists the files of a model, hashes them in parallel, and compares them with the manifest that
    M(ascend.vllm.weights_staging) recorded.
  - Reads the headers of the safetensors files, the index, the quantization description, the configuration and the
    tokenizer class.
  - Does not change the model. The digests are written to O(digest_cache), so that unchanged files do not have to be
    read again by the next verification.
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes, ascend.vllm._options.files]
attributes:
  check_mode: {details: ["This module only changes the digest cache, which is not written in check mode."]}
options:
  draft: {type: path, description: "The folder of the draft model on the node. RV(draft) describes this folder."}
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
draft: {type: dict, returned: success, description: "The values below, from RV(path) on, for the folder in O(draft);
  null if O(draft) is not set."}
path: {type: str, sample: /data/Qwen2.5-VL-32B-Instruct-w8a8, returned: success, description: "The value of O(path)."}
files: {type: list, elements: dict, returned: success, description: "The files in the folder, each with its C(path)
  relative to the folder, its C(size) in bytes, and the C(sha256) of its content, which is null if the manifest does not
  contain the file, or if the file is a link to a path outside the folder, which is not read. Hidden files are not part
  of the model."}
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
    files: {type: list, elements: dict, description: "The files of the model, each with C(path), C(size) and C(sha256)
      as in RV(files), C(sha256_from) (V(hub) if the source published the digest, or V(staging) if it was computed when
      the model was staged), and C(written) (whether M(ascend.vllm.weights_staging) wrote the file and may remove it)."}
manifest_path: {type: str, sample: /var/lib/ascend-vllm/weights/8f14e45fceea167a/manifest.json, returned: success,
  description: "The path of the manifest."}
faults: {type: list, elements: dict, returned: success, description: "The differences from the manifest, each with
  C(path), C(fault) (V(missing), V(size) or V(sha256)), and the C(expected) and the C(actual) size or digest. C(actual)
  is null if the file is missing or is a link to a file outside the folder."}
shards: {type: dict, returned: success, description: "The headers of the safetensors files, with the paths of the files
  as keys: the size of the tensors in bytes (C(tensor_bytes)), or the reason why the file is not a complete safetensors
  file (C(error)). The other value is null."}
index: {type: list, elements: dict, returned: success, description: "The index files, each with its C(path) relative to
  the folder, the C(shards) that it names, the size of the tensors in bytes according to the index (C(total_size), or
  null), the bytes of the tensors in the shards (C(tensor_bytes), null if a shard cannot be read), and the differences
  between index and shards as sentences (C(faults))."}
config: {type: dict, returned: success, description: "Values of C(config.json), or null if the file does not exist: the
  C(architectures) of the model, C(vision) (whether it has a vision encoder), and the version of the library
  C(transformers) that wrote the file, or null."}
tokenizer_class: {type: str, sample: Qwen2Tokenizer, returned: success, description: "The class of the tokenizer in
  C(tokenizer_config.json), or null."}
quantization: {type: dict, returned: success, description: "Values of C(quant_model_description.json), or null if the
  file does not exist: the quantization C(type) (such as V(W8A8), or null), the C(version) of the description (or null),
  the numbers of tensors by quantization type (C(types)) and by the first two parts of their names (C(prefixes)), and
  sentences about fused layers with several types (C(mixed))."}
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
