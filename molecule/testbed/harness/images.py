# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What beds are made from, built once and cached: the node image, engine images, SSH keys."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import rootfs, ssh
from .machine import TESTBED, BedError, Process, cache, check, install_packages, lock, run
from .world import World

GOLDEN_KEPT = 3
CACHED = ("ais_bench", "ais_bench_wheels", "ansible-test", "beds", "building", "control", "debootstrap.log", "engine",
          "golden", "hub", "locks", "packages", "ssh", "venv")


def prepare() -> Path:
    """Bring the machine to where beds can start; returns the golden data root with the node image."""
    check()
    with lock("prepare"):
        cache().chmod(0o755)
        install_packages()
        ssh.make_key()
        return golden("node", rootfs.key(), rootfs.build)


def golden(kind: str, key: str, fill: Callable[[World], None]) -> Path:
    """The data root of an engine that holds what ``fill`` loads; built beside and renamed, so whole or absent."""
    root = cache() / "golden" / f"{kind}-{key}"
    with lock(f"building.{kind}"):
        if not root.exists():
            root.parent.mkdir(parents=True, exist_ok=True)
            build_root(World(cache() / "building" / f"building.{kind}"), fill, root)
        os.utime(root)
        by_use = sorted(root.parent.glob(f"{kind}-*"), key=lambda entry: entry.stat().st_mtime)
        for old in by_use[:-GOLDEN_KEPT]:
            shutil.rmtree(old)
    return root


def build_root(world: World, fill: Callable[[World], None], root: Path) -> None:
    """Start a world that only builds, ``fill`` its engine, and keep what that holds as ``root``."""
    discard(world)
    world.folder.mkdir(parents=True)
    try:
        world.start()
        fill(world)
        world.end()
        (world.folder / "root.new").mkdir(mode=0o700)
        for part in ("image", "overlay2"):
            (world.data / part).rename(world.folder / "root.new" / part)
        (world.folder / "root.new").rename(root)
    finally:
        discard(world)


def discard(world: World) -> None:
    """End and delete a world that builds, also one whose build was killed."""
    Process(world.folder / "builder").end(seconds=1)
    world.end()
    if world.folder.exists():
        shutil.rmtree(world.folder)


def discard_builds() -> None:
    """End and delete what killed builds left."""
    for folder in (cache() / "building").glob("*"):
        with lock(folder.name):
            discard(World(folder))


def delete_cache() -> None:
    """Delete what beds and tests have cached, listed in CACHED, and nothing else: the folder may be the user's."""
    for path in (cache() / name for name in CACHED):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # others keep something there
        cache().rmdir()


def clone(root: Path, data: Path) -> None:
    """Give an engine a data root that holds a golden one's images: their layers are hard links, so cost nothing."""
    beside = data.with_name(data.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    run("cp", "--archive", "--link", root / "overlay2", beside)
    run("cp", "--archive", root / "image", beside)
    beside.rename(data)


def engine_image(kind: str) -> tuple[Path, Path | None]:
    """Build the stand-in engine image ``light``, ``full`` or ``mpi``.

    Returns the golden data root that holds it and the folder that its containers share with the machine, if any.
    """
    archive, *shared = build_engine(kind)
    stat = archive.stat()
    key = hashlib.sha256(f"{archive} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    root = golden(kind, key, lambda world: world.docker("load", "--input", archive))
    return root, next(iter(shared), None)


def build_engine(what: str) -> list[Path]:
    """Paths of what the engine's builder makes or has made: an image's archive, the models …"""
    builder = TESTBED / "engine" / "build"
    done = subprocess.run([builder, what], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BedError(f"{builder} {what} ended with exit code {done.returncode}; its messages are above")
    return [Path(line) for line in done.stdout.splitlines()]
