# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the README and the guides.

A comment above each block of commands states whether a test executes it: ``run: <test file>``, with ``, exit code 2``
if the commands must fail, or ``not run: <reason>``. A comment above a block of text states what it shows: ``output:
<part of the output of the last command>``, or ``output of <file>``.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ROOT / "docs" / "docsite" / "rst"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("README*.md"), *GUIDES.glob("*.rst")))
# The pages with commands that tests/site/test_guides.py executes, in this order.
EXECUTED = ("README.md", *(f"docs/docsite/rst/guide_{name}.rst" for name in (
    "first_cluster", "measurements", "troubleshooting", "security", "groups", "operations")))
SHELL = ("sh", "shell", "bash", "console")

MARKDOWN = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
RST = re.compile(r"(?:^ *\.\. (?P<mark>(?:not )?(?:run|output)\b[^\n]*)\n\n)?"
                 r"^(?P<indent> *)\.\. code-block:: (?P<language>\w+)\n\n"
                 r"(?P<text>(?:(?P=indent)   [^\n]*\n|\n)+)", re.MULTILINE)


class Block(NamedTuple):
    """A block of code on a page, with the comment above it."""

    line: int
    mark: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands without comments, each in one line."""
        lines = [re.sub(r"(?:^|\s+)#\s.*", "", line).strip() for line in self.text.replace("\\\n", " ").splitlines()]
        return [re.sub(r"\s{2,}", " ", line) for line in lines if line]

    @property
    def exit_code(self) -> int | None:
        """The exit code that the commands must have; None if they are not executed."""
        found = re.fullmatch(r"run: tests/site/test_guides\.py(?:, exit code (\d+))?", self.mark)
        return int(found.group(1) or 0) if found else None


def blocks(text: str, rst: bool) -> list[Block]:
    """Return the blocks of a page in their order."""
    return [Block(text.count("\n", 0, match.start("text")), match.group("mark") or "", match.group("language"),
                  dedent(match.group("text"))) for match in (RST if rst else MARKDOWN).finditer(text)]


def read(page: str) -> list[Block]:
    """Return the blocks of a page of the repository."""
    return blocks((ROOT / page).read_text("utf-8"), page.endswith(".rst"))
