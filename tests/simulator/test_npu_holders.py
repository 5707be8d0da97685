# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process uses an NPU if its container has the device, or if the process has the device open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ascend_simulator import holders, npu_smi
from ascend_simulator import state as node_state

ID = "c0ffee" * 10 + "1234"
OTHER = "decade" * 10 + "5678"


class Machine:
    """A node's /proc and Docker folder, as plain files."""

    def __init__(self, root: Path) -> None:
        self.root, self.proc = root, root / "proc"
        self.proc.mkdir()

    def process(self, pid: int, name: str, container: str | None = None, opened: str | None = None) -> None:
        folder = self.proc / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        scope = f"system.slice/docker-{container}.scope" if container else "init.scope"
        (folder / "cgroup").write_text(f"0::/{scope}\n")
        if opened:
            (folder / "fd" / "3").symlink_to(opened)

    def container(self, identifier: str, devices: list[str]) -> None:
        folder = self.root / "var/lib/docker/containers" / identifier
        folder.mkdir(parents=True)
        entries = [{"PathOnHost": device, "PathInContainer": device, "CgroupPermissions": "rwm"} for device in devices]
        (folder / "hostconfig.json").write_text(json.dumps({"Devices": entries, "NetworkMode": "host"}))

    def holders(self) -> dict:
        return holders.find(str(self.root), str(self.proc))


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def test_no_npu_is_used(machine):
    machine.process(1, "systemd")
    assert machine.holders() == {}


def test_running_container_uses_its_davinci_devices(machine):
    machine.process(812, "python3", ID)
    machine.process(813, "python3")
    machine.container(ID, ["/dev/davinci2", "/dev/davinci3", "/dev/davinci_manager", "/dev/hisi_hdc"])
    assert machine.holders() == {2: [(812, "python3")], 3: [(812, "python3")]}


def test_stopped_container_and_container_without_npus_use_no_npu(machine):
    machine.process(812, "python3", OTHER)
    machine.container(ID, ["/dev/davinci2"])
    machine.container(OTHER, ["/dev/davinci_manager"])
    assert machine.holders() == {}


@pytest.mark.parametrize(("names", "shown"), [
    (["tini", "bash", "python3", "python3"], {4: (12, "python3"), 5: (12, "python3")}),
    (["sh"], {4: (10, "sh"), 5: (10, "sh")}),
    (["vllm", "VLLM::EngineCor", "python3"], {4: (11, "VLLMEngineCor"), 5: (11, "VLLMEngineCor")}),
    (["vllm", "VLLM::EngineCor", "VLLM::Worker_TP", "VLLM::Worker_TP"],
     {4: (12, "VLLMWorker_TP"), 5: (13, "VLLMWorker_TP")}),
])
def test_process_that_would_use_the_npu_is_shown(machine, names, shown):
    machine.container(ID, ["/dev/davinci4", "/dev/davinci5"])
    for pid, name in enumerate(names, start=10):
        machine.process(pid, name, ID)
    assert machine.holders() == {device: [process] for device, process in shown.items()}


def test_process_that_has_the_device_open_uses_the_npu(machine):
    machine.process(77, "llama-box-rpc-s", opened=str(machine.root / "dev/davinci6"))
    machine.process(78, "python3", opened=str(machine.root / "dev/davinci_manager"))
    assert machine.holders() == {6: [(77, "llama-box-rpc-s")]}


@pytest.mark.parametrize(("processes", "total", "used", "memory"), [
    (0, 65536, 3409, []),
    (1, 65536, 3409 + 45000, [45000]),
    (2, 65536, 3409 + 2 * 31063, [31063, 31063]),  # the free memory is shared
    (1, 32768, 32768, [29359]),
])
def test_service_uses_memory_up_to_the_total(processes, total, used, memory):
    chip = node_state.new_state("25.3.rc1", "atlas_800_a2", 8, 1)["chips"][3]
    chip["hbm_total_mb"] = total
    load = npu_smi._load(chip, [(100 + number, "python3") for number in range(processes)])
    assert load["hbm_used_mb"] == used
    assert [holder[2] for holder in load["holders"]] == memory
