# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook works with default inputs. The tests run in this order, and the last one stops the service."""

from __future__ import annotations

import json
import tarfile

import pytest
from scenario import INVENTORY, PROJECT, container_identities, containers, result, succeeds

NODES = ("node1", "node2")
SERVICE = "vllm-ascend-qwen25-vl"
RESULTS = INVENTORY / ".results"
CONVERGED = ("image", "plan", "serving", "weights")
OTHERS = ("nodes", "site")  # the other playbooks import `nodes`; the `site` scenario tests `site`


def test_every_playbook_is_run():
    tested = {name.split("_")[1] for name in globals() if name.startswith("test_") and name.endswith("_playbook")}
    stages = {"accuracy", "benchmark", "functional", "hccl", "npu_driver"}
    assert {path.stem for path in (PROJECT / "playbooks").glob("*.yml")} == {*CONVERGED, *OTHERS, *stages, *tested}


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("stage", ["image", "weights", "serving"])
def test_converged_stage_did_not_fail(node, stage):
    assert result(node, stage)["status"] in ("passed", "warned", "waived")


def test_status_playbook():
    output = succeeds("status")
    for node in NODES:
        (row,) = [line for line in output.splitlines() if line.startswith(node) and SERVICE in line]
        assert "ready" in row


@pytest.mark.parametrize("stage", ["npu_driver", "hccl", "functional", "benchmark"])
def test_playbook_of_a_stage_does_not_fail(stage):
    succeeds(stage)
    assert {result(node, stage)["status"] for node in NODES} <= {"passed", "warned", "unsupported", "waived"}


def test_accuracy_measures_nothing_by_default():
    succeeds("accuracy")
    for node in NODES:
        found = result(node, "accuracy")
        assert found["status"] == "not_run"
        assert "accuracy_enabled is false" in found["checks"][0]["message"]


def test_compare_playbook():
    before, after = (RESULTS / node / "benchmark.json" for node in NODES)
    output = succeeds("compare", "-e", f"compare_before={before}", "-e", f"compare_after={after}", inventories=())
    assert "The output throughput is " in output


def test_report_playbook():
    succeeds("report")
    assert set(json.loads((RESULTS / "report.json").read_text("utf-8"))["hosts"]) == set(NODES)


def test_diagnostics_playbook():
    succeeds("diagnostics")
    (path,) = RESULTS.glob("diagnostics-*.tar.gz")
    with tarfile.open(path) as bundle:
        names = bundle.getnames()
    for node in NODES:
        assert f"diagnostics/{node}/containers/{SERVICE}.log" in names


def test_restart_playbook():
    before = {node: container_identities(node) for node in NODES}
    succeeds("restart")
    for node in NODES:
        after = container_identities(node)
        assert after.keys() == before[node].keys()
        assert after[SERVICE] != before[node][SERVICE]


def test_upgrade_playbook():
    before = {node: container_identities(node) for node in NODES}
    succeeds("upgrade")
    assert {node: container_identities(node) for node in NODES} == before


def test_stop_playbook():
    succeeds("stop")
    for node in NODES:
        assert not any(each["State"]["Running"] for each in containers(node).values())
    assert "ready" not in succeeds("status")
