# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every planted fault shows under its check, on its node and NPU, in its words; nothing else shows anywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory"
ROUNDS = yaml.safe_load((PROJECT / "molecule/hccl/vars/rounds.yml").read_text("utf-8"))["rounds"]
CASES = [(each["name"], node) for each in ROUNDS for node in ("node1", "node2")]


def result(name, node):
    return json.loads((INVENTORY / "rounds" / name / node / "hccl.json").read_text("utf-8"))


@pytest.mark.parametrize(("name", "node"), CASES)
def test_each_fault_and_nothing_else(name, node):
    wanted = next(each for each in ROUNDS if each["name"] == name)["nodes"].get(node, {})
    found = result(name, node)
    jsonschema.validate(found, json.loads((PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8")))
    for status in ("failed", "warned", "not_run"):
        expected = {(f"hccl.{one['check']}", one.get("subject")) for one in wanted.get(status, [])}
        assert {(check["id"], check["subject"]) for check in found["checks"]
                if check["status"] == status and check["severity"] != "info"} == expected, status
    for one in wanted.get("failed", []):
        check = next(check for check in found["checks"]
                     if (check["id"], check["subject"]) == (f"hccl.{one['check']}", one.get("subject")))
        assert one["says"] in f"{check['message']} expected {check['expected']}, found {check['actual']}"
        assert check["remedy"]
    assert found["status"] == ("failed" if "failed" in wanted else "passed")


def test_the_mesh_covers_every_pair():
    observed = result("healthy", "node1")["observed"]
    losses = [loss for row in observed["ping"]["matrix"].values() for loss in row["node2"]]
    assert losses == [0] * 64
    assert observed["ping"]["not_sent"] == 0


def test_the_all_reduce_ran_over_both_nodes_and_was_verified():
    run = result("baseline", "node1")["observed"]["collective"]["runs"][0]
    assert run["hosts"] == ["node1", "node2"]
    assert run["result"]["ranks"] == 2
    assert [row["check"] for row in run["result"]["rows"]] == ["success", "success"]
    baseline = json.loads((INVENTORY / "baselines/hccl.json").read_text("utf-8"))
    assert baseline == {"2 nodes, 2 ranks, gloo, 8388608 bytes": run["result"]["rows"][-1]["bus_bandwidth_gbs"]}


def test_a_slow_run_is_followed_by_each_node_alone():
    runs = result("slow_link", "node2")["observed"]["collective"]["runs"]
    assert [(run["round"], run["hosts"]) for run in runs] == [("all", ["node1", "node2"]), ("alone", ["node2"])]
    assert not runs[1]["result"]["failed"]


def test_nothing_is_left_on_the_nodes(host):
    left = "ascend-fault show; docker ps --all --quiet; tc qdisc show dev eth0 | grep tbf || true"
    assert host.check_output(left) == "no faults"
