# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage a model atomically: download it to its state folder, verify it there, then move it by a rename.

A lock per model is held by this code and by the container that runs the hub's client. It is an ``flock``, which ends
with its holder and is never stale.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights
from ansible_collections.ascend.vllm.plugins.module_utils._weights import hub, preconditions
from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import QUANTIZATION_FILE, SHARD_SUFFIX
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import (
        DigestCache,
        Fault,
        Manifest,
        ManifestFile,
        WantedFile,
    )

    class Web(Protocol):
        """HTTP requests to the source."""

        def get(self, url: str) -> str:
            """The body of a response."""

        def size(self, url: str) -> int:
            """The size of a file in bytes."""

    class Wanted(TypedDict):
        """The files that the model has to have; ``files`` is None if quantization will write them."""

        revision: str | None
        files: Sequence[WantedFile | ManifestFile] | None

    class Held(TypedDict):
        """The model on the node: ``holds`` is true if it is complete, ``manifest`` is its manifest if so, ``files`` the
        number of files in its folder, ``folder`` its state folder."""

        holds: bool
        files: int
        manifest: Manifest | None
        folder: str

    class Work(TypedDict):
        """The work for a model.

        ``changed`` and ``pending`` are true if anything has to be downloaded or recorded. ``download`` are the files
        and ``bytes`` is their size. ``folder`` is the state folder. ``command`` and ``environment`` are those of the
        hub's client, None if it has nothing to download.
        """

        changed: bool
        pending: bool
        wanted: Wanted | None
        download: list[str]
        bytes: int
        hashed_bytes: int
        folder: str
        command: list[str] | None
        environment: dict[str, str] | None

    class _Transfer(TypedDict):
        bytes: int
        running: bool
        exit_code: int
        done: bool

    class TransferObservation(_Transfer, total=False):
        """The return values of ``ascend.vllm.weights_transfer_info``; ``output`` is set after the container ended."""

        output: str

LOCAL, QUANTIZE = "local", "quantize"


class Source(NamedTuple):
    """The source of a model.

    ``token`` is a secret, and so may be the values of ``environment``, which are for the client. ``endpoint`` is empty
    for the hub itself. ``bytes`` is the expected size of a model whose source does not state it.
    """

    kind: str
    repository: str
    revision: str
    endpoint: str
    token: str
    bytes: int = 0
    environment: Mapping[str, str] = MappingProxyType({})


