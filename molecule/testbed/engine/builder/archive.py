# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write image layers (tar files), and image archives for `docker load`.

Timestamps and owners are fixed, so the same inputs result in the same image id.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

CREATED = "2025-11-10T00:00:00Z"  # the release date of v0.11.0rc1
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Layer:
    """A layer that is being written to a tar file; parent folders are added as needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.TarFile(path, "w", format=tarfile.GNU_FORMAT)
        self._folders: set[str] = set()

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._tar.close()

    def add(self, name: str, content: bytes | str, mode: int = 0o644) -> None:
        """Add a file; ``name`` is its path in the image."""
        data = content.encode() if isinstance(content, str) else content
        entry = self._entry(name, tarfile.REGTYPE, mode)
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        entry = self._entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        self._tar.addfile(entry)

    def folder(self, name: str, mode: int = 0o755) -> None:
        name = name.strip("/")
        if name and name not in self._folders:
            entry = self._entry(name, tarfile.DIRTYPE, mode)
            self._folders.add(name)
            self._tar.addfile(entry)

    def tree(self, source: Path, name: str) -> None:
        """Add all files in a folder; links are followed, and modes become 644 or 755."""
        for path in sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                self.add(f"{name}/{path.relative_to(source)}", path.read_bytes(), mode)

    def copy(self, entry: tarfile.TarInfo, content: io.BufferedIOBase | None) -> None:
        """Add an entry of another tar, with its original owner and mode."""
        if entry.isdir():
            self.folder(entry.name, entry.mode)
        else:
            self.folder(str(Path(entry.name).parent))
            entry.mtime = 0
            self._tar.addfile(entry, content)

    def _entry(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        name = name.strip("/")
        self.folder(str(Path(name).parent) if "/" in name else "")
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.uname, entry.gname = kind, mode, "root", "root"
        return entry


def write_image(path: Path, reference: str, layers: list[Path], settings: dict) -> None:
    """Write an archive that `docker load` accepts.

    Args:
        path: the tar to write.
        reference: the tag of the loaded image, such as quay.io/ascend/vllm-ascend:v0.11.0rc1.
        layers: tar files, the base layer first.
        settings: the image's `config`: Env, Entrypoint, Cmd, WorkingDir, Labels.
    """
    digests = [_sha256(layer) for layer in layers]
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "created": CREATED,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
            "history": [{"created": CREATED, "created_by": "molecule/testbed/engine/build"} for _digest in digests],
        }
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}/layer.tar" for digest in digests]}]
    with tarfile.open(path, "w") as tar:
        for digest, layer in zip(digests, layers):
            tar.add(layer, f"{digest}/layer.tar")
        for member, content in ((name, configuration), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
