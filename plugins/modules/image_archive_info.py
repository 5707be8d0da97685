#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive_info
short_description: List the images in a docker save archive
version_added: 0.9.0
description:
  - Reads the manifest and the image configurations of an archive, and skips the layers. The archive is a tar file,
    which can be compressed.
  - Run this module on the host that has the archive, so that a wrong archive is found before it is copied to the nodes.
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes]
options:
  path: {type: path, required: true, description: "The path of the archive."}
"""

EXAMPLES = r"""
- name: List the images in an archive on the control node
  ascend.vllm.image_archive_info: {path: /srv/images/vllm-ascend-v0.11.0rc1.tar}
  delegate_to: localhost
  register: archive

- name: Fail if the archive has no image for aarch64
  ansible.builtin.assert:
    that: "'aarch64' in archive.images | map(attribute='architecture')"
"""

RETURN = r"""
path: {type: str, sample: /srv/images/vllm-ascend.tar, returned: success, description: "The path of the archive."}
size_bytes: {type: int, returned: success, description: "The size of the archive in bytes."}
images: {type: list, elements: dict, returned: success, description: "The images in the archive, all of which Docker
  loads. Each has its C(id), its C(digests) in C(index.json), if there are any, its names (C(tags)), which Docker gives
  to it when it loads the archive, and its processor C(architecture), as C(uname -m) prints it."}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import images as image


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    path = module.params["path"]
    try:
        size = os.stat(path).st_size
        images = image.describe_archive(path)
    except image.ImageError as error:
        module.fail_json(msg="%s." % error)
    except OSError as error:
        module.fail_json(msg="image_archive %s cannot be read: %s." % (path, error.strerror or error))
    module.exit_json(changed=False, path=path, size_bytes=size, images=images)


if __name__ == "__main__":
    main()
