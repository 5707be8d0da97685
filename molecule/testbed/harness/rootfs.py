# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node image. It is built again when this file or node/recipe.toml changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
import tomllib
from pathlib import Path

from .machine import SYSTEM_PATH, TESTBED, BedError, Process, cache, run
from .world import World

NODE_IMAGE = "ascend-testbed/node"
# A user who must enter a password for sudo. The password is the user name.
OPERATOR = "operator"
RECIPE = TESTBED / "node" / "recipe.toml"


def key() -> str:
    """Return a hash of the image's inputs."""
    return hashlib.sha256(RECIPE.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]


def build(world: World) -> None:
    """Build the root file system of the recipe with debootstrap and import it into the engine of ``world``."""
    recipe, tree = tomllib.loads(RECIPE.read_text()), world.folder / "root"
    started = time.monotonic()
    print("bed: building the root file system of the nodes (once, about 75 s)", flush=True)
    debootstrap(world.folder, tree, recipe)
    systemctl = ("chroot", tree, "systemctl", "--quiet")  # the machine itself need not have systemd
    run(*systemctl, "enable", *recipe["enabled_units"])
    run(*systemctl, "mask", *recipe["masked_units"])
    options = ("--create-home", "--no-user-group", "--shell=/bin/bash", "--groups=sudo")
    run("chroot", tree, "useradd", *options, OPERATOR)
    run("chroot", tree, "chpasswd", input=f"{OPERATOR}:{OPERATOR}".encode())
    for key in (tree / "etc/ssh").glob("ssh_host_*"):  # every node gets its own
        key.unlink()
    (tree / "etc/machine-id").write_text("")
    unneeded = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*")
    with subprocess.Popen(["tar", "-C", tree, *unneeded, "-c", "."], stdout=subprocess.PIPE) as tar:
        world.docker("import", "--change", "ENV container=docker", "-", NODE_IMAGE, stdin=tar.stdout)
    if tar.returncode:
        raise BedError(f"tar of {tree} failed with exit code {tar.returncode}")
    print(f"bed: built the node image in {time.monotonic() - started:.0f} s", flush=True)


def debootstrap(folder: Path, tree: Path, recipe: dict) -> None:
    """Run debootstrap in its own namespaces: a killed build leaves no mount on the machine."""
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
    """Return the Debian mirror from which this machine's apt gets ``suite``."""
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in listed.splitlines():
        uri, release, component = line.split()
        if (release, component) == (suite, "main"):
            return uri
    raise BedError(f"apt has no source of Debian {suite} main; add one to /etc/apt/sources.list.d")
