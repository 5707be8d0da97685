# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models in local folders, and the metadata that hubs provide about their files."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

DEFAULT_BRANCHES = ("master", "main")
# Hubs store large files, and files with these endings, in LFS. Files in LFS have a SHA-256, others only git's SHA-1.
LFS_ENDINGS = (".safetensors", ".bin", ".model")
LFS_FROM_BYTES = 10 * 2**20


class File(NamedTuple):
    """One file of a model; `path` is relative to the model's folder."""

    path: str
    source: Path
    size: int
    sha256: str
    git_sha1: str
    modified_s: int  # since the epoch

    @property
    def lfs(self) -> bool:
        return self.size >= LFS_FROM_BYTES or self.path.endswith(LFS_ENDINGS)


class Snapshot(NamedTuple):
    """A model at a revision. `commit` is a hash of its files, so it changes if they change."""

    name: str
    commit: str
    files: dict[str, File]

    @property
    def modified_s(self) -> int:
        return max(file.modified_s for file in self.files.values())


class Unknown(Exception):
    """There is no such model, revision or file. `what` is Repo, Revision or Entry, as in the hubs' error codes."""

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message)
        self.what = what


class Repositories:
    """Model folders by id and revision, read on request."""

    def __init__(self, specifications: Iterable[str]) -> None:
        """Parse `OWNER/NAME[@REVISION]=FOLDER` texts.

        Raises:
            ValueError: a text does not have this form, or its folder does not exist.
        """
        self._folders: dict[str, dict[str, Path]] = {}
        for text in specifications:
            model, equals, folder = text.partition("=")
            name, _at, revision = model.partition("@")
            if not equals or name.count("/") != 1:
                raise ValueError(f"expected OWNER/NAME[@REVISION]=FOLDER, found {text}")
            if not Path(folder).is_dir():
                raise ValueError(f"{folder} of {model} is not a folder")
            for branch in [revision] if revision else DEFAULT_BRANCHES:
                self._folders.setdefault(name, {})[branch] = Path(folder)

    def names(self) -> list[str]:
        return list(self._folders)

    def revisions(self, name: str) -> list[str]:
        return list(self._model(name))

    def snapshot(self, name: str, revision: str) -> Snapshot:
        """Return the model at a branch, tag or commit.

        Raises:
            Unknown: there is no such model or revision.
        """
        folders = self._model(name)
        if revision in folders:
            return read(name, folders[revision])
        for folder in folders.values():
            snapshot = read(name, folder)
            if snapshot.commit == revision:
                return snapshot
        raise Unknown("Revision", f"{name} has no revision {revision}")

    def file(self, name: str, revision: str, path: str) -> tuple[Snapshot, File]:
        snapshot = self.snapshot(name, revision)
        if path not in snapshot.files:
            raise Unknown("Entry", f"{name} has no file {path} at revision {revision}")
        return snapshot, snapshot.files[path]

    def _model(self, name: str) -> dict[str, Path]:
        if name not in self._folders:
            raise Unknown("Repo", f"there is no model {name}")
        return self._folders[name]


def read(name: str, folder: Path) -> Snapshot:
    """Return the current files of a folder. Digests are only computed for new and changed files."""
    files = {}
    for path in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        stat = path.stat()
        sha256, git_sha1 = digests(path, stat.st_size, stat.st_mtime_ns)
        relative = str(path.relative_to(folder))
        files[relative] = File(relative, path, stat.st_size, sha256, git_sha1, int(stat.st_mtime))
    commit = hashlib.sha1("".join(f"{file.path}\0{file.sha256}\n" for file in files.values()).encode()).hexdigest()
    return Snapshot(name, commit, files)


@functools.lru_cache(maxsize=None)
def digests(path: Path, size: int, _modified_ns: int) -> tuple[str, str]:
    """Return the SHA-256 and git's blob SHA-1 of a file, in hex."""
    sha256, git_sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as file:
        for block in iter(functools.partial(file.read, 2**20), b""):
            sha256.update(block)
            git_sha1.update(block)
    return sha256.hexdigest(), git_sha1.hexdigest()


def timestamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
