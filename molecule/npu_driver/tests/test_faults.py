# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each injected fault is reported by its check on its node with the expected text, and nothing else is reported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
RESULTS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "rounds"
ROUNDS = yaml.safe_load((PROJECT / "molecule/npu_driver/faults.yml").read_text("utf-8"))["rounds"]
VALIDATE = jsonschema.Draft202012Validator(json.loads(
    (PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8"))).validate
NODES = ("node1", "node2", "node3")
RECORDED = [(each["name"], node, each["faults"].get(node)) for each in ROUNDS for node in NODES
            if not each.get("check_mode")]


def result(name, node):
    return json.loads((RESULTS / name / node / "npu_driver.json").read_text("utf-8"))


@pytest.mark.parametrize(("name", "node", "fault"), RECORDED, ids=[f"{name}-{node}" for name, node, _fault in RECORDED])
def test_only_the_fault_is_reported(name, node, fault):
    found = result(name, node)
    VALIDATE(found)
    reported = {(check["id"].split(".")[1], check["subject"]) for check in found["checks"]
                if check["status"] in ("failed", "warned", "waived")}
    shows, also = (fault["shows"], fault.get("also", ())) if fault else ((), ())
    assert set(also) <= {check for check, _subject in reported}
    assert {each for each in reported if each[0] not in also} == {
        (shown["check"], shown.get("subject")) for shown in shows
        if shown["status"] != "passed" and shown["check"] not in also}
    for shown in shows:
        check = next(check for check in found["checks"]
                     if (check["id"], check["subject"]) == (f"npu_driver.{shown['check']}", shown.get("subject")))
        assert check["status"] == shown["status"]
        assert shown["text"] in f"{check['message']} expected {check['expected']}, found {check['actual']}"
        assert (check["remedy"] is None) == (shown["status"] == "passed")
    statuses = {shown["status"] for shown in shows}
    if not statuses or "failed" in statuses:
        assert found["status"] == ("failed" if statuses else "passed")


@pytest.mark.parametrize("node", NODES)
def test_healthy_node_passes_all_checks_that_a_container_supports(node):
    missing = {check["id"] for check in result("healthy", node)["checks"] if check["status"] != "passed"}
    assert missing == {"npu_driver.pci_devices", "npu_driver.kernel_log"}


def test_drift_check_names_the_outlier():
    drift = {check["subject"]: check["message"] for check in result("host", "node1")["checks"]
             if check["id"] == "npu_driver.drift"}
    assert drift["driver"] == "driver: 24.1.0 on node1, but 25.3.rc1 on most nodes"


def test_check_mode_writes_no_result():
    [name] = [each["name"] for each in ROUNDS if each.get("check_mode")]
    assert not list((RESULTS / name).glob("*/npu_driver.json"))


def test_rounds_contain_32_faults():
    assert sum(len(fault["shows"]) for _name, _node, fault in RECORDED if fault) == 32


def test_faults_are_removed(host):
    assert host.check_output("ascend-fault show && npu-smi info").startswith("no faults\n+---")
