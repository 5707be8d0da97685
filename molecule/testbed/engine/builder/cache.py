# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of built files. Entries are named by a hash of their inputs and renamed when they are complete."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ENGINE = Path(__file__).resolve().parent.parent
KEPT_ENTRIES = 2  # per kind; older entries are removed when a new entry is built


def folder() -> Path:
    """Return the folder of the cache."""
    return Path(os.environ.get("ASCEND_VLLM_CACHE", "/var/cache/ascend-vllm-testbed")) / "engine"


def files(*paths: str) -> list[Path]:
    """Return the named files of the engine folder, and all files in the named subfolders, in a fixed order."""
    found: list[Path] = []
    for path in (ENGINE / name for name in paths):
        found += sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    return [path for path in found if "__pycache__" not in path.parts]


def key(inputs: Iterable[Path | str]) -> str:
    """Return twelve hex digits of a hash of the inputs: names and contents of files, and strings."""
    digest = hashlib.sha256()
    for item in inputs:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        name = os.path.relpath(item, ENGINE) if isinstance(item, Path) else ""
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(content), content))
    return digest.hexdigest()[:12]


def build(kind: str, suffix: str, inputs: Iterable[Path | str], make: Callable[[Path], None]) -> Path:
    """Return the cache entry `<kind>-<key><suffix>`. If it does not exist, `make` is called with the path to write."""
    entry = folder() / f"{kind}-{key(inputs)}{suffix}"
    entry.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(folder() / f"{kind}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if entry.exists():
            os.utime(entry)
            return entry
        started = time.monotonic()
        for unfinished in folder().glob(f"new-{kind}-*"):
            _remove(unfinished)
        temporary = entry.with_name("new-" + entry.name)
        make(temporary)
        temporary.rename(entry)
        print(f"engine: built {kind} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        entries = sorted(folder().glob(f"{kind}-*{suffix}"), key=lambda path: path.stat().st_mtime)
        for old in entries[:-KEPT_ENTRIES]:
            _remove(old)
    return entry


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
