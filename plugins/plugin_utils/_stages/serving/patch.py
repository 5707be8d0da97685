# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patch one line of a file in the image, but only if the file is the one for which the patch was made."""

from __future__ import annotations

import hashlib
import re

from ansible.errors import AnsibleFilterError

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Patch


def patched(text: str, patch: Patch) -> str:
    """Return the text with the patch applied.

    :raises AnsibleFilterError: if a SHA-256 differs, or if not exactly one line matches. The message is one sentence.
    """
    _expect(text, patch["sha256"], "the file %s of the image has" % patch["target"], patch)
    edited, count = re.subn(patch["pattern"], patch["replacement"], text, flags=re.MULTILINE)
    if count != 1:
        raise AnsibleFilterError(
            "The patch %s must match one line of %s, but matches %d; correct its pattern in the catalogue." % (
                patch["id"], patch["target"], count))
    _expect(edited, patch["patched_sha256"], "the result has", patch)
    return edited


def _expect(text: str, sha256: str, subject: str, patch: Patch) -> None:
    found = hashlib.sha256(text.encode("utf-8")).hexdigest()
    if found != sha256:
        raise AnsibleFilterError(
            "The patch %s is not applied, because %s SHA-256 %s instead of %s; use the release's published image, or "
            "leave the patch out with serving_patches." % (patch["id"], subject, found, sha256))
