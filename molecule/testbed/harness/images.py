# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What beds are made from, built once and cached: the node image, engine images, SSH keys."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from .machine import SYSTEM_PATH, TESTBED, BedError, Process, cache, check, install_packages, lock, run
from .world import World

NODE_IMAGE = "ascend-testbed/node"
RECIPE = TESTBED / "node" / "recipe.toml"
GOLDEN_KEPT = 3


def prepare() -> Path:
    """Bring the machine to where beds can start; returns the golden data root with the node image."""
    check()
    with lock("prepare"):
        cache().chmod(0o755)
        install_packages()
        make_key()
        recipe = RECIPE.read_bytes()
        key = hashlib.sha256(recipe + Path(__file__).read_bytes()).hexdigest()[:12]
        return golden("node", key, lambda world: import_node_image(world, tomllib.loads(recipe.decode())))


def golden(kind: str, key: str, fill: Callable[[World], None]) -> Path:
    """The data root of an engine that holds what ``fill`` loads; built beside and renamed, so whole or absent."""
    root = cache() / "golden" / f"{kind}-{key}"
    if root.exists():
        os.utime(root)
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    world = World(cache() / "building" / kind)
    discard(world)
    world.folder.mkdir(parents=True)
    try:
        world.start()
        fill(world)
        world.end()
        for entry in world.data.iterdir():
            if entry.name not in ("image", "overlay2"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        world.data.rename(root)
    finally:
        discard(world)
    others = sorted(root.parent.glob(f"{kind}-*"), key=lambda entry: entry.stat().st_mtime)
    for old in others[:-GOLDEN_KEPT]:
        shutil.rmtree(old)
    return root


def discard(world: World) -> None:
    """End and delete a world that builds, also one whose build was killed."""
    Process(world.folder / "builder").end(seconds=1)
    world.end()
    if world.folder.exists():
        shutil.rmtree(world.folder)


def discard_builds() -> None:
    """End and delete what killed builds left."""
    for folder in (cache() / "building").glob("*"):
        discard(World(folder))


def import_node_image(world: World, recipe: dict) -> None:
    """Build the root file system of ``recipe`` with debootstrap and import it."""
    tree = world.folder / "root"
    started = time.monotonic()
    print("bed: building the root file system of the nodes (once, about 75 s)", flush=True)
    debootstrap(world.folder, tree, recipe)
    run("systemctl", f"--root={tree}", "--quiet", "enable", *recipe["enabled_units"])
    run("systemctl", f"--root={tree}", "--quiet", "mask", *recipe["masked_units"])
    for key in (tree / "etc/ssh").glob("ssh_host_*"):  # every node brings its own
        key.unlink()
    (tree / "etc/machine-id").write_text("")
    archive = f"tar --directory {shlex.quote(str(tree))} --exclude ./var/cache/apt/* --exclude ./var/lib/apt/lists/* --create ."
    with subprocess.Popen(shlex.split(archive), stdout=subprocess.PIPE) as tar:
        world.docker("import", "--change", "ENV container=docker", "-", NODE_IMAGE, stdin=tar.stdout)
    if tar.returncode:
        raise BedError(f"tar of {tree} ended with {tar.returncode}")
    print(f"bed: built the node image in {time.monotonic() - started:.0f} s", flush=True)


def debootstrap(folder: Path, tree: Path, recipe: dict) -> None:
    """Run debootstrap in namespaces of its own: a killed build leaves no mount in the machine."""
    packages, log = folder / "packages", cache() / "debootstrap.log"
    downloads = cache() / "packages"
    downloads.mkdir(exist_ok=True)
    packages.mkdir(exist_ok=True)
    builder = Process(folder / "builder").start(
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("debootstrap", "--variant=minbase", f"--cache-dir={downloads}", f"--include={','.join(recipe['packages'])}"),
        *(recipe["suite"], tree, mirror(recipe["suite"])),
        log=log,
        environment={**os.environ, "PATH": SYSTEM_PATH},
    )
    if builder.wait():
        raise BedError(f"debootstrap failed; its log is {log}")


def mirror(suite: str) -> str:
    """The Debian mirror that this machine's apt takes ``suite`` from."""
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in listed.splitlines():
        uri, release, component = line.split()
        if (release, component) == (suite, "main"):
            return uri
    raise BedError(f"apt knows no source of Debian {suite} main; add one to /etc/apt/sources.list.d")


def engine_image(kind: str) -> tuple[Path, Path | None]:
    """Build the stand-in engine image ``light`` or ``full``.

    Returns the golden data root that holds it and the folder that its containers share with the machine, if any.
    """
    builder = TESTBED / "engine" / "build"
    if not builder.exists():
        raise BedError(f"--image {kind} needs {builder}, which is not there; use --image none")
    done = subprocess.run([builder, kind], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BedError(f"{builder} {kind} ended with exit code {done.returncode}; its messages are above")
    archive, *shared = map(Path, done.stdout.split("\n")[:-1])
    stat = archive.stat()
    key = hashlib.sha256(f"{archive} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    with lock(f"image-{kind}"):
        return golden(kind, key, lambda world: world.docker("load", "--input", archive)), next(iter(shared), None)


def make_key() -> None:
    """The key that the controller logs in to nodes with, and the folder of the nodes' host keys."""
    folder = cache() / "ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    keygen(folder / "id_ed25519", "ascend-testbed")


def host_key(index: int) -> Path:
    """Host key of node ``index``: the same in every bed, so that it can be known before the node exists."""
    path = cache() / "ssh" / f"host_node{index}"
    keygen(path, f"node{index}")
    return path


def keygen(path: Path, comment: str) -> None:
    if not path.exists():
        beside = path.with_name(path.name + ".new")
        for stale in (beside, beside.with_name(beside.name + ".pub")):
            stale.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", beside)
        beside.with_name(beside.name + ".pub").rename(path.with_name(path.name + ".pub"))
        beside.rename(path)
