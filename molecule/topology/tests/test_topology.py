# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each round has the expected results on the controller and the expected containers on the nodes. The last tests put
load on the group that still serves behind the balancer, and make its engine hang.
"""

from __future__ import annotations

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scenario import bed, statistics

ROUNDS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "rounds"
NODES = ("node1", "node2")
SERVING = ("pipeline", "data_parallel", "again")
BALANCER = "http://10.77.0.13:8080"


def result(name, node, stage):
    return json.loads((ROUNDS / name / node / f"{stage}.json").read_text("utf-8"))


def checks(name, node, stage):
    return {check["id"].split(".")[1]: check for check in result(name, node, stage)["checks"]}


def container(name, node):
    return json.loads((ROUNDS / name / node / "container.json").read_text("utf-8"))[0]


def log(name, node):
    return (ROUNDS / name / node / "log").read_text("utf-8")


@pytest.mark.parametrize("node", NODES)
def test_killed_member_is_named_on_every_node_and_no_container_runs(node):
    assert result("member_killed", node, "serving")["status"] == "failed"
    message = checks("member_killed", node, "serving")["group"]["message"]
    assert message == "node2: the container exited with exit code 137, killed by SIGKILL; the group was stopped"
    assert not container("member_killed", node)["State"]["Running"]


def test_running_check_fails_only_on_the_killed_member():
    assert checks("member_killed", "node2", "serving")["running"]["status"] == "failed"
    head = checks("member_killed", "node1", "serving")
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
        [BALANCER, "http://10.77.0.11:8888"] if node == "node1" else [])
    # node3 only has the balancer, which sends requests to the head.
    assert [(check["subject"], check["status"]) for check in found["checks"] if check["id"] == "serving.balancer_server"
            ] == ([("node1:8888 on node3", "passed")] if node == "node1" else [])
    assert ("balancer" in by_id) is (node == "node1")


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("stage", ["npu_driver", "hccl", "image", "weights", "serving", "functional", "benchmark"])
def test_site_runs_every_stage_for_a_group(node, stage):
    found = result("data_parallel", node, stage)
    assert found["status"] in ("passed", "warned", "waived", *(["not_run"] if node == "node2" else [])), found["checks"]
    done_by_the_head = [check for check in found["checks"] if "the whole group" in (check["message"] or "")]
    assert bool(done_by_the_head) is (node == "node2" and stage in ("functional", "benchmark"))


def test_report_names_the_services_of_the_group():
    report = json.loads((ROUNDS / "data_parallel" / "report.json").read_text("utf-8"))
    assert [service["url"] for service in report["services"]] == [BALANCER, "http://10.77.0.11:8888"]
    assert report["status"] in ("passed", "warned")


@pytest.mark.parametrize("name", ["data_parallel", "pipeline"])
def test_only_the_head_reads_the_picture(name):
    answer = checks(name, "node1", "functional")["expected_words"]
    assert answer["status"] == "passed"
    assert "TONGYI" in json.dumps(answer["actual"])
    (other,) = checks(name, "node2", "functional").values()
    assert other["status"] == "not_run"
    assert "node1 serves the whole group" in other["message"]


@pytest.mark.parametrize("name", [*SERVING, "ray"])
@pytest.mark.parametrize(("node", "address"), [("node1", "10.77.0.11"), ("node2", "10.77.0.12")])
def test_environment_contains_the_address_and_interface_of_the_member(name, node, address):
    found = dict(entry.partition("=")[::2] for entry in container(name, node)["Config"]["Env"])
    assert found["HCCL_IF_IP"] == found["VLLM_HOST_IP"] == address
    assert (found["GLOO_SOCKET_IFNAME"], found["HCCL_SOCKET_IFNAME"]) == ("eth0", "=eth0")
    assert container(name, node)["HostConfig"]["RestartPolicy"]["Name"] in ("no", "")


@pytest.mark.parametrize("name", ["data_parallel", "pipeline", "ray"])
def test_all_members_are_replaced_and_the_head_is_started_first(name):
    head, other = (container(name, node) for node in NODES)
    assert head["State"]["StartedAt"] < other["State"]["StartedAt"]
    before = {"ray": "member_killed", "pipeline": "ray", "data_parallel": "pipeline"}[name]
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
    """Each node provides one NPU, so the workers of two pipeline stages need both nodes."""
    assert "Ray runtime started" in log("ray", "node2")
    head = log("ray", "node1")
    assert "Connected to Ray cluster" in head
    assert re.search(r"ray::RayWorkerProc.*current platform cpu does not support ray", head, re.DOTALL)


@pytest.mark.parametrize("node", NODES)
def test_exit_of_the_engine_on_the_head_is_reported_on_every_node(node):
    message = checks("ray", node, "serving")["group"]["message"]
    assert message.startswith("node1: the container exited with exit code 1; the group was stopped. The first fault ")
    assert "RuntimeError: current platform cpu does not support ray" in message
    assert not container("ray", node)["State"]["Running"]


def state():
    """Return the head's columns in the balancer's statistics."""
    return statistics("node3")["node1:8888"]


def seconds_until(status, at_most):
    started = time.monotonic()
    while state()["status"] != status:
        assert time.monotonic() < started + at_most, f"the head is {state()['status']}, not {status}"
        time.sleep(0.2)
    return time.monotonic() - started


def complete(tokens):
    """Send a completion request through the balancer, and return (HTTP status, seconds)."""
    body = json.dumps({"model": "qwen25_vl", "prompt": "Hello", "max_tokens": tokens, "ignore_eos": True})
    status, seconds = bed("run", "--", "curl", "-s", "-o", "/dev/null", "-m", "120", "-w", "%{http_code} %{time_total}",
                          "-d", body, "-H", "Content-Type: application/json", f"{BALANCER}/v1/completions").split()
    return int(status), float(seconds)


def engine_on(node):
    """Return the process ID of vLLM's engine core on a node."""
    found = [line.split() for line in bed("exec", node, "ps", "-eo", "pid=,args=").splitlines()]
    (pid,) = [pid for pid, *argv in found if argv[0].startswith("VLLM::EngineCore")]
    return pid


