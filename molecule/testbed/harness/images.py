# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node image, engine images and SSH keys of beds, built once and cached."""

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
CACHED = ("ais_bench", "ais_bench_packages", "ais_bench_wheels", "ansible-test", "beds", "building", "control",
          "debootstrap.log", "engine", "golden", "hub", "locks", "packages", "ssh", "venv")


def prepare() -> Path:
    """Prepare the machine for beds; return the golden data root with the node image."""
    check()
    with lock("prepare"):
        cache().chmod(0o755)
        install_packages()
        ssh.make_key()
        return golden("node", rootfs.key(), rootfs.build)


def golden(kind: str, key: str, fill: Callable[[World], None]) -> Path:
    """Return a Docker data root with the images that ``fill`` loads. It is built once, and renamed when complete."""
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
    """Start a world for the build, ``fill`` its engine, and keep the engine's data as ``root``."""
    discard(world)
    world.folder.mkdir(parents=True)
    try:
        world.start()
        fill(world)
        world.stop()
        (world.folder / "root.new").mkdir(mode=0o700)
        for part in ("image", "overlay2"):
            (world.data / part).rename(world.folder / "root.new" / part)
        (world.folder / "root.new").rename(root)
    finally:
        discard(world)


def discard(world: World) -> None:
    """Stop and delete the world of a build, even if the build was killed."""
    Process(world.folder / "builder").stop(seconds=1)
    world.stop()
    if world.folder.exists():
        shutil.rmtree(world.folder)


def discard_builds() -> None:
    """Stop and delete what killed builds left behind."""
    for folder in (cache() / "building").glob("*"):
        with lock(folder.name):
            discard(World(folder))


def delete_cache() -> None:
    """Delete what beds and tests have cached (CACHED) and nothing else: the user may keep files in this folder."""
    for path in (cache() / name for name in CACHED):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty: other files are in it
        cache().rmdir()


def clone(root: Path, data: Path) -> None:
    """Create a data root with the images of a golden one. Their layers are hard links, which need no space."""
    draft = data.with_name(data.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    run("cp", "--archive", "--link", root / "overlay2", draft)
    run("cp", "--archive", root / "image", draft)
    draft.rename(data)


def engine_image(kind: str) -> tuple[Path, Path | None]:
    """Build the stand-in engine image ``light``, ``full`` or ``mpi``.

    Return the golden data root that contains it, and the folder that its containers share with the machine, if any.
    """
    archive, *shared = build_engine(kind)
    stat = archive.stat()
    key = hashlib.sha256(f"{archive} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    root = golden(kind, key, lambda world: world.docker("load", "--input", archive))
    return root, next(iter(shared), None)


def build_engine(what: str) -> list[Path]:
    """Return the paths that the engine builder prints, such as that of an image archive or of the models folder."""
    builder = TESTBED / "engine" / "build"
    done = subprocess.run([builder, what], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BedError(f"{builder} {what} failed with exit code {done.returncode}; its messages are above")
    return [Path(line) for line in done.stdout.splitlines()]
