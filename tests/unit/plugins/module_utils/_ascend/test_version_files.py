# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Version and installation files of the driver, firmware and toolkit are parsed."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import version_files
from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_smi import ParseError

DRIVER = """\
Version=25.3.rc1
ascendhal_version=7.35.23
tsfw_version=1.0
Innerversion=V100R001C23SPC001B200
compatible_version=[V100R001C21],[V100R001C23]
compatible_version_fw=[7.0.0,7.8.99]
package_version=25.3.rc1
"""
FIRMWARE = """\
Version=7.8.0.2.212
firmware_version=1.0
package_version=25.3.rc1
compatible_version_drv=[25.0.0,25.3.0.]
"""
TOOLKIT = """\
package_name=Ascend-cann-toolkit
version=8.3.RC1
innerversion=V100R001C23SPC001B235
arch=aarch64
os=linux
path=/usr/local/Ascend/ascend-toolkit/8.3.RC1/aarch64-linux
"""


@pytest.mark.parametrize(("text", "kind", "fields"), [
    (DRIVER, "driver_version", {"Version": "25.3.rc1", "compatible_version_fw": "[7.0.0,7.8.99]"}),
    (DRIVER.replace("\n", "\r\n"), "driver_version", {"Version": "25.3.rc1", "package_version": "25.3.rc1"}),
    ("/usr/local/Ascend/driver/version.info\n    " + DRIVER.replace("\n", "\n    "), "driver_version",
     {"Version": "25.3.rc1"}),
    (FIRMWARE, "firmware_version", {"Version": "7.8.0.2.212", "package_version": "25.3.rc1"}),
    (TOOLKIT, "other", {"version": "8.3.RC1", "arch": "aarch64"}),
    ("UserName=HwHiAiUser\nUserGroup=HwHiAiUser\nDriver_Install_Type=full\n", "install_info",
     {"Driver_Install_Type": "full"}),
    ("  Ascend-cann-atb : 8.3.RC1\n  commit id : 0a1b\nmindie-sd:2.2.RC1\n", "other",
     {"Ascend-cann-atb": "8.3.RC1", "commit id": "0a1b", "mindie-sd": "2.2.RC1"}),
    ('required_package_hccl_version=">=7.6, <=8.2"\n', "other", {"required_package_hccl_version": '">=7.6, <=8.2"'}),
])
def test_kind_and_fields_of_a_file_are_read(text, kind, fields):
    parsed = version_files.parse(text)
    assert parsed["kind"] == kind
    assert {name: parsed["fields"].get(name) for name in fields} == fields


def test_key_with_two_values_is_omitted():
    assert "Version" not in version_files.parse(DRIVER + "Version=25.5.1\n")["fields"]


@pytest.mark.parametrize("text", ["", "\n\n", "{", "cat: /etc/ascend_install.info: No such file or directory"])
def test_text_that_is_not_a_version_file_is_an_error(text):
    with pytest.raises(ParseError):
        version_files.parse(text)


def test_read_returns_the_fields_or_an_error(tmp_path):
    (tmp_path / "version.info").write_text("Version=25.3.rc1\nascendhal_version=7.35.23\n")
    assert version_files.read(str(tmp_path / "version.info"))["fields"]["Version"] == "25.3.rc1"
    assert "No such file" in version_files.read(str(tmp_path / "none"))["error"]
