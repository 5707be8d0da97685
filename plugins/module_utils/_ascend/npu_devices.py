# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers N of the device nodes ``/dev/davinciN``. On an A3, each of the two chips of an NPU has a device node."""

from __future__ import annotations

import re

_PATH = re.compile(r"/dev/davinci([0-9]{1,3})\Z")
_VISIBLE = re.compile(r"\s*(?:[A-Za-z][0-9A-Za-z]*\s*-\s*)?([0-9]{1,3})(?:\s*-\s*([0-9]{1,3}))?\s*\Z")


def device_path(number: int) -> str:
    """Return the path of the device node with this number."""
    return "/dev/davinci%d" % number


def device_number(path: str) -> int | None:
    """Return the number N of ``/dev/davinciN``, or None for any other path, such as ``/dev/davinci_manager``."""
    match = _PATH.match(path)
    return int(match.group(1)) if match else None


def visible_devices(value: str) -> set[int]:
    """Return the numbers in ``ASCEND_VISIBLE_DEVICES``, with which the Ascend Docker Runtime selects devices.

    :param value: the value of the variable, such as ``0,2-4``, ``Ascend910-0`` or ``npu-0``. ``void`` means no devices
        (parseDevices and parseAscendDevices in component/ascend-docker-runtime/runtime/process/process.go of
        Ascend/mind-cluster).
    """
    numbers: set[int] = set()
    for match in filter(None, map(_VISIBLE.match, value.split(","))):
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        numbers.update(range(first, last + 1))
    return numbers
