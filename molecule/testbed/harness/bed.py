# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bed: a world with two networks and the nodes of one cluster in it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import guard, images, room, rootfs, ssh
from .guard import CONTROLLER, address
from .machine import TESTBED, BedError, Process, cache, lock, until
from .world import World, ancestors, clone

NODES_MOST, NPUS_MOST = 100, 8
NODES_NAMED = 16  # that many a node knows by name even if the bed has fewer, so that it can grow
REGISTRY_PORT, HUB_PORT = 5000, 8090
HUB_MODELS = ("Qwen/Qwen2.5-VL-32B-Instruct", "testbed/Qwen2.5-VL-32B-Instruct-w8a8")
DAEMON = {"insecure-registries": [f"{CONTROLLER}:{REGISTRY_PORT}"], "storage-driver": "overlay2"}
READY = "until systemctl start ssh docker 2>/dev/null; do sleep 0.1; done"


@dataclass(frozen=True)
class Settings:
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

    # -- up

    def up(self, **wanted) -> None:
        """Bring the bed to what is wanted (keys of Settings; None: as it is, or the default)."""
        node_root = images.prepare()
        with self.lock():
            settings = self._settle({key: value for key, value in wanted.items() if value is not None})
            if not self.world.alive:
                self._wipe()
            self._save(settings)
            with lock("guard"):
                guard.ensure()
                room.make()
            if not self.world.alive:
                clone(node_root, self.world.data)
            self.world.start()
            self._networks()
            ssh.write_files(settings.nodes)
            self._nodes(settings)
            guard.check(self.world)

    def _settle(self, wanted: dict) -> Settings:
        """The settings to reach; a bed with nodes can only get more of them."""
        present = self.settings if self.world.alive else None
        settings = replace(present or Settings(), **wanted)
        for name, most in (("nodes", NODES_MOST), ("npus", NPUS_MOST)):
            if not 0 <= getattr(settings, name) <= most:
                raise BedError(f"--{name} is 0 to {most}, found {getattr(settings, name)}")
        if present and present.nodes:
            changes = [f"--{key} {value}" for key, value in wanted.items() if value != getattr(present, key)]
            if settings.nodes > present.nodes:
                changes.remove(f"--nodes {settings.nodes}")
            if changes:
                raise BedError(f"bed {self.name} is up with {present}; for {' '.join(changes)} take it down first")
        return settings

    def _save(self, settings: Settings) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / "settings.json.new"
        beside.write_text(json.dumps(asdict(settings)))
        beside.rename(self.folder / "settings.json")

    def _networks(self) -> None:
        """The hosts' network, with the controller's address on its bridge, and the NPUs' network, with none."""
        present = self.world.docker("network", "ls", "--format", "{{.Name}}").split()
        create = ("network", "create", "--internal", "--opt")
        if "hosts" not in present:
            bridge = "com.docker.network.bridge.name=hosts"
            self.world.docker(*create, bridge, "--subnet", str(guard.HOSTS), "--gateway", CONTROLLER, "hosts")
        if "npus" not in present:
            options = ("com.docker.network.bridge.name=npus", "--opt", "com.docker.network.bridge.inhibit_ipv4=true")
            self.world.docker(*create, *options, "--subnet", str(guard.NPUS), "--gateway", "10.78.15.254", "npus")

    def _nodes(self, settings: Settings) -> None:
        """Bring all nodes up at once; those that are not whole are made anew."""
        indexes = range(1, settings.nodes + 1)
        engine_root = shared = None
        if settings.image != "none" and not all(self._made(index).exists() for index in indexes):
            engine_root, shared = images.engine_image(settings.image)
        with ThreadPoolExecutor(8) as pool:
            for node in [pool.submit(self._node, index, settings, engine_root, shared) for index in indexes]:
                node.result()

    def _made(self, index: int) -> Path:
        """Mark of a node that was made to the end."""
        return self.folder / "nodes" / f"node{index}" / "made"

    def _node(self, index: int, settings: Settings, engine_root: Path | None, shared: Path | None) -> None:
        """Make node ``index`` if it is not whole, start it if it is off, and wait until SSH and Docker answer."""
        name, made = f"node{index}", self._made(index)
        if not made.exists():
            self._create(index, settings, engine_root, shared)
        self.world.docker("start", name)
        self.boot(name)
        if not made.exists():
            options = ("--generation", settings.generation, "--npus", str(settings.npus), "--node-index", str(index))
            self.console(name, "/opt/ascend-simulator/setup", *options)
            made.touch()
        self.answer(name)

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

    def _create(self, index: int, settings: Settings, engine_root: Path | None, shared: Path | None) -> None:
        name, folder = f"node{index}", self.folder / "nodes" / f"node{index}"
        if name in self.nodes():  # of an `up` that was killed
            self.world.docker("rm", "--force", "--volumes", name)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        if engine_root:
            clone(engine_root, folder / "docker")
        else:
            (folder / "docker").mkdir()
        self.world.docker(
            *("create", "--name", name, "--hostname", name, "--restart", "always", "--stop-signal", "RTMIN+3"),
            *("--network", "hosts", "--ip", address(index)),
            *(f"--add-host=node{other}:{address(other)}" for other in range(1, max(settings.nodes, NODES_NAMED) + 1)),
            # Not --privileged: that would show the node the machine's disks.
            *("--cap-add", "ALL", "--device-cgroup-rule", "a *:* rwm", "--cgroupns", "private"),
            *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
            *("--security-opt", "systempaths=unconfined", "--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock"),
            *("--volume", f"{folder}/docker:/var/lib/docker"),
            *(("--volume", f"{shared}:{shared}:ro") if shared else ()),
            *("--env", f"NODE_INDEX={index}", "--env", f"NPUS={settings.npus}", "--env", f"NPU_MAJOR={npu_major()}"),
            *(rootfs.NODE_IMAGE, "/usr/local/lib/ascend-testbed/boot"),
        )
        self.world.docker("network", "connect", "--ip", f"10.78.8.{10 + index}", "npus", name)
        self.world.docker("cp", "-", f"{name}:/", input=node_files(index))

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
        service = self._service(name)
        if not argv:
            raise BedError(f"a service needs a command: bed service start {name} -- COMMAND …")
        if service.pid:
            raise BedError(f"service {name} of bed {self.name} runs already; run `bed service stop {name}` first")
        guard.check(self.world)
        log = service.record.with_suffix(".log")
        service.start(*self.world.enter(*argv), log=log, environment=self._environment())
        print(f"bed: service {name} started; its log is {log}")

    def start_hub(self) -> None:
        """Serve the tiny models on the controller's address as a model hub does; faults go to its faults file."""
        hub = TESTBED / "hub" / "hub"
        if self._service("hub").pid:
            return
        folder = images.build_engine("models")[0]
        models = [f"{model}={folder / model.partition('/')[2]}" for model in HUB_MODELS]
        listen = ("--bind", CONTROLLER, "--port", str(HUB_PORT), "--faults", str(self.folder / "hub-faults.json"))
        self.start_service("hub", [sys.executable, str(hub), *listen, *models])
        listening = ("ss", "--no-header", "--listening", "--tcp", f"sport = :{HUB_PORT}")
        until(f"the hub of bed {self.name} (see its log)", lambda: bool(self.world.run(*listening)), 30)

    def stop_service(self, name: str) -> None:
        """Stop a helper that was started here."""
        service = self._service(name)
        if not service.record.exists():
            raise BedError(f"bed {self.name} has no service {name}; `bed status` lists them")
        service.end()

    def _service(self, name: str) -> Process:
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
            "settings": asdict(settings) if (settings := self.settings) else None,
        }

    # -- down

    def down(self, nodes_only: bool = False) -> None:
        """End the bed and leave nothing; with ``nodes_only`` its network and those who run in it stay."""
        with self.lock():
            if nodes_only:
                self._remove_nodes()
                return
            self._wipe()
        release_machine()

    def _remove_nodes(self) -> None:
        if not self.world.alive:
            return
        if names := list(self.nodes()):
            self.world.docker("rm", "--force", "--volumes", *names)
        shutil.rmtree(self.folder / "nodes", ignore_errors=True)
        self._save(replace(self.settings, nodes=0))

    def _wipe(self) -> None:
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


