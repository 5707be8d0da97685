# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List and hash the files of a model on a node, and compare them with the manifest of the model.

The manifest and all other trusted files are in the state folder of the model, below `STATE_FOLDER`, which only root can
write to. A download is in the work folder, ``.ascend-vllm/<model>`` next to the folder of the model, because it must be
on the same file system. Other users may be able to write to the work folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.ascend.vllm.plugins.module_utils._weights import folders
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import Folder, UnsafePathError, open_existing

if TYPE_CHECKING:
    from typing import IO, Any, Iterable, Mapping, TypedDict

    class WantedFile(TypedDict, total=False):
        """A required file of the model. ``size`` is in bytes. A hub provides ``sha256`` or ``git_sha1``."""

        path: str
        size: int
        sha256: str | None
        git_sha1: str | None

    class ManifestFile(TypedDict):
        """A file of a manifest."""

        path: str
        size: int
        sha256: str
        #: ``hub`` if the source published the digest, or ``staging`` if it was computed when the model was staged.
        sha256_from: str
        #: Whether the role wrote the file. The role only removes such files.
        written: bool

    class _Manifest(TypedDict):
        schema: str
        source: str
        repository: str | None
        revision: str | None
        recorded_at: str
        bytes: int
        #: The `model_digest` of the files.
        digest: str
        files: list[ManifestFile]

    class Manifest(_Manifest, total=False):
        """The files of a model at the time at which it was staged."""

        #: The source, repository, endpoint and revision that were requested.
        asked: dict[str, str | None]

    class Fault(TypedDict):
        """A file that differs from the manifest. ``fault`` is ``missing``, ``size``, ``sha256`` or ``git blob id``."""

        path: str
        fault: str
        expected: int | str | None
        actual: int | str | None

    class _FolderSummary(TypedDict):
        folder: bool
        config: bool
        shards: int

    class FolderSummary(_FolderSummary, total=False):
        """A summary of a folder: whether it and a ``config.json`` in it exist, and the number of safetensors files."""

        #: The reason why the folder could not be read.
        error: str

MANIFEST_SCHEMA = "ascend.vllm/weights-manifest/v1"

STATE_FOLDER = "/var/lib/ascend-vllm"
WORK_FOLDER, STAGING = ".ascend-vllm", "staging"
MANIFEST, LOCK = "manifest.json", "lock"
# The cache of the digests that were computed on this node. Nodes cannot share the cache, because the numbers of inodes
# and devices differ.
DIGEST_CACHE = STATE_FOLDER + "/digests"

_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
# The key of a file in the cache. Caches of earlier versions can have keys without the ctime, which are ignored.
_IDENTITY = re.compile(r"-?\d+(?::-?\d+){4}")
_BLOCK_BYTES = 1 << 20
# A file that was changed within this time can change again without a new timestamp, because the timestamps of NFS can
# be whole seconds.
_SETTLED_S = 2


class ModelPaths(NamedTuple):
    """The paths of a model, and of the files and folders that belong to it."""

    model: str
    #: The state folder, with the manifest and the lock.
    state: str
    manifest: str
    lock: str
    #: The work folder, with the staging folder.
    work: str
    staging: str


def model_paths(folder: str) -> ModelPaths:
    """Return the paths for the model in a folder. Raise UnsafePathError if another user (not root) owns a link."""
    folder = folders.resolve(folder)
    parent, name = os.path.split(folder)
    state = os.path.join(STATE_FOLDER, "weights", _folder_id(folder))
    work = os.path.join(parent, WORK_FOLDER, name)
    return ModelPaths(folder, state, os.path.join(state, MANIFEST), os.path.join(state, LOCK), work,
                      os.path.join(work, STAGING))


def read_only(folder: str) -> bool:
    """Return whether a folder exists and is not writable."""
    return os.path.isdir(folder) and not os.access(folder, os.W_OK)


def list_model(folder: Folder | None, links: bool = True) -> dict[str, os.stat_result]:
    """Return ``{path: os.stat_result}`` of the files of the model, without hidden files (caches of hub clients, .git).

    Broken links are not listed. Therefore, the comparison with the manifest reports them as missing files.
    """
    return folder.files(links) if folder else {}


