# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edit a file of the image, in one place and only if it is the very file that the patch was made for."""

from __future__ import annotations

import hashlib
import re


class PatchError(ValueError):
    """The file or the outcome is not what the catalogue says; the message is one sentence."""


def patched(text, patch):
    """Return the text with the patch applied.

    :param patch: of the plan: ``{"id", "target", "pattern", "replacement", "sha256", "patched_sha256"}``.
    :raises PatchError: when the SHA-256 of the text or of the outcome is another, or not exactly one line matches.
    """
    _expect(text, patch["sha256"], "the file %s of the image has" % patch["target"], patch)
    edited, count = re.subn(patch["pattern"], patch["replacement"], text, flags=re.MULTILINE)
    if count != 1:
        raise PatchError("The patch %s must match one line of %s, but matches %d; correct its pattern in the catalogue."
                         % (patch["id"], patch["target"], count))
    _expect(edited, patch["patched_sha256"], "the outcome has", patch)
    return edited


def _expect(text, sha256, subject, patch):
    found = hashlib.sha256(text.encode("utf-8")).hexdigest()
    if found != sha256:
        raise PatchError(
            "The patch %s is not applied, since %s SHA-256 %s instead of %s; use the release's published image, or "
            "leave the patch out with serving_patches." % (patch["id"], subject, found, sha256))
