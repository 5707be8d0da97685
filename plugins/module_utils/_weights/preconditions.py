# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that no other run stages the model, that there is enough space, and that no foreign file would be replaced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from typing import IO

from ansible_collections.ascend.vllm.plugins.module_utils._host import facts
from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import Folder, UnsafePathError


class StagingError(Exception):
    """The model cannot be staged. The message contains the file or folder and a remedy."""


@contextlib.contextmanager
def hold_lock(paths: files.ModelPaths, wait_s: float, action: str) -> Iterator[Folder]:
    """Hold the lock of a model on this node, and yield its state folder.

    :param action: the action of this run, such as ``preparing``. The error message of another run contains it.
    :raises StagingError: if another run holds the lock for more than ``wait_s`` seconds.
    """
    with contextlib.ExitStack() as stack:
        try:
            state = stack.enter_context(Folder.open(paths.state, 0o700, trusted=True))
            lock = state.file(files.LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except UnsafePathError as error:
            raise StagingError(str(error)) from error
        except OSError as error:
            raise StagingError("%s cannot be written: %s" % (paths.state, error.strerror)) from error
        with open(lock, "a+", encoding="utf-8", errors="replace") as stream:
            _wait_for_lock(stream, paths, wait_s)
            stream.truncate(0)
            stream.write("%s since %s\n" % (action, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())))
            stream.flush()
            yield state


@contextlib.contextmanager
def open_work_folder(paths: files.ModelPaths, wait_s: float, create: bool = True) -> Iterator[Folder | None]:
    """Open the work folder of a model and hold its lock against other nodes that mount the same folder.

    :param create: whether to create the work folder if it does not exist. If it is not created, None is yielded.
    :raises StagingError: if other users control the folder, or if another node holds the lock for more than ``wait_s``
        seconds.
    """
    name = os.path.basename(paths.model)
    with contextlib.ExitStack() as stack:
        try:
            parent = stack.enter_context(Folder.open(os.path.dirname(paths.model), 0o755 if create else 0))
            above = stack.enter_context(parent.own_folder(files.WORK_FOLDER, create))
            work = stack.enter_context(above.own_folder(name, create))
            lock = work.file(files.LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except FileNotFoundError:
            if create:
                raise
            yield None
            return
        except UnsafePathError as error:
            raise StagingError(str(error)) from error
        except OSError as error:
            raise StagingError("%s cannot be written: %s" % (paths.work, error.strerror)) from error
        # Nothing is written to the lock, because other users may be able to read it.
        _wait_for_lock(stack.enter_context(open(lock, "a+", encoding="utf-8", errors="replace")), paths, wait_s)
        yield work


def _wait_for_lock(stream: IO[str], paths: files.ModelPaths, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= deadline:
            stream.seek(0)
            raise StagingError(
                "Another run is staging %s (%s); wait for it to end, or increase weights_lock_wait_s." % (
                    paths.model, stream.read(200).strip() or "since an unknown time"))
        time.sleep(0.5)


def require_same_file_system(paths: files.ModelPaths) -> None:
    """Raise StagingError if the staged model cannot be moved to its folder by a rename."""
    parent = os.path.dirname(paths.model)
    if files.read_only(parent):
        raise StagingError(
            "%s is read-only on this node, so no model can be staged there; mount it writable on the node that stages "
            "the model, or set weights_source to local." % parent)
    if os.path.ismount(paths.model):
        raise StagingError(
            "%s is a mount point, so a staged model cannot be moved there by a rename; mount it at "
            "%s, or set weights_path to a folder below the mount point." % (paths.model, parent))


def require_space(paths: files.ModelPaths, needed: int, reserved: float) -> None:
    """Raise StagingError if fewer than ``reserved`` bytes would remain free after a download of ``needed`` bytes."""
    disk = facts.disk(paths.staging)
    free = disk["free_bytes"]
    staged = staged_bytes(paths.staging)
    if free + staged < needed + reserved:
        raise StagingError(
            "%s has %.1f GiB free; the model needs %.1f GiB more, and weights_free_space_gib reserves %.1f GiB; free "
            "space or set weights_path." % (
                disk["existing"], free / 2**30, max(0, needed - staged) / 2**30, reserved / 2**30))


def require_own_files(
        paths: files.ModelPaths, faults: Iterable[files.Fault],
        wanted: Iterable[files.WantedFile | files.ManifestFile], recorded: files.Manifest | None, source: str) -> None:
    """Raise StagingError if a foreign file would be replaced by other content.

    A foreign file is a file that the role did not write. It can only be restored to its content in the recorded
    manifest. The message contains ``source``.
    """
    known = {entry["path"]: entry for entry in recorded["files"]} if recorded else {}
    sha256 = {entry["path"]: entry["sha256"] for entry in wanted}

    def own(path: str) -> bool:
        return path in known and (bool(known[path].get("written")) or known[path]["sha256"] == sha256[path])

    foreign = [files.fault_sentence(fault) for fault in faults
               if fault["fault"] != "missing" and not own(fault["path"])]
    if foreign:
        raise StagingError(
            "%s has files from another source: %s%s; move them away to get the files of %s, or set weights_source to "
            "local to serve the present files." % (
                paths.model, "; ".join(foreign[:3]),
                " and %d more" % (len(foreign) - 3) if len(foreign) > 3 else "", source))


def staged_bytes(folder: str) -> int:
    """Return the size of a folder in bytes, including incomplete and hidden files, without preallocated space."""
    total = 0
    for root, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # the client has renamed the file
                stat = os.lstat(os.path.join(root, name))
                total += min(stat.st_size, stat.st_blocks * 512)
    return total
