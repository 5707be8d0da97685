# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands and the playbooks of this clone on a test bed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The deployment of the simulated inventory.
NODES = ("node1", "node2")
SERVICE = "vllm-ascend-qwen25-vl"
IMAGE = "quay.io/ascend/vllm-ascend:v0.11.0rc1"
MODEL = "/data/Qwen2.5-VL-32B-Instruct-w8a8"


class Bed:
    """A test bed with a name. Calling it runs a `molecule/testbed/bed` command and returns the output."""

    def __init__(self, name):
        self.name = name
        self.command = [ROOT / "molecule" / "testbed" / "bed", "-n", name]

    def __call__(self, *arguments):
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"bed {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, node, script):
        """Run a script that must succeed on a node, and return its output."""
        return self("exec", node, "sh", "-c", script)

    def succeeds(self, node, script):
        """Run a script on a node, and return whether it succeeded."""
        return subprocess.run([*self.command, "exec", node, "sh", "-c", script], capture_output=True,
                              check=False).returncode == 0

    def playbook(self, name, *arguments, **inputs):
        """Return the command line that runs a playbook. The arguments can override the inputs."""
        return [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventories/simulated",
                f"playbooks/{name}.yml", "-e", json.dumps({"testbed_name": self.name, **inputs}), *arguments]


def execute(argv, **environment):
    """Run a command line in this clone with additional environment variables."""
    return subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
