# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that several actions and stages print. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import first_line, last_line

NO_REASON = "no reason was given"


def error_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    return first_line(str(error)) or type(error).__name__


def reason_line(output: str) -> str:
    """Return the last line of what a failed task printed: the line that says why it failed."""
    return last_line(output) or NO_REASON


def table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return the lines of a text table, its columns two spaces apart.

    :param rows: the cells of each row, the header included.
    :param right: the indexes of the columns that are aligned to the right.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return ["  ".join(cell.rjust(width) if index in right else cell.ljust(width)
                      for index, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]
