# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Execute the commands of the README and the guides as written and in order, with the installed artifact on a bed.

Between the commands, this test does what the pages leave to the reader: it provides logs, and edits the copy of the
sample inventory to describe the nodes of the bed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bed_case import ROOT, Bed
from guides import EXECUTED, SHELL, read

pytestmark = [pytest.mark.bed, pytest.mark.slow, pytest.mark.long]

bed = Bed("guides")
BIN = Path(sys.executable).parent
SIMULATED = ROOT / "inventories" / "simulated"


def edit(inventory):
    """Replace the example nodes of an inventory with those of the bed."""
    shutil.copy(SIMULATED / "hosts.yml", inventory)
    inputs = inventory / "group_vars" / "npu_nodes"
    (inputs / "connection.yml").unlink()  # the bed's hosts.yml sets the SSH users
    for path in (SIMULATED / "group_vars" / "npu_nodes").glob("*.yml"):
        shutil.copy(path, inputs / f"z_{path.name}")  # read after the files of the sample inventory
    (inputs / "z_repeats.yml").write_text("benchmark_repeats: 1\n", "utf-8")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Start a test bed, and return the environment of a user who installed the collection as the README describes."""
    home = tmp_path_factory.mktemp("home")
    path = f"{BIN}:{os.environ['PATH']}"
    galaxy = [BIN / "ansible-galaxy", "collection"]
    subprocess.run([*galaxy, "build", "--output-path", home], cwd=ROOT, check=True)
    subprocess.run([*galaxy, "install", "--no-deps", "--collections-path", home / ".ansible" / "collections",
                    *home.glob("*.tar.gz")], cwd=home, check=True)
    bed("up", "--nodes", "2", "--image", "full", "--hub")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    yield {**kept, "PATH": path, "HOME": str(home), "MOLECULE_SCENARIO_NAME": bed.name,
           "MOLECULE_PROJECT_DIRECTORY": str(ROOT), "ANSIBLE_NOCOLOR": "1"}
    bed("down")


def shape(line):
    """Return the first two words of a line, with each number replaced by 0."""
    return re.sub(r"\d+", "0", " ".join(line.split()[:2]))


@pytest.mark.parametrize("page", EXECUTED)
def test_commands_run_in_order(page, environment, tmp_path):
    output = ""
    if not any("inventories/sample" in block.text for block in read(page) if block.exit_code is not None):
        # The page starts where the first guide ends.
        shutil.copytree(ROOT / "inventories" / "sample", tmp_path / "mine")
        edit(tmp_path / "mine")
    for block in read(page):
        if block.language in SHELL and block.exit_code is not None:
            for command in block.commands:
                if "logs.tar.gz" in command:
                    (archive,) = (tmp_path / "mine" / ".results").glob("diagnostics-*.tar.gz")
                    shutil.copy(archive, tmp_path / "logs.tar.gz")
                done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
                output = done.stdout
                assert done.returncode == block.exit_code, f"{page}:{block.line}: {command}\n{output[-8000:]}"
                if "inventories/sample" in command:
                    edit(tmp_path / "mine")
        elif block.mark.startswith("output: "):
            assert block.mark[len("output: "):] in " ".join(output.split()), f"{page}:{block.line}"
    for block in read(page):
        if block.mark.startswith("output of "):
            file = tmp_path / block.mark[len("output of "):]
            found = {shape(line) for line in file.read_text("utf-8").splitlines()}
            assert {shape(line) for line in block.text.splitlines()} - found == set(), f"{page}:{block.line}"


def test_init_finds_the_hardware(environment, tmp_path):
    """The SSH options of the bed are given as variables."""
    options = yaml.safe_load((SIMULATED / "hosts.yml").read_text("utf-8"))["npu_nodes"]["vars"]
    (tmp_path / "ssh.json").write_text(json.dumps(options), "utf-8")
    for command in ("ascend.vllm.init -e @ssh.json -e init_nodes=node1=10.77.0.11", "ascend.vllm.plan -i mine"):
        done = subprocess.run([BIN / "ansible-playbook", *command.split()], cwd=tmp_path, stdin=subprocess.DEVNULL,
                              env={**environment, "PWD": str(tmp_path)}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "has the hardware atlas_800_a2" in done.stdout or "init" not in command
    assert "plan_hardware: atlas_800_a2\n" in (tmp_path / "mine/group_vars/npu_nodes/plan.yml").read_text("utf-8")
