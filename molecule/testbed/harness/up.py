# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a bed. This is a separate module, because commands for a bed that is up do not need it."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import guard, images, inotify, recordings, rootfs, ssh
from .bed import Bed, Settings
from .guard import CONTROLLER, address
from .machine import TESTBED, BedError, lock, wait_until

MAX_NODES, MAX_NPUS = 100, 8
NAMED_NODES = 16  # in the /etc/hosts of every node, even if the bed has fewer, so that it can grow
REGISTRY_PORT, HUB_PORT = 5000, 8090
HUB_MODELS = ("Qwen/Qwen2.5-VL-32B-Instruct", "testbed/Qwen2.5-VL-32B-Instruct", "testbed/Qwen2.5-VL-32B-Instruct-w8a8")
DIST_PACKAGES = "/usr/local/lib/python3.11/dist-packages"
RECORDING = "/opt/ascend-simulator/recording.json"
DAEMON = {"insecure-registries": [f"{CONTROLLER}:{REGISTRY_PORT}"], "storage-driver": "overlay2"}


def bring_up(bed: Bed, **wanted) -> None:
    """Start the bed with the settings in ``wanted`` (fields of Settings; None: unchanged, or the default)."""
    wanted = {key: value for key, value in wanted.items() if value is not None}
    if "replay" in wanted:
        wanted["replay"] = os.path.abspath(wanted["replay"])
        wanted.setdefault("nodes", len(recordings.read(Path(wanted["replay"]))))
    node_root = images.prepare()
    with bed.lock():
        bed.world.settle()
        settings = decide(bed, wanted)
        if not bed.world.alive:
            bed.wipe()
        bed.save(settings)
        with lock("guard"):
            guard.ensure()
            inotify.raise_limit()
        if not bed.world.alive:
            images.clone(node_root, bed.world.data)
        bed.world.start()
        create_networks(bed)
        ssh.write_files(settings.nodes)
        start_nodes(bed, settings)
        guard.check(bed.world)


def decide(bed: Bed, wanted: dict) -> Settings:
    """Return the settings that the bed will have. A bed with nodes can only be changed by adding more nodes."""
    present = bed.settings if bed.world.alive else None
    settings = (present or Settings())._replace(**wanted)
    for name, maximum in (("nodes", MAX_NODES), ("npus", MAX_NPUS)):
        if not 0 <= getattr(settings, name) <= maximum:
            raise BedError(f"--{name} is 0 to {maximum}, found {getattr(settings, name)}")
    if present and present.nodes:
        changes = [f"--{key} {value}" for key, value in wanted.items() if value != getattr(present, key)]
        if settings.nodes > present.nodes:
            changes.remove(f"--nodes {settings.nodes}")
        if changes:
            raise BedError(f"bed {bed.name} is up with {present}; take it down first to use {' '.join(changes)}")
    return settings


def create_networks(bed: Bed) -> None:
    """Create the network of the hosts, whose bridge has the controller's address, and the network of the NPUs."""
    present = bed.world.docker("network", "ls", "--format", "{{.Name}}").split()
    create = ("network", "create", "--internal", "--opt")
    if "hosts" not in present:
        bridge = "com.docker.network.bridge.name=hosts"
        bed.world.docker(*create, bridge, "--subnet", str(guard.HOSTS), "--gateway", CONTROLLER, "hosts")
    if "npus" not in present:
        options = ("com.docker.network.bridge.name=npus", "--opt", "com.docker.network.bridge.inhibit_ipv4=true")
        bed.world.docker(*create, *options, "--subnet", str(guard.NPUS), "--gateway", "10.78.15.254", "npus")


def start_nodes(bed: Bed, settings: Settings) -> None:
    """Start all nodes in parallel; create incomplete nodes again."""
    indexes = range(1, settings.nodes + 1)
    engine_root = shared = None
    recorded = list(recordings.read(Path(settings.replay)).values()) if settings.replay else []
    recorded += [None] * (settings.nodes - len(recorded))
    if settings.image != "none" and not all(completed(bed, index).exists() for index in indexes):
        engine_root, shared = images.engine_image(settings.image)
    with ThreadPoolExecutor(8) as pool:
        for node in [pool.submit(start_node, bed, index, settings, engine_root, shared, recorded[index - 1])
                     for index in indexes]:
            node.result()


def completed(bed: Bed, index: int) -> Path:
    """Return the file that marks a node as complete."""
    return bed.folder / "nodes" / f"node{index}" / "made"


