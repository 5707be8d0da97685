# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake node has no shell, so the version of its Python is not checked."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import StageAction


@pytest.fixture(autouse=True)
def usable_python(monkeypatch):
    """Skip the check of the Python version on the node."""
    monkeypatch.setattr(StageAction, "need_python", lambda self: None)
