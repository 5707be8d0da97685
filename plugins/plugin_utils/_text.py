# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clean all text that is printed on a terminal or written to a report.

Names, logs and responses come from nodes, images and models, and may contain anything: control sequences that change
the terminal, line breaks that forge a line, or Markdown and HTML that alter a report.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible import constants as C

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known
from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import first_line, last_line, plain

NO_REASON = "no reason was given"
# The maximum number of characters in a sentence or line, and in a table cell.
LINE_LIMIT = 4000
CELL_LIMIT = 200

_SPACE = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
# Characters that Markdown interprets within a line. An underscore within a word has no effect, so it is not matched.
_MARKDOWN = re.compile(r"[`*|]|\\(?=[!-/:-@\[-`{-~])|~(?=~)|(?<=\])[(\[]|(?<!\w)_|_(?!\w)")


def one_line(text: object, limit: int = LINE_LIMIT) -> str:
    """Return the text on one line, without line breaks and invisible characters, cut to ``limit`` characters."""
    # Control sequences shrink when they are cleaned, so three times the limit is read.
    original = str(text)
    line = original[:3 * limit]
    if not line.isprintable():
        line = _SPACE.sub(" ", plain(line))
        line = "".join(character for character in line if unicodedata.category(character) not in ("Cc", "Cf", "Cs"))
    line = line.strip()
    return line if len(line) <= limit and len(original) <= 3 * limit else line[:limit - 1] + "…"


def markdown(text: object, limit: int = LINE_LIMIT) -> str:
    """Return the text as one line of Markdown that is rendered as exactly this text."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", one_line(text, limit))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", re.sub(r"&(?=#?\w+;)", "&amp;", escaped))


def say(display: Any, lines: str | Iterable[str], secrets: Iterable[str] = ()) -> None:
    """Print lines of text on the display of an action plugin. Known secrets are masked.

    With a stdout callback whose output is JSON, the text goes to stderr, so that the output can be parsed.
    """
    display.display(_printable(lines, secrets), stderr="json" in C.DEFAULT_STDOUT_CALLBACK)


def warn(display: Any, text: str, secrets: Iterable[str] = ()) -> None:
    """Print a warning."""
    display.warning(_printable(one_line(text), secrets))


def _printable(lines: str | Iterable[str], secrets: Iterable[str]) -> str:
    lines = lines.split("\n") if isinstance(lines, str) else lines
    # Leading spaces are kept: they indent tables and lists.
    return mask_known("\n".join(
        line[:len(line) - len(line.lstrip(" "))] + one_line(line, 10 * LINE_LIMIT) for line in lines), secrets)


def grouped(found: Mapping[str, Iterable[str]], hosts: int = 0) -> list[str]:
    """Return the sentences of all hosts, each one once and followed by its hosts.

    :param found: ``{host: sentences}``. :param hosts: the number of all hosts; if all of them have a sentence, they are
        not named.
    """
    by_sentence: dict[str, list[str]] = {}
    for host, sentences in found.items():
        for sentence in sentences:
            by_sentence.setdefault(sentence, []).append(host)
    return [sentence if len(names) == hosts else f"{sentence.rstrip('.')} (on {few(names)})."
            for sentence, names in by_sentence.items()]


def few(names: Sequence[str], limit: int = 8) -> str:
    """Return the first names, and the number of the others."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def error_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    return one_line(first_line(str(error)) or type(error).__name__)


def reason_line(output: str) -> str:
    """Return the last line of the output of a failed task, which contains the reason."""
    return one_line(last_line(output) or NO_REASON)


def table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return the lines of a text table. The rows include the header; ``right`` are indexes of right-aligned columns."""
    rows = [[one_line(cell, CELL_LIMIT) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return ["  ".join(cell.rjust(width) if index in right else cell.ljust(width)
                      for index, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]
