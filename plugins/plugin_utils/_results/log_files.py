# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the causes of failures in a folder or an archive of logs on the controller.

Archives are read in place: nothing is unpacked, and links are not followed.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import HEALTHY
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.bundle import INDEX
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.first_fault import level

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import Diagnosis

    class FileCause(Diagnosis):
        """A cause and the file in which it was found."""

        file: str


PIECE_CHARACTERS = 1 << 16
# A file with a zero byte in its first HEAD_BYTES bytes is not a text file.
HEAD_BYTES = 4096


def find_causes(path: Path) -> tuple[list[FileCause], list[str], list[str]]:
    """Return the causes in all text files (the most likely first), these files' names, and reasons for unread files.

    If a file contains no known fault, its error block or exception is included.

    :raises AnsibleActionFail: if the path does not exist.
    """
    if not path.exists():
        raise AnsibleActionFail(f"{path} does not exist; set diagnostics_from to a folder, an archive or a log.")
    found: list[FileCause] = []
    names, unreadable = [], []
    for file in _files(path):
        label = os.path.relpath(file, path) if file != path else path.name
        try:
            for member, stream in _streams(file):
                causes = _read(stream)
                if causes is not None:
                    names.append(label + member)
                    found += [{**cause, "file": label + member} for cause in causes]
        except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
            unreadable.append(f"{label}: {error}")
    return sorted(found, key=lambda cause: (level(cause), cause["file"])), names, unreadable


def _read(stream: IO[bytes]) -> list[Diagnosis] | None:
    """Return the causes in a file, with secrets masked; None if it is not a text file."""
    reader = io.BufferedReader(cast("io.RawIOBase", stream), PIECE_CHARACTERS)
    if b"\0" in reader.peek()[:HEAD_BYTES]:
        return None
    text = io.TextIOWrapper(reader, "utf-8", "replace", newline="")
    found = diagnose(iter(lambda: text.read(PIECE_CHARACTERS), ""))
    return [cast("Diagnosis", {**cause, "evidence": redact(cause["evidence"], [])}) for cause in found
            if cause["evidence"] and level(cause) != HEALTHY]


def _files(path: Path) -> Iterator[Path]:
    """Yield the files in a folder, without symbolic links; yield the path itself if it is a file."""
    if not path.is_dir():
        yield path
    for folder, folders, files in os.walk(path):
        folders.sort()
        for file in sorted(files):
            each = Path(folder) / file
            if each.is_file() and not each.is_symlink():
                yield each


def _streams(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield ``("", stream)`` for a log, compressed or not, or ``(":member", stream)`` for each member of an archive."""
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            is_bundle = False
            for number, member in enumerate(archive):
                # In our bundle, the index and the results quote the logs, so only the logs are read.
                is_bundle = is_bundle or (number == 0 and member.name == INDEX)
                if is_bundle and not member.name.endswith(".log"):
                    continue
                stream = archive.extractfile(member) if member.isfile() else None
                if stream:
                    yield ":" + member.name, stream
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as compressed:
            for info in compressed.infolist():
                if not info.is_dir():
                    with compressed.open(info) as stream:
                        yield ":" + info.filename, stream
    else:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as log:
            yield "", cast("IO[bytes]", log)
