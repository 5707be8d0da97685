# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a model to its folder whole or not at all: fetched beside it, proven there, then renamed.

One lock per model is held by whoever works on it: this code, and the container that runs the hub's client. It is an
``flock``, so it ends with its holder and is never stale.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from typing import NamedTuple

from ansible_collections.ascend.vllm.plugins.module_utils import hub, weights

LOCAL = "local"


class StagingError(Exception):
    """The model cannot be staged; the message is a sentence that names the file or folder and what to do."""


class Source(NamedTuple):
    """Where a model comes from. ``token`` is a secret; ``endpoint`` is empty for the hub itself."""

    kind: str
    repository: str
    revision: str
    endpoint: str
    token: str


class Staging:
    """The staging of one model on one node.

    :param folder: the model's folder. :param memory: the weights.Memory of it.
    :param workers: files that are hashed or fetched at a time.
    """

    def __init__(self, folder, source, memory, workers):
        self.place = weights.place(folder)
        self.source = source
        self._memory = memory
        self._workers = workers

    def plan(self, web, full=False):
        """What has to be done: the wanted files, those that are wrong, and how they are fetched. Writes nothing.

        :param web: has ``get(url) -> str`` and ``size(url) -> int``; asked only without a manifest of this source.
        """
        stats = weights.list_model(self.place.model)
        recorded = weights.read_json(self.place.manifest)
        if self.source.kind == LOCAL:
            if not stats:
                raise StagingError(
                    "weights_source is local and %s holds no model; copy the model there, or set weights_source to "
                    "modelscope, huggingface or http" % self.place.model)
            digests = weights.digest_files(self.place.model, stats, self._memory, full, self._workers)
            return self._work(recorded, [], digests.hashed_bytes, changed=recorded is None)
        wanted = recorded if recorded and self._is_ours(recorded) else self._ask(web)
        faults, hashed_bytes = self._faults(wanted["files"], self.place.model, full)
        wrong = {fault["path"] for fault in faults}
        needed = [entry for entry in wanted["files"] if entry["path"] in wrong]
        return self._work(wanted, needed, hashed_bytes, changed=bool(needed) or wanted is not recorded)

    def prepare(self, work, free_space_bytes):
        """Make the folder beside the model ready for the client. Call it under the lock."""
        if self.source.kind == LOCAL:
            return
        self._need_space(work["bytes"], free_space_bytes)
        os.makedirs(self.place.staging, exist_ok=True)
        weights.write_json(self._wanted, work["wanted"])
        if self.source.token:
            weights.write_json(self.place.credentials, {hub.TOKEN_VARIABLES[self.source.kind]: self.source.token}, 0o600)
        elif os.path.exists(self.place.credentials):
            os.unlink(self.place.credentials)

    def publish(self, now):
        """Prove what was fetched, put it in its place and record the manifest. Call it under the lock.

        :returns: the manifest.
        """
        wanted = weights.read_json(self._wanted) if self.source.kind != LOCAL else None
        if wanted:
            self._take_over(wanted["files"])
        stats = weights.list_model(self.place.model)
        files = wanted["files"] if wanted else [{"path": path, "sha256": None} for path in stats]
        digests = weights.digest_files(
            self.place.model, {entry["path"]: stats[entry["path"]] for entry in files}, self._memory, False,
            self._workers)
        manifest = weights.make_manifest(
            self.source.kind, self.source.repository, (wanted or self.source._asdict())["revision"],
            [{"path": entry["path"], "size": stats[entry["path"]].st_size, "sha256": digests.sha256[entry["path"]],
              "sha256_from": entry.get("sha256_from") or ("hub" if entry["sha256"] else "staging")}
             for entry in files], now)
        manifest["asked"] = self._asked()
        weights.write_json(self.place.manifest, manifest)
        if wanted:
            self._clear()
        return manifest

    @contextlib.contextmanager
    def lock(self, wait_s, doing):
        """Hold the model's lock; :raises StagingError: when another run holds it for longer than ``wait_s``."""
        try:
            os.makedirs(os.path.dirname(self.place.lock), exist_ok=True)
            stream = open(self.place.lock, "a+", encoding="utf-8")  # noqa: SIM115 (its own errors are told apart)
        except OSError as error:
            raise StagingError("%s cannot be written: %s" % (
                os.path.dirname(self.place.lock), error.strerror)) from error
        with stream:
            deadline = time.monotonic() + wait_s
            while not _try_lock(stream):
                if time.monotonic() >= deadline:
                    stream.seek(0)
                    raise StagingError(
                        "another run stages %s (%s); wait for it to end, or set weights_lock_wait_s" % (
                            self.place.model, stream.read().strip() or "no more is known"))
                time.sleep(0.5)
            stream.truncate(0)
            stream.write("%s since %s\n" % (doing, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())))
            stream.flush()
            yield

    @property
    def _wanted(self):
        return os.path.join(os.path.dirname(self.place.manifest), "wanted.json")

    def _asked(self):
        return {"source": self.source.kind, "repository": self.source.repository or None,
                "revision": self.source.revision or None}

    def _is_ours(self, recorded):
        return recorded.get("asked") == self._asked()

    def _ask(self, web):
        if self.source.kind in hub.ENDPOINTS and not self.source.repository:
            raise StagingError("weights_source is %s, and the catalogue names no repository of it for this model; set "
                               "weights_repository" % self.source.kind)
        try:
            listing = hub.list_files(self.source.kind, self.source.endpoint, self.source.repository,
                                     self.source.revision, web.get, web.size)
        except hub.HubError as error:
            raise StagingError("%s %s: %s" % (self.source.kind, self.source.repository, error)) from error
        return {"revision": listing.revision, "files": [entry._asdict() for entry in listing.files]}

    def _faults(self, expected, folder, full=False):
        """What is wrong with the expected files in a folder, and how many bytes had to be hashed to know it."""
        stats = weights.list_model(folder)
        digests = weights.digest_files(
            folder, {entry["path"]: stats[entry["path"]] for entry in expected if entry["path"] in stats},
            self._memory, full, self._workers)
        faults = weights.compare(expected, stats, digests.sha256)
        wrong = {fault["path"] for fault in faults}
        for entry in expected:
            if entry.get("git_sha1") and entry["path"] not in wrong:
                found = weights.git_blob_sha1(os.path.join(folder, entry["path"]))
                if found != entry["git_sha1"]:
                    faults.append({"path": entry["path"], "fault": "git blob id", "expected": entry["git_sha1"],
                                   "actual": found})
        return faults, digests.hashed_bytes

    def _work(self, wanted, needed, hashed_bytes, changed):
        paths = [entry["path"] for entry in needed]
        work = {
            "changed": changed,
            "pending": changed,
            "wanted": wanted,
            "download": paths,
            "bytes": sum(entry["size"] for entry in needed),
            "hashed_bytes": hashed_bytes,
            "folder": os.path.dirname(self.place.manifest),
            "command": None,
            "environment": None,
        }
        if paths and self.source.kind in hub.ENDPOINTS:
            work["command"] = hub.download_command(
                self.source.kind, self.source.repository, wanted["revision"], paths, self.place.staging, self._workers)
            work["environment"] = dict(
                hub.download_environment(self.source.kind, self.source.endpoint),
                STAGING_LOCK=self.place.lock, STAGING_CREDENTIALS=self.place.credentials)
        return work

    def _need_space(self, needed, headroom):
        existing = self.place.staging
        while not os.path.isdir(existing):
            existing = os.path.dirname(existing)
        free = shutil.disk_usage(existing).free
        staged = sum(stat.st_size for stat in _everything(self.place.staging))
        if free + staged < needed + headroom:
            raise StagingError(
                "%s has %.1f GiB free; the model needs %.1f GiB more and weights_free_space_gib asks for %.1f GiB "
                "beside it; make room or set weights_path" % (
                    existing, free / 2**30, max(0, needed - staged) / 2**30, headroom / 2**30))

    def _take_over(self, wanted):
        """Move what was fetched to its place: the whole folder at once, or in a repair file by file."""
        staged = weights.list_model(self.place.staging)
        fresh = [entry for entry in wanted if entry["path"] in staged]
        others = [entry for entry in wanted if entry["path"] not in staged]
        damaged, _hashed = self._faults(fresh, self.place.staging)
        for fault in damaged:
            os.unlink(os.path.join(self.place.staging, fault["path"]))
        lacking, _hashed = self._faults(others, self.place.model)
        if damaged or lacking:
            raise StagingError("%s was not fetched whole (%s); run again to fetch what is wrong" % (
                self.place.model, "; ".join(weights.fault_sentence(fault) for fault in damaged + lacking)))
        for entry in fresh:
            _settle(os.path.join(self.place.staging, entry["path"]))
        if os.path.isdir(self.place.model):
            for entry in fresh:
                target = os.path.join(self.place.model, entry["path"])
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.replace(os.path.join(self.place.staging, entry["path"]), target)
        else:
            self._drop_leftovers({entry["path"] for entry in fresh})
            os.chmod(self.place.staging, 0o755)
            os.rename(self.place.staging, self.place.model)

    def _drop_leftovers(self, paths):
        """Remove what the client left beside the files; the staging folder is ours alone."""
        for root, folders, names in os.walk(self.place.staging, topdown=False):
            for name in names:
                if os.path.relpath(os.path.join(root, name), self.place.staging) not in paths:
                    os.unlink(os.path.join(root, name))
            for name in folders:
                with contextlib.suppress(OSError):  # It holds files of the model.
                    os.rmdir(os.path.join(root, name))

    def _clear(self):
        shutil.rmtree(self.place.staging, ignore_errors=True)
        for path in (self._wanted, self.place.credentials):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _everything(folder):
    for root, _folders, names in os.walk(folder):
        for name in names:
            yield os.lstat(os.path.join(root, name))


def _settle(path):
    """A file has to be on the disk before the rename that makes it count, and readable by the service's user."""
    os.chmod(path, 0o644)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _try_lock(stream):
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
