# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that an installation of driver and firmware creates on a node, including the two tools."""
from __future__ import annotations

import os
import sys

from .hardware import release_of, series_of

NPU_SMI = "usr/local/bin/npu-smi"
HCCN_TOOL = "usr/local/Ascend/driver/tools/hccn_tool"
FAULT_TOOL = "usr/local/bin/ascend-fault"
HCCN_CONF = "etc/hccn.conf"
DRIVER_VERSION = "usr/local/Ascend/driver/version.info"
INSTALL_INFO = "etc/ascend_install.info"
FIRMWARE_VERSION = "usr/local/Ascend/firmware/version.info"
_LIBRARIES = (
    "usr/local/dcmi/libdcmi.so",
    "usr/local/Ascend/driver/lib64/common/libc_sec.so",
    "usr/local/Ascend/driver/lib64/driver/libascend_hal.so",
    "usr/local/Ascend/driver/lib64/driver/libdcmi.so",
)
_PROGRAM = """\
#!{python} -IS
# Simulated vendor tool of the ascend.vllm test bed; its data are in {root}etc/ascend-simulator.
import sys
sys.path.insert(0, {package!r})
try:
    from ascend_simulator.{module} import main
except ImportError:
    sys.exit("{program} is simulated: it works on the node, but not in a container where only the program is mounted.")
sys.exit(main(sys.argv, {root!r}))
"""


def write(root: str, package: str, state: dict) -> None:
    """Write all files below `root`; `package` is the folder that contains this package."""
    for path, module in ((NPU_SMI, "npu_smi"), (HCCN_TOOL, "hccn_tool"), (FAULT_TOOL, "faults")):
        write_program(root, package, path, module)
    for path in _LIBRARIES:
        write_file(root, path, "Placeholder for a library of the vendor's driver.\n", 0o644)
    write_file(root, INSTALL_INFO, _install_info(state), 0o644)
    write_versions(root, state)
    write_hccn_conf(root, state)


def write_program(root: str, package: str, path: str, module: str) -> None:
    """Write the program that runs a module of this package."""
    write_file(root, path, _PROGRAM.format(python=sys.executable, package=package, module=module,
                                           program=os.path.basename(path), root=os.path.join(root, "")), 0o755)


def write_versions(root: str, state: dict) -> None:
    """Write the version.info files of driver and firmware with the versions in the state."""
    versions, release = state["versions"], release_of(state["setup"]["generation"])
    write_file(root, DRIVER_VERSION, _pairs(
        ("Version", versions["driver_package"]), ("ascendhal_version", release.ascendhal), ("aicpu_version", "1.0"),
        ("tdt_version", "1.0"), ("log_version", "1.0"), ("prof_version", "2.0"), ("dvppkernels_version", "1.1"),
        ("tsfw_version", "1.0"), ("Innerversion", release.inner),
        ("compatible_version", ",".join(f"[{version}]" for version in release.compatible)),
        ("compatible_version_fw", release.firmware_range), ("package_version", versions["driver_package"])), 0o444)
    low = versions["firmware_package"].rsplit(".", 1)[0]
    write_file(root, FIRMWARE_VERSION, _pairs(
        ("Version", versions["firmware"]), ("firmware_version", "1.0"),
        ("package_version", versions["firmware_package"]), ("compatible_version_drv", f"[{low},{low}.]")), 0o444)


def write_hccn_conf(root: str, state: dict, overrides: dict[str, str | None] | None = None) -> None:
    """Write /etc/hccn.conf with the addresses in the state. `overrides` replaces entries, or removes them with None."""
    entries = {}
    for chip in state["chips"]:
        nic, number = chip["nic"], chip["phy_id"]
        for key in ("address", "netmask", "netdetect", "gateway"):
            if nic[key]:
                entries[f"{key}_{number}"] = nic[key]
        entries[f"send_arp_status_{number}"] = "1"
    entries.update(overrides or {})
    write_file(root, HCCN_CONF, _pairs(*(entry for entry in entries.items() if entry[1] is not None)), 0o640)


def _install_info(state: dict) -> str:
    status = series_of(state["setup"]["generation"]).install_status
    return _pairs(
        ("UserName", "HwHiAiUser"), ("UserGroup", "HwHiAiUser"), ("Driver_Install_Type", "full"),
        ("Driver_Install_Path_Param", "/usr/local/Ascend"), ("Driver_Install_For_All", "yes"),
        ("Driver_Install_Mode", "normal"), *([("Driver_Install_Status", "complete")] if status else []),
        ("Firmware_Install_Type", "full"), ("Firmware_Install_Path_Param", "/usr/local/Ascend"))


def _pairs(*pairs: tuple[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in pairs)


def write_file(root: str, path: str, text: str, mode: int) -> None:
    """Replace a file below `root`."""
    target = os.path.join(root, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    draft = f"{target}.{os.getpid()}"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(draft, mode)
    os.replace(draft, target)
