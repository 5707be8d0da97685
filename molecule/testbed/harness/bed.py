# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bed: a world that contains two networks and the nodes of one cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from typing import NamedTuple

from . import guard, inotify, ssh
from .guard import address
from .machine import BedError, Process, cache, lock, replace_file
from .world import World, ancestors

ENGINE_IMAGES = ("light", "full", "mpi", "none")
READY = "until systemctl start ssh docker 2>/dev/null; do sleep 0.1; done"


class Settings(NamedTuple):
    """The options with which a bed is started."""

    nodes: int = 2
    npus: int = 8
    image: str = "light"
    generation: str = "25.3.rc1"
    replay: str = ""


class Bed:
    """One cluster, by name. Several beds can be up together: each has the same addresses in its own network."""

    def __init__(self, name: str):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
            raise BedError(f"a bed's name is 1 to 32 of a-z, 0-9 and -, found {name!r}; choose another")
        self.name = name
        self.folder = cache() / "beds" / name
        self.world = World(self.folder)

    @property
    def settings(self) -> Settings | None:
        """The settings with which the bed was started; None if the bed does not exist."""
        path = self.folder / "settings.json"
        return Settings(**json.loads(path.read_text())) if path.exists() else None

    def lock(self):
        return lock(f"bed-{self.name}")

    def save(self, settings: Settings) -> None:
        """Record the settings with which the bed is started."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / "settings.json", json.dumps(settings._asdict()))

    # -- use

    def require(self) -> None:
        if not self.world.alive:
            raise self.world.missing()

    def nodes(self) -> dict[str, str]:
        """Return the state of each node's container by name: running, paused, exited …"""
        listed = self.world.docker("ps", "--all", "--format", "{{.Names}} {{.State}}").splitlines()
        return dict(sorted((line.split() for line in listed), key=lambda pair: (len(pair[0]), pair[0])))

    def console(self, node: str, *argv: str, **options) -> str:
        """Run a command on a node without SSH, as from its serial console."""
        return self.world.docker("exec", node, *argv, **options)

    def wait_until_booted(self, name: str) -> None:
        """Wait until a started node has booted and its SSH and Docker services run."""
        try:
            self.console(name, "timeout", "180", "sh", "-c", READY)
        except BedError as error:
            last_line = self.world.docker("logs", "--tail", "1", name).strip()
            raise BedError(f"{name} of bed {self.name} does not boot: {last_line or error}") from error

    def check_access(self, name: str) -> None:
        """Check that a booted node accepts SSH with the known host key, and that its Docker engine responds."""
        self.world.run(*ssh.command(name), "docker", "version", "--format", "{{.Server.Version}}")

    def become(self, argv: Iterable[str]) -> None:
        """Replace this process with ``argv`` in the bed's network, from which no packet can leave the machine."""
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
        """Return the caller's environment without proxies, which a bed cannot reach, and with the bed's name."""
        kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        return kept | {"ASCEND_TESTBED": self.name, "ASCEND_VLLM_CACHE": str(cache())}

    def start_service(self, name: str, argv: list[str]) -> None:
        """Start a helper (a registry, a hub) in the bed's network; `down` stops the helper, too."""
        self.require()
        service = self.service(name)
        if not argv:
            raise BedError(f"a service needs a command: bed service start {name} -- COMMAND …")
        if service.pid:
            raise BedError(f"service {name} of bed {self.name} is already running; run `bed service stop {name}` first")
        guard.check(self.world)
        log = service.record.with_suffix(".log")
        service.start(*self.world.enter(*argv), log=log, environment=self._environment())
        print(f"bed: service {name} started; its log is {log}")

    def stop_service(self, name: str) -> None:
        """Stop a helper."""
        service = self.service(name)
        if not service.record.exists():
            raise BedError(f"bed {self.name} has no service {name}; `bed status` lists them")
        service.stop()

    def service(self, name: str) -> Process:
        """Return the helper of that name, whether or not it is running."""
        folder = self.folder / "services"
        folder.mkdir(exist_ok=True)
        return Process(folder / f"{name}.pid")

    def status(self) -> dict:
        """Return {"up", "process", "nodes": {name: state}, "addresses", "services", "settings"}."""
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
        """Remove the bed; with ``nodes_only``, keep its network and the processes in it."""
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
        """Stop what is left of the bed, even if it is broken, and delete its folder. The caller holds the lock."""
        if not self.folder.exists():
            return
        self.world.stop()
        # If the world broke, processes that only used its network may still run.
        records = (*self.folder.glob("services/*.pid"), *self.folder.glob("runs/*[0-9]"))
        for process in map(Process, records):
            if process.pid not in ancestors(os.getpid()):
                process.stop(seconds=1)
        shutil.rmtree(self.folder)


def beds() -> list[Bed]:
    """Return every bed that has a folder, even if it is broken or has only the sockets of Ansible's connections."""
    return [Bed(entry.name) for entry in sorted((cache() / "beds").glob("*"))]


def release_machine() -> None:
    """Restore what beds have changed on the machine if no bed is left."""
    with lock("guard"):
        if not any(bed.settings for bed in beds()):
            guard.remove()
            inotify.restore()
