# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waivers that name a check by its old name are refused, and the message contains the new name."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import UnknownCheck, apply_waivers
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.renamed_checks import RENAMED
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.registry import JUDGES


@pytest.mark.parametrize("old", RENAMED)
def test_waiver_with_an_old_name_is_refused_with_the_new_name(old):
    stage = old.partition(".")[0]
    with pytest.raises(UnknownCheck) as failure:
        apply_waivers([], [old], stage, JUDGES[stage].CHECKS)
    assert str(failure.value) == f"{stage}_waive names the check '{old}', which is now named '{stage}.{RENAMED[old]}'"
    assert apply_waivers([], [RENAMED[old]], stage, JUDGES[stage].CHECKS) == []
