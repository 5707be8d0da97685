# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that verify the files of a model."""

    DOCUMENTATION = r"""
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
