# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test bed, and the playbooks of this clone on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the simulated inventory deploys.
NODES = ("node1", "node2")
SERVICE = "vllm-ascend-qwen25-vl"
IMAGE = "quay.io/ascend/vllm-ascend:v0.11.0rc1"
MODEL = "/data/Qwen2.5-VL-32B-Instruct-w8a8"


class Bed:
    """The test bed with this name. A call runs a command of `molecule/testbed/bed` and returns its output."""

    def __init__(self, name):
        self.name = name
        self.command = [ROOT / "molecule" / "testbed" / "bed", "-n", name]

    def __call__(self, *words):
        done = subprocess.run([*self.command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"bed {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, node, script):
        """Return the output of a script that must succeed on a node."""
        return self("exec", node, "sh", "-c", script)

    def succeeds(self, node, script):
        """Return whether a script succeeds on a node."""
        return subprocess.run([*self.command, "exec", node, "sh", "-c", script], capture_output=True,
                              check=False).returncode == 0

    def playbook(self, name, *words, **inputs):
        """Return the command line of a playbook. The words can override the inputs."""
        return [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventories/simulated",
                f"playbooks/{name}.yml", "-e", json.dumps({"testbed_name": self.name, **inputs}), *words]


def execute(argv, **environment):
    """Run a command line in this clone, with variables added to the environment."""
    return subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
