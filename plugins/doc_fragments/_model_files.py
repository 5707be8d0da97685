# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that verify the files of a model."""

    DOCUMENTATION = r"""
options:
  path:
    description: The folder of the model.
    type: path
    required: true
  verify:
    description:
      - Which files are hashed.
      - V(changed) hashes the files whose digest is not in O(digest_cache), V(full) hashes all files.
    type: str
    choices: [changed, full]
    default: changed
  workers:
    description: Number of files that are hashed or downloaded at a time.
    type: int
    default: 8
  digest_cache:
    description:
      - A folder on the node for the digests of files that were hashed.
      - A digest is cached by size, timestamps (mtime, ctime), inode and device of the file, so a file is only hashed
        again after it was changed. Nodes cannot share the folder, and only root may be able to write to it.
    type: path
    default: /var/lib/ascend-vllm/digests
"""
