# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bed: a world with two networks and the nodes of one cluster in it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from typing import NamedTuple

from . import guard, room, ssh
from .guard import address
from .machine import BedError, Process, cache, lock
from .world import World, ancestors

ENGINE_IMAGES = ("light", "full", "mpi", "none")
READY = "until systemctl start ssh docker 2>/dev/null; do sleep 0.1; done"


class Settings(NamedTuple):
    """What a bed is made of."""

    nodes: int = 2
    npus: int = 8
    image: str = "light"
    generation: str = "25.3.rc1"


class Bed:
    """One cluster by name. Several can run at once: each has the same addresses in a network of its own."""

    def __init__(self, name: str):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
            raise BedError(f"a bed's name is 1 to 32 of a-z, 0-9 and -, found {name!r}; choose another")
        self.name = name
        self.folder = cache() / "beds" / name
        self.world = World(self.folder)

    @property
    def settings(self) -> Settings | None:
        """What it was brought up with; None when nothing is there."""
        path = self.folder / "settings.json"
        return Settings(**json.loads(path.read_text())) if path.exists() else None

    def lock(self):
        return lock(f"bed-{self.name}")

    def save(self, settings: Settings) -> None:
        """Record what it is brought up with."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / "settings.json.new"
        beside.write_text(json.dumps(settings._asdict()))
        beside.rename(self.folder / "settings.json")

    # -- use

    def require(self) -> None:
        if not self.world.alive:
            raise self.world.missing()

    def nodes(self) -> dict[str, str]:
        """State of each node's container by name: running, paused, exited …"""
        listed = self.world.docker("ps", "--all", "--format", "{{.Names}} {{.State}}").splitlines()
        return dict(sorted((line.split() for line in listed), key=lambda pair: (len(pair[0]), pair[0])))

    def console(self, node: str, *argv: str, **options) -> str:
        """Run a command on a node without SSH, as from its serial console."""
        return self.world.docker("exec", node, *argv, **options)

    def boot(self, name: str) -> None:
        """Wait until a started node has booted, with SSH and Docker started."""
        try:
            self.console(name, "timeout", "180", "sh", "-c", READY)
        except BedError as error:
            said = self.world.docker("logs", "--tail", "1", name).strip()
            raise BedError(f"{name} of bed {self.name} does not boot: {said or error}") from error

    def answer(self, name: str) -> None:
        """Make sure that a booted node answers over SSH, with the host key that we know, and its engine too."""
        self.world.run(*ssh.command(name), "docker", "version", "--format", "{{.Server.Version}}")

    def become(self, argv: Iterable[str]) -> None:
        """Replace this process by ``argv`` in the bed's network, where packets cannot leave the machine."""
        self.require()
        guard.check(self.world)
        runs = self.folder / "runs"
        runs.mkdir(exist_ok=True)
        for ended in (record for record in runs.glob("*[0-9]") if Process(record).pid is None):
            ended.unlink(missing_ok=True)
        Process(runs / str(os.getpid())).adopt(os.getpid())
        command = self.world.enter(*argv)
        os.execve(command[0], command, self._environment())

    def _environment(self) -> dict[str, str]:
        """The caller's, but for proxies, which the bed's network cannot reach, and with what names the bed."""
        kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        return kept | {"ASCEND_TESTBED": self.name, "ASCEND_VLLM_CACHE": str(cache())}

    def start_service(self, name: str, argv: list[str]) -> None:
        """Start a helper of the bed (a registry, a hub): it runs in the bed's network and ends with it."""
        self.require()
        service = self.service(name)
        if not argv:
            raise BedError(f"a service needs a command: bed service start {name} -- COMMAND …")
        if service.pid:
            raise BedError(f"service {name} of bed {self.name} runs already; run `bed service stop {name}` first")
        guard.check(self.world)
        log = service.record.with_suffix(".log")
        service.start(*self.world.enter(*argv), log=log, environment=self._environment())
        print(f"bed: service {name} started; its log is {log}")

    def stop_service(self, name: str) -> None:
        """Stop a helper that was started here."""
        service = self.service(name)
        if not service.record.exists():
            raise BedError(f"bed {self.name} has no service {name}; `bed status` lists them")
        service.end()

    def service(self, name: str) -> Process:
        """The helper of that name, whether it runs or not."""
        folder = self.folder / "services"
        folder.mkdir(exist_ok=True)
        return Process(folder / f"{name}.pid")

    def status(self) -> dict:
        """What is there: {"up", "process", "nodes": {name: state}, "addresses", "services", "settings"}."""
        nodes = self.nodes() if self.world.alive else {}
        services = {path.stem: Process(path).pid for path in sorted(self.folder.glob("services/*.pid"))}
        return {
            "up": self.world.alive,
            "process": self.world.init,
            "nodes": nodes,
            "addresses": {node: address(int(node.removeprefix("node"))) for node in nodes},
            "services": {name: "running" if pid else "ended" for name, pid in services.items()},
            "settings": settings._asdict() if (settings := self.settings) else None,
        }

    # -- down

    def down(self, nodes_only: bool = False) -> None:
        """End the bed and leave nothing; with ``nodes_only`` its network and those who run in it stay."""
        with self.lock():
            if nodes_only:
                self._remove_nodes()
                return
            self.wipe()
        release_machine()

    def _remove_nodes(self) -> None:
        if not self.world.alive:
            return
        if names := list(self.nodes()):
            self.world.docker("rm", "--force", "--volumes", *names)
        shutil.rmtree(self.folder / "nodes", ignore_errors=True)
        self.save(self.settings._replace(nodes=0))

    def wipe(self) -> None:
        """End what is there of it, also of one that broke, and delete its folder. The caller holds the lock."""
        if not self.folder.exists():
            return
        self.world.end()
        # Of a world that broke, those may be left who only used its network.
        left = [Process(record) for record in (*self.folder.glob("services/*.pid"), *self.folder.glob("runs/*[0-9]"))]
        for process in left:
            if process.pid not in ancestors(os.getpid()):
                process.end(seconds=1)
        shutil.rmtree(self.folder)


def beds() -> list[Bed]:
    """Every bed with a folder: up, broken, or only somebody's sockets (Ansible's connections put theirs there)."""
    return [Bed(entry.name) for entry in sorted((cache() / "beds").glob("*"))]


def release_machine() -> None:
    """Give back what beds take from the machine, when none is left."""
    with lock("guard"):
        if not any(bed.settings for bed in beds()):
            guard.remove()
            room.give_back()
