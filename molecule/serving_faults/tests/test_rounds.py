# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every injected fault makes its check fail on its node, and all other nodes serve. The API key is never shown."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
RESULTS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory" / ".rounds"
FAULTS = yaml.safe_load((PROJECT / "molecule/serving_faults/faults.yml").read_text("utf-8"))
VALIDATE = jsonschema.Draft202012Validator(json.loads(
    (PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8"))).validate
SERVICE = "vllm-ascend-qwen25-vl"
BED = PROJECT / "molecule" / "testbed" / "bed"
NODES = ("node1", "node2", "node3")
CASES = [(each["name"], node, each["faults"].get(node, {})) for each in FAULTS["rounds"]
         for node in NODES]


def result(name, node):
    return json.loads((RESULTS / name / node / "serving.json").read_text("utf-8"))


@pytest.mark.parametrize(("name", "node", "fault"), CASES, ids=[f"{name}-{node}" for name, node, _fault in CASES])
def test_only_the_injected_fault_is_found(name, node, fault):
    found = result(name, node)
    VALIDATE(found)
    failed = {check["id"].split(".")[1]: check for check in found["checks"] if check["status"] == "failed"}
    if "check" not in fault:
        assert failed == {}
        assert found["status"] in ("passed", "warned")
        assert {check["status"] for check in found["checks"] if check["id"] == "serving.completion"} == {"passed"}
        return
    assert set(failed) == {fault["check"], *fault.get("also", ())}
    check = failed[fault["check"]]
    assert fault["message"] in f"{check['message']} expected {check['expected']}, found {check['actual']}"
    assert check["remedy"]
    assert found["status"] == "failed"


def test_node_that_fails_before_the_start_has_no_container():
    for name, node in (("port_and_npu_taken", "node1"), ("port_and_npu_taken", "node2")):
        (instance,) = result(name, node)["observed"]["instances"]
        assert instance["state"] == "missing"


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_running_service_is_not_touched_if_it_cannot_be_replaced(node):
    name = "model_missing_and_image_of_another_processor"
    before, after = (result(each, node)["observed"]["instances"] for each in (name + "-before", name))
    assert after[0]["state"] == "ready"
    for fact in ("image", "hash", "started_at"):
        assert after[0]["container"][fact] == before[0]["container"][fact]


def test_failed_start_is_detected_within_seconds():
    """These seconds include the removal and the start of the container."""
    for node in ("node1", "node2"):
        assert result("out_of_memory_and_crash_loop", node)["observed"]["waited"]["seconds"] < 20


def test_killed_and_hung_servers_were_restarted_once():
    for node in ("node1", "node2"):
        (instance,) = result("killed_engine_and_hung_engine_restart", node)["observed"]["instances"]
        assert (instance["state"], instance["container"]["restarts"]) == ("ready", 1)


def test_four_instances_with_two_npus_each_serve():
    found = result("serve_again", "node3")
    responding = {check["subject"] for check in found["checks"] if check["id"] == "serving.completion"}
    assert responding == {SERVICE, *(f"{SERVICE}-{number}" for number in (1, 2, 3))}
    devices = {holder["device"]: holder["container"]["name"] for holder in found["observed"]["device_holders"]}
    assert len(devices) == 8
    assert set(devices.values()) == responding
    ports = {holder["port"]: holder["container"]["name"] for holder in found["observed"]["port_holders"]}
    assert ports == dict(zip((8888, 8889, 8890, 8891), sorted(responding)))


def run_on(node, command):
    """Run a shell command on a node, and return (exit code, output). Ansible would take a second for each command."""
    done = subprocess.run([BED, "-n", "serving-faults", "exec", node, "sh", "-c", command + " 2>&1"],
                          stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("node", NODES)
def test_only_root_can_read_the_file_with_the_key(node):
    assert run_on(node, "stat -c '%a %U' /var/lib/ascend-vllm/secrets.env") == (0, "600 root\n")


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("command", [
    f"docker inspect {SERVICE}", f"docker logs {SERVICE}", f"docker top {SERVICE}", "ps axww",
    "journalctl --no-pager", "grep -raE . /var/lib/ascend-vllm/health"])
def test_key_is_not_shown_on_the_node(node, command):
    code, shown = run_on(node, command)
    assert code == 0
    assert shown
    assert FAULTS["api_key"] not in shown


def test_key_is_not_in_results():
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    assert len(files) > len(CASES) / 2
    assert not [path for path in files if FAULTS["api_key"] in path.read_text("utf-8")]


@pytest.mark.parametrize("node", NODES)
def test_key_is_required(node):
    request = "curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8888/v1/models"
    assert run_on(node, request) == (0, "401")
    # The node reads the key from the file, because the journal, which is searched above, contains this command.
    with_key = f'. /var/lib/ascend-vllm/secrets.env; {request} --header "Authorization: Bearer $VLLM_API_KEY"'
    assert run_on(node, with_key) == (0, "200")
