# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions for staging a model: no other run stages it, there is enough space, no foreign file would be replaced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import (
        Fault,
        Manifest,
        ManifestFile,
        ModelPaths,
        WantedFile,
    )


class StagingError(Exception):
    """The model cannot be staged; the message names the file or folder, and what to do."""


@contextlib.contextmanager
def hold_lock(paths: ModelPaths, wait_s: float, action: str) -> Iterator[None]:
    """Hold the lock of a model.

    :param action: what the run does meanwhile; it is part of the error message of other runs.
    :raises StagingError: if another run holds the lock for more than ``wait_s`` seconds.
    """
    try:
        os.makedirs(os.path.dirname(paths.lock), exist_ok=True)
        stream = open(paths.lock, "a+", encoding="utf-8")  # noqa: SIM115 (only errors of open are handled)
    except OSError as error:
        raise StagingError("%s cannot be written: %s" % (os.path.dirname(paths.lock), error.strerror)) from error
    with stream:
        deadline = time.monotonic() + wait_s
        while not _try_lock(stream):
            if time.monotonic() >= deadline:
                stream.seek(0)
                raise StagingError(
                    "another run is staging %s (%s); wait for it to end, or set weights_lock_wait_s" % (
                        paths.model, stream.read(200).strip() or "unknown since when"))
            time.sleep(0.5)
        stream.truncate(0)
        stream.write("%s since %s\n" % (action, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())))
        stream.flush()
        yield


def need_one_file_system(paths: ModelPaths) -> None:
    """Raise StagingError if the staged model cannot be moved to its folder by a rename."""
    parent = os.path.dirname(paths.model)
    if files.read_only(parent):
        raise StagingError(
            "%s is read-only on this node, so no model can be staged there; mount it writable on the node that stages "
            "the model, or set weights_source to local" % parent)
    if os.path.ismount(paths.model):
        raise StagingError(
            "%s is a mount point, so a staged model cannot be moved there by a rename; mount it at "
            "%s, or set weights_path to a folder below the mount point" % (paths.model, parent))


def need_space(paths: ModelPaths, needed: int, reserved: float) -> None:
    """Raise StagingError if there is no space for ``needed`` bytes and ``reserved`` bytes more."""
    existing = paths.staging
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    free = shutil.disk_usage(existing).free
    staged = staged_bytes(paths.staging)
    if free + staged < needed + reserved:
        raise StagingError(
            "%s has %.1f GiB free; the model needs %.1f GiB more, and weights_free_space_gib reserves %.1f GiB; free "
            "space or set weights_path" % (
                existing, free / 2**30, max(0, needed - staged) / 2**30, reserved / 2**30))


def need_own_files(paths: ModelPaths, faults: Iterable[Fault], wanted: Iterable[WantedFile | ManifestFile],
                   recorded: Manifest | None, source: str) -> None:
    """Raise StagingError if a file would be replaced that the role neither wrote nor restores to its recorded content.

    :param faults: the differences between the files on the node and the wanted files.
    :param recorded: the current manifest.
    """
    known = {entry["path"]: entry for entry in recorded["files"]} if recorded else {}
    sha256 = {entry["path"]: entry["sha256"] for entry in wanted}

    def own(path: str) -> bool:
        return path in known and (bool(known[path].get("written")) or known[path]["sha256"] == sha256[path])

    foreign = [files.fault_sentence(fault) for fault in faults
               if fault["fault"] != "missing" and not own(fault["path"])]
    if foreign:
        raise StagingError(
            "%s has files from another source: %s%s; move them away to get those of %s, or set weights_source to local "
            "to serve the present files" % (
                paths.model, "; ".join(foreign[:3]),
                " and %d more" % (len(foreign) - 3) if len(foreign) > 3 else "", source))


def staged_bytes(folder: str) -> int:
    """The size of the folder on the disk, with incomplete and hidden files, without space that is only preallocated."""
    total = 0
    for root, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # The client has renamed it.
                stat = os.lstat(os.path.join(root, name))
                total += min(stat.st_size, stat.st_blocks * 512)
    return total


def _try_lock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
