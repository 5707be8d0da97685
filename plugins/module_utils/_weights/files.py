# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a model on a node: what is there, their digests, and the manifest that they are held against.

A manifest is ``{"schema", "source", "repository", "revision", "recorded_at", "bytes", "digest", "files": [{"path",
"size" (bytes), "sha256", "sha256_from": "hub" | "staging", "written"}]}``; ``digest`` is the SHA-256 of the sorted
lines ``<sha256>  <path>``, what ``sha256sum * | sha256sum`` gives; ``written`` tells that the role wrote the file and
may remove it. It lies beside the model's folder, never inside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

MANIFEST_SCHEMA = "ascend.vllm/weights-manifest/v1"

STATE_FOLDER = "/var/lib/ascend-vllm"
# Digests that were computed on this node. It is not shared between nodes, as inode and device are not.
MEMORY_FOLDER = STATE_FOLDER + "/digests"

_BLOCK_BYTES = 1 << 20
# A file that was written this recently can change again without a new time stamp (NFS counts in whole seconds).
_SETTLED_S = 2


class Place(NamedTuple):
    """Where one model and what belongs to it lie on a node."""

    model: str
    staging: str
    manifest: str
    lock: str
    credentials: str


def place(folder):
    """The Place of the model in ``folder``; all of it is on the folder's file system, so a rename is atomic.

    A folder that is a link stands for what it points to. Beside a model on a read-only mount nothing can be kept, so
    what is known of it is kept on the node.
    """
    folder = os.path.realpath(folder)
    parent, name = os.path.split(folder)
    beside = os.path.join(parent, ".ascend-vllm", name)
    if read_only(parent) and not os.path.exists(os.path.join(beside, "manifest.json")):
        beside = os.path.join(STATE_FOLDER, "weights", _short(folder))
    return Place(folder, os.path.join(beside, "staging"), os.path.join(beside, "manifest.json"),
                 os.path.join(beside, "lock"), os.path.join(beside, "credentials"))


def read_only(folder):
    """Whether a folder is there and nothing can be written to it."""
    return os.path.isdir(folder) and not os.access(folder, os.W_OK)


def list_model(folder):
    """``{path: os.stat_result}`` of the model's files; what is hidden (caches of hub clients, .git) is not of it."""
    found = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                path = os.path.join(root, name)
                # A dangling link is a missing file, and is told as such by whoever expects it.
                if os.path.isfile(path):
                    found[os.path.relpath(path, folder)] = os.stat(path)
    return found


def list_outside(folder, paths):
    """Those of the paths that are links out of the folder, and so lead nowhere where only the folder is mounted.

    The cache of Hugging Face's client is such a folder: its files are links to ``../../blobs``.
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


def identify(stats):
    """One SHA-256 over names, sizes, time stamps and inodes of ``{path: os.stat_result}``.

    Nodes that mount one file system agree in it; a copy, however exact, has inodes of its own.
    """
    lines = ("%s:%d:%d:%d\n" % (path, stats[path].st_size, stats[path].st_mtime_ns, stats[path].st_ino)
             for path in sorted(stats))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


class Memory:
    """Digests by (size, mtime_ns, inode, device), kept in a file, so that an unchanged file is hashed once.

    :param keep: False reads what is kept and writes nothing.
    """

    def __init__(self, path, keep=True):
        self._path = path
        try:
            self._known = read_json(path) or {}
        except (OSError, ValueError):  # What it knew is found out again.
            self._known = {}
        self._keep = keep
        self._dirty = False

    @classmethod
    def of(cls, folder, root=MEMORY_FOLDER, keep=True):
        """The memory of one model's folder."""
        return cls(os.path.join(root, _short(os.path.realpath(folder)) + ".json"), keep)

    def recall(self, stat):
        """The digest of a file that was hashed before and has not changed since, or None."""
        return self._known.get(_identity(stat))

    def remember(self, stat, digest):
        """Keep the digest of a file in the state ``stat``."""
        # A time stamp from the future (a clock that was set back) will not come again by itself either.
        if abs(time.time() - stat.st_mtime) > _SETTLED_S:
            self._known[_identity(stat)] = digest
            self._dirty = True

    def save(self):
        """Write the memory when it has changed. Where that fails, no proof does: the next one only takes longer."""
        if self._keep and self._dirty:
            with contextlib.suppress(OSError):
                write_json(self._path, self._known, 0o600)
            self._dirty = False


