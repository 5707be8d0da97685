# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the vendor's tools side by side, each within a time limit. PRIVATE to the collection.

A tool that hangs in the driver cannot even be killed, and is itself the finding: it is left behind and named.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple


class Outcome(NamedTuple):
    """What a command did. ``rc`` is None when it was not started or did not end in time; ``error`` then says why."""

    argv: list
    rc: int | None
    stdout: str
    stderr: str
    duration_s: float
    timed_out: bool
    error: str | None

    @property
    def output(self):
        """Both streams: the vendor's tools print errors to either."""
        return self.stdout + self.stderr

    def summary(self):
        """The outcome without what was printed: command, rc, duration_s, timed_out, error."""
        return {"command": " ".join(self.argv), "rc": self.rc, "duration_s": self.duration_s,
                "timed_out": self.timed_out, "error": self.error}


def run(argv, timeout_s):
    """Run one command without a shell, in the C locale; returns its `Outcome` after `timeout_s` seconds at most."""
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
        stdout, stderr = _end(process)
        return Outcome(argv, None, _text(stdout), _text(stderr), _since(started), True,
                       "no answer within %g s" % timeout_s)
    return Outcome(argv, process.returncode, _text(stdout), _text(stderr), _since(started), False, None)


def run_all(commands, timeout_s, workers=8):
    """Run several commands, `workers` of them at a time.

    :param commands: ``{key: argv}``.
    :returns: ``{key: Outcome}`` in the same order.
    """
    if not commands:
        return {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {key: pool.submit(run, argv, timeout_s) for key, argv in commands.items()}
        return {key: future.result() for key, future in futures.items()}


def _end(process):
    """Kill the command with its children and collect what it had printed, without waiting for one that cannot die."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate(timeout=0.5)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        return b"", b""


def _text(data):
    return data.decode("utf-8", "replace")


def _since(started):
    return round(time.monotonic() - started, 3)
