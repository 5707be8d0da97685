# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a running service with the program of the timer, in the order of the tests, and install the timer on a node.

The service is the stand-in server, and the client of the benchmark is that of the real vLLM.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from bed_case import IMAGE, NODES, ROOT, Bed

pytestmark = [pytest.mark.bed, pytest.mark.slow, pytest.mark.long]

bed = Bed("verify")
CLIENT = "localhost/vllm-client:full"
FAULTS = "/usr/local/Ascend/driver/lib64/vllm-light.json"
INPUTS = {"benchmark_client_image": CLIENT, "verify_num_prompts": 24, "benchmark_request_rate": 8,
          "benchmark_max_cv_percent": 30, "diagnostics_on_failure": False}


@pytest.fixture(scope="module")
def cluster():
    bed("up", "--nodes", "2", "--image", "full", "--hub")
    yield
    bed("down")


@pytest.fixture(scope="module")
def folder(cluster, tmp_path_factory):
    """Deploy the stand-in server to both nodes, and return the folder of the results."""
    archive = subprocess.run([ROOT / "molecule/testbed/engine/build", "light"], capture_output=True, text=True,
                             check=True).stdout.strip()
    for name in NODES:
        bed.shell(name, f"docker tag {IMAGE} {CLIENT}")
        with open(archive, "rb") as stream:
            subprocess.run([*bed.command, "exec", name, "sh", "-c", "cat > /var/tmp/light.tar"], check=True,
                           stdin=stream)
        bed.shell(name, "docker load --quiet --input /var/tmp/light.tar")
    folder = tmp_path_factory.mktemp("verify")
    set_token_interval(0.1)
    done = subprocess.run(bed.playbook("site", "--tags", "image,weights,serving", report_path=str(folder / "results")),
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def set_token_interval(seconds):
    """Set the time between tokens. The first token takes five times as long, so that neither depends on other load."""
    faults = {"first_token_seconds": 5 * seconds, "token_seconds": seconds}
    for name in NODES:
        bed.shell(name, f"echo '{json.dumps(faults)}' > {FAULTS}")


@pytest.fixture
def verify(folder):
    """Return a function that runs the program of the timer, and returns its exit code and its notification."""
    def run(*arguments, **inputs):
        inputs = {"report_path": str(folder / "results"), "benchmark_baseline_path": str(folder / "baselines"),
                  **INPUTS, **inputs}
        (folder / "notified").unlink(missing_ok=True)
        (folder / "options.json").write_text(json.dumps({
            "argv": [str(each) for each in bed.playbook("verify", *arguments, **inputs)], "timeout_s": 900,
            "command": ["sh", "-c", f'echo "$ASCEND_VLLM_PREVIOUS_VERDICT > $ASCEND_VLLM_VERDICT" > {folder}/notified'],
            "report": ""}))
        done = subprocess.run([sys.executable, ROOT / "roles/verify/files/verify.py", folder / "options.json"],
                              cwd=ROOT, capture_output=True, text=True, check=False,
                              env={**os.environ, "STATE_DIRECTORY": str(folder)})
        run.output = done.stdout + done.stderr
        print(run.output)
        return done.returncode, (folder / "notified").read_text().strip() if (folder / "notified").exists() else None

    return run


def test_run_without_a_baseline_has_the_verdict_no_baseline(verify):
    assert verify("--limit", "node1") == (5, "healthy > no_baseline")
    assert "benchmark.verdict (vllm-ascend-qwen25-vl): expected a verdict, found no baseline" in verify.output


def test_run_that_saves_the_baseline_is_healthy(verify):
    assert verify(benchmark_baseline_save=True) == (0, "no_baseline > healthy")


def test_same_speed_is_healthy_and_nothing_is_notified(verify):
    assert verify("--limit", "node1") == (0, None)


def test_slower_server_has_the_verdict_regression(verify):
    set_token_interval(0.3)
    try:
        assert verify("--limit", "node1") == (3, "healthy > regression")
    finally:
        set_token_interval(0.1)
    assert "benchmark.regression" in verify.output


def test_run_with_too_few_repeats_is_inconclusive(verify):
    assert verify("--limit", "node1", verify_repeats=1) == (6, "regression > inconclusive")
    assert "found Inconclusive: the runs have 5 and 1 repeats" in verify.output


def test_stopped_service_has_the_verdict_failed(verify):
    bed.shell("node1", "docker stop --time 1 vllm-ascend-qwen25-vl")
    try:
        assert verify("--limit", "node1") == (2, "inconclusive > failed")
    finally:
        bed.shell("node1", "docker start vllm-ascend-qwen25-vl")


def test_unreachable_node_has_the_verdict_unreachable(verify, folder):
    bed.shell("node2", "systemctl stop ssh.socket ssh 2> /dev/null || systemctl stop ssh")
    try:
        assert verify() == (4, "failed > unreachable")
    finally:
        bed.shell("node2", "systemctl start ssh")
    assert "node2" in verify.output
    assert json.loads((folder / "results/node1/benchmark.json").read_text())["status"] in ("passed", "warned")


def test_refused_run_has_no_verdict(verify):
    assert verify(benchmark_num_prompts="many") == (1, "unreachable > error")


TIMER = {"verify_run_on": "node1", "verify_user": "root", "verify_directory": "/", "verify_schedule": "*:*:0/5",
         "verify_argv": ["/usr/local/bin/ansible-playbook", "ascend.vllm.verify", "--inventory=/etc/mine"],
         "verify_timeout_s": 60,
         "verify_command": ["sh", "-c", "echo $ASCEND_VLLM_VERDICT $ASCEND_VLLM_REPORT >> /run/notified"]}
# Replaces ansible-playbook on the node, where Ansible is not installed.
PLAYBOOK = """#!/usr/bin/env python3
import json, sys
open("/run/argv", "a").write(" ".join(sys.argv[1:-1]) + "\\n")
json.dump({"verdict": "regression", "exit_code": 3, "reasons": ["node1: slow"], "report": "/r.html"},
          open(json.loads(sys.argv[-1])["verify_result_path"], "w"))
sys.exit(2)
"""


def playbook(name, results, **inputs):
    inputs["report_path"] = str(results)
    return subprocess.run(bed.playbook(name, **inputs), cwd=ROOT, capture_output=True, text=True, check=False)


def test_schedule_that_systemd_does_not_accept_is_refused(cluster, tmp_path):
    done = playbook("verify_timer", tmp_path, **{**TIMER, "verify_schedule": "Someday"})
    assert done.returncode == 2
    assert "verify_schedule must be a calendar event of systemd" in done.stdout + done.stderr
    assert not bed.succeeds("node1", "ls /etc/systemd/system/ascend-vllm-verify.timer")


def test_timer_starts_the_service(cluster, tmp_path):
    subprocess.run([*bed.command, "exec", "node1", "sh", "-c",
                    "cat > /usr/local/bin/ansible-playbook; chmod 755 /usr/local/bin/ansible-playbook"],
                   input=PLAYBOOK, text=True, check=True)
    for changed in (True, False):  # the second run changes nothing
        done = playbook("verify_timer", tmp_path, **TIMER)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("changed=0" not in done.stdout.split("node1 ")[-1].splitlines()[0]) is changed
    units = "/etc/systemd/system/ascend-vllm-verify"
    bed.shell("node1", f"systemd-analyze verify {units}.service {units}.timer")
    deadline = time.monotonic() + 60
    while not bed.succeeds("node1", "test $(wc -l < /run/argv) -ge 2"):
        assert time.monotonic() < deadline, bed.shell("node1", "journalctl -u ascend-vllm-verify --no-pager | tail")
        time.sleep(1)
    assert bed.shell("node1", "sort -u /run/argv").strip() == "ascend.vllm.verify --inventory=/etc/mine --extra-vars"
    assert bed.shell("node1", "cat /run/notified").strip() == "regression /r.html"  # once
    assert "code=exited, status=3" in bed.shell("node1", "journalctl --unit ascend-vllm-verify --no-pager")
    assert bed.shell("node1", "stat -c %a /etc/ascend-vllm-verify/options.json").strip() == "600"


def test_remove_playbook_removes_the_timer(cluster, tmp_path):
    done = playbook("remove", tmp_path, serving_allow_outage=True, **TIMER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bed.shell("node1", "systemctl list-unit-files 'ascend-vllm-verify*' | grep -c verify || true").strip() == "0"
    assert bed.shell("node1", "ls -d /etc/ascend-vllm-verify /var/lib/ascend-vllm-verify 2> /dev/null || true") == ""
