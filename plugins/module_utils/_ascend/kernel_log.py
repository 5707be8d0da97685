# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what the kernel logged of broken NPUs. PRIVATE to the collection.

The driver prints ``[ascend] [ERROR] [module] [function line] <task> text``, or without the level, and at KERN_NOTICE
even for errors (drv_log.h of github.com/hicann/driver): the text decides, not the priority of the record.
"""

from __future__ import annotations

import errno
import os
import re

_DRIVER = re.compile(
    r"\[ascend\].*(?:\[ERROR\]|abnormal|heart ?beat (?:lost|timeout)|\bfault\b|device lost|hot ?reset)", re.IGNORECASE)
_PCI = re.compile(r"AER:|PCIe Bus Error|Hardware Error|surprise (?:down|removal)|link (?:is )?down", re.IGNORECASE)
_VENDOR = re.compile(r"\b19e5:d80[0-9a-f]\b", re.IGNORECASE)
_LIMIT = 50


def read(path="/dev/kmsg", limit=200000):
    """Records of the kernel's ring buffer, oldest first, as text; raises OSError where it cannot be read."""
    records = []
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(records) < limit:
            try:
                record = os.read(descriptor, 8192)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while we read: go on with the next one
                    continue
                raise
            if not record:
                break
            records.append(record.decode("utf-8", "replace"))
    finally:
        os.close(descriptor)
    return records


def errors(records, uptime_s, within_s, bus_ids=()):
    """Errors of NPUs among `records` of ``/dev/kmsg``.

    :param records: ``priority,sequence,microseconds since boot,flags;text``.
    :param uptime_s: seconds since boot now.
    :param within_s: how far to look back.
    :param bus_ids: PCI addresses of the NPUs, as ``0000:c1:00.0``; errors of other PCI devices do not count.
    :returns: the newest 50 as ``[{"seconds_ago": int, "text": str}]``, oldest first.
    """
    known = [bus_id.lower() for bus_id in bus_ids if bus_id]
    found = []
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


def _is_error(text, bus_ids):
    if _DRIVER.search(text):
        return True
    ours = _VENDOR.search(text) or any(bus_id in text.lower() for bus_id in bus_ids)
    return bool(ours and _PCI.search(text))
