# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every ansible-core that meta/runtime.yml allows, and the versions of Python that it runs on.

As a script with ``--json``, this file prints the matrix of the workflow: each core with its oldest Python.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The versions of Python that the control node of an ansible-core supports (setup.cfg and pyproject.toml of ansible-core).
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


if __name__ == "__main__":
    if sys.argv[1:] != ["--json"]:
        sys.exit("usage: cores.py --json")
    print(json.dumps([{"core": core, "python": PYTHONS[core][0]} for core in cores()]))