class Staging:
    """The staging of one model on one node.

    :param folder: the folder of the model.
    :param cache: the digest cache of the model.
    :param workers: how many files are hashed or downloaded at a time.
    """

    def __init__(self, folder: str, source: Source, cache: DigestCache, workers: int) -> None:
        self.paths = weights.model_paths(folder)
        self.source = source
        self._cache = cache
        self._workers = workers

    def held(self, full: bool = False) -> Held:
        """Check whether the node has the whole model according to its own manifest."""
        recorded = self._recorded()
        holds = recorded is not None and self._is_from_source(recorded) and not self._faults(
            recorded["files"], self.paths.model, full)[0]
        return {"holds": holds, "files": len(weights.list_model(self.paths.model)),
                "manifest": recorded if holds else None, "folder": os.path.dirname(self.paths.manifest)}

    def plan(self, web: Web, full: bool = False, manifest: Manifest | None = None) -> Work:
        """Determine what has to be done, without writing anything.

        :param web: only used if there is no manifest from this source.
        :param manifest: the manifest of another node that passes the model on to this one, instead of the source.
        """
        if urlsplit(self.source.endpoint).username is not None:
            raise StagingError("weights_hub_endpoint contains a user or password, which argv and the manifest would "
                               "show; remove them, and put a token in weights_hub_token")
        recorded = self._recorded()
        wanted: Wanted | Manifest
        if manifest:
            wanted = recorded if recorded and recorded["digest"] == manifest["digest"] else manifest
        elif self.source.kind == LOCAL:
            return self._adopt(recorded, full)
        elif self.source.kind == QUANTIZE:
            return self._make(recorded, full)
        else:
            wanted = recorded if recorded and self._is_from_source(recorded) else self._ask(web)
        files = wanted["files"] or []
        faults, hashed_bytes = self._faults(files, self.paths.model, full)
        preconditions.need_own_files(self.paths, faults, files, recorded, self.source.kind)
        wrong = {fault["path"] for fault in faults}
        needed = [entry for entry in files if entry["path"] in wrong]
        return self._work(wanted, needed, hashed_bytes, bool(needed) or wanted is not recorded, fetch=not manifest)

    def _adopt(self, recorded: Manifest | None, full: bool) -> Work:
        """The work for a model that an administrator copied to its folder."""
        stats = weights.list_model(self.paths.model)
        if not stats:
            raise StagingError(
                "weights_source is local and there is no model in %s; copy the model there, or set weights_source to "
                "modelscope, huggingface or http" % self.paths.model)
        outside = weights.list_outside(self.paths.model, stats)
        if outside:
            raise StagingError(
                "%s in %s and %d other files are links out of the folder, and the container only sees the folder; copy "
                "the model with its links resolved (cp -rL)" % (outside[0], self.paths.model, len(outside) - 1))
        listed = {entry["path"] for entry in recorded["files"]} if recorded else set(stats)
        digests = weights.digest_files(
            self.paths.model, {path: stats[path] for path in stats if path in listed}, self._cache, full,
            self._workers)
        return self._work(recorded, [], digests.hashed_bytes, recorded is None)

    def _make(self, recorded: Manifest | None, full: bool) -> Work:
        """The work for a model that is quantized on this node."""
        if recorded and self._is_from_source(recorded):
            faults, hashed_bytes = self._faults(recorded["files"], self.paths.model, full)
            if not faults:
                return self._work(recorded, [], hashed_bytes, False)
        elif weights.list_model(self.paths.model):
            raise StagingError(
                "weights_source is quantize and %s has a model that this role did not quantize; set weights_source "
                "to local to serve it, or move it away" % self.paths.model)
        # Only the tool knows which files it will write.
        work = self._work({"revision": None, "files": None}, [], 0, True)
        work["bytes"], work["environment"] = self.source.bytes, self._environment()
        return work

    def prepare(self, work: Work, free_space_bytes: float) -> None:
        """Prepare the state folder for the client. Has to be called under the lock."""
        if work["wanted"] is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._wanted)
            return
        if work["download"] or work["wanted"]["files"] is None:
            preconditions.need_one_file_system(self.paths)
            preconditions.need_space(self.paths, work["bytes"], free_space_bytes)
        os.makedirs(self.paths.staging, exist_ok=True)
        weights.write_json(self._wanted, dict(work["wanted"], download=work["download"]))
        # Only the hub's client needs the token; a download from another node does not.
        secrets = dict(self.source.environment) if work["command"] else {}
        if self.source.token and work["command"]:
            secrets[hub.TOKEN_VARIABLES[self.source.kind]] = self.source.token
        if secrets:
            weights.write_json(self.paths.credentials, secrets, 0o600)
        elif os.path.exists(self.paths.credentials):
            os.unlink(self.paths.credentials)

    def publish(self, now: str) -> Manifest:
        """Verify the download, move it to the folder of the model and record the manifest.

        Has to be called under the lock.
        """
        wanted: Wanted | None = weights.read_json(self._wanted)
        recorded = self._recorded()
        if not wanted and recorded and self._is_from_source(recorded):
            return recorded
        if wanted and wanted["files"] is None:
            wanted["files"] = self._quantized()
        written = {entry["path"] for entry in recorded["files"] if entry.get("written")} if recorded else set()
        files: Sequence[WantedFile | ManifestFile]
        if wanted:
            files = wanted["files"] or []
            written |= self._move_staged(files)
            self._remove_obsolete(written - {entry["path"] for entry in files})
            stats = weights.list_model(self.paths.model)
        else:
            stats = weights.list_model(self.paths.model)
            files = [{"path": path, "sha256": None} for path in stats]
        digests = weights.digest_files(
            self.paths.model, {entry["path"]: stats[entry["path"]] for entry in files}, self._cache, False,
            self._workers)
        manifest = weights.make_manifest(
            self.source.kind, self.source.repository, wanted["revision"] if wanted else self.source.revision,
            [{"path": entry["path"], "size": stats[entry["path"]].st_size, "sha256": digests.sha256[entry["path"]],
              "sha256_from": cast("ManifestFile", entry).get("sha256_from") or (
                  "hub" if entry["sha256"] else "staging"),
              "written": entry["path"] in written} for entry in files], now)
        manifest["asked"] = self._asked()
        weights.write_json(self.paths.manifest, manifest)
        if wanted:
            self._clear()
        return manifest

    def create_marker(self) -> str | None:
        """Create a marker file next to the model and return its path; return None on a read-only mount."""
        folder = os.path.dirname(self.paths.manifest)
        if not folder.startswith(os.path.dirname(self.paths.model) + os.sep) or weights.read_only(folder):
            return None
        handle, path = tempfile.mkstemp(dir=folder, prefix="mark-")
        os.close(handle)
        return path

    @property
    def _wanted(self) -> str:
        return os.path.join(os.path.dirname(self.paths.manifest), "wanted.json")

    def _recorded(self) -> Manifest | None:
        try:
            return cast("Manifest | None", weights.read_json(self.paths.manifest))
        except ValueError as error:
            raise StagingError("%s is damaged (%s); remove it, and the model is compared with its source again" % (
                self.paths.manifest, error)) from error

    def _asked(self) -> dict[str, str | None]:
        return {"source": self.source.kind, "repository": self.source.repository or None,
                "endpoint": self.source.endpoint if self.source.kind == hub.HTTP else None,
                "revision": self.source.revision or None}

    def _is_from_source(self, recorded: Manifest) -> bool:
        return self.source.kind == LOCAL or recorded.get("asked") == self._asked()

    def _ask(self, web: Web) -> Wanted:
        if self.source.kind in hub.ENDPOINTS and not self.source.repository:
            raise StagingError("weights_source is %s, and the catalogue has no repository there for this model; set "
                               "weights_repository" % self.source.kind)
        if self.source.kind == hub.HTTP and not self.source.endpoint:
            raise StagingError("weights_source is http and weights_hub_endpoint is empty; set it to the URL of the "
                               "folder of the model")
        try:
            listing = hub.list_files(self.source.kind, self.source.endpoint, self.source.repository,
                                     self.source.revision, web.get, web.size)
        except hub.HubError as error:
            raise StagingError("%s %s: %s" % (self.source.kind, self.source.repository, error)) from error
        return {"revision": listing.revision, "files": [
            {"path": entry.path, "size": entry.size, "sha256": entry.sha256, "git_sha1": entry.git_sha1}
            for entry in listing.files]}

    def _faults(self, expected: Sequence[WantedFile | ManifestFile], folder: str, full: bool = False
                ) -> tuple[list[Fault], int]:
        """Compare the files in a folder with the expected ones; returns the faults and the number of hashed bytes."""
        stats = weights.list_model(folder)
        digests = weights.digest_files(
            folder, {entry["path"]: stats[entry["path"]] for entry in expected if entry["path"] in stats},
            self._cache, full, self._workers)
        faults = weights.compare(expected, stats, digests.sha256)
        wrong = {fault["path"] for fault in faults}
        for entry in expected:
            git_sha1 = cast("WantedFile", entry).get("git_sha1")
            if git_sha1 and entry["path"] not in wrong:
                found = weights.git_blob_sha1(os.path.join(folder, entry["path"]))
                if found != git_sha1:
                    faults.append({"path": entry["path"], "fault": "git blob id", "expected": git_sha1,
                                   "actual": found})
        return faults, digests.hashed_bytes

    def _work(self, wanted: Wanted | Manifest | None, needed: Sequence[WantedFile | ManifestFile], hashed_bytes: int,
              changed: bool, fetch: bool = True) -> Work:
        paths = [entry["path"] for entry in needed]
        work: Work = {
            "changed": changed,
            "pending": changed,
            "wanted": cast("Wanted | None", wanted),
            "download": paths,
            "bytes": sum(entry["size"] for entry in needed),
            "hashed_bytes": hashed_bytes,
            "folder": os.path.dirname(self.paths.manifest),
            "command": None,
            "environment": None,
        }
        if wanted and paths and fetch:
            work["command"] = hub.download_command(
                self.source.kind, self.source.endpoint, self.source.repository, wanted["revision"] or "", paths,
                self.paths.staging, self._workers)
            work["environment"] = dict(hub.download_environment(self.source.kind, self.source.endpoint),
                                       **self._environment())
        return work

    def _environment(self) -> dict[str, str]:
        return {"STAGING_FOLDER": self.paths.staging, "STAGING_LOCK": self.paths.lock,
                "STAGING_WANTED": self._wanted, "STAGING_CREDENTIALS": self.paths.credentials}

    def _move_staged(self, wanted: Sequence[WantedFile | ManifestFile]) -> set[str]:
        """Move the download to the folder of the model: as a whole if the folder does not exist, else file by file.

        :returns: the paths that were moved.
        """
        staged = weights.list_model(self.paths.staging)
        fresh = [entry for entry in wanted if entry["path"] in staged]
        others = [entry for entry in wanted if entry["path"] not in staged]
        damaged, _hashed = self._faults(fresh, self.paths.staging)
        for fault in damaged:
            os.unlink(os.path.join(self.paths.staging, fault["path"]))
        lacking, _hashed = self._faults(others, self.paths.model)
        if damaged or lacking:
            raise StagingError("%s was not downloaded completely (%s); run again to download these files" % (
                self.paths.model, "; ".join(weights.fault_sentence(fault) for fault in damaged + lacking)))
        for entry in fresh:
            _sync(os.path.join(self.paths.staging, entry["path"]))
        if os.path.isdir(self.paths.model):
            for entry in fresh:
                target = os.path.join(self.paths.model, entry["path"])
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.replace(os.path.join(self.paths.staging, entry["path"]), target)
        else:
            self._drop_leftovers({entry["path"] for entry in fresh})
            os.chmod(self.paths.staging, 0o755)
            os.rename(self.paths.staging, self.paths.model)
        return {entry["path"] for entry in fresh}

    def _quantized(self) -> list[WantedFile]:
        """The files that the quantization wrote."""
        staged = weights.list_model(self.paths.staging)
        shards = [path for path in staged if path.endswith(SHARD_SUFFIX)]
        if not shards or QUANTIZATION_FILE not in staged:
            raise StagingError("quantization wrote %d files, among them %d shards and %s %s; read its output" % (
                len(staged), len(shards), "a" if QUANTIZATION_FILE in staged else "no", QUANTIZATION_FILE))
        return [{"path": path, "size": staged[path].st_size, "sha256": None} for path in staged]

    def _remove_obsolete(self, paths: set[str]) -> None:
        """Remove files that this role wrote for an earlier manifest, so that no stray shard remains."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.paths.model, path))

    def _drop_leftovers(self, paths: set[str]) -> None:
        """Remove other files of the client from the staging folder, which nothing else uses."""
        for root, folders, names in os.walk(self.paths.staging, topdown=False):
            for name in names:
                if os.path.relpath(os.path.join(root, name), self.paths.staging) not in paths:
                    os.unlink(os.path.join(root, name))
            for name in folders:
                with contextlib.suppress(OSError):  # It contains files of the model.
                    os.rmdir(os.path.join(root, name))

    def _clear(self) -> None:
        shutil.rmtree(self.paths.staging, ignore_errors=True)
        for path in (self._wanted, self.paths.credentials):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _sync(path: str) -> None:
    """Flush a file to the disk before the rename that publishes it, and make it readable for all users."""
    os.chmod(path, 0o644)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
