# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find NPU errors in the kernel log, and determine their kinds.

The driver logs ``[ascend] [ERROR] [module] [function line] <task> text``, sometimes without the level. Even errors have
the priority KERN_NOTICE (drv_log.h of github.com/hicann/driver). Therefore, errors are recognized by their text, and
not by the priority of the record. Function names, such as fault_notifier and hotreset, do not count as error text.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable, TypedDict

    class KernelLogLine(TypedDict):
        """An NPU error. ``kind`` is one of the constants below."""

        seconds_ago: int
        text: str
        kind: str

    class KernelLog(TypedDict):
        """The errors in the kernel log, with the oldest error first. ``error`` is set if the log could not be read."""

        lines: list[KernelLogLine]
        #: The number of corrected errors on the PCIe links of NPUs. They are not a fault.
        corrected: int
        error: str | None

# The kinds of errors. Hang: the device or its firmware no longer responds. Pinning: the memory of a process could not
# be pinned for a transfer. Application: a process made a request that is not allowed, such as for a device that another
# container uses, or for an address that is not mapped. Link: an error of the PCIe link.
# IOMMU: the IOMMU reported a fault. Driver: any other error that the driver reports.
HANG, PINNING, APPLICATION, LINK, IOMMU, DRIVER = "hang", "pinning", "application", "link", "iommu", "driver"

_DRIVER_LINE = re.compile(r"\[ascend\]((?:\s*\[[^\]]*\])*)\s*(?:<[^>]*>)?\s*(.*)", re.IGNORECASE)
# The kinds of driver messages. The first pattern that matches applies. Sources of the messages:
# github.com/hicann/driver (devmm, devdrv, drv_soft_fault, tsdrv), and the logs in
# tests/unit/plugins/plugin_utils/_stages/npu_driver/hosts.
_KINDS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in (
    (HANG, r"heart ?beat\s+(?:is |was )?(?:lost|time ?out|abnormal|stop)|device (?:is |was )?(?:abnormal|lost)"
           r"|Get mntn message.*exception_id|ipc channel idle timeout|Wait event timeout|icm send msg fail"),
    (PINNING, r"(?:get|pin)[_ ]user[_ ]pages(?:_fast)? fail|Get pa list fail"),
    (APPLICATION, r"Wlist verify fail|white ?list.*(?:fail|not)|permission denied|no permission|Conflict open udevid"
                  r"|Vm fault failed|Va is error"),
))
_LEVEL = re.compile(r"\[(ERROR|ERR|CRIT|FATAL|EMERG|ALERT|WARN(?:ING)?|NOTICE|EVENT|INFO|DEBUG)\]", re.IGNORECASE)
_BAD_LEVELS = ("ERROR", "ERR", "CRIT", "FATAL", "EMERG", "ALERT")

# According to Documentation/PCI/pcieaer-howto.rst of the kernel, a corrected error needs no action. The root port first
# announces an error ("error received", "error message received"). Then, "PCIe Bus Error" describes the error, and
# indented lines have the details. To count each error once, only the description counts.
_CORRECTED = re.compile(r"severity=Correct", re.IGNORECASE)
_ANNOUNCED = re.compile(r"(?:^|\s)(?:Multiple )?Correct(?:ed|able) error (?:message )?received", re.IGNORECASE)
_DETAILS = re.compile(r"AER:\s+(?:\[ ?\d+\]|device \[[0-9a-f:]+\] error status|TLP Header|Error of this Agent|aer_)",
                      re.IGNORECASE)
# Errors that the firmware of the host reports. The first line of a record contains the severity, and a later line the
# device.
_FIRMWARE = re.compile(r"(\{\d+\})\[Hardware Error\]:(?:\s*event severity: (\w+))?", re.IGNORECASE)
_LINK = re.compile(r"AER:|PCIe Bus Error|Hardware Error|surprise (?:down|removal)|link (?:is )?down|Card not present"
                   r"|DPC: (?:containment|unmasked uncorrectable|error)", re.IGNORECASE)
# IOMMU messages of Intel, AMD and Arm. Before Linux 6.14, the messages for Arm contain the stream id of the device,
# from which its PCI address is computed.
_IOMMU = re.compile(r"DMAR:.*fault|DMA (?:Read|Write).*fault|IO_PAGE_FAULT|AMD-Vi: Event|arm-smmu-v3|SMMU.*fault",
                    re.IGNORECASE)
