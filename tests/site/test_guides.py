# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Execute the commands of the README and the guides as written and in order, with the installed artifact on a bed.

Between the commands, this test does what the pages leave to the reader: it answers questions, provides logs and
measurements, and edits the inventory to describe the nodes of the bed.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bed_case import ROOT, Bed
from guides import EXECUTED, SHELL, read

pytestmark = [pytest.mark.bed, pytest.mark.slow, pytest.mark.long]

bed = Bed("guides")
BIN = Path(sys.executable).parent
SIMULATED = ROOT / "inventories" / "simulated"
#: What the reader types when a command asks.
TYPED = {"ascend.vllm.init": "\natlas-01=10.77.0.11,atlas-02=10.77.0.12\n\n\n\n",
         "encrypt_string": "a secret key\n\x04"}


def edit(inventory):
    """Replace the example nodes of an inventory with those of the bed, which have the names of the sample inventory."""
    hosts = (SIMULATED / "hosts.yml").read_text("utf-8")
    (inventory / "hosts.yml").write_text(hosts.replace("  node", "  atlas-0"), "utf-8")
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
    (home / "vault").write_text("a password", "utf-8")
    # The SSH configuration of a user who reaches the nodes.
    cache = os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed"
    proxy = " ".join(map(str, [*bed.command, "run", "--", bed.command[0].with_name("connect")]))
    ssh = f"-F {cache}/ssh/config -o ProxyCommand='{proxy} %h %p'"
    yield {**kept, "PATH": path, "HOME": str(home), "MOLECULE_SCENARIO_NAME": bed.name,
           "MOLECULE_PROJECT_DIRECTORY": str(ROOT), "ANSIBLE_NOCOLOR": "1",
           "ANSIBLE_VAULT_PASSWORD_FILE": str(home / "vault"), "ANSIBLE_SSH_COMMON_ARGS": ssh}
    bed("down")


def execute(command, folder, environment):
    """Run a command on a terminal, and type what the reader would. Return the exit code and the output."""
    terminal, stdin = pty.openpty()
    os.write(terminal, "".join(text for part, text in TYPED.items() if part in command).encode())
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, stdin=stdin, start_new_session=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    os.close(stdin)
    os.close(terminal)
    return done.returncode, done.stdout


def prepare(command, folder):
    """Provide the files that the reader has before a command."""
    results = folder / "mine" / ".results"
    if "logs.tar.gz" in command:
        (archive,) = results.glob("diagnostics-*.tar.gz")
        shutil.copy(archive, folder / "logs.tar.gz")
    for name in re.findall(r"compare_\w+=(\S+)", command):
        (folder / name).parent.mkdir()
        shutil.copy(results / "atlas-01" / "benchmark.json", folder / name)


def follow(command, folder):
    """Edit the inventory as the page says after a command."""
    inventory = folder / "mine"
    if "vllm.init" in command:
        assert "plan_hardware: atlas_800_a2\n" in (inventory / "group_vars/npu_nodes/plan.yml").read_text("utf-8")
    if "inventories/sample" in command or "vllm.init" in command:
        edit(inventory)
    if "vllm.remove" in command:
        hosts = (inventory / "hosts.yml").read_text("utf-8")
        removed = re.sub(r"^    atlas-02:\n(?:      .*\n)+", "", hosts, flags=re.MULTILINE)
        assert removed != hosts
        (inventory / "hosts.yml").write_text(removed, "utf-8")


def shape(line):
    """Return the first two words of a line, with each number replaced by 0."""
    return re.sub(r"\d+", "0", " ".join(line.split()[:2]))


@pytest.mark.parametrize("page", EXECUTED)
def test_commands_run_in_order(page, environment, tmp_path):
    output = ""
    if not any(re.search("inventories/sample|vllm.init", block.text) for block in read(page)
               if block.exit_code is not None):
        # The page starts where the first guide ends.
        shutil.copytree(ROOT / "inventories" / "sample", tmp_path / "mine")
        edit(tmp_path / "mine")
    for block in read(page):
        if block.language in SHELL and block.exit_code is not None:
            for command in block.commands:
                prepare(command, tmp_path)
                exit_code, output = execute(command, tmp_path, environment)
                assert exit_code == block.exit_code, f"{page}:{block.line}: {command}\n{output[-8000:]}"
                follow(command, tmp_path)
        elif block.mark.startswith("output: "):
            assert block.mark[len("output: "):] in " ".join(output.split()), f"{page}:{block.line}"
    for block in read(page):
        if block.mark.startswith("output of "):
            file = tmp_path / block.mark[len("output of "):]
            found = {shape(line) for line in file.read_text("utf-8").splitlines()}
            assert {shape(line) for line in block.text.splitlines()} - found == set(), f"{page}:{block.line}"
