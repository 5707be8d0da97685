# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that retired words are not used, see words.yml. As a script, this file lists the remaining uses."""

from __future__ import annotations

import os
import re
import sys
from bisect import bisect_right
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = yaml.safe_load(Path(__file__).with_name("words.yml").read_text("utf-8"))
PLACES = ("plugins", "roles", "playbooks", "docs", "inventories", "molecule", "tests", "README.md", "CONTRIBUTING.md",
          "SECURITY.md", "CODE_OF_CONDUCT.md", ".github")
ENDINGS = (".yml", ".yaml", ".py", ".md", ".j2", ".rst")

# Separators of words include a line break with the comment sign or the quotes around it, and an underscore.
BETWEEN = re.compile(r"""(?:[\s_]|\#|["']\s*\n\s*[frb]*["'])+""")


@lru_cache(maxsize=None)
def paths(root):
    """Return the files whose text is checked."""
    found = [root / place for place in PLACES if (root / place).is_file()]
    for place in PLACES:
        for folder, folders, names in os.walk(root / place):
            # playbooks/collections links to the root.
            folders[:] = [name for name in folders if name[0] != "." and name not in ("collections", "__pycache__")]
            found += [Path(folder, name) for name in names if name.endswith(ENDINGS)]
    return sorted(path for path in found if path.name not in ("words.yml", "test_words.py"))


@lru_cache(maxsize=None)
def words(path):
    """Return (text with one space between words, offsets of the words in it, their offsets in the file)."""
    text, parts, flat, original = path.read_text("utf-8"), [], [0], [0]
    at = 0
    for match in BETWEEN.finditer(text):
        parts.append(text[at:match.start()])
        at = match.end()
        flat.append(flat[-1] + len(parts[-1]) + 1)
        original.append(at)
    return " ".join([*parts, text[at:]]), flat, original


def occurrences(entry, root=ROOT):
    """Return ``[path:line: text around it]`` for each use of a retired word where it is not allowed."""
    pattern, found = re.compile(rf"\b(?:{entry['retired']})\b", re.IGNORECASE), []
    for path in paths(root):
        name = path.relative_to(root).as_posix()
        if any(fnmatchcase(name, allowed) for allowed in entry.get("allowed", ())):
            continue
        text, flat, original = words(path)
        for match in pattern.finditer(text):
            part = bisect_right(flat, match.start()) - 1
            line = path.read_text("utf-8").count("\n", 0, original[part]) + 1
            found.append(f"{name}:{line}: …{text[max(0, match.start() - 30):match.end() + 30]}…")
    return found


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["retired"])
def test_retired_words_are_not_used(entry):
    found = occurrences(entry)
    if entry["enforced"]:
        assert not found, "\n".join([f"write {entry['use']} instead:", *found])
    else:
        assert found, "no longer used: set enforced to true in words.yml"


def test_entries_are_complete():
    for entry in ENTRIES:
        assert {"retired", "use", "enforced"} <= set(entry) <= {"retired", "use", "enforced", "allowed"}, entry
        assert all(reason for reason in entry.get("allowed", {}).values()), entry
        for allowed in entry.get("allowed", {}):
            assert any(fnmatchcase(path.relative_to(ROOT).as_posix(), allowed) for path in paths(ROOT)), allowed
    assert len({entry["retired"] for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize(("name", "text", "line"), [
    ("docs/a.md", "First.\nThe engine goes on.\n", 2),
    ("docs/a.md", "It Goes\non.\n", 1),
    ("plugins/a.py", "# It goes\n    # on.\n", 1),
    ("plugins/a.py", 'print("it goes "\n      f"on {a}")\n', 1),
    ("tests/test_a.py", "def test_it_goes_on():\n    pass\n", 1),
    ("roles/a/templates/a.cfg.j2", "\n# it goes on\n", 2),
    ("README.md", "goes on", 1),
    ("docs/a.md", "It goes one by one, and undergoes on-going changes.", None),
    ("LICENSE", "goes on", None),
    ("docs/allowed.md", "goes on", None),
    ("playbooks/collections/a.yml", "goes on", None),
])
def test_uses_are_found(tmp_path, name, text, line):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    entry = {"retired": "goes on", "use": "continues", "enforced": True, "allowed": {"docs/allowed.md": "an example"}}
    found = occurrences(entry, tmp_path)
    assert [place.split(": ")[0] for place in found] == ([f"{name}:{line}"] if line else [])


if __name__ == "__main__":
    for each in ENTRIES:
        uses = occurrences(each)
        if not sys.argv[1:]:
            print(f"{len(uses):5} {each['retired']} -> {each['use']}")
        elif any(word in each["retired"] for word in sys.argv[1:]):
            print("\n".join(uses))
