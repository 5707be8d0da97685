# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands, optionally in parallel, with a time limit and an output limit.

If a vendor tool hangs in the driver, or in a file system whose server is unreachable, its process cannot be killed. The
functions do not wait for such a process, and the outcome shows that the process hangs.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Hashable, Iterable, Mapping, Optional, TypedDict, TypeVar

    Key = TypeVar("Key", bound=Hashable)
    Result = TypeVar("Result")
    # run(argv, timeout_s) -> (exit status, stdout, stderr); the exit status is None after a timeout.
    Run = Callable[[list[str], float], tuple[Optional[int], str, str]]

    class OutcomeSummary(TypedDict):
        """An `Outcome` without its output."""

        command: str
        rc: int | None
        duration_s: float
        timed_out: bool
        error: str | None


MAX_OUTPUT_BYTES = 16 << 20
# The number of seconds to wait until a killed process has exited.
KILL_S = 0.5
# The number of seconds within which a file system must respond.
PATH_TIMEOUT_S = 10.0
_BLOCK_BYTES = 64 << 10


class Outcome(NamedTuple):
    """The result of a command.

    If the command could not be started, timed out or printed too much, ``rc`` is None and ``error`` is the reason.
    If the process could not be killed after a timeout, ``hung`` is true.
    """

    argv: list[str]
    rc: int | None
    stdout: str
    stderr: str
    duration_s: float
    timed_out: bool
    error: str | None
    hung: bool = False

    @property
    def output(self) -> str:
        """The text of both streams, because the vendor's tools print errors to either of them."""
        return self.stdout + self.stderr

    def summary(self) -> OutcomeSummary:
        """Return the outcome without the output of the command."""
        return {"command": " ".join(self.argv), "rc": self.rc, "duration_s": self.duration_s,
                "timed_out": self.timed_out, "error": self.error}


def within(timeout_s: float, call: Callable[[], Result]) -> Result:
    """Return the result of a call, such as one to an HTTP client. Raise `socket.timeout` if it takes too long."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise socket.timeout("timed out: no complete response within %g s" % timeout_s)
    return results[0]


def run(argv: list[str], timeout_s: float, max_bytes: int = MAX_OUTPUT_BYTES) -> Outcome:
    """Run a command in the C locale, without a shell.

    :param timeout_s: the number of seconds after which the command is killed.
    :param max_bytes: the maximum size of each stream. A command that prints more is killed.
    """
    started = time.monotonic()
    try:
        # Even the start of a program can hang if its file system does not respond. `_run` itself waits up to twice
        # KILL_S for a killed process.
        return within(timeout_s + 4 * KILL_S, lambda: _run(argv, started, timeout_s, max_bytes))
    except socket.timeout:
        return _timed_out(argv, (bytearray(), bytearray()), started, timeout_s, True)
    except Exception as error:
        return Outcome(argv, None, "", "", _since(started), False, "%s: %s" % (type(error).__name__, error))


def _run(argv: list[str], started: float, timeout_s: float, max_bytes: int) -> Outcome:
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=dict(os.environ, LC_ALL="C", LANG="C", LANGUAGE="C"))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in an argument
        return Outcome(argv, None, "", "", _since(started), False, str(error))
    stdout, stderr = output = bytearray(), bytearray()
    with contextlib.ExitStack() as streams:
        for stream in filter(None, (process.stdout, process.stderr)):
            streams.enter_context(stream)
        complete = _read(process, output, started + timeout_s, max_bytes) and _ended(process, started + timeout_s)
        if not complete:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            killed = time.monotonic() + KILL_S  # `run` waits longer, so that it can return the output
            _read(process, output, killed, max_bytes)
            hung = not _ended(process, killed)
    if complete:
        return Outcome(argv, process.returncode, _text(stdout), _text(stderr), _since(started), False, None)
    if max(len(stdout), len(stderr)) > max_bytes:
        return Outcome(argv, None, _text(stdout[:max_bytes]), _text(stderr[:max_bytes]), _since(started), False,
                       "the command printed more than %d bytes" % max_bytes)
    return _timed_out(argv, output, started, timeout_s, hung)


def _timed_out(argv: list[str], output: tuple[bytearray, bytearray], started: float, timeout_s: float, hung: bool
               ) -> Outcome:
    return Outcome(argv, None, _text(output[0]), _text(output[1]), _since(started), True, "no answer within %g s%s" % (
        timeout_s, ", and the process cannot be killed: it hangs in the kernel" if hung else ""), hung)


def _read(process: subprocess.Popen[bytes], output: tuple[bytearray, bytearray], deadline: float,
          max_bytes: int) -> bool:
    """Append what a process prints to ``output`` (stdout, stderr). Do not wait for the process to exit.

    Return False if the deadline passes, or if a stream has more than ``max_bytes``.
    """
    with selectors.DefaultSelector() as selector:
        for stream, data in zip((process.stdout, process.stderr), output):
            if stream:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, data)
        while selector.get_map():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            for key, _events in selector.select(remaining_s):
                block = os.read(key.fd, _BLOCK_BYTES)
                if not block:
                    selector.unregister(key.fileobj)
                elif len(key.data) > max_bytes:
                    return False
                else:
                    key.data.extend(block)
    return True


def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(max(0.01, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def run_all(commands: Mapping[Key, list[str]], timeout_s: float) -> dict[Key, Outcome]:
    """Run several commands, up to eight at a time.

    :param commands: ``{key: argv}``.
    :param timeout_s: the time limit of each command in seconds.
    :returns: ``{key: Outcome}`` in the order of `commands`.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(commands, pool.map(lambda argv: run(argv, timeout_s), commands.values())))


def hung_paths(paths: Iterable[str], timeout_s: float = PATH_TIMEOUT_S) -> dict[str, str]:
    """Return ``{path: sentence}`` for paths whose file system does not respond, such as NFS after its server failed.

    A process that accesses such a path can hang forever, so another process tests the paths.
    """
    test = [sys.executable, "-I", "-S", "-c",
            "import os, sys\nfor path in sys.argv[1:]: os.path.exists(path) and os.statvfs(path)"]
    distinct = list(dict.fromkeys(paths))
    if not distinct or not run([*test, *distinct], timeout_s).timed_out:
        return {}
    outcomes = run_all({path: [*test, path] for path in distinct}, timeout_s)
    return {path: "%s is on a file system that does not respond within %g s" % (path, timeout_s)
            for path, outcome in outcomes.items() if outcome.timed_out}


def _text(data: bytearray) -> str:
    return data.decode("utf-8", "replace")


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
