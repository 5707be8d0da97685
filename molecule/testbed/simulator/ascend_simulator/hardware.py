# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated hardware, driver releases, and differences between the outputs of driver series."""
from __future__ import annotations

from .record import Record


class Hardware(Record):
    """One server model. `buses` has one PCI bus number per chip, in the order of the table."""

    npus: int
    chips_per_npu: int
    chip_name: str        # cell of `npu-smi info`
    mapping_name: str     # cell of `npu-smi info -m`
    product_name: str
    buses: tuple[int, ...]
    hbm_total_mb: int
    hbm_idle_mb: tuple[int, ...]  # per chip of an NPU, without processes
    power_idle_w: float           # per NPU
    aicore_count: int
    pci_device: str


_A2_BUSES = (0xC1, 0xC2, 0x81, 0x82, 0x01, 0x02, 0x41, 0x42)

HARDWARE = {
    "atlas_800_a2": Hardware(8, 1, "910B1", "Ascend 910B1", "IT21HMDC_Bin5", _A2_BUSES, 65536, (3403,), 92.0, 24,
                             "0xD802"),
    "atlas_800i_a2": Hardware(8, 1, "910B4", "Ascend 910B4", "IT21HMDC_Bin4", _A2_BUSES, 32768, (2829,), 84.0, 20,
                              "0xD802"),
    "atlas_800_a3": Hardware(8, 2, "Ascend910", "Ascend910", "IT23HMDA_Bin1",
                             tuple(0x9D - 4 * npu + 2 * chip for npu in range(8) for chip in range(2)),
                             65536, (3140, 2882), 165.0, 24, "0xD803"),
}


class Release(Record):
    """Versions of one driver package. `firmware` is the version of the firmware itself, not of its package."""

    firmware: str
    ascendhal: str
    inner: str
    compatible: tuple[str, ...]
    firmware_range: str


RELEASES = {
    "24.1.0.3": Release("7.5.0.5.220", "7.35.23", "V100R001C19SPC006B220",
                        ("V100R001C15", "V100R001C17", "V100R001C18", "V100R001C19"), "[7.0.0,7.5.99]"),
    "24.1.rc3": Release("7.5.0.1.129", "7.35.23", "V100R001C19SPC002B110",
                        ("V100R001C15", "V100R001C17", "V100R001C18", "V100R001C19"), "[7.0.0,7.5.99]"),
    "25.0.rc1.1": Release("7.7.0.1.231", "7.35.23", "V100R001C21SPC002B220",
                          ("V100R001C17", "V100R001C18", "V100R001C19", "V100R001C20", "V100R001C21"),
                          "[7.0.0,7.7.99]"),
    "25.3.rc1": Release("7.8.0.2.212", "7.35.23", "V100R001C23SPC001B212",
                        ("V100R001C18", "V100R001C19", "V100R001C20", "V100R001C21", "V100R001C23"),
                        "[7.0.0,7.8.99]"),
    "25.5.1": Release("7.8.0.6.201", "7.35.23", "V100R001C25SPC001B201",
                      ("V100R001C18", "V100R001C19", "V100R001C20", "V100R001C21", "V100R001C23", "V100R001C25"),
                      "[7.0.0,7.8.99]"),
    "26.0.rc1": Release("8.1.0.1.111", "7.35.25", "V100R001C26SPC001B111",
                        ("V100R001C20", "V100R001C21", "V100R001C23", "V100R001C25", "V100R001C26"),
                        "[7.5.0,8.1.99]"),
    "26.1.0": Release("8.2.0.1.105", "7.35.25", "V100R001C27SPC001B105",
                      ("V100R001C21", "V100R001C23", "V100R001C25", "V100R001C26", "V100R001C27"),
                      "[7.5.0,8.2.99]"),
}


class Series(Record):
    """Differences in the outputs of one driver series; the defaults are those of 25.x."""

    wide: bool = False                        # the 116-column table with `Process id in container`
    ddr_ecc: bool = False                     # -t ecc lists DDR, which an A2 does not have
    extended_usages: bool = True              # -t usages ends with NPU Utilization and Aicube
    link_down_count: bool = True              # -link_stat counts link downs
    netdetect_label: str = "netdetect address"
    socket_failure: str = "Socket fail"       # net health of a dead socket
    absent_optics_listed: bool = False        # -optical lists values although there is no module
    certificate_details: bool = False         # -tls shows subject and expiration of each certificate
    install_status: bool = False              # /etc/ascend_install.info has Driver_Install_Status


SERIES = {
    "24.1": Series(ddr_ecc=True, extended_usages=False, link_down_count=False, socket_failure="Socket failed",
                   absent_optics_listed=True),
    "25": Series(),
    "26": Series(wide=True, netdetect_label="netdetect addr", certificate_details=True, install_status=True),
}


def series_of(generation: str) -> Series:
    """Return the series of a generation like `25.3.rc1`; raise ValueError if the series is not simulated."""
    parts = generation.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        if name in SERIES:
            return SERIES[name]
    raise ValueError(f"generation {generation} is not in a simulated driver series ({', '.join(SERIES)}); "
                     f"use one of {', '.join(RELEASES)}")


def release_of(version: str) -> Release:
    """Return the versions in a driver package. A driver that is not listed has those of the newest older driver."""
    if version in RELEASES:
        return RELEASES[version]
    major = version.split(".")[0]
    return [release for name, release in RELEASES.items() if name.partition(".")[0] <= major][-1]
