# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what the processes of a test run visit. From these records, `make coverage` determines what no test visits.

Every process appends lines of JSON to its own file in the folder ``$ASCEND_VLLM_VISITS``. If this variable is not set,
nothing is recorded. Only the names of inputs and options are recorded, because some of the values are secrets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("ASCEND_VLLM_VISITS")
_written: set[str] = set()


def write(kind: str, **facts: Any) -> None:
    """Append a line to the file of this process, unless the process has already written it."""
    line = json.dumps({"kind": kind, "by": os.environ.get("MOLECULE_SCENARIO_NAME", ""), **facts}, sort_keys=True)
    if FOLDER and line not in _written:
        _written.add(line)
        # The file is opened each time, since Ansible forks a process for each task.
        with open(Path(FOLDER, f"{os.getpid()}.jsonl"), "a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def read(folder: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the distinct lines of all processes."""
    lines = set()
    for path in Path(folder).glob("*.jsonl"):
        lines.update(path.read_text("utf-8").splitlines())
    for line in sorted(lines):
        yield json.loads(line)


@lru_cache(maxsize=None)
def relative(path: str) -> str | None:
    """Return the path of a file relative to the collection; None if it is neither part of it nor an identical copy.

    Tests also run copies: an installed artifact, and an old commit of the collection, whose lines are different.
    """
    found = Path(path).resolve()
    for folder in ("roles", "playbooks"):
        if folder in found.parts:
            name = Path(*found.parts[found.parts.index(folder):])
            if (ROOT / name).is_file() and (ROOT / name).read_bytes() == found.read_bytes():
                return str(name)
    return None


@lru_cache(maxsize=None)
def defaults() -> dict[str, Any]:
    """Return ``{input: untemplated default}`` for all roles."""
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        found.update(yaml.safe_load(path.read_text("utf-8")) or {})
    return found


def changed(variables: Any, templated: bool = False) -> list[str]:
    """Return the sorted names of the variables that are inputs and do not have their defaults.

    :param templated: whether the variables are templated. They are not compared with a default that has a template.
    """
    return sorted(name for name, default in defaults().items() if name in variables and variables[name] != default
                  and not (templated and "{{" in str(default)))


def keys(value: Any, path: str = "") -> set[str]:
    """Return the paths of all keys in a return value, such as ``npus.ecc``; items of a list share a path.

    A dict whose keys are data (hosts, NPUs, paths) is only recognized in the comparison with the documentation.
    """
    found: set[str] = set()
    if isinstance(value, dict):
        for key, item in value.items():
            below = f"{path}.{key}".lstrip(".")
            found |= {below} | keys(item, below)
    elif isinstance(value, list):
        for item in value:
            found |= keys(item, path)
    return found
