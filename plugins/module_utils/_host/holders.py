# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the processes and containers that use the ports and NPUs of a host."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_number
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text
from ansible_collections.ascend.vllm.plugins.module_utils._host.network import listening

if TYPE_CHECKING:
    from typing import Any, Collection, Iterable, Mapping, Sequence, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._docker.containers import ContainerState

    class HolderContainer(TypedDict):
        """The container of a holder."""

        id: str
        name: str
        image_name: str
        labels: dict[str, str]

    class Process(TypedDict):
        """A process. Without root privileges, the ``pid`` and ``process`` of other users' processes are unknown."""

        pid: int | None
        process: str | None  # the name in the kernel, which has at most 15 characters
        cgroup: str

    class Holder(TypedDict):
        """The process or container that uses a port or an NPU."""

        pid: int | None
        process: str | None  # None if only the container with the port or NPU is known
        container: HolderContainer | None

    class PortHolder(Holder):
        """The holder of a TCP port."""

        port: int

    class NpuHolder(Holder):
        """The holder of an NPU."""

        device: int | None  # N of /dev/davinciN; None if the NPU of the process is not in the table of npu-smi
        memory_mb: int | None  # the HBM that the process uses; None if npu-smi does not report it


def open_files(ports: Collection[int] = (), npus: bool = False, skip: Collection[str] = (),
               root: str = "/") -> tuple[dict[int, Process], dict[int, list[Process]]]:
    """Return the processes of the host that listen on the ports, and those that have opened NPUs.

    :param npus: whether to search for processes that have opened NPUs.
    :param skip: the names of processes to ignore.
    :param root: the folder to use as ``/``.
    :returns: ``({port: process}, {N of /dev/davinciN: [process]})``. Without root privileges, processes of other
        users are not identified: at their ports, the process has no pid, and their NPUs are missing.
    """
    proc = os.path.join(root, "proc")
    inodes = {inode: port for port, inode in listening(
        [read_text(os.path.join(proc, "net", name)) for name in ("tcp", "tcp6")]).items() if port in ports}
    numbers = _device_numbers(root) if npus else {}
    at_ports: dict[int, Process] = {port: {"pid": None, "process": None, "cgroup": ""} for port in inodes.values()}
    at_npus: dict[int, list[Process]] = {}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()) if inodes or npus else ():
        folder = os.path.join(proc, str(pid))
        sockets: set[str] = set()
        devices: set[int | None] = set()
        for path, target in _targets(os.path.join(folder, "fd")):
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
            elif npus and "/davinci" in target:
                devices.add(_npu(path, target, numbers))
        opened = sorted(number for number in devices if number is not None)
        sockets &= set(inodes)
        name = read_text(os.path.join(folder, "comm")).strip() if sockets or opened else ""
        if name in skip or not (sockets or opened):
            continue
        process: Process = {"pid": pid, "process": name, "cgroup": read_text(os.path.join(folder, "cgroup"))}
        at_ports.update((inodes[inode], process) for inode in sockets)
        for number in opened:
            at_npus.setdefault(number, []).append(process)
    return at_ports, at_npus


def port_holders(at_ports: Mapping[int, Process], containers: Sequence[ContainerState],
                 ports: Iterable[int]) -> list[PortHolder]:
    """Return the holders of the ports.

    A port that a container publishes is in use even if no process listens on it, because the kernel can forward it.

    :param at_ports: the ports that `open_files` returned.
    """
    found: list[PortHolder] = []
    for port in ports:
        publisher = next((each for each in containers if port in each["ports"]), None)
        if port in at_ports or publisher:
            process = at_ports.get(port, {"pid": None, "process": None, "cgroup": ""})
            container = _container_of(process["cgroup"], containers) or (_brief(publisher) if publisher else None)
            found.append({"port": port, "pid": process["pid"], "process": process["process"], "container": container})
    return found


def npu_holders(at_npus: Mapping[int, Sequence[Process]], containers: Sequence[ContainerState],
                chips: Sequence[Mapping[str, Any]] = (), processes: Sequence[Mapping[str, Any]] = (),
                root: str = "/") -> list[NpuHolder]:
    """Return the processes on each NPU, and the containers that have an NPU but no process on it.

    :param at_npus: the NPUs that `open_files` returned.
    :param containers: the running containers.
    :param chips: the chips that ``observation.query`` returned, which map the number of an NPU and chip to a device.
    :param processes: the processes that npu-smi shows, with the memory that they use. npu-smi can show processes that
        are not in ``/proc``.
    """
    devices = {(chip["npu"], chip["chip"]): chip["device"] for chip in chips}
    found: list[NpuHolder] = []
    for process in processes:
        group = read_text(os.path.join(root, "proc", str(process["pid"]), "cgroup"))
        found.append({"device": devices.get((process["npu"], process["chip"])), "pid": process["pid"],
                      "process": process["name"], "memory_mb": process["memory_mb"],
                      "container": _container_of(group, containers)})
    reported = {(each["device"], each["pid"]) for each in found}
    found += [{"device": device, "pid": process["pid"], "process": process["process"], "memory_mb": None,
               "container": _container_of(process["cgroup"], containers)}
              for device, opened in at_npus.items() for process in opened if (device, process["pid"]) not in reported]
    on_npu = {(each["device"], each["container"]["id"]) for each in found if each["container"]}
    found += [{"device": device, "pid": container["pid"], "process": None, "memory_mb": None,
               "container": _brief(container)}
              for container in containers for device in container["devices"] if (device, container["id"]) not in on_npu]
    return sorted(found, key=lambda each: (each["device"] is None, each["device"] or 0, each["pid"] or 0))


def describe_holder(holder: Holder | NpuHolder | PortHolder) -> str:
    """Return a description of a holder, such as ``process 7 (python3, 9 MB) in container train (image:tag)``."""
    container = holder["container"]
    where = "container %s (%s)" % (container["name"], container["image_name"]) if container else None
    if holder["process"] is None:
        return where or "a process that is not visible on this host"
    memory = holder.get("memory_mb")
    process = "process %s (%s%s)" % (
        holder["pid"], holder["process"] or "unknown", ", %s MB" % memory if memory is not None else "")
    return "%s in %s" % (process, where) if where else process


def _targets(folder: str) -> Iterable[tuple[str, str]]:
    """Yield (path, target) of each open file of a process, unless the process has ended or is not accessible."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                yield path, os.readlink(path)


def _device_numbers(root: str) -> dict[int, int | None]:
    """Return ``{device number in the kernel: N of /dev/davinciN}``. Containers use the same device numbers."""
    numbers = {path: _kernel_number(path) for path in glob.glob(os.path.join(root, "dev", "davinci[0-9]*"))}
    return {number: device_number("/dev/" + os.path.basename(path))
            for path, number in numbers.items() if number is not None}


def _npu(path: str, target: str, numbers: Mapping[int, int | None]) -> int | None:
    """Return the N of /dev/davinciN of an open file, from its device number or, if that is unknown, its name."""
    number = _kernel_number(path)
    if number is not None and number in numbers:
        return numbers[number]
    return device_number("/dev/" + os.path.basename(target))


def _kernel_number(path: str) -> int | None:
    """Return the device number of a character device, or None for any other file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_rdev if stat.S_ISCHR(status.st_mode) else None


def _container_of(cgroup: str, containers: Sequence[ContainerState]) -> HolderContainer | None:
    return next((_brief(each) for each in containers if each["id"] in cgroup), None)


def _brief(container: ContainerState) -> HolderContainer:
    return {"id": container["id"], "name": container["name"], "image_name": container["image_name"],
            "labels": container["labels"]}