def test_head_with_a_long_queue_keeps_receiving_requests():
    """Three checks without progress, one per second, would count as a hang. Here, a completion waits longer than that
    in the queue, so the duration of a completion does not indicate health.
    """
    before = state()["chkdown"]
    with ThreadPoolExecutor(41) as pool:
        pending = [pool.submit(complete, 400) for _request in range(40)]
        time.sleep(2)
        last, seconds = pool.submit(complete, 1).result()
        found = [one.result() for one in pending]
    print(f"one token took {seconds} s, the others {min(found)[1]} to {max(found)[1]} s")
    assert {status for status, _seconds in found} == {200} == {last}
    assert seconds > 4
    assert state()["status"] == "UP"
    # `lastchg` would not be exact, because HAProxy does not count pauses in which a busy machine does not run it.
    assert state()["chkdown"] == before


def test_hung_engine_receives_no_requests_until_it_recovers():
    """vLLM's engine core is stopped, as if an NPU kernel hung. /health of the API server still returns 200."""
    pid = engine_on("node1")
    with ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(complete, 300) for _request in range(8)]
        time.sleep(1)
        bed("exec", "node1", "kill", "-STOP", pid)
        detected = seconds_until("DOWN (agent)", 20)
        health = bed("exec", "node1", "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}",
                     "http://127.0.0.1:8888/health")
        refused = complete(1)
        bed("exec", "node1", "kill", "-CONT", pid)
        recovered = seconds_until("UP", 20)
        found = [one.result()[0] for one in pending]
    print(f"detected after {detected:.1f} s, recovered after {recovered:.1f} s")
    assert health == "200"
    assert refused[0] == 503, "there is no other server"
    assert refused[1] < 5
    assert found == [200] * 8, "a request to the engine failed although the engine recovered"
    assert complete(1)[0] == 200
