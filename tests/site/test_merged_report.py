# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of several controllers become one report, with the commands of guide_scale.rst. No node is contacted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from guides import ROOT, read

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records

NODES = {"atlas-01": "192.0.2.11", "atlas-02": "192.0.2.12"}
CHECK = contract.Check("npu_count", contract.CRITICAL, "All NPUs are present", "Insert the missing NPUs.")
BIN = Path(sys.executable).parent


def run(command, folder):
    """Run a command as a user of this clone does."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PWD": str(folder),
                   "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(["bash", "-c", command.replace("ascend.vllm.", f"{ROOT}/playbooks/").replace(
        "/report ", "/report.yml ")], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def controller(folder, name, host, found):
    """Write the results folder of a controller that uses --limit: the plan of its playbook, and a result of its run."""
    done = run(f"ansible-playbook -i mine {ROOT}/playbooks/plan.yml --limit {host} -e report_path=$PWD/{name}", folder)
    assert done.returncode == 0, done.stdout
    records = Records(folder / name, run_id=f"run-of-{name}")
    plan = json.loads((folder / name / host / "plan.json").read_text("utf-8"))["plan"]
    checks = contract.Checks((CHECK,))
    checks.expect(CHECK.id, found == 8, 8, found)
    records.write_result(contract.stage_result(
        "npu_driver", host, checks.as_list(), plan, started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:00:01Z", duration_s=1.0, collection_version="0.9.0", run_id=records.run_id))
    (folder / name / "history").mkdir()
    (folder / name / "report.json").write_text("{}", "utf-8")


def test_results_of_two_controllers_become_one_report(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "hosts.yml").write_text(yaml.safe_dump({"npu_nodes": {"hosts": {
        host: {"ansible_host": address} for host, address in NODES.items()}}}), "utf-8")
    controller(tmp_path, "first", "atlas-01", 8)
    controller(tmp_path, "second", "atlas-02", 7)
    (merge,) = [block.commands for block in read("docs/docsite/rst/guide_scale.rst") if "mkdir" in block.text]
    *copies, report = merge
    for command in copies:
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    done = run(report, tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    written = json.loads((tmp_path / "all" / "report.json").read_text("utf-8"))
    assert {host: cells["npu_driver"]["status"] for host, cells in written["hosts"].items()} == {
        "atlas-01": "passed", "atlas-02": "failed"}
    assert (written["passing_hosts"], written["failing_hosts"]) == (["atlas-01"], ["atlas-02"])
    assert [(row["host"], row["id"]) for row in written["findings"]] == [("atlas-02", "npu_driver.npu_count")]
    assert written["coverage"]["left_out"] == []
    assert (tmp_path / "all" / "report.html").is_file()
