# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect texts from many sources of a host that may be half dead: each source has its own limits of time and size."""

from __future__ import annotations

import contextlib
import heapq
import io
import os
import stat
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.ascend.vllm.plugins.module_utils._host import commands, facts
from ansible_collections.ascend.vllm.plugins.module_utils._host.http_request import within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO

    # {file name: text}; a source with a single file has the key "".
    Files = dict[str, "Collected"]
    Source = Callable[[], Files]

# Bytes of one text that are read.
MAX_BYTES = 16 << 20
# Seconds in addition to the timeout of a command or response, for the work on its output.
WORK_S = 10.0


class Collected(NamedTuple):
    """The text of a file, the exit code of its command (0 without a command), and what is missing in it, or None."""

    text: str
    rc: int | None = 0
    problem: str | None = None


def missing(problem: str) -> Files:
    """Return a file without a text."""
    return {"": Collected("", None, problem)}


def collect(sources: Mapping[str, Source], timeout_s: float, limit_s: float) -> Files:
    """Return ``{name: text}``, collected in parallel. A source that fails or hangs costs only its own part.

    :param sources: ``{name of the file or of the folder: function}``, the most important first.
    :param timeout_s: limit of each command and each response. :param limit_s: limit of all sources together.
    """
    deadline = time.monotonic() + limit_s

    def one(source: Source) -> Files:
        left = deadline - time.monotonic()
        if left <= 0:
            return missing("not collected: the limit of %g s was reached" % limit_s)
        try:
            return within(min(timeout_s + WORK_S, left), source)
        except Exception as error:
            return missing("%s: %s" % (type(error).__name__, error))

    with ThreadPoolExecutor(max_workers=8) as pool:
        found = dict(zip(sources, pool.map(one, sources.values())))
    return {name + suffix: file for name, files in found.items() for suffix, file in files.items()}


class Commands:
    """Runs commands. A program that hung once is not started again, since it hangs for every query.

    :param timeout_s: limit of each command.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._hung: dict[str, str] = {}
        #: The commands that were run, by their words.
        self.outcomes: dict[tuple[str, ...], commands.Outcome] = {}

    def outcome(self, argv: list[str]) -> commands.Outcome:
        """Return the outcome of a command, which is run only once."""
        key = tuple(argv)
        if key not in self.outcomes:
            if argv[0] in self._hung:
                return commands.Outcome(argv, None, "", "", 0.0, False,
                                        "not run, since `%s` hung" % self._hung[argv[0]])
            self.outcomes[key] = commands.run(argv, self._timeout_s)
            if self.outcomes[key].timed_out:
                self._hung.setdefault(argv[0], " ".join(argv))
        return self.outcomes[key]

    def run(self, argv: list[str]) -> Files:
        """Return the output of a command, both streams."""
        outcome = self.outcome(argv)
        return {"": Collected(outcome.output, outcome.rc, outcome.error or (
            "exit code %d" % outcome.rc if outcome.rc else None))}


def file(path: str) -> Files:
    """Return the text of a file."""
    hung = commands.hung_paths([path])
    if hung:
        return missing(hung[path])
    try:
        return {"": Collected(facts.read_file(path))}
    except OSError as error:
        return missing(str(error))


def folder(path: str, max_bytes: int, max_file_bytes: int) -> Files:
    """Return the ends of the newest files in a folder, without links, at most ``max_bytes`` in all."""
    hung = commands.hung_paths([path])
    if hung:
        return missing(hung[path])
    entries: list[tuple[float, int, str]] = []
    for parent, _folders, names in os.walk(path):
        for name in names:
            each = os.path.join(parent, name)
            with contextlib.suppress(OSError):  # removed meanwhile
                status = os.lstat(each)
                if stat.S_ISREG(status.st_mode):
                    entries.append((status.st_mtime, status.st_size, each))
    newest = Newest(max_bytes, max_file_bytes)
    left = max_bytes
    for modified, size, each in sorted(entries, reverse=True):
        left -= min(size, max_file_bytes)
        if left < 0:
            newest.left_out += 1
            continue
        # The program that writes the files must not make root read another one.
        with contextlib.suppress(OSError), os.fdopen(
                os.open(each, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            stream.seek(max(0, size - max_file_bytes))
            newest.add(os.path.relpath(each, path), modified, stream, size)
    return newest.files()


class Newest:
    """The ends of the newest files, at most ``max_bytes`` in all and ``max_file_bytes`` of each."""

    def __init__(self, max_bytes: int, max_file_bytes: int) -> None:
        self._max_bytes, self._max_file_bytes = max_bytes, max_file_bytes
        self._kept: list[tuple[float, str, bytes, int]] = []
        self._size = 0
        self.left_out = 0

    def add(self, name: str, modified: float, stream: IO[bytes], size: int) -> None:
        """Add a file with its time of modification and its size; files that are older than the kept ones are dropped.

        The stream may begin at a later byte of the file.
        """
        end = b""
        while True:
            block = stream.read(1 << 20)
            if not block:
                break
            end = (end + block)[-self._max_file_bytes:]
        heapq.heappush(self._kept, (modified, name, end, size))
        self._size += len(end)
        while self._size > self._max_bytes:
            self._size -= len(heapq.heappop(self._kept)[2])
            self.left_out += 1

    def files(self, problem: str | None = None) -> Files:
        """Return the files, the newest first.

        :param problem: why some files may be missing.
        """
        found = {name: Collected(end.decode("utf-8", "replace"), 0, _cut(len(end), size))
                 for _modified, name, end, size in sorted(self._kept, reverse=True)}
        if self.left_out:
            problem = "%s%d older files were left out" % (problem + "; " if problem else "", self.left_out)
        if problem:
            found["(older files)"] = Collected("", None, problem)
        return found


def bounded(files: Files, max_bytes: int) -> Files:
    """Return the files with at most ``max_bytes`` in all and a quarter of it each. Of longer ones, the end is kept.

    :param files: the most important first.
    """
    found: Files = {}
    left = max_bytes
    for name, each in files.items():
        data = each.text.encode("utf-8", "replace")
        share = min(left, max_bytes // 4)
        if len(data) > share:
            text = _without_rest_of_key(data[len(data) - share:].decode("utf-8", "ignore"))
            each = each._replace(text=text, problem="; ".join(filter(None, [each.problem, _cut(share, len(data))])))
        found[name] = each
        left -= min(share, len(data))
    return found


def _cut(kept: int, size: int) -> str | None:
    return "only the last %d of %d bytes" % (kept, size) if kept < size else None


def _without_rest_of_key(text: str) -> str:
    """Return a truncated text without the rest of a private key, which is not recognized without its beginning."""
    end = text.find("-----END ")
    return text[end:] if end >= 0 and "-----BEGIN " not in text[:end] else text


def pack(files: Files) -> bytes:
    """Return the texts as a ``.tar.gz`` archive; a file that is missing as a whole is left out."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, each in files.items():
            if each.text or each.problem is None:
                data = each.text.encode("utf-8", "replace")
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
                archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
