# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control sequences are removed from tool output."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import terminal_text


@pytest.mark.parametrize(("text", "plain"), [
    ("a\r\nb\rc\n", "a\nb\nc\n"), ("\ufefflink status: UP", "link status: UP"), ("\x1b[0;32mOK\x1b[0m\x1b[K", "OK"),
    ("tab\tand blank ", "tab\tand blank "), ("", "")])
def test_control_sequences_are_removed(text, plain):
    assert terminal_text.plain(text) == plain
