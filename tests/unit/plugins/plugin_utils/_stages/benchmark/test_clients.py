# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients are started together, watched, and always removed."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import clients, vllm_bench
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

PLAN = valid(serving_replicas=2, plan_docker_socket="/run/other.sock", serving_driver_path="/opt/driver")
SERVICE = {"id": "c0ffee", "image": "sha256:1", "running": True, "started_at": "now", "restarts": 0, "labels": {},
           "weights": None, "driver": None}
EXITED = {"running": False, "exit_code": 0, "ended_at": 100.0, "error": None, "log": ["end"]}
RUNNING = {"running": True, "exit_code": None, "ended_at": None, "error": None, "log": ["10%|# | 1/10 [00:01"]}
RESULT = json.dumps({"completed": 1, "num_prompts": 1})


class Node:
    """A node that returns observations of the client in order, and then repeats the last one."""

    def __init__(self, *observations):
        self.observations = list(observations)
        self.calls = []
        self.fail_to_start = None

    def __call__(self, module, **arguments):
        self.calls.append((module.rpartition(".")[2], arguments))
        if module == "community.docker.docker_container":
            if arguments["name"] == self.fail_to_start and arguments["state"] == "started":
                raise RuntimeError("no space left on device")
            return {}
        client, result = self.observations.pop(0) if len(self.observations) > 1 else self.observations[0]
        return {"service": SERVICE, "client": client, "result": result}

    def states(self):
        return [arguments.get("state", "observed") for _module, arguments in self.calls]


@pytest.fixture
def run(tmp_path):
    """Return a function (node, count, timeout_s) that runs one client for each of the first planned instances."""
    def run(node, count=1, timeout_s=60):
        run.printed = []
        runner = clients.ClientRunner(node, run.printed.append, Records(tmp_path), "node1", PLAN)
        return runner.run([clients.Client(each, f"run-{each['name']}", ["vllm"], {
            "name": each["name"] + "-client", "state": "started"}) for each in PLAN["instances"][:count]], timeout_s)

    return run


def test_result_is_saved(run, tmp_path):
    ((found, identity),) = run(Node((EXITED, RESULT)))
    assert (found["kind"], found["metrics"]) == ("serve", {"completed": 1.0, "num_prompts": 1.0})
    assert (found["exit_code"], found["ended_at"], found["timed_out"], found["log"]) == (0, 100.0, False, ["end"])
    assert (tmp_path / found["file"]).read_text("utf-8") == RESULT
    assert identity == vllm_bench.identity(SERVICE)


def test_clients_are_started_before_any_is_watched(run):
    node = Node((EXITED, RESULT))
    assert len({found["file"] for found, _identity in run(node, 2)}) == 2
    assert node.states() == ["started", "started", "observed", "observed", "absent", "absent"]


def test_clients_are_removed_if_one_cannot_be_started(run):
    node = Node((EXITED, None))
    node.fail_to_start = PLAN["instances"][1]["name"] + "-client"
    with pytest.raises(RuntimeError):
        run(node, 2)
    assert node.states() == ["started", "started", "absent", "absent"]


@pytest.mark.parametrize(("client", "expected"), [
    (None, (None, False, [])), (dict(EXITED, exit_code=1), (1, False, ["end"])),
    (RUNNING, (None, True, RUNNING["log"]))])
def test_client_without_a_result_is_recorded(run, client, expected):
    ((found, _identity),) = run(Node((client, None)), timeout_s=0)
    assert (found["exit_code"], found["timed_out"], found["log"]) == expected
    assert (found["kind"], found["metrics"], found["file"]) == (None, {}, None)


def test_unchanged_progress_is_printed_once(run):
    run(Node((RUNNING, None), (RUNNING, None), (EXITED, RESULT)))
    assert run.printed == [f"run-{PLAN['instances'][0]['name']}: 1 of 10 requests"]


def test_paths_come_from_the_plan(run):
    node = Node((EXITED, RESULT))
    run(node)
    observed = next(arguments for module, arguments in node.calls if module == "benchmark_info")
    assert (observed["model_path"], observed["driver_version_file"], observed["docker_socket"]) == (
        PLAN["model"]["path"], "/opt/driver/version.info", "/run/other.sock")
    assert {arguments["docker_host"] for module, arguments in node.calls if module == "docker_container"} == {
        "unix:///run/other.sock"}
