# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of each host is resolved once per run, although many tasks need it. A copy of the collection counts it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNTER = '''

_original = resolve


def resolve(catalogue, inputs, host=None, members=None):
    with open(%r, "a", encoding="utf-8") as stream:
        stream.write("%%s\\n" %% host)
    return _original(catalogue, inputs, host, members)
'''


@pytest.fixture
def collection(tmp_path):
    """(folder, file): a copy of the collection, and the file to which it adds a line for each plan that it resolves."""
    copy, count = tmp_path / "ansible_collections" / "ascend" / "vllm", tmp_path / "resolved"
    for folder in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("collections", "__pycache__"))
    shutil.copy(ROOT / "galaxy.yml", copy)
    with open(copy / "plugins" / "plugin_utils" / "_plan" / "resolve.py", "a", encoding="utf-8") as stream:
        stream.write(COUNTER % str(count))
    return copy, count


def run(collection, playbook, *arguments):
    """Run a playbook on two nodes that are both this machine. Return (hosts whose plans were resolved, process)."""
    copy, count = collection
    folder = copy.parents[2]
    inventory = folder / "hosts.json"
    node = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "hccl_enabled": False}
    inventory.write_text(json.dumps({"npu_nodes": {"hosts": {
        f"node{at}": {**node, "serving_address": f"192.0.2.{at}"} for at in (1, 2)}}}), "utf-8")
    commands = Path(sys.executable).parent
    done = subprocess.run(
        [commands / "ansible-playbook", "-i", inventory, copy / "playbooks" / playbook, *arguments], cwd=folder,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env={
            **os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "HOME": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": f"{folder}:{commands.parent}/lib"})
    assert count.exists(), done.stdout[-4000:] + done.stderr[-2000:]
    return sorted(count.read_text("utf-8").split()), done


def test_site_resolves_each_plan_once(collection):
    """Only stages run that need neither NPUs nor Docker nor a service, then the diagnostics and the report."""
    hosts, done = run(collection, "site.yml", "--tags", "hccl,functional")
    assert hosts == ["node1", "node2"], done.stdout[-4000:]
    assert "functional.served_name" in done.stdout
    assert "2 of 2 hosts failed" in done.stdout


def test_another_run_resolves_the_plan_again(collection):
    run(collection, "plan.yml")
    hosts, _done = run(collection, "plan.yml")
    assert hosts == ["node1", "node1", "node2", "node2"]
