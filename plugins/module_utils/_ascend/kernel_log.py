# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find NPU errors in the kernel log.

The driver logs ``[ascend] [ERROR] [module] [function line] <task> text``, sometimes without the level, and at
KERN_NOTICE even for errors (drv_log.h of github.com/hicann/driver). So errors are recognised by their text, not by the
priority of the record.
"""

from __future__ import annotations

import errno
import os
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable, TypedDict

    class KernelLogLine(TypedDict):
        """An error of an NPU."""

        seconds_ago: int
        text: str

    class KernelLog(TypedDict):
        """The errors found, oldest first; ``error`` is set if the log could not be read."""

        lines: list[KernelLogLine]
        error: str | None

_DRIVER = re.compile(
    r"\[ascend\].*(?:\[ERROR\]|abnormal|heart ?beat (?:lost|timeout)|\bfault\b|device lost|hot ?reset)", re.IGNORECASE)
_PCI = re.compile(r"AER:|PCIe Bus Error|Hardware Error|surprise (?:down|removal)|link (?:is )?down", re.IGNORECASE)
_VENDOR = re.compile(r"\b19e5:d80[0-9a-f]\b", re.IGNORECASE)
_LIMIT = 50
READ_S = 10.0


def read(path: str = "/dev/kmsg", limit: int = 200000) -> list[str]:
    """Read the records of the kernel log buffer, oldest first, at most `limit`.

    Raises OSError if the log cannot be read.
    """
    records: list[str] = []
    # The kernel may log faster than it is read.
    deadline = time.monotonic() + READ_S
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(records) < limit and time.monotonic() < deadline:
            try:
                record = os.read(descriptor, 8192)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten before it was read; the next read returns the next record
                    continue
                raise
            if not record:
                break
            records.append(record.decode("utf-8", "replace"))
    finally:
        os.close(descriptor)
    return records


def errors(records: Iterable[str], uptime_s: float, within_s: float, bus_ids: Iterable[str | None] = ()
           ) -> list[KernelLogLine]:
    """Filter the errors of NPUs from `records` of ``/dev/kmsg``.

    :param records: ``priority,sequence,microseconds since boot,flags;text``.
    :param uptime_s: current uptime in seconds.
    :param within_s: maximum age of a record in seconds.
    :param bus_ids: PCI addresses of the NPUs, such as ``0000:c1:00.0``; errors of other PCI devices are ignored.
    :returns: the newest 50 errors, oldest first.
    """
    known = [bus_id.lower() for bus_id in bus_ids if bus_id]
    found: list[KernelLogLine] = []
    for record in records:
        head, _separator, text = record.partition(";")
        fields = head.split(",")
        text = text.split("\n", 1)[0]
        if len(fields) < 3 or not fields[2].isdigit():
            continue
        age = max(0, int(uptime_s - int(fields[2]) / 1e6))
        if age <= within_s and _is_error(text, known):
            found.append({"seconds_ago": age, "text": text})
    return found[-_LIMIT:]


def _is_error(text: str, bus_ids: list[str]) -> bool:
    if _DRIVER.search(text):
        return True
    npu = _VENDOR.search(text) or any(bus_id in text.lower() for bus_id in bus_ids)
    return bool(npu and _PCI.search(text))
