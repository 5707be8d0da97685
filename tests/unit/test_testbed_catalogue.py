# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's catalogue matches the files in the test bed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import patch as patching
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import DEFAULTS

TESTBED = Path(__file__).resolve().parents[2] / "molecule" / "testbed"


@pytest.fixture
def patch():
    """The patch from the plan for the test bed."""
    if not TESTBED.is_dir():
        pytest.skip("the test bed is not part of this copy")
    return resolve(load_catalogue([TESTBED / "catalogue.yml"]), DEFAULTS)["patch"]


def test_patch_applies_to_the_file_in_the_simulated_image(patch):
    source = (TESTBED / "engine" / "image" / "root" / patch["target"].lstrip("/")).read_text("utf-8")
    assert '# "MRotaryEmbedding": ' in patching.patched(source, patch)


@pytest.mark.parametrize(("change", "error"), [
    (lambda text: text + "\n", "the file /vllm-workspace"),
    (lambda text: text.replace("MRotary", "Rotary"), "the file /vllm-workspace"),
])
def test_patch_is_refused_if_the_file_differs(patch, change, error):
    source = (TESTBED / "engine" / "image" / "root" / patch["target"].lstrip("/")).read_text("utf-8")
    with pytest.raises(AnsibleFilterError, match=error):
        patching.patched(change(source), patch)
