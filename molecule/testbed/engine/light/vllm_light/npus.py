# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open NPU devices as the CANN runtime does: device nodes must exist, and the container must have access to them."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from .errors import StartError

SHARED_DEVICES = ("davinci_manager", "devmm_svm", "hisi_hdc")


def hold(wanted: int) -> list[int]:
    """Check the devices that all NPUs share, and open `wanted` NPUs; return the file descriptors to keep open."""
    devices = Path(os.environ.get("VLLM_LIGHT_DEVICES", "/dev"))  # another folder in tests outside a container
    for name in SHARED_DEVICES:
        if not (devices / name).exists():
            raise StartError(
                "RuntimeError: Initialize:torch_npu/csrc/core/npu/sys_ctrl/npu_sys_ctrl.cpp NPU function error: "
                "aclInit, error code is 507899: /dev/%s does not exist" % name
            )
    found = sorted(int(path.name[7:]) for path in devices.iterdir() if re.fullmatch(r"davinci\d+", path.name))
    visible = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
    if visible:
        found = [found[int(index)] for index in visible.split(",") if int(index) < len(found)]
    if len(found) < wanted:
        raise StartError(
            "RuntimeError: Initialize:torch_npu/csrc/core/npu/sys_ctrl/npu_sys_ctrl.cpp NPU function error: "
            "aclrtSetDevice(device_id), error code is 107001\n[Error]: Invalid device ID.\n"
            "Invalid devId, current device=%d, valid devId range is [0, %d)" % (len(found), len(found))
        )
    return [_open(devices / ("davinci%d" % index)) for index in found[:wanted]]


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except OSError as error:
        # A node of the test bed has no driver behind the device node: ENXIO means that access was granted.
        if error.errno == errno.ENXIO:
            return os.open(path, os.O_PATH)
        raise StartError(
            "RuntimeError: NPU function error: aclrtSetDevice(device_id), error code is 507033\n"
            "[Error]: Failed to open %s: %s" % (path, error.strerror)
        ) from error