class Digests(NamedTuple):
    """``sha256`` is ``{path: hex}``; ``hashed_bytes`` were read now, the rest was remembered."""

    sha256: dict
    hashed_bytes: int
    seconds: float


def digest_files(folder, stats, memory, full=False, workers=8):
    """Return the Digests of the files ``{path: os.stat_result}`` below the folder, several at a time.

    :param full: hash what the memory knows, too.
    :raises OSError: when a file cannot be read.
    """
    started = time.monotonic()
    known = {} if full else {path: memory.recall(stat) for path, stat in stats.items()}
    # The largest first: the last file to finish decides when all are done.
    todo = sorted((path for path in stats if not known.get(path)), key=lambda path: -stats[path].st_size)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        fresh = dict(zip(todo, pool.map(lambda path: _digest(os.path.join(folder, path), stats[path], memory), todo)))
    memory.save()
    sha256 = {path: fresh.get(path) or known[path] for path in stats}
    return Digests(sha256, sum(stats[path].st_size for path in todo), time.monotonic() - started)


def _digest(path, stat, memory):
    digest = hashlib.sha256()
    # Unbuffered into one block: hashlib lets other threads run while it digests.
    with open(path, "rb", buffering=0) as stream:
        block = bytearray(_BLOCK_BYTES)
        view = memoryview(block)
        while True:
            count = stream.readinto(block)
            if not count:
                break
            digest.update(view[:count])
        if _identity(os.fstat(stream.fileno())) == _identity(stat):
            memory.remember(stat, digest.hexdigest())
    return digest.hexdigest()


def git_blob_sha1(path):
    """The id that git, and so Hugging Face for files outside LFS, gives to a file's content."""
    with open(path, "rb") as stream:
        content = stream.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def make_manifest(source, repository, revision, files, recorded_at):
    """A manifest of the files, ``[{"path", "size", "sha256", "sha256_from"}]``."""
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


def model_digest(sha256):
    """One SHA-256 over ``{path: sha256}``: two nodes with the same one hold the same model."""
    lines = "".join("%s  %s\n" % (sha256[path], path) for path in sorted(sha256))
    return hashlib.sha256(lines.encode()).hexdigest()


def compare(expected, stats, sha256):
    """What is wrong with the files on the node.

    :param expected: the manifest's files. :param stats: ``{path: os.stat_result}``. :param sha256: ``{path: hex}``.
    :returns: ``[{"path", "fault": "missing" | "size" | "sha256", "expected", "actual"}]``.
    """
    faults = []
    for entry in expected:
        path = entry["path"]
        if path not in stats:
            faults.append({"path": path, "fault": "missing", "expected": entry["size"], "actual": None})
        elif stats[path].st_size != entry["size"]:
            faults.append({"path": path, "fault": "size", "expected": entry["size"], "actual": stats[path].st_size})
        elif entry.get("sha256") and path in sha256 and sha256[path] != entry["sha256"]:
            faults.append({"path": path, "fault": "sha256", "expected": entry["sha256"], "actual": sha256[path]})
    return faults


def fault_sentence(fault):
    """One entry of ``compare`` for people."""
    if fault["fault"] == "missing":
        return "%s is missing; it should have %d bytes" % (fault["path"], fault["expected"])
    if fault["fault"] == "size":
        return "%s has %d bytes, expected %d" % (fault["path"], fault["actual"], fault["expected"])
    return "%s has the %s %s, expected %s" % (
        fault["path"], fault["fault"].replace("sha256", "SHA-256"), fault["actual"], fault["expected"])


def read_json(path):
    """The content of a JSON file, or None when there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None


def write_json(path, data, mode=0o644):
    """Write a JSON file whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, sort_keys=True)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(beside, mode)
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise


def _short(folder):
    return hashlib.sha256(folder.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _identity(stat):
    return "%d:%d:%d:%d" % (stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev)


def weights(path):
    """Return what a model folder holds: ``{"folder", "config": bool, "shards": int}``; sizes are another stage's."""
    try:
        names = os.listdir(path)
    except OSError:
        return {"folder": False, "config": False, "shards": 0}
    return {"folder": True, "config": "config.json" in names,
            "shards": sum(1 for name in names if name.endswith(".safetensors"))}
