# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of the roles do not appear in results, in logs, or in the output of Ansible at any verbosity."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SPECS = {path.parents[1].name: yaml.safe_load(path.read_text("utf-8"))["argument_specs"]["main"].get("options", {})
         for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")}
SECRETS = ("accuracy_api_key", "benchmark_api_key", "functional_api_key", "serving_api_key", "weights_hub_token")
SECRET, SECOND = "1njected-s3cret", "another-1njected-one"
# For each role with a secret: an input with a value that its argument spec or its own validation refuses.
WRONG = {"accuracy": {"accuracy_timeout_s": "soon"}, "benchmark": {"benchmark_repeats": "often"},
         "functional": {"functional_timeout_s": "soon"}, "serving": {"serving_port": "high"},
         "weights": {"weights_workers": "many"}}


def test_secret_inputs_have_no_log_and_an_empty_default():
    found = {name: option for options in SPECS.values() for name, option in options.items()
             if re.search(r"_(api_key|token|password|secret)$", name) or option.get("no_log")}
    assert sorted(found) == sorted(SECRETS)
    # Ansible templates the defaults of a spec, and prints all of them if any input has a wrong type.
    assert {name: (option.get("no_log"), option.get("default", "")) for name, option in found.items()} == dict.fromkeys(
        SECRETS, (True, ""))


@pytest.fixture
def run(tmp_path):
    """Return a function (inputs for all roles, inputs by role) that runs each role once and returns the output."""
    def play(inputs, by_role):
        hosts = {role: {"role": role, "report_path": str(tmp_path / "results" / role), **by_role.get(role, {})}
                 for role in WRONG}
        shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "serving_port": 9,
                  "serving_address": "127.0.0.1", "plan_docker_socket": str(tmp_path / "no.sock"),
                  "weights_path": str(tmp_path / "weights"), "serving_state_path": str(tmp_path / "state"), **inputs}
        (tmp_path / "hosts.json").write_text(json.dumps({"npu_nodes": {"hosts": hosts, "vars": shared}}))
        (tmp_path / "play.yml").write_text(json.dumps([{
            "hosts": "npu_nodes", "gather_facts": False,
            "tasks": [{"block": [{"ansible.builtin.include_role": {"name": "ascend.vllm.{{ role }}"}}],
                       "always": [{"ascend.vllm.lease": {"state": "absent"}}]}]}]))
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-vvv", "--diff", "-i", tmp_path / "hosts.json",
             tmp_path / "play.yml"],
            capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "ANSIBLE_LOG_PATH": str(tmp_path / "log"), "ANSIBLE_NOCOLOR": "1",
                 "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")})
        assert done.returncode == 2, done.stdout + done.stderr
        recap = dict(re.findall(r"^(\w+) +: ok=.* failed=(\d)", done.stdout, re.MULTILINE))
        assert list(recap) == sorted(WRONG)
        assert {role for role, failed in recap.items() if failed == "0"} <= {"accuracy"}, done.stdout  # disabled
        return done.stdout + done.stderr
    return play


def traces(folder):
    """Return the files below a folder that contain an injected secret, except those that the test wrote itself."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "hosts.json"
            and re.search(f"{SECRET}|{SECOND}", path.read_text("utf-8", "replace"))]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "secret", "by_role", "expected"), [
    ("a wrong type", SECRET, WRONG, ["soon", "often", "high", "many"]),
    ("an invalid secret", SECRET + "\n", {}, ["ends with a line break"]),
    ("valid inputs of hosts without a service", SECRET, {}, ["functional.served_name", "serving.docker_engine"]),
])
def test_injected_secrets_do_not_appear(run, tmp_path, case, secret, by_role, expected):
    inputs = {**dict.fromkeys(SECRETS, secret), "serving_api_key": [secret, SECOND], "weights_source": "huggingface",
              "weights_repository": "owner/name", "weights_hub_endpoint": "http://127.0.0.1:9"}
    # First, each role has a secret; then, the other roles derive theirs from serving_api_key.
    for given in (inputs, {"serving_api_key": [secret, SECOND]}):
        output = run(given, by_role)
        assert [text for text in expected if text not in output] == [], case
        assert SECRET not in output
        assert SECOND not in output
        assert (tmp_path / "log").stat().st_size > 1000
        assert traces(tmp_path) == []
    if not by_role and secret == SECRET:
        assert len(list((tmp_path / "results").rglob("*.json"))) >= 5
