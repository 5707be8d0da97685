# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect texts from many sources on a host, some of which can hang. Each source has a time limit and a size limit."""

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

if TYPE_CHECKING:
    from typing import IO, Callable, Iterable, Iterator, Mapping

    # {name of the file: text}. The key of a source with a single file is "".
    Files = dict[str, "Collected"]
    Source = Callable[[], Files]
    # (name, time of modification, size, content)
    LogFile = tuple[str, float, int, IO[bytes]]

# The maximum number of bytes to read from a file or an output.
MAX_BYTES = 16 << 20
# The number of seconds to process the output of a command or a response, in addition to its timeout.
WORK_S = 10.0


class Collected(NamedTuple):
    """The content of a file, or the output of a command."""

    text: str
    rc: int | None = 0  # the exit code of the command; 0 for a file, None without an exit code
    problem: str | None = None  # the reason why the text is missing or can be incomplete


def missing(problem: str) -> Files:
    """Return the files of a source that could not be read: one file without content, with the problem."""
    return {"": Collected("", None, problem)}


def collect(sources: Mapping[str, Source], timeout_s: float, limit_s: float) -> Files:
    """Collect all sources in parallel and return their files. If a source fails or hangs, only its text is missing.

    :param sources: ``{name of the file or of the folder: function}``, with the most important source first.
    :param timeout_s: the timeout of each command and each response in seconds.
    :param limit_s: the time limit of all sources together in seconds.
    """
    deadline = time.monotonic() + limit_s

    def collect_one(source: Source) -> Files:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return missing("not collected: the limit of %g s was reached" % limit_s)
        try:
            return commands.within(min(timeout_s + WORK_S, remaining_s), source)
        except Exception as error:
            return missing("%s (%s)" % (error, type(error).__name__))

    with ThreadPoolExecutor(max_workers=8) as pool:
        found = dict(zip(sources, pool.map(collect_one, sources.values())))
    return {name + suffix: file for name, files in found.items() for suffix, file in files.items()}


class Commands:
    """Runs commands. After a program has hung, it is not started again, because its other queries would hang, too.

    :param timeout_s: the timeout of each command in seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._hung: dict[str, str] = {}
        #: ``{words of the command: outcome}`` of the commands that were run.
        self.outcomes: dict[tuple[str, ...], commands.Outcome] = {}

    def outcome(self, argv: list[str]) -> commands.Outcome:
        """Return the outcome of a command. Each command is run only once."""
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
        """Return the output of a command, which includes stderr."""
        outcome = self.outcome(argv)
        return {"": Collected(outcome.output, outcome.rc, outcome.error or (
            "exit code %d" % outcome.rc if outcome.rc else None))}


def file(path: str) -> Files:
    """Return the content of a file. Raise OSError if it cannot be read."""
    _require_response(path)
    return {"": Collected(facts.read_file(path))}


def _require_response(path: str) -> None:
    """Raise OSError if the file system of the path does not respond. Accessing it could hang forever."""
    for hung in commands.hung_paths([path]).values():
        raise OSError(hung)


def folder(path: str, max_file_bytes: int) -> Iterator[LogFile]:
    """Yield the files in a folder, newest first. Each stream is positioned at the last ``max_file_bytes`` bytes.

    :raises OSError: if the file system of the folder does not respond.
    """
    _require_response(path)
    entries: list[tuple[float, int, str]] = []
    for parent, _folders, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):  # the file was removed in the meantime
                status = os.lstat(os.path.join(parent, name))
                if stat.S_ISREG(status.st_mode):
                    entries.append((status.st_mtime, status.st_size, os.path.join(parent, name)))
    for modified, size, each in sorted(entries, reverse=True):
        # A link must not make this process, which runs as root, read another file.
        with contextlib.suppress(OSError), os.fdopen(
                os.open(each, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            stream.seek(max(0, size - max_file_bytes))
            yield os.path.relpath(each, path), modified, size, stream


def newest(files: Iterable[LogFile], max_bytes: int, max_file_bytes: int) -> Files:
    """Return the ends of the newest files, with at most ``max_bytes`` in total and ``max_file_bytes`` per file."""
    kept: list[tuple[float, str, bytes, int]] = []
    total, left_out, problems = 0, 0, []
    try:
        for name, modified, size, stream in files:
            if kept and total + min(size, max_file_bytes) > max_bytes and modified <= kept[0][0]:
                left_out += 1
                continue
            end = b""
            for block in iter(lambda stream=stream: stream.read(1 << 20), b""):  # type: ignore[misc]
                end = (end + block)[-max_file_bytes:]
            heapq.heappush(kept, (modified, name, end, size))
            total += len(end)
            while total > max_bytes:
                total -= len(heapq.heappop(kept)[2])
                left_out += 1
    except Exception as error:
        problems.append(str(error))
    found = {name: Collected(end.decode("utf-8", "replace"), 0, _cut(len(end), size))
             for _modified, name, end, size in sorted(kept, reverse=True)}
    if left_out:
        problems.append("older files were left out: %d" % left_out)
    if problems:
        found["(older files)"] = Collected("", None, "; ".join(problems))
    return found


def bounded(files: Files, max_bytes: int) -> Files:
    """Return the files with at most ``max_bytes`` in total, and a quarter of that per file. The ends are kept.

    :param files: the files, with the most important file first.
    """
    found: Files = {}
    remaining_bytes = max_bytes
    for name, each in files.items():
        data = each.text.encode("utf-8", "replace")
        share = min(remaining_bytes, max_bytes // 4)
        if len(data) > share:
            problems = filter(None, [each.problem, _cut(share, len(data))])
            each = Collected(data[len(data) - share:].decode("utf-8", "ignore"), each.rc, "; ".join(problems))
        found[name] = each
        remaining_bytes -= min(share, len(data))
    return found


def _cut(kept: int, size: int) -> str | None:
    return "only the last %d of %d bytes" % (kept, size) if kept < size else None


def pack(texts: Iterable[tuple[str, str]]) -> bytes:
    """Return a ``.tar.gz`` archive of the files.

    :param texts: (name, text) of each file.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in texts:
            data = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
