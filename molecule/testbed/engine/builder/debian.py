# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system of the images: Debian packages unpacked directly into a layer, with this machine's apt.

No maintainer script runs, so this takes seconds instead of debootstrap's minute; what two of them would create
(/etc/passwd and the links of the merged /usr) is created here.
"""

from __future__ import annotations

import re
import sys
import tarfile
import tempfile
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run

from .archive import Layer

PACKAGES = (
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "libc-bin",
    "libgomp1",
    "libnuma1",
    "libssl3",
    "libstdc++6",
    "procps",
    "python3",
    "sed",
    "usr-is-merged",  # otherwise apt installs usrmerge, and perl with it
    "util-linux",  # vLLM runs lscpu
)
MERGED = ("bin", "sbin", "lib", "lib64")
UNWANTED = re.compile(r"usr/share/(doc|info|lintian|locale|man)/.")


MPICH = ("mpich", "hwloc-nox")


def write_layer(path: Path) -> None:
    """Download the packages and their dependencies, and write the layer."""
    with tempfile.TemporaryDirectory() as scratch:
        packages = download(Path(scratch), PACKAGES)
        with Layer(path) as layer:
            for name in MERGED:
                layer.link(name, f"usr/{name}")
            layer.folder("tmp", 0o1777)
            layer.link("usr/bin/python", "python3")
            for package in packages:
                unpack(package, layer)


def add_mpich(layer: Layer) -> None:
    """Add MPICH to a layer on top of that of `write_layer`, without the packages that the lower layer contains."""
    with tempfile.TemporaryDirectory() as scratch:
        present, wanted = (Path(scratch) / name for name in ("present", "wanted"))
        known = {package.name for package in download(present, PACKAGES)}
        for package in download(wanted, (*PACKAGES, *MPICH)):
            if package.name not in known:
                unpack(package, layer)
    for name in ("mpiexec", "mpirun"):
        layer.link(f"usr/bin/{name}", "mpiexec.hydra")


def download(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Download packages and all their dependencies; return the .deb files."""
    (folder / "archives" / "partial").mkdir(parents=True)
    (folder / "status").touch()
    command = [
        *("apt-get", "--quiet=2", "--yes", "--no-install-recommends", "--download-only"),
        *("--option", f"Dir::State::status={folder}/status", "--option", f"Dir::Cache::archives={folder}/archives"),
        *("--option", f"Dir::Cache::pkgcache={folder}/pkgcache.bin", "--option", "Debug::NoLocking=1"),
        *("install", *names),
    ]
    if run(command, stdout=DEVNULL, stderr=DEVNULL, check=False).returncode:
        run(["apt-get", "--quiet=2", "update"], stdout=sys.stderr, check=False)  # old lists name removed files
        done = run(command, stdout=DEVNULL, stderr=PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"engine: apt-get could not download Debian packages: {done.stderr}")
    return sorted((folder / "archives").glob("*.deb"))


def unpack(package: Path, layer: Layer) -> None:
    """Add the files of one .deb to the layer."""
    command = ["dpkg-deb", "--fsys-tarfile", package]
    with Popen(command, stdout=PIPE) as process, tarfile.open(fileobj=process.stdout, mode="r|") as tar:
        for entry in tar:
            entry.name = merged(entry.name)
            if entry.islnk():
                entry.linkname = merged(entry.linkname)
            if not entry.name or entry.name in MERGED or UNWANTED.match(entry.name):
                continue
            content = tar.extractfile(entry) if entry.isreg() else None
            if content and entry.name.startswith("usr/share/base-passwd/"):
                layer.add(f"etc/{Path(entry.name).stem}", content.read().decode().replace(":*:", ":x:"))
            else:
                layer.copy(entry, content)
    if process.returncode:
        raise SystemExit(f"engine: dpkg-deb could not read {package.name}")


def merged(name: str) -> str:
    """Return a path below / with a merged /usr: usr/bin/sh for ./bin/sh."""
    name = name.removeprefix(".").strip("/")
    return f"usr/{name}" if name.partition("/")[0] in MERGED and "/" in name else name
