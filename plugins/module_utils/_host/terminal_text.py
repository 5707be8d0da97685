# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove control sequences, byte order marks and foreign line ends from the output of a tool."""

from __future__ import annotations

import re

# Colors and other control sequences of terminals: CSI sequences, strings such as window titles, and two-character
# sequences.
_CONTROL = re.compile(
    r"\x1b(?:\[[0-9;:<=>?]{0,64}[ -/]{0,8}[@-~]|[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)?|[ -/]{0,8}[0-~])")


def plain(text: str) -> str:
    """Return the text without control sequences and byte order marks, and with LF as line ends."""
    return _CONTROL.sub("", text).replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def first_line(text: str) -> str | None:
    """Return the first line that is not empty, without surrounding space, or None if there is no such line."""
    return next((line.strip() for line in text.splitlines() if line.strip()), None)


def last_line(text: str) -> str | None:
    """Return the last line that is not empty, without surrounding space, or None if there is no such line."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)