def list_outside(folder: Folder | None, paths: Iterable[str]) -> list[str]:
    """Return the paths that are links to files outside the folder. They are broken if only the folder is mounted.

    Such links occur in the cache of the Hugging Face client, whose files are links to ``../../blobs``.
    """
    return [path for path in sorted(paths) if not folder.is_inside(path)] if folder else []


def identify(stats: Mapping[str, os.stat_result]) -> str:
    """Return the SHA-256 digest of the names, sizes, timestamps and inodes of ``{path: os.stat_result}``.

    Nodes that mount the same file system compute the same digest. A copy of the model has another digest, because its
    inodes differ.
    """
    lines = ("%s:%d:%d:%d\n" % (path, stats[path].st_size, stats[path].st_mtime_ns, stats[path].st_ino)
             for path in sorted(stats))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


class DigestCache:
    """A cache of digests in a file, so that unchanged files are only hashed once.

    The keys consist of the size, mtime, ctime, inode and device of a file. The ctime is included, because the owner of
    a file can set its mtime, but not its ctime.

    :param write: whether `save` writes the cache.
    """

    def __init__(self, path: str, write: bool = True) -> None:
        self._path = path
        self._digests: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):  # the digests are computed again
            found = read_json(path)
            self._digests = {key: digest for key, digest in found.items() if _IDENTITY.fullmatch(key)} if (
                isinstance(found, dict)) else {}
        self._write = write
        self._dirty = False

    @classmethod
    def of(cls, folder: str, root: str = DIGEST_CACHE, write: bool = True) -> DigestCache:
        """Return the cache of the model in ``folder``, a file in ``root``."""
        return cls(os.path.join(root, _folder_id(folders.resolve(folder)) + ".json"), write)

    def get(self, stat: os.stat_result) -> str | None:
        """Return the digest of a file, or None if the file has changed since it was hashed."""
        return self._digests.get(_identity(stat))

    def put(self, stat: os.stat_result, digest: str) -> None:
        """Store the digest of a file, unless the file was changed very recently."""
        # A timestamp in the future (the clock was set back) is also safe, because a later change does not reuse it.
        if abs(time.time() - stat.st_ctime) > _SETTLED_S:
            self._digests[_identity(stat)] = digest
            self._dirty = True

    def save(self) -> None:
        """Write the cache if it has changed. A failure is ignored, because it only makes the next run slower."""
        if self._write and self._dirty:
            with contextlib.suppress(OSError):
                write_json(self._path, self._digests)
            self._dirty = False


class Digests(NamedTuple):
    """The digests of files, ``{path: hex}``."""

    sha256: dict[str, str]
    #: The number of bytes that were read. The digests of other files come from the cache.
    hashed_bytes: int


def digest_files(folder: Folder | None, stats: Mapping[str, os.stat_result], paths: Iterable[str], cache: DigestCache,
                 full: bool = False, workers: int = 8) -> Digests:
    """Return the digests of files in a folder. The digest of a link to a file outside the folder is empty.

    :param paths: the files to hash. Paths that are not in ``stats`` are ignored.
    :param full: whether to also hash the files whose digests are in the cache.
    :param workers: the number of files that are hashed at the same time.
    :raises OSError: if a file cannot be read.
    """
    if folder is None:
        return Digests({}, 0)
    stats = {path: stats[path] for path in paths if path in stats}
    known = {} if full else {path: cache.get(stat) for path, stat in stats.items()}
    # Start with the largest files, so that no large file is left at the end for a single worker.
    todo = sorted((path for path in stats if not known.get(path)), key=lambda path: -stats[path].st_size)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        fresh = dict(zip(todo, pool.map(lambda path: _digest(folder, path, stats[path], cache), todo)))
    cache.save()
    sha256 = {path: fresh.get(path) or known[path] or "" for path in stats}
    return Digests(sha256, sum(stats[path].st_size for path in todo))


