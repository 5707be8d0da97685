# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timer's program runs the playbook (here a script), and runs a command if the verdict has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ansible_collections.ascend.vllm.tests.unit.roles.role_case import rendered

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "roles/verify/files/verify.py"
# Replaces ansible-playbook: writes the verdict in the file `next` to the path that the program has passed.
PLAYBOOK = """\
import json, os, sys, time
path = json.loads(sys.argv[-1])["verify_result_path"]
text = open(os.path.join(sys.argv[1], "next")).read()
if text == "hang":
    time.sleep(600)
if text:
    open(path, "w").write(text)
sys.exit(2)
"""


class Timer:
    """The program, its state, and the notifications that its command wrote."""

    def __init__(self, folder):
        self.folder, self.sent = folder, folder / "sent"
        (folder / "playbook.py").write_text(PLAYBOOK)
        self.command = ["sh", "-c", f'echo "$ASCEND_VLLM_PREVIOUS_VERDICT $ASCEND_VLLM_VERDICT $ASCEND_VLLM_REPORT'
                                    f' $ASCEND_VLLM_REASONS" >> {self.sent}']

    def run(self, verdict, exit_code=0, timeout_s=60, **options):
        text = verdict if verdict in ("", "hang", "{") else json.dumps({
            "verdict": verdict, "exit_code": exit_code, "reasons": [f"node1: {verdict}"], "report": "/r.html"})
        (self.folder / "next").write_text(text)
        argv = [sys.executable, str(self.folder / "playbook.py"), str(self.folder)]
        (self.folder / "options").write_text(json.dumps({
            "argv": argv, "timeout_s": timeout_s, "command": self.command, "report": "/old.html", **options}))
        done = subprocess.run([sys.executable, "-B", PROGRAM, self.folder / "options"], capture_output=True, text=True,
                              check=False, env={**os.environ, "STATE_DIRECTORY": str(self.folder)})
        self.output = done.stdout + done.stderr
        return done.returncode

    def notifications(self):
        lines = self.sent.read_text().splitlines() if self.sent.exists() else []
        self.sent.unlink(missing_ok=True)
        return lines


@pytest.fixture
def timer(tmp_path):
    return Timer(tmp_path)


def test_exit_code_is_that_of_the_verdict_and_only_a_change_runs_the_command(timer):
    assert timer.run("healthy") == 0
    assert timer.notifications() == []
    assert timer.run("regression", 3) == 3
    assert timer.notifications() == ["healthy regression /r.html node1: regression"]
    assert timer.run("regression", 3) == 3
    assert timer.notifications() == []
    assert timer.run("unreachable", 4) == 4
    assert timer.notifications() == ["regression unreachable /r.html node1: unreachable"]
    assert timer.run("healthy") == 0
    assert timer.notifications() == ["unreachable healthy /r.html node1: healthy"]
    assert timer.run("healthy") == 0
    assert timer.notifications() == []


def test_problem_in_the_first_run_runs_the_command(timer):
    assert timer.run("no_baseline", 5) == 5
    assert timer.notifications() == ["healthy no_baseline /r.html node1: no_baseline"]


@pytest.mark.parametrize("text", ["", "{"])
def test_run_without_a_verdict_is_an_error(timer, text):
    assert timer.run(text) == 1
    assert timer.notifications()[0].startswith("healthy error /old.html ")


def test_playbook_that_cannot_be_started_is_an_error(timer):
    assert timer.run("healthy", argv=["/nowhere/ansible-playbook"]) == 1
    assert "/nowhere/ansible-playbook" in timer.notifications()[0]


def test_playbook_that_hangs_is_stopped(timer):
    started = time.monotonic()
    assert timer.run("hang", timeout_s=1) == 1
    assert time.monotonic() - started < 30
    assert "took longer than verify_timeout_s (1 s)" in timer.notifications()[0]


@pytest.mark.parametrize("command", [["/nowhere/notify"], ["false"]])
def test_command_that_fails_runs_again_after_the_next_run(timer, command):
    assert timer.run("regression", 3, command=command) == 3
    assert "it runs again after the next run" in timer.output
    assert timer.run("regression", 3) == 3
    assert timer.notifications() == ["healthy regression /r.html node1: regression"]


def test_without_a_command_the_verdict_is_recorded(timer):
    timer.run("regression", 3, command=[])
    timer.run("regression", 3)
    assert timer.notifications() == []


INPUTS = {"verify_user": "root", "verify_directory": "/srv/100% ours", "verify_timeout_s": "600"}


def test_units_are_valid_and_have_a_timeout(tmp_path):
    for kind in ("service", "timer"):
        (tmp_path / f"ascend-vllm-verify.{kind}").write_text(rendered("verify", f"verify.{kind}.j2", INPUTS))
    done = subprocess.run(["systemd-analyze", "verify", *tmp_path.glob("ascend-vllm-verify.*")], capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    service = (tmp_path / "ascend-vllm-verify.service").read_text().splitlines()
    assert {"TimeoutStartSec=900", "WorkingDirectory=/srv/100%% ours", "User=root",
            "StateDirectory=ascend-vllm-verify"} <= set(service)
    assert "OnCalendar=Sun 03:00" in (tmp_path / "ascend-vllm-verify.timer").read_text().splitlines()


def test_options_run_the_playbook_with_the_inventories_of_this_run():
    found = rendered("verify", "options.json.j2", INPUTS, {
        "ansible_playbook_python": "/venv/bin/python3", "ansible_inventory_sources": ["/srv/mine", "/srv/more"],
        "report_path": "/srv/results"})
    found = json.loads(found) if isinstance(found, str) else found
    assert found == {
        "argv": ["/venv/bin/ansible-playbook", str(ROOT / "playbooks/verify.yml"), "--inventory=/srv/mine",
                 "--inventory=/srv/more"],
        "timeout_s": 600, "command": [], "report": "/srv/results/report.html"}


def test_playbook_has_the_defaults_of_the_role():
    """The playbook does not include the role's main tasks, so it states the defaults again."""
    defaults = yaml.safe_load((ROOT / "roles/verify/defaults/main.yml").read_text("utf-8"))
    variables = yaml.safe_load((ROOT / "playbooks/verify.yml").read_text("utf-8"))[1]["vars"]
    for name, own in (("benchmark_num_prompts", "verify_num_prompts"), ("benchmark_repeats", "verify_repeats")):
        assert variables[name] == "{{ %s | default(%d) }}" % (own, defaults[own])
