# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A patch is applied only if the file and the result have the SHA-256 digests in the catalogue."""

from __future__ import annotations

import hashlib

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.patch import patched

SOURCE, EDITED = "a\n    x = 1\nb\n", "a\n    # x = 1\nb\n"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


PATCH = {"id": "demo", "target": "/f.py", "pattern": "^(    )(x = 1)$", "replacement": r"\1# \2",
         "sha256": sha256(SOURCE), "patched_sha256": sha256(EDITED)}


def test_patch_is_applied_to_the_expected_file():
    assert patched(SOURCE, PATCH) == EDITED


@pytest.mark.parametrize(("text", "patch", "message"), [
    (SOURCE + " ", PATCH, "the file /f.py of the image has SHA-256"),
    (EDITED, PATCH, "the file /f.py of the image has SHA-256"),
    (SOURCE, dict(PATCH, pattern="^(n)(ever)$"), "must match one line of /f.py, but matches 0"),
    (SOURCE, dict(PATCH, pattern="^(.)()$"), "must match one line of /f.py, but matches 2"),
    (SOURCE, dict(PATCH, replacement="y"), "the result has SHA-256"),
])
def test_patch_is_refused_if_the_file_the_pattern_or_the_result_differs(text, patch, message):
    with pytest.raises(AnsibleFilterError, match="demo") as failure:
        patched(text, patch)
    assert message in str(failure.value)