def _digest(folder: Folder, path: str, stat: os.stat_result, cache: DigestCache) -> str:
    digest = hashlib.sha256()
    try:
        descriptor = folder.opener(path, os.O_RDONLY)
    except UnsafePathError:
        return ""
    with open(descriptor, "rb", buffering=0) as stream:
        hash_stream(digest, stream)
        if _identity(os.fstat(stream.fileno())) == _identity(stat):
            cache.put(stat, digest.hexdigest())
    return digest.hexdigest()


def git_blob_sha1(path: str, folder: Folder | None = None) -> str:
    """Return the git blob id of a file, which Hugging Face lists for files that are not in LFS."""
    with open(path, "rb", opener=folder.opener if folder else None) as stream:
        digest = hashlib.sha1(b"blob %d\0" % os.fstat(stream.fileno()).st_size)
        hash_stream(digest, stream)
    return digest.hexdigest()


def hash_stream(digest: Any, stream: IO[bytes]) -> None:
    """Hash the rest of a file. The blocks are large, because hashlib releases the interpreter lock for each block."""
    for block in iter(lambda: stream.read(_BLOCK_BYTES), b""):
        digest.update(block)


def make_manifest(source: str, repository: str, revision: str | None, files: list[ManifestFile], recorded_at: str
                  ) -> Manifest:
    """Return a manifest of the files. ``recorded_at`` is a time in UTC, such as ``2026-11-29T12:00:00Z``."""
    files = sorted(files, key=lambda entry: entry["path"])
    return {"schema": MANIFEST_SCHEMA, "source": source, "repository": repository or None, "revision": revision or None,
            "recorded_at": recorded_at, "bytes": sum(entry["size"] for entry in files),
            "digest": model_digest({entry["path"]: entry["sha256"] for entry in files}), "files": files}


def path_fault(path: Any) -> str | None:
    """Return the reason why a path is not allowed for a file of a model, or None. The reason is a relative clause.

    Paths come from hubs, tools and other nodes. They become arguments of the clients of the hubs, and one client
    interprets them as patterns.
    """
    if not isinstance(path, str) or path.startswith("-") or {"", ".", ".."} & set(path.split("/")):
        return "which would be outside the folder of the model"
    if any(ord(character) < 32 or ord(character) == 127 or character in "*?[]\\" for character in path):
        return "whose name has a control character, a backslash or a wildcard"
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "whose name is not valid Unicode"
    return None


