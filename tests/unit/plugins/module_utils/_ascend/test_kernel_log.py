# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NPU errors are found in the kernel log."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import kernel_log

KMSG = [
    "5,1,1000000,-;[ascend] [ERROR] [devmm] [devmm_svm_device_fault 438] <kworker:9,9> Vm fault failed. (devid=0)\n",
    "5,2,900000000,-;[ascend] [drv_pcie] [devdrv_msg_send 12] <a:1> Device is abnormal. (dev_id=5; msg_type=3)\n",
    "6,3,900000001,-;[ascend] [drv_pcie] [devdrv_probe 40] <insmod:7> Probe begin. (dev_id=5)\n",
    "4,4,910000000,-;pcieport 0000:c0:00.0: AER: Corrected error received: 0000:c1:00.0\n SUBSYSTEM=pci\n",
    "4,5,910000001,-;pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0\n",
    "4,6,920000000,-;acc 0000:82:00.0:   device [19e5:d802] error status, PCIe Bus Error: severity=Fatal\n",
    "not a record",
]


def test_npu_errors_of_the_last_minutes_are_found():
    found = kernel_log.errors(KMSG, uptime_s=1000.0, within_s=600, bus_ids=["0000:C1:00.0", None])
    assert [(each["seconds_ago"], each["kind"], each["text"][:30]) for each in found["lines"]] == [
        (100, "hang", "[ascend] [drv_pcie] [devdrv_ms"), (80, "link", "acc 0000:82:00.0:   device [19")]
    assert len(kernel_log.errors(KMSG, 1000.0, 2000, ["0000:c1:00.0"])["lines"]) == 3


def kinds(*texts, bus_ids=("0000:C1:00.0", "0000:c0:00.0")):
    found = kernel_log.errors(["4,1,1000000,-;" + text for text in texts], 2.0, 60, bus_ids)
    return [each["kind"] for each in found["lines"]], found["corrected"]


@pytest.mark.parametrize(("text", "kind"), [
    ("[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 3] <kworker:1> heart beat is lost (device=1)", "hang"),
    ("[ascend] [devmm] [ERROR] [f 1] <python:1> Get user pages fail. (ret=-14)", "pinning"),
    ("[ascend] [devmm] [ERROR] _devmm_ipc_node_open: Wlist verify fail", "application"),
    # Code search ids 51937753831, 55810804903 and 59371237431
    ("[ascend] [uda] [ERROR] [uda_occupy_dev_by_ns 932] <npu-smi:PID> Conflict open udevid. (udevid=0)", "application"),
    ("[ascend] [devmm] [ERROR] Va is error, can not fault. (start=0x12c2bec00000, bitmap=0xa88)", "application"),
    ("[ascend] [ERROR] [devmm] [devmm_svm_device_fault 468] <kworker/u16:2:14887,14887> Vm fault failed. (ret=64)",
     "application"),
    ("[ascend] [ERROR] [devdrv] [f 1] <x:1> Something else is wrong", "driver"),
    ("[ascend] [INFO] [drv_pcie] [devdrv_device_lost_register 1] <x:1> device lost notifier is registered", None),
    ("[ascend] [drv_pcie] [devdrv_fault_init 1] <x:1> hot reset notifier is registered", None),
    ("DMAR: [DMA Read NO_PASID] Request device [c1:00.0] fault addr 0x1000 [fault reason 0x06]", "iommu"),
    ("DMAR: [DMA Read NO_PASID] Request device [0c:c1:00.0] fault addr 0x1000", None),
    ("AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:c1:00.0 domain=0x0000 address=0x0 flags=0x0]", "iommu"),
    ("arm-smmu-v3 arm-smmu-v3.3.auto: event: F_TRANSLATION client: 0000:c1:00.0 sid: 0xc100 ssid: 0x0", "iommu"),
    ("arm-smmu-v3 arm-smmu-v3.3.auto: \t0x0000c10000000010", "iommu"),
    ("arm-smmu-v3 arm-smmu-v3.3.auto: \t0x0000c20000000010", None),
    ("pcieport 0000:c0:00.0: pciehp: Slot(4): Link Down", "link"),
    ("pcieport 0000:c0:00.0: DPC: containment event, status:0x1f01 source:0x0000", "link"),
    ("pcieport 0000:00:01.0: AER: Uncorrected (Fatal) error received: 0000:c1:00.0", "link"),
    ("pcieport 0000:00:01.0: pciehp: Slot(4): Link Down", None),
])
def test_line_is_assigned_to_its_kind_of_error(text, kind):
    assert kinds(text) == ([kind] if kind else [], 0)


def test_corrected_link_errors_are_only_counted():
    assert kinds("pcieport 0000:00:01.0: AER: Corrected error received: 0000:c1:00.0",
                 "acc 0000:c1:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
                 "acc 0000:c1:00.0:   AER:   device [19e5:d802] error status/mask=00000001/00000000",
                 "acc 0000:c1:00.0:   AER:    [ 0] RxErr",
                 "acc 0000:05:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)") == ([], 1)


def test_severity_of_a_firmware_error_is_read_from_its_first_line():
    lines = ["{%d}[Hardware Error]: event severity: %s", "{%d}[Hardware Error]:   device_id: 0000:c1:00.0"]
    assert kinds(lines[0] % (3, "corrected"), lines[1] % 3) == ([], 1)
    assert kinds(lines[0] % (4, "fatal"), lines[1] % 4) == (["link"], 0)


def test_kernel_log_is_read_to_its_end(tmp_path):
    (tmp_path / "kmsg").write_text(KMSG[0])
    assert kernel_log.read(str(tmp_path / "kmsg")) == [KMSG[0]]
    with pytest.raises(OSError, match="No such file"):
        kernel_log.read(str(tmp_path / "none"))


def test_number_of_records_and_reading_time_are_limited(tmp_path, monkeypatch):
    """A log that is written faster than it is read has no end."""
    (tmp_path / "kmsg").write_text(KMSG[0] * 100)
    functions = SimpleNamespace(**{name: getattr(os, name) for name in ("open", "close", "O_RDONLY", "O_NONBLOCK")},
                                read=lambda _descriptor, _size: KMSG[0].encode())
    monkeypatch.setattr(kernel_log, "os", functions)
    assert kernel_log.read(str(tmp_path / "kmsg"), limit=7) == [KMSG[0]] * 7

    def overwritten(_descriptor, _size):
        raise OSError(errno.EPIPE, "Broken pipe")

    functions.read = overwritten
    monkeypatch.setattr(kernel_log, "READ_S", 0.1)
    assert kernel_log.read(str(tmp_path / "kmsg")) == []
