# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that would do nothing is refused in one sentence instead of succeeding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OTHERS = ("nodes.yml", "compare.yml")  # the playbook that refuses, and a playbook that needs no nodes
PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml") if path.name not in OTHERS)


def refusal(*arguments):
    """Run a playbook that must fail, and return its output on one line, because older ansible-core versions wrap it."""
    done = subprocess.run([Path(sys.executable).with_name("ansible-playbook"), *map(str, arguments)], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_inventory_without_nodes_is_refused(playbook, tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {atlas-01: {ansible_host: 192.0.2.11}}}\n", "utf-8")
    output = refusal("-i", inventory, f"playbooks/{playbook}")
    assert f"The inventory ({inventory}) has no host in the group npu_nodes" in output


@pytest.mark.parametrize("arguments", [(), ("-e", "compare_before=before.json")])
def test_comparison_without_two_measurements_is_refused(arguments):
    output = refusal("playbooks/compare.yml", *arguments)
    assert "Set compare_before and compare_after to the files of two measurements" in output
    assert "undefined" not in output


def test_mistyped_stage_is_refused():
    output = refusal("-i", "inventories/sample", "playbooks/site.yml", "--tags", "benchmrk", "--limit", "atlas-01")
    assert "did you mean benchmark?" in output
