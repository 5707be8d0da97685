# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that represents a node, with the simulator's tools installed in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SIMULATOR = Path(__file__).resolve().parents[2] / "molecule" / "testbed" / "simulator"
sys.path.insert(0, str(SIMULATOR))

from ascend_simulator import faults


class Node:
    """A simulated node below a folder; its tools are the programs that `setup` installed."""

    def __init__(self, root: Path, generation: str, hardware: str) -> None:
        self.root = root
        (root / "dev").mkdir(exist_ok=True)
        for number in range(16):
            (root / "dev" / f"davinci{number}").touch()
        self.setup = [sys.executable, str(SIMULATOR / "setup"), "--generation", generation, "--node-index", "1",
                      "--hardware", hardware, "--root", str(root)]
        node = {"generation": generation, "hardware": hardware, "npus": None, "node": 1}
        faults.reset(str(root), str(SIMULATOR), node)  # as `setup` does, but without starting a process

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([str(self.root / program), *arguments], capture_output=True, text=True, check=False,
                              timeout=30)

    def npu_smi(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run("usr/local/bin/npu-smi", *arguments)

    def hccn(self, device: int, query: str, *arguments: str) -> subprocess.CompletedProcess:
        return self.run("usr/local/Ascend/driver/tools/hccn_tool", "-i", str(device), f"-{query}", "-g", *arguments)

    def fault(self, *words: str) -> None:
        done = self.run("usr/local/bin/ascend-fault", *words)
        assert done.returncode == 0, done.stderr

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")


@pytest.fixture
def make_node(tmp_path):
    """Return make_node(generation, hardware). Processes started by faults are killed afterwards."""
    nodes = []

    def make(generation: str = "25.3.rc1", hardware: str = "atlas_800_a2") -> Node:
        nodes.append(Node(tmp_path, generation, hardware))
        return nodes[-1]

    yield make
    for node in nodes:
        faults.clear(str(node.root))


@pytest.fixture
def node(make_node) -> Node:
    """A node with driver 25.3.rc1 and 8 NPUs."""
    return make_node()
