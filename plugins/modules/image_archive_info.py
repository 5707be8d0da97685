#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive_info
short_description: Tell which images an archive of docker save holds
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Reads manifest and configurations of an archive, a tar file that may be compressed, and skips its layers.
  - Runs where the archive lies, so that a wrong one is not copied anywhere.
options:
  path:
    description: The archive.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Only reads.
"""

EXAMPLES = r"""
- name: Look into the archive
  ascend.vllm.image_archive_info:
    path: /srv/images/vllm-ascend-v0.11.0rc1.tar
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The archive.
  type: str
  returned: success
size_bytes:
  description: Its size.
  type: int
  returned: success
images:
  description: Each image with C(id), C(tags) and C(architecture) (as C(uname -m)).
  type: list
  elements: dict
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import images as image


def main():
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
