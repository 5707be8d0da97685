# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every ansible-core that meta/runtime.yml allows, and the versions of Python that it runs on.

As a script with ``--json``, this file prints the matrix of the workflow: each core with its oldest Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed")
BUILDING = threading.Lock()  # tests and ``ahead`` calls can need the same environment at the same time
# The versions of Python on a control node that each ansible-core supports (its setup.cfg or pyproject.toml).
PYTHONS = {"2.16": ("3.10", "3.11", "3.12"), "2.17": ("3.10", "3.11", "3.12"), "2.18": ("3.11", "3.12", "3.13"),
           "2.19": ("3.11", "3.12", "3.13"), "2.20": ("3.12", "3.13", "3.14"), "2.21": ("3.12", "3.13", "3.14")}


def cores():
    """Return the versions of ansible-core in the range of meta/runtime.yml, such as 2.16, oldest first."""
    text = (ROOT / "meta" / "runtime.yml").read_text("utf-8")
    first, end = re.search(r'requires_ansible: ">=2\.(\d+)\.0,<2\.(\d+)\.0"', text).groups()
    return [f"2.{minor}" for minor in range(int(first), int(end))]


def interpreter(*versions):
    """Return the first of these versions of Python that pyenv or the PATH has; None if there is none."""
    for version in versions:
        found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
        found += filter(None, [shutil.which(f"python{version}")])
        if found:
            return found[0]
    return None


def environment(interpreter, *requirements):
    """Return the folder of commands of a virtual environment with these requirements, in the cache of the test bed."""
    content = "".join(Path(item).read_text("utf-8") if Path(item).is_file() else item for item in requirements)
    folder = CACHE / "control" / hashlib.sha256(f"{interpreter} {content}".encode()).hexdigest()[:12]
    with BUILDING:
        if not (folder / "ready").exists():
            subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([folder / "bin" / "pip", "install", "-qq", *requirements], check=True)
            (folder / "ready").touch()
    return folder / "bin"


def not_passed(passed):
    """Return the suites of ansible-test that are not in ``passed``, such as ``2.19 units, 2.20 sanity and units``."""
    missing = []
    for core in cores():
        suites = [suite for suite in ("sanity", "units") if f"{core} {suite}" not in passed]
        if suites:
            reason = "" if interpreter(*PYTHONS[core]) else f" (no Python {', '.join(PYTHONS[core])})"
            missing.append(f"{core} {' and '.join(suites)}{reason}")
    return ", ".join(missing)


if __name__ == "__main__":
    if sys.argv[1:] != ["--json"]:
        sys.exit("usage: cores.py --json")
    print(json.dumps([{"core": core, "python": PYTHONS[core][0]} for core in cores()]))
