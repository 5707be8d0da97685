# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands, in parallel if wanted, each with a time limit.

A vendor tool that hangs in the driver cannot be killed, and that it hangs is a finding: its process is abandoned and
the outcome says so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from typing import Callable, Optional, TypedDict, TypeVar

    Key = TypeVar("Key", bound=Hashable)
    # run(argv, timeout_s) -> (exit status, stdout, stderr); the exit status is None after a timeout.
    Run = Callable[[list[str], float], tuple[Optional[int], str, str]]

    class OutcomeSummary(TypedDict):
        """An `Outcome` without its output."""

        command: str
        rc: int | None
        duration_s: float
        timed_out: bool
        error: str | None


class Outcome(NamedTuple):
    """The result of a command. If it could not be started or timed out, ``rc`` is None and ``error`` has the reason."""

    argv: list[str]
    rc: int | None
    stdout: str
    stderr: str
    duration_s: float
    timed_out: bool
    error: str | None

    @property
    def output(self) -> str:
        """Both streams; the vendor's tools print errors to either."""
        return self.stdout + self.stderr

    def summary(self) -> OutcomeSummary:
        """Return the outcome without the output of the command."""
        return {"command": " ".join(self.argv), "rc": self.rc, "duration_s": self.duration_s,
                "timed_out": self.timed_out, "error": self.error}


def run(argv: list[str], timeout_s: float) -> Outcome:
    """Run one command without a shell in the C locale, for `timeout_s` seconds at most."""
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=dict(os.environ, LC_ALL="C", LANG="C", LANGUAGE="C"))
    except OSError as error:
        return Outcome(argv, None, "", "", _since(started), False, str(error))
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        stdout, stderr = _kill(process)
        return Outcome(argv, None, _text(stdout), _text(stderr), _since(started), True,
                       "no answer within %g s" % timeout_s)
    return Outcome(argv, process.returncode, _text(stdout), _text(stderr), _since(started), False, None)


def run_all(commands: Mapping[Key, list[str]], timeout_s: float, workers: int = 8) -> dict[Key, Outcome]:
    """Run several commands in parallel.

    :param commands: ``{key: argv}``.
    :param timeout_s: time limit of each command in seconds.
    :param workers: how many commands run at a time.
    :returns: ``{key: Outcome}`` in the order of `commands`.
    """
    if not commands:
        return {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {key: pool.submit(run, argv, timeout_s) for key, argv in commands.items()}
        return {key: future.result() for key, future in futures.items()}


def _kill(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Kill the command and its children and return what they had printed, without waiting if they cannot be killed."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate(timeout=0.5)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        return b"", b""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
