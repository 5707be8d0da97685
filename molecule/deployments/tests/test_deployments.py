# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two deployments on a node. Each test starts in the state in which the previous test left the cluster."""

from __future__ import annotations

import json

import pytest
from scenario import (
    INVENTORY,
    Load,
    bed,
    container_identities,
    containers,
    lost_nothing,
    output_text,
    playbook,
    succeeds,
)

HOSTS = ("node1", "node2", "node1-text")
VISION, TEXT = "vllm-ascend-qwen25-vl", "vllm-ascend-qwen3-8b-node1-text"
STAGES = ("npu_driver", "hccl", "image", "weights", "serving", "functional")


def result(host, stage):
    return json.loads((INVENTORY / ".results" / host / f"{stage}.json").read_text("utf-8"))


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_passes_on_every_host(stage):
    for host in HOSTS:
        found = result(host, stage)
        assert found["status"] in ("passed", "warned"), (host, found["error"], [
            check for check in found["checks"] if check["status"] == "failed"])
        assert found["host"] == host


def test_node_is_observed_once_for_both_deployments():
    for stage in ("npu_driver", "hccl"):
        one, two, other = (result(host, stage) for host in ("node1", "node1-text", "node2"))
        assert one["observed"] == two["observed"] != other["observed"]
    models = {entry["path"] for entry in result("node1", "npu_driver")["observed"]["disks"]}
    assert {"/data/Qwen2.5-VL-32B-Instruct-w8a8", "/data/Qwen3-8B"} <= models


def test_deployments_share_the_node():
    found = containers("node1")
    npus = {name: {device["PathOnHost"] for device in found[name]["HostConfig"]["Devices"]} for name in (VISION, TEXT)}
    assert not {each for each in npus[VISION] & npus[TEXT] if each[-1].isdigit()}
    assert bed("exec", "node1", "stat", "-c", "%a", "/var/lib/ascend-vllm/secrets.env",
               "/var/lib/ascend-vllm-node1-text/secrets.env").split() == ["600", "600"]


def test_draft_model_is_staged_and_mounted_with_the_model_that_uses_it():
    for node in ("node1", "node2"):
        observed = result(node, "weights")["observed"]
        server = containers(node)[VISION]
        mounted = {(each["Source"], each["Destination"]) for each in server["Mounts"] if "/data/" in each["Source"]}
        assert mounted == {(path, path) for path in (observed["path"], observed["draft"]["path"])}
        argv = server["Config"]["Cmd"]
        config = json.loads(argv[argv.index("--speculative-config") + 1])
        assert config == {"method": "eagle3", "num_speculative_tokens": 2, "model": observed["draft"]["path"]}
        assert observed["draft"]["manifest"]
        digests = bed("exec", node, "sh", "-c", f"sha256sum {observed['draft']['path']}/*.safetensors").split()
        assert {each["sha256"] for each in observed["draft"]["files"] if each["path"].endswith(".safetensors")} == set(
            digests[::2])
    assert result("node1-text", "weights")["observed"]["draft"] is None


def test_report_has_the_deployments_under_their_node():
    report = json.loads((INVENTORY / ".results" / "report.json").read_text("utf-8"))
    assert list(report["hosts"]) == ["node1", "node1-text", "node2"]
    assert report["nodes"] == {"node1": "node1", "node1-text": "node1"}
    assert "| node1 / node1-text |" in (INVENTORY / ".results" / "report.md").read_text("utf-8")


def test_overlap_is_refused_before_a_node_is_contacted():
    done = playbook("plan", "-e", "serving_port=8888")
    assert done.returncode != 0
    assert ("node1 and node1-text are on the same node (plan_node is node1), but both use port 8888; change "
            "serving_port of node1, or serving_port of node1-text") in output_text(done)


def test_upgrade_of_one_deployment_loses_no_request_of_either():
    before = container_identities("node1")
    with Load("the-key-of-vision", url="http://10.77.0.12:8080") as vision, \
            Load("the-key-of-text", url="http://10.77.0.11:8080", model="qwen3-8b") as text:
        succeeds("upgrade", "--limit", "node1,node2", "-e", "image_tag=v0.11.0rc1-second")
    lost_nothing(vision)
    lost_nothing(text)
    after = container_identities("node1")
    assert after[TEXT] == before[TEXT]
    assert after[f"{VISION}-kept"][0] == before[VISION][0]
    assert containers("node1")[VISION]["Config"]["Image"].endswith("-second")


def test_removal_of_one_deployment_leaves_the_other():
    before = container_identities("node1")
    succeeds("remove", "--limit", "node1,node2")
    assert container_identities("node1") == {TEXT: before[TEXT]}
    secrets = bed("exec", "node1", "sh", "-c", "ls /var/lib/ascend-vllm*/secrets.env")
    assert secrets.split() == ["/var/lib/ascend-vllm-node1-text/secrets.env"]
    with Load("the-key-of-text", url="http://10.77.0.11:8080", model="qwen3-8b", workers=2) as text:
        pass
    assert not text.found["lost"]
    succeeds("remove")
    assert bed("exec", "node1", "docker", "ps", "--all", "--quiet") == ""
    assert bed("exec", "node1", "sh", "-c", "ls -d /var/lib/ascend-vllm*", check=False) == ""