def start_node(bed: Bed, index: int, settings: Settings, engine_root: Path | None, shared: Path | None,
               recording: dict | None) -> None:
    """Create node ``index`` if it is incomplete, start it if it is off, and wait until SSH and Docker respond.

    :param recording: the recording of a real node's tools that this node replays.
    """
    name, complete = f"node{index}", completed(bed, index)
    if not complete.exists():
        create_node(bed, index, settings, engine_root, shared, recording)
    bed.world.docker("start", name)
    bed.wait_until_booted(name)
    if not complete.exists():
        options = ("--generation", settings.generation, "--npus", str(settings.npus), "--node-index", str(index))
        options += ("--replay", RECORDING) if recording else ()
        bed.console(name, "/opt/ascend-simulator/setup", *options)
        complete.touch()
    bed.check_access(name)


def create_node(bed: Bed, index: int, settings: Settings, engine_root: Path | None, shared: Path | None,
                recording: dict | None) -> None:
    """Create the container of node ``index`` from scratch, with all that is not in its image; do not start it."""
    name, folder = f"node{index}", bed.folder / "nodes" / f"node{index}"
    if name in bed.nodes():  # left by a killed `up`
        bed.world.docker("rm", "--force", "--volumes", name)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if engine_root:
        images.clone(engine_root, folder / "docker")
    else:
        (folder / "docker").mkdir()
    # `make coverage` sets this variable to also measure the coverage of code on the nodes.
    measured = os.environ.get("ASCEND_VLLM_COVERAGE")
    devices = recording["devices"] if recording else range(settings.npus)
    measuring = (f"{measured}:{measured}", f"{measured}/site:{DIST_PACKAGES}:ro") if measured else ()
    bed.world.docker(
        *("create", "--name", name, "--hostname", name, "--restart", "always", "--stop-signal", "RTMIN+3"),
        *("--network", "hosts", "--ip", address(index)),
        *(f"--add-host=node{other}:{address(other)}" for other in range(1, max(settings.nodes, NAMED_NODES) + 1)),
        # Not --privileged, which would give the node access to the machine's disks.
        *("--cap-add", "ALL", "--device-cgroup-rule", "a *:* rwm", "--cgroupns", "private"),
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--security-opt", "systempaths=unconfined", "--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock"),
        *("--volume", f"{folder}/docker:/var/lib/docker"),
        *(("--volume", f"{shared}:{shared}:ro") if shared else ()),
        *(f"--volume={mount}" for mount in measuring),
        *("--env", f"NODE_INDEX={index}", "--env", f"NPUS={settings.npus}", "--env", f"NPU_MAJOR={npu_major()}"),
        *("--env", f"NPU_DEVICES={' '.join(map(str, devices))}"),
        *(rootfs.NODE_IMAGE, "/usr/local/lib/ascend-testbed/boot"),
    )
    bed.world.docker("network", "connect", "--ip", f"10.78.8.{10 + index}", "npus", name)
    bed.world.docker("cp", "-", f"{name}:/", input=node_files(index, recording))


def start_hub(bed: Bed) -> None:
    """Serve the tiny models on the controller's address like a model hub, with the faults in hub-faults.json."""
    hub = TESTBED / "hub" / "hub"
    if bed.service("hub").pid:
        return
    folder = images.build_engine("models")[0]
    models = [f"{model}={folder / model.partition('/')[2]}" for model in HUB_MODELS]
    listen = ("--bind", CONTROLLER, "--port", str(HUB_PORT), "--faults", str(bed.folder / "hub-faults.json"))
    bed.start_service("hub", [sys.executable, str(hub), *listen, *models])
    listening = ("ss", "--no-header", "--listening", "--tcp", f"sport = :{HUB_PORT}")
    wait_until(f"the hub of bed {bed.name} (see its log)", lambda: bool(bed.world.run(*listening)), 30)


def npu_major() -> int:
    """Return a character device major that no driver of this kernel uses, so that opening such a device fails."""
    lines = Path("/proc/devices").read_text().split("Block devices:")[0].splitlines()
    used = {int(line.split()[0]) for line in lines if line[:3].strip().isdigit()}
    return next(major for major in range(236, 0, -1) if major not in used)


def node_files(index: int, recording: dict | None) -> bytes:
    """Return a tar of the files that the node image lacks: boot, runc, keys, Docker settings, simulator, recording."""
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
        add(f"home/{rootfs.OPERATOR}/.ssh/authorized_keys", login.read_bytes())
        if recording:
            add(RECORDING.lstrip("/"), json.dumps(recording).encode())
        simulator = TESTBED / "simulator"
        for path in sorted(simulator.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                mode = 0o755 if os.access(path, os.X_OK) else 0o644
                add(f"opt/ascend-simulator/{path.relative_to(simulator)}", path.read_bytes(), mode)
    return buffer.getvalue()