def file_faults(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the reasons why entries (`WantedFile`, `ManifestFile`) are not valid, each with the path of the file."""
    faults, paths = [], set()
    for entry in entries:
        path, size, sha256, git_sha1 = (entry.get(key) for key in ("path", "size", "sha256", "git_sha1"))
        fault = path_fault(path)
        if not fault and path in paths:
            fault = "more than once"
        elif not fault and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            fault = "with the size %r, expected a number of bytes" % (size,)
        elif not fault and (sha256 is not None or git_sha1 is None) and not _matches(_SHA256, sha256):
            fault = "with the SHA-256 %r, expected 64 hex digits" % (sha256,)
        elif not fault and git_sha1 is not None and not _matches(_GIT_SHA1, git_sha1):
            fault = "with the git blob id %r, expected 40 hex digits" % (git_sha1,)
        paths.add(path if isinstance(path, str) else None)
        if fault:
            faults.append("%.200r, %s" % (path, fault))
    parents = {path[:at] for path in paths if path for at, character in enumerate(path) if character == "/"}
    return faults + ["%r, which is also a folder" % path for path in sorted(parents & paths)]


def _matches(pattern: re.Pattern[str], text: Any) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def check_manifest(content: Any) -> Manifest:
    """Validate and return a manifest that was read from a file or received from another node.

    :raises ValueError: if the content is not a valid manifest. The message is the reason.
    """
    if not isinstance(content, dict) or content.get("schema") != MANIFEST_SCHEMA:
        raise ValueError("it is not a manifest of the format %s" % MANIFEST_SCHEMA)
    entries = content.get("files")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it has no list of files")
    faults = file_faults(dict(entry, git_sha1=None) for entry in entries)
    if faults:
        raise ValueError("it has the file " + faults[0])
    known: list[ManifestFile] = [
        {"path": entry["path"], "size": entry["size"], "sha256": entry["sha256"],
         "sha256_from": "hub" if entry.get("sha256_from") == "hub" else "staging",
         "written": entry.get("written") is True} for entry in entries]
    source, repository, revision = (str(content.get(key) or "") for key in ("source", "repository", "revision"))
    manifest = make_manifest(source, repository, revision, known, str(content.get("recorded_at")))
    if content.get("digest") != manifest["digest"]:
        raise ValueError("its digest does not match its files")
    asked = content.get("asked")
    if isinstance(asked, dict):
        manifest["asked"] = {str(key): None if value is None else str(value) for key, value in asked.items()}
    return manifest


def read_manifest(paths: ModelPaths) -> Manifest | None:
    """Return the manifest of a model, or None if there is no manifest. Raise ValueError if it is damaged."""
    content = read_json(paths.manifest)
    return None if content is None else check_manifest(content)


def model_digest(sha256: Mapping[str, str]) -> str:
    """Return the SHA-256 digest of the lines ``<sha256>  <path>``, sorted by path, like ``sha256sum * | sha256sum``.

    Nodes with the same digest have the same model.
    """
    lines = "".join("%s  %s\n" % (sha256[path], path) for path in sorted(sha256))
    return hashlib.sha256(lines.encode()).hexdigest()


def compare(expected: Iterable[WantedFile | ManifestFile], stats: Mapping[str, os.stat_result],
            sha256: Mapping[str, str]) -> list[Fault]:
    """Compare the files on the node with the expected files, which a manifest or the hub lists.

    :param stats: ``{path: os.stat_result}`` of the files on the node.
    :param sha256: ``{path: hex}`` of the files on the node.
    """
    faults: list[Fault] = []
    for entry in expected:
        path, wanted = entry["path"], entry.get("sha256")
        if path not in stats:
            faults.append({"path": path, "fault": "missing", "expected": entry["size"], "actual": None})
        elif stats[path].st_size != entry["size"]:
            faults.append({"path": path, "fault": "size", "expected": entry["size"], "actual": stats[path].st_size})
        elif wanted and path in sha256 and sha256[path] != wanted:
            faults.append({"path": path, "fault": "sha256", "expected": wanted, "actual": sha256[path] or None})
    return faults


def fault_sentence(fault: Fault) -> str:
    """Return a sentence that describes a fault."""
    if fault["fault"] == "missing":
        return "%s is missing; it should have %s bytes" % (fault["path"], fault["expected"])
    if fault["fault"] == "size":
        return "%s has %s bytes, expected %s" % (fault["path"], fault["actual"], fault["expected"])
    if fault["actual"] is None:
        return "%s is a link to a file outside the folder, which is not read" % fault["path"]
    return "%s has the %s %s, expected %s" % (
        fault["path"], fault["fault"].replace("sha256", "SHA-256"), fault["actual"], fault["expected"])


def read_json(path: str) -> Any:
    """Return the content of a JSON file in a folder that only root can write to, or None if the file does not exist."""
    with open_existing(os.path.dirname(path), trusted=True) as folder:
        return folder.read_json(os.path.basename(path)) if folder else None


def write_json(path: str, data: Any) -> None:
    """Write a JSON file atomically, in a folder that only root can write to."""
    with Folder.open(os.path.dirname(path), 0o700, trusted=True) as folder:
        folder.write_json(os.path.basename(path), data)


def _folder_id(folder: str) -> str:
    return hashlib.sha256(folder.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _identity(stat: os.stat_result) -> str:
    return "%d:%d:%d:%d:%d" % (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)


def folder_summary(path: str) -> FolderSummary:
    """Summarize the folder of a model without reading its files."""
    try:
        names = os.listdir(path)
    except OSError:
        return {"folder": False, "config": False, "shards": 0}
    return {"folder": True, "config": "config.json" in names,
            "shards": sum(1 for name in names if name.endswith(".safetensors"))}
