# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A world: network, mount and process namespaces with a Docker engine in them."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from .machine import SYSTEM_PATH, TESTBED, BedError, Process, run, wait_until

CGROUPS = Path("/sys/fs/cgroup")
CGROUP_PARENT = "ascend-testbed"
SOCKET = "/run/testbed.sock"  # a path that no Docker engine on the machine uses
# Runs inside the namespaces, with a separate /run, so that the engine does not use files of the machine's engine.
START = """
ip link set lo up
mount -t tmpfs tmpfs /run
exec tini -- dockerd --data-root "$1" --exec-root /run/docker --pidfile /run/docker.pid \
  --host unix:///run/testbed.sock --storage-driver overlay2 --log-level warn \
  --bridge none --iptables=false --ip-forward=false --userland-proxy=false \
  --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$2"
"""


class World:
    """Namespaces that exist as long as their keeper, a process on the machine. All processes in them exit with it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = folder / "engine"
        self.keeper = Process(folder / "keeper")
        # The checksum distinguishes beds of the same name in different cache folders.
        self.cgroup = f"{CGROUP_PARENT}/{folder.name}-{crc32(bytes(folder)):08x}"

    @property
    def alive(self) -> bool:
        return self.keeper.pid is not None

    def settle(self) -> None:
        """Wait until the keeper has started the first process of the world, or has exited."""
        with suppress(BedError):
            wait_until("settling", lambda: self.init is not None or not self.alive, 10)

    def missing(self) -> BedError:
        name = self.folder.name
        return BedError(f"bed {name} is not up; run `bed -n {name} up` first")

    @property
    def init(self) -> int | None:
        """The first process inside, or None. Its parent, the keeper, stays in the machine's own network.

        It is also None until that process has left the machine's network, because commands for a world must not affect
        that network.
        """
        if (keeper := self.keeper.pid) is None:
            return None
        outside = (None, namespace(keeper))
        return next((pid for pid in processes() if parent(pid) == keeper and namespace(pid) not in outside), None)

    @property
    def root(self) -> Path:
        """The world's file system as seen from the machine."""
        return Path(f"/proc/{self.init}/root")

    def start(self) -> None:
        """Start the namespaces, and the engine with the data in ``self.data``, unless they are running."""
        if not self.alive:
            self.data.mkdir(parents=True, exist_ok=True)
            self.keeper.start(
                *("unshare", "--pid", "--fork", "--kill-child"),
                *("unshare", "--net", "--mount", "--mount-proc"),
                *("sh", "-ec", START, "sh", self.data, self.cgroup),
                log=self.folder / "engine.log",
                environment={"PATH": f"{TESTBED}/node:{SYSTEM_PATH}", "LC_ALL": "C.UTF-8"},
            )
        wait_until(f"the engine of {self.folder.name} (see {self.folder}/engine.log)", self._responds, 60)

    def _responds(self) -> bool:
        if not self.alive:
            raise BedError(f"the engine of {self.folder.name} exited: {tail(self.folder / 'engine.log')}")
        with suppress(BedError):
            return bool(self.docker("version", "--format", "{{.Server.Version}}"))
        return False

    def docker(self, *argv: str | Path, **options) -> str:
        """Run the Docker client against the world's engine."""
        return run(*self.client(*argv), **options)

    def client(self, *argv: str | Path) -> list[str]:
        """Return the command line of the Docker client for the world's engine."""
        return ["/usr/bin/docker", "-H", f"unix://{self.root}{SOCKET}", *map(str, argv)]

    def enter(self, *argv: str | Path) -> list[str]:
        """Return a command line that runs ``argv`` in the world's network."""
        if (init := self.init) is None:
            raise self.missing()
        return ["/usr/bin/nsenter", f"--net=/proc/{init}/ns/net", "--", *map(str, argv)]

    def run(self, *argv: str | Path, **options) -> str:
        """Run a system command in the world's network."""
        return run(*self.enter(*argv), **options)

    def links(self) -> list[dict]:
        return json.loads(self.run("ip", "-json", "link"))

    def contains(self, pid: int) -> bool:
        """Return whether process ``pid`` is in the world's network."""
        return (init := self.init) is not None and namespace(pid) == namespace(init)

    def members(self) -> set[int]:
        """Return the processes in the world's network, except this process and its ancestors."""
        if (init := self.init) is None:
            return set()
        network = namespace(init)
        return {pid for pid in processes() if namespace(pid) == network} - ancestors(os.getpid())

    def stop(self) -> None:
        """Kill every process of the world and remove what it leaves on the machine. Its folder stays."""
        self.settle()
        members = self.members()
        for pid in {self.keeper.pid, *members} - {None}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        namespaces = [Path(f"/proc/{pid}/ns/net") for pid in members]
        wait_until("killing a bed's processes", lambda: not any(path.exists() for path in namespaces), 30)
        self.keeper.record.unlink(missing_ok=True)
        remove_cgroups(self.cgroup)


def tail(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["its log is empty"])[-1]


def namespace(pid: int) -> str | None:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/net")
    return None


def processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def parent(pid: int) -> int:
    """Return the parent of process ``pid``; 0 if there is none."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return 0


def ancestors(pid: int) -> set[int]:
    """Return process ``pid`` and its ancestors."""
    found = set()
    while pid:
        found.add(pid)
        pid = parent(pid)
    return found


def remove_cgroups(parent: str) -> None:
    """Remove the empty control groups below ``parent`` in every hierarchy (one in v2, several in v1)."""
    for hierarchy in (CGROUPS, *(entry for entry in CGROUPS.iterdir() if entry.is_dir())):
        for folder, _folders, _files in os.walk(hierarchy / parent, topdown=False):
            wait_until(f"control group {folder}", lambda folder=folder: removed(folder), 10)
        with suppress(OSError):  # not empty: other worlds are in it
            (hierarchy / CGROUP_PARENT).rmdir()


def removed(folder: str) -> bool:
    with suppress(FileNotFoundError):
        try:
            os.rmdir(folder)
        except OSError:
            return False
    return True
