# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a model on a node: which exist, their digests, and the manifest that they are compared with.

The manifest is stored in the state folder of the model, ``.ascend-vllm/<model>`` next to the folder of the model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypedDict

    class WantedFile(TypedDict, total=False):
        """A file that the model has to have. ``size`` is in bytes; a hub states ``sha256`` or ``git_sha1``."""

        path: str
        size: int
        sha256: str | None
        git_sha1: str | None

    class ManifestFile(TypedDict):
        """A file of a manifest.

        ``sha256_from`` is ``hub`` if the source stated the SHA-256, and ``staging`` if it was computed when the model
        was staged. ``written`` is true if the role wrote the file, and so may remove it.
        """

        path: str
        size: int
        sha256: str
        sha256_from: str
        written: bool

    class _Manifest(TypedDict):
        schema: str
        source: str
        repository: str | None
        revision: str | None
        recorded_at: str
        bytes: int
        digest: str
        files: list[ManifestFile]

    class Manifest(_Manifest, total=False):
        """The content of a model when it was staged.

        ``digest`` is `model_digest` of the files, ``asked`` the source, repository, endpoint and revision that were
        requested.
        """

        asked: dict[str, str | None]

    class Fault(TypedDict):
        """A difference between a file and the manifest; ``fault`` is missing, size, sha256 or git blob id."""

        path: str
        fault: str
        expected: int | str | None
        actual: int | str | None

    class _FolderSummary(TypedDict):
        folder: bool
        config: bool
        shards: int

    class FolderSummary(_FolderSummary, total=False):
        """A folder: whether it exists, whether it has a ``config.json``, and its number of safetensors files.

        ``error`` is the reason why the folder could not be read.
        """

        error: str

MANIFEST_SCHEMA = "ascend.vllm/weights-manifest/v1"

STATE_FOLDER = "/var/lib/ascend-vllm"
# Cache of the digests that were computed on this node. Nodes cannot share it, since inode and device differ.
DIGEST_CACHE = STATE_FOLDER + "/digests"

_BLOCK_BYTES = 1 << 20
# A file that was written so recently may change again without a new timestamp (NFS counts in whole seconds).
_SETTLED_S = 2


class ModelPaths(NamedTuple):
    """The paths of a model and of what belongs to it."""

    model: str
    staging: str
    manifest: str
    lock: str
    credentials: str


def model_paths(folder: str) -> ModelPaths:
    """The paths for the model in ``folder``, all on the file system of the folder, so that a rename is atomic.

    Symbolic links are followed. For a model on a read-only mount, the state folder is in `STATE_FOLDER`.
    """
    folder = os.path.realpath(folder)
    parent, name = os.path.split(folder)
    state = os.path.join(parent, ".ascend-vllm", name)
    if read_only(parent) and not os.path.exists(os.path.join(state, "manifest.json")):
        state = os.path.join(STATE_FOLDER, "weights", _short(folder))
    return ModelPaths(folder, os.path.join(state, "staging"), os.path.join(state, "manifest.json"),
                      os.path.join(state, "lock"), os.path.join(state, "credentials"))


def read_only(folder: str) -> bool:
    """True if the folder exists and is not writable."""
    return os.path.isdir(folder) and not os.access(folder, os.W_OK)


def list_model(folder: str) -> dict[str, os.stat_result]:
    """``{path: os.stat_result}`` of the files of the model, without hidden files (caches of hub clients, .git)."""
    found = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                path = os.path.join(root, name)
                # A dangling link is reported as a missing file by the comparison with the manifest.
                if os.path.isfile(path):
                    found[os.path.relpath(path, folder)] = os.stat(path)
    return found


def list_outside(folder: str, paths: Iterable[str]) -> list[str]:
    """Those of the paths that are links out of the folder, and so are broken if only the folder is mounted.

    The cache of the Hugging Face client is such a folder: its files are links to ``../../blobs``.
    """
    folder = os.path.abspath(folder)
    found = []
    for path in sorted(paths):
        whole = os.path.join(folder, path)
        if os.path.islink(whole):
            target, real = os.readlink(whole), os.path.realpath(whole)
            inside = real.startswith(os.path.realpath(folder) + os.sep)
            if not inside or (os.path.isabs(target) and not target.startswith(folder + os.sep)):
                found.append(path)
    return found


def identify(stats: Mapping[str, os.stat_result]) -> str:
    """A SHA-256 of names, sizes, timestamps and inodes of ``{path: os.stat_result}``.

    It is equal on nodes that mount the same file system, and differs for a copy, which has other inodes.
    """
    lines = ("%s:%d:%d:%d\n" % (path, stats[path].st_size, stats[path].st_mtime_ns, stats[path].st_ino)
             for path in sorted(stats))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


