# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold before a model is staged: nobody else does it, there is room, no file of others is in the way."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files


class StagingError(Exception):
    """The model cannot be staged; the message is a sentence that names the file or folder and what to do."""


@contextlib.contextmanager
def hold_lock(place, wait_s, doing):
    """Hold the lock of a model's Place; :raises StagingError: when another run holds it for longer than ``wait_s``."""
    try:
        os.makedirs(os.path.dirname(place.lock), exist_ok=True)
        stream = open(place.lock, "a+", encoding="utf-8")  # noqa: SIM115 (its own errors are told apart)
    except OSError as error:
        raise StagingError("%s cannot be written: %s" % (os.path.dirname(place.lock), error.strerror)) from error
    with stream:
        deadline = time.monotonic() + wait_s
        while not _try_lock(stream):
            if time.monotonic() >= deadline:
                stream.seek(0)
                raise StagingError(
                    "another run stages %s (%s); wait for it to end, or set weights_lock_wait_s" % (
                        place.model, stream.read().strip() or "no more is known"))
            time.sleep(0.5)
        stream.truncate(0)
        stream.write("%s since %s\n" % (doing, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())))
        stream.flush()
        yield


def need_one_file_system(place):
    """:raises StagingError: when what is staged beside the model cannot be moved to its place at once."""
    parent = os.path.dirname(place.model)
    if files.read_only(parent):
        raise StagingError(
            "%s is read-only on this node, so no model can be staged there; mount it writable on the node that stages, "
            "or set weights_source to local" % parent)
    if os.path.ismount(place.model):
        raise StagingError(
            "%s is a mount of its own, so a model that is staged beside it cannot be moved there at once; mount it at "
            "%s, or set weights_path to a folder of the mount" % (place.model, parent))


def need_space(place, needed, headroom):
    """:raises StagingError: when there is no room for what is still needed, and ``headroom`` bytes beside it."""
    existing = place.staging
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    free = shutil.disk_usage(existing).free
    staged = staged_bytes(place.staging)
    if free + staged < needed + headroom:
        raise StagingError(
            "%s has %.1f GiB free; the model needs %.1f GiB more and weights_free_space_gib asks for %.1f GiB beside "
            "it; make room or set weights_path" % (
                existing, free / 2**30, max(0, needed - staged) / 2**30, headroom / 2**30))


def spare_foreign(place, faults, wanted, recorded, source):
    """:raises StagingError: when a file would be replaced that the role did not write, by another than it was.

    :param faults: of ``weights.compare``. :param wanted: the files that will be. :param recorded: the manifest so far.
    """
    known = {entry["path"]: entry for entry in recorded["files"]} if recorded else {}
    sha256 = {entry["path"]: entry["sha256"] for entry in wanted}

    def ours(path):
        return path in known and (known[path].get("written") or known[path]["sha256"] == sha256[path])

    foreign = [files.fault_sentence(fault) for fault in faults
               if fault["fault"] != "missing" and not ours(fault["path"])]
    if foreign:
        raise StagingError(
            "%s holds files of another origin: %s%s; move them away to get those of %s, or set weights_source to local "
            "to serve what is there" % (
                place.model, "; ".join(foreign[:3]),
                " and %d more" % (len(foreign) - 3) if len(foreign) > 3 else "", source))


def staged_bytes(folder):
    """What the folder holds on the disk, unfinished and hidden files included; space that is only reserved is none."""
    total = 0
    for root, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # The client renamed it meanwhile.
                stat = os.lstat(os.path.join(root, name))
                total += min(stat.st_size, stat.st_blocks * 512)
    return total


def _try_lock(stream):
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
