# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage a model atomically: download it to its work folder, verify it there, and rename it into its final folder.

This code and the container that runs the client of the hub hold the lock of the model while they work on it. The lock
is an ``flock``, which the kernel releases when the process ends. The container can only write to the work folder and
the transfer folder. The files in these folders are not trusted.
"""

from __future__ import annotations

import contextlib
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights
from ansible_collections.ascend.vllm.plugins.module_utils._weights import hub, preconditions
from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import QUANTIZATION_FILE, SHARD_SUFFIX
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import Folder, UnsafePathError, open_existing
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError, open_work_folder

if TYPE_CHECKING:
    from typing import Iterable, Mapping, Sequence, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._weights.hub_requests import HubRequests

    Files = Sequence[weights.WantedFile | weights.ManifestFile]

    class Wanted(TypedDict):
        """The required files of the model. ``files`` is None if the quantization tool will write the files."""

        revision: str | None
        files: Files | None

    class Held(TypedDict):
        """The model on the node."""

        #: Whether the model is complete. If it is not, ``manifest`` is None.
        holds: bool
        #: The number of files in the folder of the model, and the `Folder.identity` of this folder.
        files: int
        manifest: weights.Manifest | None
        identity: str | None
        #: The state folder and the work folder.
        state: str
        folder: str

    class Work(TypedDict):
        """The work that is required to stage a model."""

        #: Whether anything has to be downloaded or recorded.
        changed: bool
        pending: bool
        wanted: Wanted | None
        #: The paths of the files to download, and their total size.
        download: list[str]
        bytes: int
        hashed_bytes: int
        #: The work folder, the state folder and the transfer folder.
        folder: str
        state: str
        transfer: str
        #: The `Folder.identity` of the staging folder.
        identity: str | None
        #: The command and the environment of the hub's client, or None if there is nothing to download.
        command: list[str] | None
        environment: dict[str, str] | None

    class _Transfer(TypedDict):
        bytes: int
        running: bool
        exit_code: int
        done: bool

    class TransferObservation(_Transfer, total=False):
        """The return values of ``ascend.vllm.weights_transfer_info``. ``output`` is set if the container has exited."""

        output: str

LOCAL, QUANTIZE = "local", "quantize"

WANTED = "wanted.json"
# The folder in the state folder that the container of the client can write to. The client removes the file with the
# token after reading it, and reports that the transfer is complete.
TRANSFER, CREDENTIALS = "transfer", "credentials"
# The files that earlier versions wrote to the work folder (see `Staging._earlier`).
_EARLIER = (weights.MANIFEST, WANTED, CREDENTIALS)


class Source(NamedTuple):
    """The source of a model. The token and the values of the environment are secrets."""

    kind: str
    repository: str
    revision: str
    #: The URL of a mirror, or empty for the hub itself.
    endpoint: str
    token: str
    #: The expected size of the model, which is used if the source does not report the size.
    bytes: int = 0
    #: Environment variables for the client.
    environment: Mapping[str, str] = MappingProxyType({})


class Staging:
    """The staging of a model on a node.

    The argument ``state`` of the methods is the state folder, whose lock the caller holds. ``wait_s`` is the number of
    seconds to wait for another node that stages the model in the same folder.

    :param folder: the path of the folder of the model.
    :param cache: the digest cache of the model.
    :param workers: the number of files that are hashed or downloaded at the same time.
    :param run: the id of this run, which is part of the names of temporary files.
    """

    def __init__(self, folder: str, source: Source, cache: weights.DigestCache, workers: int, run: str = "") -> None:
        self.paths = weights.model_paths(folder)
        self.credentials = os.path.join(self.paths.state, TRANSFER, f"{CREDENTIALS}-{run}")
        self.marker = os.path.join(self.paths.work, "mark-" + run)
        self.source = source
        self._cache = cache
        self._workers = workers
        #: A sentence about a manifest that cannot be read, or None.
        self.warning: str | None = None

    def held(self, full: bool = False) -> Held:
        """Return the model on the node. It is complete if it matches the manifest on this node."""
        recorded = self._recorded()
        with open_existing(self.paths.model) as model:
            holds = recorded is not None and self._is_from_source(recorded) and not self._faults(
                recorded["files"], model, full)[0]
            return {"holds": holds, "files": len(weights.list_model(model)), "manifest": recorded if holds else None,
                    "identity": model.identity() if model else None, "state": self.paths.state,
                    "folder": self.paths.work}

    def plan(self, requests: HubRequests, full: bool = False, manifest: weights.Manifest | None = None) -> Work:
        """Return the work that is required, without writing anything.

        :param requests: the client of the source, which is only used if there is no manifest from this source.
        :param manifest: the manifest of another node, from which this node copies the model, or None to get the model
            from the source.
        """
        if urlsplit(self.source.endpoint).username is not None:
            raise StagingError("weights_hub_endpoint contains a user or password, which argv and the manifest would "
                               "show; remove them, and put a token in weights_hub_token.")
        recorded = self._recorded()
        wanted: Wanted | weights.Manifest
        if manifest:
            manifest = _received(manifest)
            wanted = recorded if recorded and recorded["digest"] == manifest["digest"] else manifest
        elif self.source.kind in (LOCAL, QUANTIZE):
            with open_existing(self.paths.model) as model:
                return (self._plan_local if self.source.kind == LOCAL else self._plan_quantized)(recorded, model, full)
        else:
            wanted = recorded if recorded and self._is_from_source(recorded) else self._query_source(requests)
        files = wanted["files"] or []
        with open_existing(self.paths.model) as model:
            faults, hashed_bytes = self._faults(files, model, full)
        preconditions.require_own_files(self.paths, faults, files, recorded, self.source.kind)
        wrong = {fault["path"] for fault in faults}
        needed = [entry for entry in files if entry["path"] in wrong]
        return self._work(wanted, needed, hashed_bytes, bool(needed) or wanted is not recorded, fetch=not manifest)

    def _plan_local(self, recorded: weights.Manifest | None, model: Folder | None, full: bool) -> Work:
        """Return the work for a model that an administrator has copied to its folder."""
        stats = weights.list_model(model)
        if not stats:
            raise StagingError(
                "weights_source is local and there is no model in %s; copy the model there, or set weights_source to "
                "modelscope, huggingface or http." % self.paths.model)
        outside = weights.list_outside(model, stats)
        if outside:
            raise StagingError(
                "%s has links out of the folder (%d, first: %s), and the container only sees the folder; copy the "
                "model with its links resolved (cp -rL)." % (self.paths.model, len(outside), outside[0]))
        listed = {entry["path"] for entry in recorded["files"]} if recorded else set(stats)
        digests = weights.digest_files(model, stats, listed, self._cache, full, self._workers)
        earlier = None if recorded else self._earlier(model)
        faults = weights.compare(earlier["files"], stats, digests.sha256) if earlier else ()
        if faults:
            raise StagingError(
                "%s, according to the manifest of an earlier version in %s; copy the model again, or remove that file "
                "if you have replaced the model." % (
                    "; ".join(weights.fault_sentence(fault) for fault in faults[:3]), self.paths.work))
        return self._work(recorded, [], digests.hashed_bytes, recorded is None)

    def _plan_quantized(self, recorded: weights.Manifest | None, model: Folder | None, full: bool) -> Work:
        """Return the work for a model that is quantized on this node."""
        present = set(weights.list_model(model))
        known = recorded or self._earlier(model)
        if known and self._is_from_source(known) and (recorded or present == {
                entry["path"] for entry in known["files"]}):
            faults, hashed_bytes = self._faults(known["files"], model, full)
            if not faults:
                return self._work(known, [], hashed_bytes, recorded is None)
        if present and not (recorded and self._is_from_source(recorded)):
            raise StagingError(
                "weights_source is quantize and %s has a model that this role did not quantize; set weights_source "
                "to local to serve it, or move it away." % self.paths.model)
        # The names of the files are unknown until the tool has written them.
        work = self._work({"revision": None, "files": None}, [], 0, True)
        work["bytes"], work["environment"] = self.source.bytes, self._environment()
        return work

    def prepare(self, work: Work, free_space_bytes: float, state: Folder, wait_s: float = 0) -> None:
        """Prepare the folders for the client.

        :param free_space_bytes: the number of bytes that must remain free after the download.
        """
        if work["wanted"] is None:
            state.unlink(WANTED)
            return
        if work["download"] or work["wanted"]["files"] is None:
            preconditions.require_same_file_system(self.paths)
            preconditions.require_space(self.paths, work["bytes"], free_space_bytes)
            with open_work_folder(self.paths, wait_s) as folder:
                if folder:
                    with folder.own_folder(weights.STAGING, True) as staging:
                        work["identity"] = staging.identity()
            if work["environment"]:
                work["environment"]["STAGING_IDENTITY"] = work["identity"] or ""
        state.write_json(WANTED, dict(work["wanted"], download=work["download"]))
        state.remove_tree(TRANSFER)
        with state.folder(TRANSFER, 0o700) as transfer:
            # Only the hub's client needs the token. A download from another node does not need it.
            secrets = dict(self.source.environment) if work["command"] else {}
            if self.source.token and work["command"]:
                secrets[hub.TOKEN_VARIABLES[self.source.kind]] = self.source.token
            if secrets:
                transfer.write_json(os.path.basename(self.credentials), secrets)

    def record(self, manifest: weights.Manifest, state: Folder) -> bool:
        """Record the manifest of another node, which stages the model in a folder that both nodes mount.

        :returns: whether the manifest has changed.
        """
        manifest, recorded = _received(manifest), self._recorded()
        if recorded and recorded["digest"] == manifest["digest"] and recorded.get("asked") == manifest.get("asked"):
            return False
        files = [cast("weights.ManifestFile", dict(entry, written=False)) for entry in manifest["files"]]
        state.write_json(weights.MANIFEST, dict(manifest, files=files))
        return True

    def publish(self, now: str, state: Folder, wait_s: float = 0) -> weights.Manifest:
        """Verify the download, move it to the folder of the model and record the manifest.

        :param now: the current time in UTC, such as ``2026-11-29T12:00:00Z``.
        """
        wanted: Wanted | None = state.read_json(WANTED)
        recorded = self._recorded()
        if not wanted and recorded and self._is_from_source(recorded):
            return recorded
        parent = os.path.dirname(self.paths.model)
        with contextlib.ExitStack() as stack:
            work = None
            try:
                if not weights.read_only(parent):
                    work = stack.enter_context(open_work_folder(self.paths, wait_s, create=False))
            except StagingError:
                if wanted:  # otherwise, the work folder is only needed to remove the manifest of an earlier version
                    raise
            manifest = self._publish(now, state, wanted, recorded, work)
            state.write_json(weights.MANIFEST, manifest)
            state.unlink(WANTED)
            state.remove_tree(TRANSFER)
            if work:
                if wanted:
                    work.remove_tree(weights.STAGING)
                for name in _EARLIER:
                    work.unlink(name)
        return manifest

    def _publish(self, now: str, state: Folder, wanted: Wanted | None, recorded: weights.Manifest | None,
                 work: Folder | None) -> weights.Manifest:
        """Move the staged files to the folder of the model, verify the model and return its manifest."""
        written = {entry["path"] for entry in recorded["files"] if entry.get("written")} if recorded else set()
        files: Files = ()
        if wanted:
            with _staging_folder(work) as staging:
                files = wanted["files"] = wanted["files"] or self._quantized(staging)
                written |= self._move_staged(files, staging, work)
        with open_existing(self.paths.model) as model:
            if model and wanted:
                # Files that this role wrote for an earlier manifest, such as obsolete shards.
                for path in written - {entry["path"] for entry in files}:
                    model.unlink(path)
            stats = weights.list_model(model)
            if not wanted:
                files = [{"path": path, "size": stats[path].st_size, "sha256": None} for path in stats]
                _require_valid_names(stats)
            digests = weights.digest_files(
                model, stats, (entry["path"] for entry in files), self._cache, False, self._workers)
            faults = weights.compare(files, stats, digests.sha256)
        if faults or not all(digests.sha256.values()):
            raise StagingError("%s was changed while it was published (%s); run again." % (
                self.paths.model, "; ".join(weights.fault_sentence(fault) for fault in faults[:3]) or "a link"))
        if wanted and not recorded and self.source.kind not in (LOCAL, QUANTIZE):
            # Files that an earlier version wrote and that have the content of the source. They are marked as written by
            # the role, so that a later revision can replace them.
            earlier = self._earlier(model)
            written |= {entry["path"] for entry in (earlier["files"] if earlier else ())
                        if entry["written"] and digests.sha256.get(entry["path"]) == entry["sha256"]}
        manifest = weights.make_manifest(
            self.source.kind, self.source.repository, wanted["revision"] if wanted else self.source.revision,
            [{"path": entry["path"], "size": stats[entry["path"]].st_size, "sha256": digests.sha256[entry["path"]],
              "sha256_from": cast("weights.ManifestFile", entry).get("sha256_from") or (
                  "hub" if entry["sha256"] else "staging"),
              "written": entry["path"] in written} for entry in files], now)
        manifest["asked"] = self._requested()
        return manifest

    def create_marker(self) -> str | None:
        """Create a marker file in the work folder and return its path. Return None on a read-only mount."""
        if weights.read_only(os.path.dirname(self.paths.model)):
            return None
        with open_work_folder(self.paths, 0) as work:
            if work:
                os.close(work.file(os.path.basename(self.marker), os.O_WRONLY | os.O_CREAT))
        return self.marker

    def remove_marker(self) -> None:
        """Remove the marker file from the work folder."""
        if not weights.read_only(os.path.dirname(self.paths.model)):
            with open_work_folder(self.paths, 0, create=False) as work:
                if work:
                    work.unlink(os.path.basename(self.marker))

    def _recorded(self) -> weights.Manifest | None:
        """Return the manifest in the state folder, which only root can write to, or None without a valid manifest."""
        try:
            return weights.read_manifest(self.paths)
        except ValueError as error:
            self.warning = "%s is damaged (%s); the model is compared with its source again." % (
                self.paths.manifest, error)
            return None

    def _earlier(self, model: Folder | None) -> weights.Manifest | None:
        """Return the manifest that an earlier version recorded in the work folder, or None.

        Other users may have changed this manifest. Therefore, the caller must compare it with the computed digests of
        the model.
        """
        try:
            with open_existing(self.paths.work) as work:
                found = weights.check_manifest(work.read_json(weights.MANIFEST)) if model and work else None
        except (OSError, ValueError):
            return None
        if found:
            for entry in found["files"]:
                entry["sha256_from"] = "staging"
        return found

    def _requested(self) -> dict[str, str | None]:
        return {"source": self.source.kind, "repository": self.source.repository or None,
                "endpoint": self.source.endpoint if self.source.kind == hub.HTTP else None,
                "revision": self.source.revision or None}

    def _is_from_source(self, recorded: weights.Manifest) -> bool:
        return self.source.kind == LOCAL or recorded.get("asked") == self._requested()

    def _query_source(self, requests: HubRequests) -> Wanted:
        if self.source.kind in hub.ENDPOINTS and not self.source.repository:
            raise StagingError("weights_source is %s, and the catalogue has no repository there for this model; set "
                               "weights_repository." % self.source.kind)
        if self.source.kind == hub.HTTP and not self.source.endpoint:
            raise StagingError("weights_source is http and weights_hub_endpoint is empty; set it to the URL of the "
                               "folder of the model.")
        try:
            listing = hub.list_files(self.source.kind, self.source.endpoint, self.source.repository,
                                     self.source.revision, requests.get, requests.size)
        except hub.HubError as error:
            raise StagingError("%s %s: %s" % (self.source.kind, self.source.repository, error)) from error
        return {"revision": listing.revision, "files": [
            {"path": entry.path, "size": entry.size, "sha256": entry.sha256, "git_sha1": entry.git_sha1}
            for entry in listing.files]}

    def _faults(self, expected: Files, folder: Folder | None, full: bool = False, links: bool = True
                ) -> tuple[list[weights.Fault], int]:
        """Compare the files in a folder with the expected files. Return (faults, number of hashed bytes)."""
        stats = weights.list_model(folder, links)
        digests = weights.digest_files(
            folder, stats, (entry["path"] for entry in expected), self._cache, full, self._workers)
        faults = weights.compare(expected, stats, digests.sha256)
        wrong = {fault["path"] for fault in faults}
        for entry in expected:
            git_sha1 = cast("weights.WantedFile", entry).get("git_sha1")
            if git_sha1 and folder and entry["path"] not in wrong:
                found = weights.git_blob_sha1(entry["path"], folder)
                if found != git_sha1:
                    faults.append({"path": entry["path"], "fault": "git blob id", "expected": git_sha1,
                                   "actual": found})
        return faults, digests.hashed_bytes

    def _work(self, wanted: Wanted | weights.Manifest | None, needed: Files, hashed_bytes: int, changed: bool,
              fetch: bool = True) -> Work:
        paths = [entry["path"] for entry in needed]
        work: Work = {
            "changed": changed,
            "pending": changed,
            "wanted": cast("Wanted | None", wanted),
            "download": paths,
            "bytes": sum(entry["size"] for entry in needed),
            "hashed_bytes": hashed_bytes,
            "folder": self.paths.work,
            "state": self.paths.state,
            "transfer": os.path.join(self.paths.state, TRANSFER),
            "identity": None,
            "command": None,
            "environment": None,
        }
        if wanted and paths and fetch:
            work["command"] = hub.download_command(self.source.kind, self.source.endpoint, self.source.repository,
                                                   wanted["revision"] or "", paths, self.paths.staging, self._workers)
            work["environment"] = dict(hub.download_environment(self.source.kind, self.source.endpoint),
                                       **self._environment())
        return work

    def _environment(self) -> dict[str, str]:
        return {"STAGING_FOLDER": self.paths.staging, "STAGING_LOCK": self.paths.lock,
                "STAGING_WORK_LOCK": os.path.join(self.paths.work, weights.LOCK),
                "STAGING_WANTED": os.path.join(self.paths.state, WANTED), "STAGING_CREDENTIALS": self.credentials}

    def _move_staged(self, wanted: Files, staging: Folder | None, work: Folder | None) -> set[str]:
        """Move the downloaded files to the folder of the model.

        If the folder of the model does not exist, the staging folder is renamed to it. Otherwise, each file is moved.

        :returns: the paths of the files that were moved.
        """
        staged = weights.list_model(staging, links=False)
        fresh = [entry for entry in wanted if entry["path"] in staged]
        others = [entry for entry in wanted if entry["path"] not in staged]
        with open_existing(self.paths.model) as model:
            if staging:
                for entry in fresh:
                    _finish(staging, entry["path"])
            # Hashed after `_finish`, because a change of the mode also changes the ctime in the key of the cache.
            damaged, _hashed = self._faults(fresh, staging, links=False)
            if staging:
                for fault in damaged:
                    staging.unlink(fault["path"])
            lacking, _hashed = self._faults(others, model)
            if damaged or lacking:
                raise StagingError("%s was not downloaded completely (%s); run again to download these files." % (
                    self.paths.model, "; ".join(weights.fault_sentence(fault) for fault in damaged + lacking)))
            if not staging or not work:
                return set()
            if model:
                for entry in fresh:
                    staging.move(entry["path"], model, entry["path"])
            else:
                _drop_leftovers(staging, {entry["path"] for entry in fresh})
                os.fchmod(staging.descriptor, 0o755)
                with Folder.open(os.path.dirname(self.paths.model)) as parent:
                    work.move(weights.STAGING, parent, os.path.basename(self.paths.model))
        return {entry["path"] for entry in fresh}

    def _quantized(self, staging: Folder | None) -> list[weights.WantedFile]:
        """Return the files that the quantization tool wrote."""
        staged = weights.list_model(staging, links=False)
        shards = [path for path in staged if path.endswith(SHARD_SUFFIX)]
        if not shards or QUANTIZATION_FILE not in staged:
            raise StagingError("The quantization did not write a whole model (files: %d, shards: %d, %s: %s); read its "
                               "output." % (len(staged), len(shards), QUANTIZATION_FILE,
                                            "written" if QUANTIZATION_FILE in staged else "missing"))
        _require_valid_names(staged)
        return [{"path": path, "size": staged[path].st_size, "sha256": None} for path in staged]


def _received(manifest: weights.Manifest) -> weights.Manifest:
    try:
        return weights.check_manifest(manifest)
    except ValueError as error:
        raise StagingError("The manifest of the node that has the model is not valid: %s." % error) from error


def _staging_folder(work: Folder | None) -> contextlib.AbstractContextManager[Folder | None]:
    """Open the staging folder for a ``with`` statement. Its target is None if the folder does not exist."""
    try:
        return work.own_folder(weights.STAGING, False) if work else contextlib.nullcontext()
    except FileNotFoundError:
        return contextlib.nullcontext()


def _finish(staging: Folder, path: str) -> None:
    """Make a file readable for all users and flush it to the disk, before it is published by a rename."""
    try:
        descriptor = staging.file(path)
    except (FileNotFoundError, UnsafePathError) as error:
        raise StagingError("%s was changed while it was published (%s); run again." % (staging.path, error)) from error
    try:
        if os.fstat(descriptor).st_nlink > 1:
            raise StagingError("%s in %s has another name on the disk, through which it can be changed; remove it, and "
                               "run again to download it." % (path, staging.path))
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _drop_leftovers(staging: Folder, paths: set[str]) -> None:
    """Remove all files except the given paths from the staging folder, such as temporary files of the client."""
    kept = {path.split("/")[0] for path in paths}
    for name in os.listdir(staging.descriptor):
        if name not in kept:
            staging.remove_tree(name)
    for path in kept - paths:
        with staging.folder(path) as folder:
            _drop_leftovers(folder, {name[len(path) + 1:] for name in paths if name.startswith(path + "/")})


def _require_valid_names(paths: Iterable[str]) -> None:
    faults = ["%.200r, %s" % (path, weights.path_fault(path)) for path in paths if weights.path_fault(path)]
    if faults:
        raise StagingError("The model has the file %s; rename it." % faults[0])