class DigestCache:
    """Digests by (size, mtime_ns, inode, device) in a file, so that an unchanged file is hashed only once.

    :param write: False reads the cache and does not write it.
    """

    def __init__(self, path: str, write: bool = True) -> None:
        self._path = path
        self._digests: dict[str, str]
        try:
            self._digests = read_json(path) or {}
        except (OSError, ValueError):  # The digests are computed again.
            self._digests = {}
        self._write = write
        self._dirty = False

    @classmethod
    def of(cls, folder: str, root: str = DIGEST_CACHE, write: bool = True) -> DigestCache:
        """The cache of the model in ``folder``."""
        return cls(os.path.join(root, _short(os.path.realpath(folder)) + ".json"), write)

    def get(self, stat: os.stat_result) -> str | None:
        """The digest of a file that has not changed since it was hashed, or None."""
        return self._digests.get(_identity(stat))

    def put(self, stat: os.stat_result, digest: str) -> None:
        """Store the digest of a file with the state ``stat``."""
        # A timestamp in the future (the clock was set back) is not reused by a later change either.
        if abs(time.time() - stat.st_mtime) > _SETTLED_S:
            self._digests[_identity(stat)] = digest
            self._dirty = True

    def save(self) -> None:
        """Write the cache if it has changed; a failure is ignored, since it only makes the next run slower."""
        if self._write and self._dirty:
            with contextlib.suppress(OSError):
                write_json(self._path, self._digests, 0o600)
            self._dirty = False


class Digests(NamedTuple):
    """``sha256`` is ``{path: hex}``; ``hashed_bytes`` were read, the other digests come from the cache."""

    sha256: dict[str, str]
    hashed_bytes: int
    seconds: float


def digest_files(folder: str, stats: Mapping[str, os.stat_result], cache: DigestCache, full: bool = False,
                 workers: int = 8) -> Digests:
    """Compute the digests of the files ``{path: os.stat_result}`` in the folder.

    :param full: hash all files, even those in the cache.
    :param workers: how many files are hashed at a time.
    :raises OSError: if a file cannot be read.
    """
    started = time.monotonic()
    known = {} if full else {path: cache.get(stat) for path, stat in stats.items()}
    # The largest first: the last file to finish determines the duration.
    todo = sorted((path for path in stats if not known.get(path)), key=lambda path: -stats[path].st_size)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        fresh = dict(zip(todo, pool.map(lambda path: _digest(os.path.join(folder, path), stats[path], cache), todo)))
    cache.save()
    sha256 = {path: fresh.get(path) or known[path] or "" for path in stats}
    return Digests(sha256, sum(stats[path].st_size for path in todo), time.monotonic() - started)


def _digest(path: str, stat: os.stat_result, cache: DigestCache) -> str:
    digest = hashlib.sha256()
    # Unbuffered into one block: hashlib releases the interpreter lock while it hashes.
    with open(path, "rb", buffering=0) as stream:
        block = bytearray(_BLOCK_BYTES)
        view = memoryview(block)
        while True:
            count = stream.readinto(block)
            if not count:
                break
            digest.update(view[:count])
        if _identity(os.fstat(stream.fileno())) == _identity(stat):
            cache.put(stat, digest.hexdigest())
    return digest.hexdigest()


def git_blob_sha1(path: str) -> str:
    """The object id of git for the content of a file; Hugging Face states it for files that are not in LFS."""
    with open(path, "rb") as stream:
        content = stream.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def make_manifest(source: str, repository: str, revision: str | None, files: list[ManifestFile], recorded_at: str
                  ) -> Manifest:
    """A manifest of the files."""
    files = sorted(files, key=lambda entry: entry["path"])
    return {
        "schema": MANIFEST_SCHEMA,
        "source": source,
        "repository": repository or None,
        "revision": revision or None,
        "recorded_at": recorded_at,
        "bytes": sum(entry["size"] for entry in files),
        "digest": model_digest({entry["path"]: entry["sha256"] for entry in files}),
        "files": files,
    }


def model_digest(sha256: Mapping[str, str]) -> str:
    """A SHA-256 of ``{path: sha256}``: of the sorted lines ``<sha256>  <path>``, as ``sha256sum * | sha256sum`` has it.

    Nodes with the same digest have the same model.
    """
    lines = "".join("%s  %s\n" % (sha256[path], path) for path in sorted(sha256))
    return hashlib.sha256(lines.encode()).hexdigest()


def compare(expected: Iterable[WantedFile | ManifestFile], stats: Mapping[str, os.stat_result],
            sha256: Mapping[str, str]) -> list[Fault]:
    """Compare the files on the node with the expected ones.

    :param expected: the files of a manifest.
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
            faults.append({"path": path, "fault": "sha256", "expected": wanted, "actual": sha256[path]})
    return faults


def fault_sentence(fault: Fault) -> str:
    """A fault as a sentence."""
    if fault["fault"] == "missing":
        return "%s is missing; it should have %s bytes" % (fault["path"], fault["expected"])
    if fault["fault"] == "size":
        return "%s has %s bytes, expected %s" % (fault["path"], fault["actual"], fault["expected"])
    return "%s has the %s %s, expected %s" % (
        fault["path"], fault["fault"].replace("sha256", "SHA-256"), fault["actual"], fault["expected"])


def read_json(path: str) -> Any:
    """The content of a JSON file, or None if the file does not exist."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None


def write_json(path: str, data: Any, mode: int = 0o644) -> None:
    """Write a JSON file atomically."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, sort_keys=True)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _short(folder: str) -> str:
    return hashlib.sha256(folder.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _identity(stat: os.stat_result) -> str:
    return "%d:%d:%d:%d" % (stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev)


def folder_summary(path: str) -> FolderSummary:
    """Summarize the folder of a model without reading its files."""
    try:
        names = os.listdir(path)
    except OSError:
        return {"folder": False, "config": False, "shards": 0}
    return {"folder": True, "config": "config.json" in names,
            "shards": sum(1 for name in names if name.endswith(".safetensors"))}
