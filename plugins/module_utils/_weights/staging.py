# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a model to its folder whole or not at all: fetched beside it, proven there, then renamed.

One lock per model is held by whoever works on it: this code, and the container that runs the hub's client. It is an
``flock``, so it ends with its holder and is never stale.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import NamedTuple
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights
from ansible_collections.ascend.vllm.plugins.module_utils._weights import hub, preconditions
from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import QUANTIZATION_FILE, SHARD_ENDING
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError

LOCAL, QUANTIZE = "local", "quantize"


class Source(NamedTuple):
    """Where a model comes from.

    ``token`` is a secret; ``endpoint`` is empty for the hub itself; ``bytes`` is the size that is expected of a model
    whose source does not tell it.
    """

    kind: str
    repository: str
    revision: str
    endpoint: str
    token: str
    bytes: int = 0


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

    def held(self, full=False):
        """Whether the node holds the whole model by its own manifest: ``{"holds", "files", "manifest", "folder"}``."""
        recorded = self._recorded()
        holds = bool(recorded) and self._is_ours(recorded) and not self._faults(
            recorded["files"], self.place.model, full)[0]
        return {"holds": holds, "files": len(weights.list_model(self.place.model)),
                "manifest": recorded if holds else None, "folder": os.path.dirname(self.place.manifest)}

    def plan(self, web, full=False, manifest=None):
        """What has to be done: the wanted files, those that are wrong, and how they are fetched. Writes nothing.

        :param web: has ``get(url) -> str`` and ``size(url) -> int``; asked only without a manifest of this source.
        :param manifest: that of a node which holds the model and gives it to this one; the source is not asked.
        """
        if urlsplit(self.source.endpoint).username is not None:
            raise StagingError("weights_hub_endpoint holds a user or password, which argv and the manifest would show; "
                               "take them out, and put a token in weights_hub_token")
        recorded = self._recorded()
        if manifest:
            wanted = recorded if recorded and recorded["digest"] == manifest["digest"] else manifest
        elif self.source.kind == LOCAL:
            return self._adopt(recorded, full)
        elif self.source.kind == QUANTIZE:
            return self._make(recorded, full)
        else:
            wanted = recorded if recorded and self._is_ours(recorded) else self._ask(web)
        faults, hashed_bytes = self._faults(wanted["files"], self.place.model, full)
        preconditions.spare_foreign(self.place, faults, wanted["files"], recorded, self.source.kind)
        wrong = {fault["path"] for fault in faults}
        needed = [entry for entry in wanted["files"] if entry["path"] in wrong]
        return self._work(wanted, needed, hashed_bytes, bool(needed) or wanted is not recorded, fetch=not manifest)

    def _adopt(self, recorded, full):
        stats = weights.list_model(self.place.model)
        if not stats:
            raise StagingError(
                "weights_source is local and %s holds no model; copy the model there, or set weights_source to "
                "modelscope, huggingface or http" % self.place.model)
        outside = weights.list_outside(self.place.model, stats)
        if outside:
            raise StagingError(
                "%s in %s and %d other files are links out of the folder, which is all that the container sees; copy "
                "the model with its links followed (cp -rL)" % (outside[0], self.place.model, len(outside) - 1))
        listed = {entry["path"] for entry in recorded["files"]} if recorded else set(stats)
        digests = weights.digest_files(
            self.place.model, {path: stats[path] for path in stats if path in listed}, self._memory, full,
            self._workers)
        return self._work(recorded, [], digests.hashed_bytes, recorded is None)

    def _make(self, recorded, full):
        if recorded and self._is_ours(recorded):
            faults, hashed_bytes = self._faults(recorded["files"], self.place.model, full)
            if not faults:
                return self._work(recorded, [], hashed_bytes, False)
        elif weights.list_model(self.place.model):
            raise StagingError(
                "weights_source is quantize and %s holds a model that this role did not quantize; set weights_source "
                "to local to serve it, or move it away" % self.place.model)
        # What it will consist of, only the tool knows.
        return dict(self._work({"revision": None, "files": None}, [], 0, True), bytes=self.source.bytes,
                    environment=self._environment())

    def prepare(self, work, free_space_bytes):
        """Make the folder beside the model ready for the client. Call it under the lock."""
        if work["wanted"] is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._wanted)
            return
        if work["download"] or work["wanted"]["files"] is None:
            preconditions.need_one_file_system(self.place)
            preconditions.need_space(self.place, work["bytes"], free_space_bytes)
        os.makedirs(self.place.staging, exist_ok=True)
        weights.write_json(self._wanted, dict(work["wanted"], download=work["download"]))
        # Only a client of the hub asks for the token: what comes from another node needs none.
        if self.source.token and work["command"]:
            variable = hub.TOKEN_VARIABLES[self.source.kind]
            weights.write_json(self.place.credentials, {variable: self.source.token}, 0o600)
        elif os.path.exists(self.place.credentials):
            os.unlink(self.place.credentials)

    def publish(self, now):
        """Prove what was fetched, put it in its place and record the manifest. Call it under the lock.

        :returns: the manifest.
        """
        wanted = weights.read_json(self._wanted)
        recorded = self._recorded()
        if not wanted and recorded and self._is_ours(recorded):
            return recorded
        if wanted and wanted["files"] is None:
            wanted["files"] = self._made()
        written = {entry["path"] for entry in recorded["files"] if entry.get("written")} if recorded else set()
        if wanted:
            written |= self._take_over(wanted["files"])
            self._retire(written - {entry["path"] for entry in wanted["files"]})
        stats = weights.list_model(self.place.model)
        files = wanted["files"] if wanted else [{"path": path, "sha256": None} for path in stats]
        digests = weights.digest_files(
            self.place.model, {entry["path"]: stats[entry["path"]] for entry in files}, self._memory, False,
            self._workers)
        manifest = weights.make_manifest(
            self.source.kind, self.source.repository, (wanted or self.source._asdict())["revision"],
            [{"path": entry["path"], "size": stats[entry["path"]].st_size, "sha256": digests.sha256[entry["path"]],
              "sha256_from": entry.get("sha256_from") or ("hub" if entry["sha256"] else "staging"),
              "written": entry["path"] in written} for entry in files], now)
        manifest["asked"] = self._asked()
        weights.write_json(self.place.manifest, manifest)
        if wanted:
            self._clear()
        return manifest

    def mark(self):
        """Leave a mark beside the model and return its path; None on a read-only mount, where none can be left."""
        beside = os.path.dirname(self.place.manifest)
        if not beside.startswith(os.path.dirname(self.place.model) + os.sep) or weights.read_only(beside):
            return None
        handle, path = tempfile.mkstemp(dir=beside, prefix="mark-")
        os.close(handle)
        return path

    @property
    def _wanted(self):
        return os.path.join(os.path.dirname(self.place.manifest), "wanted.json")

    def _recorded(self):
        try:
            return weights.read_json(self.place.manifest)
        except ValueError as error:
            raise StagingError("%s is damaged (%s); remove it, and the model is held against its source again" % (
                self.place.manifest, error)) from error

    def _asked(self):
        return {"source": self.source.kind, "repository": self.source.repository or None,
                "endpoint": self.source.endpoint if self.source.kind == hub.HTTP else None,
                "revision": self.source.revision or None}

    def _is_ours(self, recorded):
        return self.source.kind == LOCAL or recorded.get("asked") == self._asked()

    def _ask(self, web):
        if self.source.kind in hub.ENDPOINTS and not self.source.repository:
            raise StagingError("weights_source is %s, and the catalogue names no repository of it for this model; set "
                               "weights_repository" % self.source.kind)
        if self.source.kind == hub.HTTP and not self.source.endpoint:
            raise StagingError("weights_source is http and weights_hub_endpoint is empty; set it to the address of the "
                               "model's folder")
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

    def _work(self, wanted, needed, hashed_bytes, changed, fetch=True):
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
        if paths and fetch:
            work["command"] = hub.download_command(
                self.source.kind, self.source.endpoint, self.source.repository, wanted["revision"], paths,
                self.place.staging, self._workers)
            work["environment"] = dict(hub.download_environment(self.source.kind, self.source.endpoint),
                                       **self._environment())
        return work

    def _environment(self):
        return {"STAGING_FOLDER": self.place.staging, "STAGING_LOCK": self.place.lock,
                "STAGING_WANTED": self._wanted, "STAGING_CREDENTIALS": self.place.credentials}

    def _take_over(self, wanted):
        """Move what was fetched to its place: the whole folder at once, or in a repair file by file.

        :returns: the paths that were moved.
        """
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
        return {entry["path"] for entry in fresh}

    def _made(self):
        """The files that quantization left, which nobody could name before."""
        staged = weights.list_model(self.place.staging)
        shards = [path for path in staged if path.endswith(SHARD_ENDING)]
        if not shards or QUANTIZATION_FILE not in staged:
            raise StagingError("quantization left %d files, among them %d shards and %s %s; read its output" % (
                len(staged), len(shards), "a" if QUANTIZATION_FILE in staged else "no", QUANTIZATION_FILE))
        return [{"path": path, "size": staged[path].st_size, "sha256": None} for path in staged]

    def _retire(self, paths):
        """Remove what this role wrote for an earlier manifest and the model no longer has, so that no shard strays."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.place.model, path))

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


def _settle(path):
    """A file has to be on the disk before the rename that makes it count, and readable by the service's user."""
    os.chmod(path, 0o644)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
