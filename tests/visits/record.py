# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what the processes of a test run visit. From these records, `make coverage` determines what no test visits.

Every process appends lines of JSON to its own file in the folder ``$ASCEND_VLLM_VISITS``. Without that variable,
nothing is recorded. Names of inputs and options are recorded, never their values: some are secrets.
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
    """Append a line to the file of this process, once per process."""
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
    """Return the path in the collection of one of its files or an identical copy, or None for any other file.

    Tests also run copies: an installed artifact, and the collection of an old commit, whose lines are different.
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
    """Return ``{input: untemplated default}`` of all roles."""
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        found.update(yaml.safe_load(path.read_text("utf-8")) or {})
    return found


def changed(variables: Any, templated: bool = False) -> list[str]:
    """Return the sorted names of the inputs among the variables whose values are not the defaults.

    :param templated: whether the variables are templated, so that a default with a template cannot be compared.
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