_STREAM = re.compile(r"arm-smmu-v3 \S+:\s+0x0000([0-9a-f]{4})[0-9a-f]{6}(?:02|08|10|11|12|13)\b", re.IGNORECASE)
_VENDOR = re.compile(r"\b19e5:d80[0-9a-f]\b", re.IGNORECASE)
_LIMIT = 50
READ_S = 10.0


def read(path: str = "/dev/kmsg", limit: int = 200000) -> list[str]:
    """Return up to ``limit`` records of the kernel log buffer, with the oldest first. Raise OSError on failure."""
    records: list[str] = []
    # The kernel can log records faster than they are read.
    deadline = time.monotonic() + READ_S
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(records) < limit and time.monotonic() < deadline:
            try:
                record = os.read(descriptor, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:  # The record was overwritten. The next call returns the next record.
                continue
            if not record:
                break
            records.append(record.decode("utf-8", "replace"))
    finally:
        os.close(descriptor)
    return records


def errors(records: Iterable[str], uptime_s: float, within_s: float, bus_ids: Iterable[str | None] = ()) -> KernelLog:
    """Return the newest 50 errors of NPUs, with the oldest of them first, and the number of corrected errors.

    :param records: the records of ``/dev/kmsg``, ``priority,sequence,microseconds since boot,flags;text``.
    :param within_s: the maximum age of a record.
    :param bus_ids: the PCI addresses of the NPUs and of the ports above them, such as ``0000:c1:00.0``. Errors of other
        PCI devices are ignored.
    """
    addresses = [bus_id.lower() for bus_id in bus_ids if bus_id]
    found: list[KernelLogLine] = []
    corrected = 0
    severities: dict[str, str] = {}
    for record in records:
        head, _separator, text = record.partition(";")
        fields = head.split(",")
        text = text.split("\n", 1)[0]
        if len(fields) < 3 or not fields[2].isdigit():
            continue
        age = max(0, int(uptime_s - int(fields[2]) / 1e6))
        if age > within_s:
            continue
        firmware = _FIRMWARE.search(text)
        if firmware and firmware.group(2):
            severities[firmware.group(1)] = firmware.group(2).lower()
        harmless = _CORRECTED.search(text) or (firmware and severities.get(firmware.group(1)) == "corrected")
        kind = _driver_kind(text) or _bus_kind(text, addresses)
        if kind and not harmless:
            found.append({"seconds_ago": age, "text": text, "kind": kind})
        elif harmless and _is_about_npu(text, addresses):
            corrected += 1
    return {"lines": found[-_LIMIT:], "corrected": corrected, "error": None}


def _driver_kind(text: str) -> str | None:
    """Return the kind of the error in a message of the driver, or None if the line is not a driver error."""
    line = _DRIVER_LINE.search(text)
    if not line:
        return None
    labels, message = line.groups()
    level = _LEVEL.search(labels)
    if level and level.group(1).upper() not in (*_BAD_LEVELS, "WARN", "WARNING"):
        return None
    kind = next((kind for kind, pattern in _KINDS if pattern.search(message)), None)
    return kind or (DRIVER if level and level.group(1).upper() in _BAD_LEVELS else None)


def _bus_kind(text: str, addresses: list[str]) -> str | None:
    """Return the kind of a PCIe or IOMMU error of an NPU, or None if the line is not such an error."""
    if not _is_about_npu(text, addresses):
        return None
    if _IOMMU.search(text):
        return IOMMU
    if _ANNOUNCED.search(text) or _DETAILS.search(text):
        return None
    return LINK if _LINK.search(text) else None


def _is_about_npu(text: str, addresses: list[str]) -> bool:
    """Return whether a line is about an NPU. IOMMU messages can omit the domain ``0000:`` of the PCI address."""
    if _VENDOR.search(text):
        return True
    stream = _STREAM.search(text)
    if stream:
        number = int(stream.group(1), 16)
        text = "%02x:%02x.%d" % (number >> 8, number >> 3 & 0x1f, number & 7)
    lower = text.lower()
    if any(bus_id in lower for bus_id in addresses):
        return True
    return bool(stream or _IOMMU.search(text)) and any(
        re.search(r"(?<![0-9a-f:])%s" % re.escape(bus_id.partition(":")[2]), lower) for bus_id in addresses)
