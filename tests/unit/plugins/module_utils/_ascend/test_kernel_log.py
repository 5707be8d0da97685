# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of NPUs are found in the log of the kernel."""

from __future__ import annotations

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


def test_kernel_log_finds_npu_errors_of_the_last_minutes():
    found = kernel_log.errors(KMSG, uptime_s=1000.0, within_s=600, bus_ids=["0000:C1:00.0", None])
    assert [(each["seconds_ago"], each["text"][:30]) for each in found] == [
        (100, "[ascend] [drv_pcie] [devdrv_ms"), (90, "pcieport 0000:c0:00.0: AER: Co"),
        (80, "acc 0000:82:00.0:   device [19")]
    assert len(kernel_log.errors(KMSG, uptime_s=1000.0, within_s=2000, bus_ids=["0000:c1:00.0"])) == 4


def test_kernel_log_reads_until_nothing_is_left(tmp_path):
    (tmp_path / "kmsg").write_text(KMSG[0])
    assert kernel_log.read(str(tmp_path / "kmsg")) == [KMSG[0]]
    with pytest.raises(OSError, match="No such file"):
        kernel_log.read(str(tmp_path / "none"))
