# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every injected fault makes the expected check fail on the expected node and NPU, with the expected message."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
ROUNDS = yaml.safe_load((PROJECT / "molecule/hccl/vars/rounds.yml").read_text("utf-8"))["rounds"]
CASES = [(each["name"], node) for each in ROUNDS for node in ("node1", "node2")]


def result(name, node, part="hccl"):
    return json.loads((EPHEMERAL / "rounds" / name / node / f"{part}.json").read_text("utf-8"))


def check_of(found, short_id):
    return next(check for check in found["checks"] if check["id"] == f"hccl.{short_id}")


@pytest.mark.parametrize(("name", "node"), CASES)
def test_only_the_expected_checks_do_not_pass(name, node):
    planned = next(each for each in ROUNDS if each["name"] == name)
    outcome = planned["nodes"].get(node, {})
    found = result(name, node)
    jsonschema.validate(found, json.loads((PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8")))
    for status in ("failed", "warned", "not_run"):
        expected = {(f"hccl.{entry['check']}", entry.get("subject")) for entry in outcome.get(status, [])}
        assert {(check["id"], check["subject"]) for check in found["checks"]
                if check["status"] == status and check["severity"] != "info"} == expected, status
    for entry in [*outcome.get("failed", []), *(entry for entry in outcome.get("not_run", []) if "text" in entry)]:
        check = next(check for check in found["checks"]
                     if (check["id"], check["subject"]) == (f"hccl.{entry['check']}", entry.get("subject")))
        assert entry["text"] in f"{check['message']} expected {check['expected']}, found {check['actual']}"
        assert check["remedy"]
    # With an optional network, no check is critical.
    statuses = ("failed", "warned" if "policy" in planned else "not_run")
    assert found["status"] == next((status for status in statuses if status in outcome), "passed")
    assert len(found["checks"]) == len({(check["id"], check["subject"]) for check in found["checks"]})


def test_ping_mesh_covers_all_pairs():
    observed = result("healthy", "node1")["observed"]
    losses = [loss for row in observed["ping"]["matrix"].values() for loss in row["node2"]]
    assert losses == [0] * 64
    assert observed["ping"]["not_sent"] == 0


def test_all_reduce_ran_on_both_nodes_and_was_verified():
    run = result("healthy", "node1")["observed"]["collective"]["runs"][0]
    assert run["hosts"] == ["node1", "node2"]
    assert run["result"]["ranks"] == 2
    assert [row["check"] for row in run["result"]["rows"]] == ["success", "success"]
    baseline = json.loads((EPHEMERAL / "baselines/hccl.json").read_text("utf-8"))
    assert baseline == {"2 nodes, 2 ranks, gloo, 8388608 bytes": run["result"]["rows"][-1]["bus_bandwidth_gbs"]}


def test_slow_run_is_followed_by_a_separate_run_on_each_node():
    runs = result("slow_link", "node2")["observed"]["collective"]["runs"]
    assert [(run["round"], run["hosts"]) for run in runs] == [("all", ["node1", "node2"]), ("alone", ["node2"])]
    assert not runs[1]["result"]["failed"]


def test_hccl_test_ran_on_both_nodes():
    run, = result("image_installed_later", "node1")["observed"]["collective"]["runs"]
    assert (run["hosts"], run["result"]["tool"]) == (["node1", "node2"], "hccl_test")
    assert [(row["size_bytes"], row["check"]) for row in run["result"]["rows"]] == [
        (size << 20, "success") for size in (1, 2, 4, 8)]
    # With two ranks, both bandwidths are the same.
    assert all(row["bus_bandwidth_gbs"] == row["alg_bandwidth_gbs"] > 0 for row in run["result"]["rows"])
    check = check_of(result("image_installed_later", "node2"), "collective_result")
    assert check["message"] == "by hccl_test over 2 ranks"


def test_probe_runs_if_hccl_test_is_not_built():
    found = result("healthy", "node1")
    assert found["observed"]["collective"]["runs"][0]["result"]["tool"] == "probe"
    assert check_of(found, "collective_result")["message"] == (
        "by torch.distributed (gloo) over 2 ranks; hccl_test was not used: all_reduce_test is not built in "
        "/usr/local/Ascend/nowhere/tools/hccl_test")


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_result_is_completed_when_the_image_is_installed_later(node):
    first, complete = (result("image_installed_later", node, part) for part in ("before-image", "hccl"))
    assert first["status"] == "not_run"
    assert check_of(first, "collective_result")["message"].startswith("node2 does not have the image yet")
    collective = {"hccl.collective_result", "hccl.collective_bandwidth"}
    assert [check for check in complete["checks"] if check["id"] not in collective] == [
        check for check in first["checks"] if check["id"] not in collective]
    assert complete["started_at"] == first["started_at"] < complete["finished_at"]
    assert complete["duration_s"] > first["duration_s"]


def test_nothing_is_repeated_if_the_image_was_already_installed():
    assert result("healthy", "node1") == result("healthy", "node1", "before-image")


def test_nothing_is_left_on_the_nodes(host):
    command = ("ascend-fault show; docker ps --all --quiet; docker images --quiet testbed/kept; "
               "ls /usr/local/Ascend/driver/lib64/*.fault 2>/dev/null; tc qdisc show dev eth0 | grep tbf || true")
    assert host.check_output(command) == "no faults"
