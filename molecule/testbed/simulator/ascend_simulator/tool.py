# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that both simulated tools share: failures, delays and hangs."""
from __future__ import annotations

import sys
import time

from .record import Record


class Failure(Record):
    """The output and exit code of a tool that fails. `status` is the low byte of the vendor tool's error code."""

    status: int
    stdout: str = ""
    stderr: str = ""


class ToolError(Exception):
    """Raised anywhere in a tool to exit with a `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.stdout or failure.stderr)
        self.failure = failure


def missing_library(tool: str) -> Failure:
    """Return the dynamic loader's error for missing libraries of the driver."""
    library = {"npu-smi": "libdcmi.so", "hccn_tool": "libascend_hal.so"}[tool]
    return Failure(127, stderr=f"{tool}: error while loading shared libraries: {library}: "
                               "cannot open shared object file: No such file or directory\n")


def start(tool: str, state: dict, failures: dict[str, Failure]) -> None:
    """Wait for the delay in the state, then fail or hang if the state has such a fault."""
    settings = state["tools"][tool]
    if settings["delay_s"]:
        time.sleep(settings["delay_s"])
    fail(settings["fault"], failures)


def fail(fault: str | None, failures: dict[str, Failure]) -> None:
    """Raise a ToolError or hang for `fault` (a name in `failures`, or `hang`); None has no effect."""
    if fault == "hang":
        while True:
            time.sleep(3600)
    if fault is not None:
        raise ToolError(failures[fault])


def finish(failure: Failure) -> int | None:
    """Print the output of a tool, and return its exit code, which is None for a recorded tool that hung."""
    sys.stdout.write(failure.stdout)
    sys.stdout.flush()
    sys.stderr.write(failure.stderr)
    return failure.status
