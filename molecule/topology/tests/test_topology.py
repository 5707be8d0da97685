# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each round left: the stages' results on the controller, and the containers as they stood afterwards."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

ROUNDS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "rounds"
NODES = ("node1", "node2")
SERVING = ("data_parallel", "again", "pipeline")


def result(name, node, stage):
    return json.loads((ROUNDS / name / node / f"{stage}.json").read_text("utf-8"))


def checks(name, node, stage):
    return {check["id"].split(".")[1]: check for check in result(name, node, stage)["checks"]}


def container(name, node):
    return json.loads((ROUNDS / name / node / "container.json").read_text("utf-8"))[0]


def log(name, node):
    return (ROUNDS / name / node / "log").read_text("utf-8")


@pytest.mark.parametrize("node", NODES)
def test_member_that_died_is_named_on_every_node_and_nothing_is_left_running(node):
    assert result("dies", node, "serving")["status"] == "failed"
    said = checks("dies", node, "serving")["group"]["message"]
    assert said == "node2: the container has ended with exit code 137, killed by SIGKILL; the group was stopped"
    assert not container("dies", node)["State"]["Running"]


def test_only_the_member_that_died_is_blamed():
    assert checks("dies", "node2", "serving")["running"]["status"] == "failed"
    head = checks("dies", "node1", "serving")
    assert {head[step]["status"] for step in ("up_to_date", "running", "health", "completion")} == {"not_run"}


@pytest.mark.parametrize("name", SERVING)
@pytest.mark.parametrize("node", NODES)
def test_group_serves(name, node):
    found = result(name, node, "serving")
    assert found["status"] == "warned", [check for check in found["checks"] if check["status"] == "failed"]
    by_id = checks(name, node, "serving")
    assert by_id["group"]["status"] == by_id["running"]["status"] == "passed"
    assert ("completion" in by_id) is (node == "node1")
    assert [service["url"] for service in found["observed"]["services"]] == (
        ["http://10.77.0.11:8888"] if node == "node1" else [])


@pytest.mark.parametrize("name", ["data_parallel", "pipeline"])
def test_the_model_read_the_picture_and_only_the_head_was_asked(name):
    answer = checks(name, "node1", "functional")["expected_words"]
    assert answer["status"] == "passed"
    assert "TONGYI" in json.dumps(answer["actual"])
    (other,) = checks(name, "node2", "functional").values()
    assert other["status"] == "not_run"
    assert "node1 answers for the whole group" in other["message"]


@pytest.mark.parametrize("name", [*SERVING, "ray"])
@pytest.mark.parametrize(("node", "address"), [("node1", "10.77.0.11"), ("node2", "10.77.0.12")])
def test_members_know_their_addresses_and_interface(name, node, address):
    found = dict(entry.partition("=")[::2] for entry in container(name, node)["Config"]["Env"])
    assert found["HCCL_IF_IP"] == found["VLLM_HOST_IP"] == address
    assert (found["GLOO_SOCKET_IFNAME"], found["HCCL_SOCKET_IFNAME"]) == ("eth0", "=eth0")
    assert container(name, node)["HostConfig"]["RestartPolicy"]["Name"] in ("no", "")


@pytest.mark.parametrize("name", ["data_parallel", "pipeline", "ray"])
def test_head_is_started_first_and_all_of_them_anew(name):
    head, other = (container(name, node) for node in NODES)
    assert head["State"]["StartedAt"] < other["State"]["StartedAt"]
    before = {"data_parallel": "dies", "pipeline": "again", "ray": "pipeline"}[name]
    assert {container(before, node)["Id"] for node in NODES}.isdisjoint({head["Id"], other["Id"]})


@pytest.mark.parametrize("node", NODES)
def test_group_that_runs_as_planned_is_not_touched(node):
    first, second = container("data_parallel", node), container("again", node)
    assert (first["Id"], first["State"]["StartedAt"]) == (second["Id"], second["State"]["StartedAt"])


def test_data_parallel_spans_both_nodes():
    assert "Launching 1 data parallel engine(s) in headless mode" in log("data_parallel", "node2")
    assert "--data-parallel-start-rank" in container("data_parallel", "node2")["Args"]


def test_pipeline_spans_both_nodes():
    assert "headless multiproc executor" in log("pipeline", "node2")
    assert "--nnodes" in container("pipeline", "node1")["Args"]


def test_ray_cluster_has_both_nodes():
    """Each node has one NPU to give, so workers for two stages are there only with both."""
    assert "Ray runtime started" in log("ray", "node2")
    head = log("ray", "node1")
    assert "Connected to Ray cluster" in head
    assert re.search(r"ray::RayWorkerProc.*current platform cpu does not support ray", head, re.DOTALL)


@pytest.mark.parametrize("node", NODES)
def test_engine_that_ends_on_the_head_is_named_too(node):
    said = checks("ray", node, "serving")["group"]["message"]
    assert said == "node1: the container has ended with exit code 1; the group was stopped"
    assert not container("ray", node)["State"]["Running"]