def npu_major() -> int:
    """A character device major that no driver of this kernel holds: opening such a device fails, as it should."""
    lines = Path("/proc/devices").read_text().split("Block devices:")[0].splitlines()
    held = {int(line.split()[0]) for line in lines if line[:3].strip().isdigit()}
    return next(major for major in range(236, 0, -1) if major not in held)


def node_files(index: int) -> bytes:
    """What a node gets beside its image, as a tar: boot, runc, keys, engine settings, the simulator."""
    host, login = ssh.host_key(index), ssh.folder() / "id_ed25519.pub"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(target: str, content: bytes, mode: int = 0o644) -> None:
            entry = tarfile.TarInfo(target)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))

        add("usr/local/lib/ascend-testbed/boot", (TESTBED / "node/boot").read_bytes(), 0o755)
        add("usr/local/sbin/runc", (TESTBED / "node/runc").read_bytes(), 0o755)
        add("etc/docker/daemon.json", json.dumps(DAEMON, indent=2).encode())
        add("etc/ssh/ssh_host_ed25519_key", host.read_bytes(), 0o600)
        add("etc/ssh/ssh_host_ed25519_key.pub", host.with_name(host.name + ".pub").read_bytes())
        add("root/.ssh/authorized_keys", login.read_bytes(), 0o600)
        simulator = TESTBED / "simulator"
        for path in sorted(simulator.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                mode = 0o755 if os.access(path, os.X_OK) else 0o644
                add(f"opt/ascend-simulator/{path.relative_to(simulator)}", path.read_bytes(), mode)
    return buffer.getvalue()
