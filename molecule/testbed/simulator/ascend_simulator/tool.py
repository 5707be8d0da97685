# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both simulated tools share: how they fail, wait and hang."""
from __future__ import annotations

import sys
import time

from .record import Record


class Failure(Record):
    """What a tool says and how it exits when a fault hits it. `status` is the low byte of the vendor's code."""

    status: int
    stdout: str = ""
    stderr: str = ""


class ToolError(Exception):
    """Raised anywhere in a tool to end it with a `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.stdout or failure.stderr)
        self.failure = failure


def missing_library(tool: str) -> Failure:
    """The dynamic loader's words when the driver's libraries are not there."""
    library = {"npu-smi": "libdcmi.so", "hccn_tool": "libascend_hal.so"}[tool]
    return Failure(127, stderr=f"{tool}: error while loading shared libraries: {library}: "
                               "cannot open shared object file: No such file or directory\n")


def start(tool: str, state: dict, failures: dict[str, Failure]) -> None:
    """Wait as long as the state says, then fail or hang where the state says so."""
    settings = state["tools"][tool]
    if settings["delay_s"]:
        time.sleep(settings["delay_s"])
    fail(settings["fault"], failures)


def fail(fault: str | None, failures: dict[str, Failure]) -> None:
    """End the tool as `fault` (a name of `failures`, or `hang`) tells; None goes on."""
    if fault == "hang":
        while True:
            time.sleep(3600)
    if fault is not None:
        raise ToolError(failures[fault])


def finish(failure: Failure) -> int:
    """Print a failure and return the exit status."""
    sys.stdout.write(failure.stdout)
    sys.stdout.flush()
    sys.stderr.write(failure.stderr)
    return failure.status
