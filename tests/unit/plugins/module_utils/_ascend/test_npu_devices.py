# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NPU numbers are read from device paths and from lists of visible devices."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import npu_devices


@pytest.mark.parametrize(("path", "number"), [
    ("/dev/davinci0", 0), ("/dev/davinci15", 15), ("/dev/davinci_manager", None), ("/dev/davinci", None),
    ("/dev/davinci1x", None), ("/opt/dev/davinci1", None), ("/dev/davinci1\n", None)])
def test_npu_number_is_read_from_a_device_path(path, number):
    assert npu_devices.device_number(path) == number
    assert number is None or npu_devices.device_path(number) == path


@pytest.mark.parametrize(("value", "numbers"), [
    ("0", {0}), ("0-3,5,7", {0, 1, 2, 3, 5, 7}), ("1 ,3", {1, 3}), ("Ascend910-0,Ascend910-1", {0, 1}),
    ("Ascend310P-12", {12}), ("npu-0,npu-1", {0, 1}), ("0 - 2", {0, 1, 2}), ("", set()), ("void", set()),
    ("all", set())])
def test_visible_devices_are_parsed(value, numbers):
    assert npu_devices.visible_devices(value) == numbers
