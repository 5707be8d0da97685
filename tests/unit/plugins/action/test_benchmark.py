# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of a simulated node are measured, and failures during a measurement are recorded."""

from __future__ import annotations

import copy
import json
import time
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import benchmark
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import load
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import HostVars
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid, valid_group
from ansible_collections.ascend.vllm.tests.unit.roles.role_case import program

unpack = program("benchmark/files/replay.py").unpack
VLLM = "vllm-ascend-qwen25-vl"
BALANCER = "http://10.0.0.9:8080"


class Node:
    """A simulated node that returns module results.

    :param limit_rps: the request rate (per second) above which the latency is too high.
    """

    def __init__(self, plan, limit_rps=1e9):
        self.plan, self.limit_rps = plan, limit_rps
        self.services = {each["name"]: {"id": each["name"], "image": "sha256:1", "running": True, "started_at": "now",
                                        "restarts": 0, "labels": {labels.INSTANCE: each["hash"]}, "weights": "w",
                                        "driver": "d"}
                         for each in plan["instances"]}
        self.clients, self.calls, self.runs = {}, [], []
        self.before_start = lambda name: None
        self.before_load = lambda: None
        self.load = {"running": 0, "waiting": 0, "finished": 0}
        self.unreachable = False

    def __call__(self, module_name=None, module_args=None, task_vars=None):
        self.calls.append((module_name.rsplit(".", 1)[1], copy.deepcopy(module_args)))
        if self.unreachable:
            raise AnsibleConnectionFailure("lost")
        return getattr(self, self.calls[-1][0])(**module_args)

    def benchmark_info(self, service, client=None, **_others):
        found = {"service": copy.deepcopy(self.services.get(service)), "client": None, "result": None}
        if client:
            result = self.clients[client]
            found["client"] = {"running": False, "exit_code": 0 if result else 1, "ended_at": 100.0, "log": ["end"]}
            found["result"] = result and json.dumps(result)
        return found

    def chat_info(self, servers, requests=(), load=False, **_others):
        if load:
            self.before_load()
            return {"servers": [{"load": dict(self.load)} for _server in servers]}
        (server,) = servers
        up = server["url"] == BALANCER or all(
            self.services[each["name"]]["running"] for each in self.plan["instances"] if each["url"] == server["url"])
        models = {"models": [self.plan["model"]["served_name"]]} if up else {"error": "refused"}
        return {"servers": [{"models": models, "answers": {
            request["id"]: {"status": 200 if up else None} for request in requests}}]}

    def docker_container(self, name, state, command=None, env=None, **_others):
        if state == "absent":
            self.clients.pop(name, None)
            return {}
        words = command[command.index("bench") + 1:]  # the subcommand of vllm bench, and its options
        options = {word[2:]: value for word, value in zip(words, words[1:]) if word.startswith("--")}
        self.before_start(name)
        self.runs.append(options.get("base-url", words[0]))
        if words[0] == "serve":
            count = float(options["num-prompts"])
            rate = float(options["request-rate"])
            self.load["finished"] += count
            self.clients[name] = {
                "num_prompts": count, "completed": count, "duration": 10.0, "total_input_tokens": count,
                "total_output_tokens": sum(row[1] for row in unpack(env)) if load.VARIABLE + "0" in env else (
                    count * int(options["random-output-len"])),
                "output_throughput": 100.0, "request_throughput": min(rate, 50.0),
                "p99_ttft_ms": 10.0 if rate <= self.limit_rps else 1000.0}
        else:
            self.clients[name] = {"avg_latency": 1.0} if words[0] == "latency" else {
                "elapsed_time": 1.0, "requests_per_second": 2.0, "num_requests": float(options["num-prompts"]),
                "tokens_per_second": 9.0}
        return {}

    def benchmark_pause(self, service, state, **_others):
        self.services[service]["running"] = state == "resumed"
        return {}

    def calls_of(self, module):
        return [arguments for name, arguments in self.calls if name == module]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Return a function (node, step, **variables) -> (return value of the action, recorded result)."""
    monkeypatch.setattr(benchmark, "RESTORE_POLL_S", 0)
    tasks = []

    def run(node, step=None, host="node1", hosts=("node1",), **variables):
        if step is None:  # the remaining steps; each of them can fail
            for each in [*(["begin"] if not tasks or tasks[-1] == "judge" else []), "measure", "judge"]:
                outcome = run(node, each, host, hosts, **variables)
                if "failed" in outcome[0]:
                    break
            return outcome
        task = Mock(args={"plan": node.plan, "step": step}, async_val=0, check_mode=False, _uuid=f"{step} {len(tasks)}")
        loader = DataLoader()
        action = benchmark.ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module, action._display = node, Mock(verbosity=0)
        values = {"report_path": str(tmp_path / "results"), "benchmark_baseline_path": str(tmp_path / "baselines"),
                  "benchmark_num_prompts": 4, "benchmark_repeats": 1, "plan_catalogue": [], **variables}
        outcome = action.run(task_vars={"inventory_hostname": host, "ansible_play_hosts": list(hosts), **values})
        tasks.append("judge" if "failed" in outcome else step)
        path = tmp_path / "results" / host / "benchmark.json"
        return outcome, json.loads(path.read_text("utf-8")) if path.exists() else None

    return run


def statuses(result, name=None):
    return {check["id"].split(".")[1]: check["status"] for check in result["checks"]
            if name is None or check["subject"] == name}


def test_one_instance_is_measured_and_recorded(stage, tmp_path):
    node = Node(valid())
    outcome, result = stage(node)
    assert (outcome["failed"], result["status"]) == (False, "passed")
    assert node.runs == ["http://192.0.2.11:8888"]
    (measured,) = result["observed"]["measurements"]
    assert (measured["name"], measured["target"], measured["runs"][0]["metrics"]["completed"]) == (VLLM, "instance", 4)
    assert (tmp_path / "results" / measured["runs"][0]["file"]).exists()
    assert node.clients == {}


def test_same_server_is_not_judged_without_a_weights_manifest(stage):
    node = Node(valid())
    node.services[VLLM]["weights"] = None
    outcome, result = stage(node)
    assert (outcome["failed"], statuses(result)["same_server"], result["status"]) == (False, "not_run", "not_run")


def test_inputs_from_the_command_line_are_converted(stage):
    node = Node(valid())
    stage(node, benchmark_repeats="3", benchmark_num_prompts="2")
    assert len(node.runs) == 3


def test_invalid_input_is_recorded_without_a_module_call(stage):
    node = Node(valid())
    outcome, result = stage(node, step="begin", benchmark_args={"no-such": 1})
    assert outcome["failed"]
    assert statuses(result) == {"observation": "failed"}
    assert "no-such" in result["error"]
    assert node.calls == []


def test_several_instances_are_also_measured_together(stage):
    node = Node(valid(serving_replicas=2))
    _outcome, result = stage(node)
    measured = {each["name"]: each for each in result["observed"]["measurements"]}
    assert list(measured) == [VLLM, VLLM + "-1", "node"]
    run = measured["node"]["runs"][0]
    assert run["metrics"]["completed"] == 8
    assert len({client["file"] for client in run["clients"]}) == 2
    assert statuses(result, "node")["clients_overlap"] == "passed"
    started = [index for index, (name, arguments) in enumerate(node.calls)
               if name == "docker_container" and arguments["state"] == "started"][-2:]
    watched = [index for index, (name, arguments) in enumerate(node.calls)
               if name == "benchmark_info" and arguments.get("client")][-2:]
    assert max(started) < min(watched)


def test_unplanned_instance_is_not_measured(stage):
    node = Node(valid())
    node.services[VLLM]["labels"] = {labels.INSTANCE: "another"}
    outcome, result = stage(node)
    assert outcome["failed"]
    assert (statuses(result), node.runs) == ({"service": "failed"}, [])


def test_instance_without_an_api_is_not_measured(stage):
    plan = valid(serving_replicas=2)
    plan["instances"][1]["serves"] = False
    node = Node(plan)
    _outcome, result = stage(node)
    assert node.runs == ["http://192.0.2.11:8888"]
    assert statuses(result, VLLM + "-1") == {"service": "passed"}


def test_group_is_measured_only_on_its_head(stage):
    node = Node(valid_group("data_parallel")["node2"])
    _outcome, result = stage(node, host="node2")
    assert node.runs == []
    (check,) = [each for each in result["checks"] if each["status"] == "not_run"]
    assert check["message"] == "node1 serves the whole group and is tested instead of this host."


def measure_through_the_balancer(stage, restarts=0):
    """Return the nodes and their recorded results.

    :param restarts: how many times the server on node2 restarts during the measurement.
    """
    nodes = {"node1": Node(valid()), "node2": Node(valid(serving_replicas=2))}
    common = {"hosts": list(nodes), "benchmark_balancer_url": BALANCER, "benchmark_targets": ["balancer"]}
    for step in ("begin", "balancer", "observe"):
        for host, node in nodes.items():
            stage(node, step=step, host=host, **common)
        if step == "balancer":
            nodes["node2"].services[VLLM]["restarts"] += restarts
    return nodes, {host: stage(node, host=host, **common)[1] for host, node in nodes.items()}


def test_balancer_is_measured_once_with_the_load_of_all_instances(stage):
    nodes, results = measure_through_the_balancer(stage)
    assert (nodes["node1"].runs, nodes["node2"].runs) == ([BALANCER], [])
    (measured,) = results["node1"]["observed"]["measurements"]
    assert (measured["instances"], measured["hosts"]) == (3, ["node1", "node2"])
    assert measured["runs"][0]["metrics"]["completed"] == 12
    assert statuses(results["node1"], "balancer")["same_server"] == "passed"
    assert results["node2"]["observed"]["measurements"] == []


def test_balancer_of_each_deployment_is_measured_by_its_first_node(stage):
    nodes = {"node1": Node(valid()), "node2": Node(valid(serving_replicas=2))}
    common = {"hosts": list(nodes), "benchmark_balancer_url": BALANCER, "benchmark_targets": ["balancer"]}
    for step in ("begin", "balancer"):
        for host, node in nodes.items():
            stage(node, step=step, host=host, balancer_nodes=[host], **common)
    assert (nodes["node1"].runs, nodes["node2"].runs) == ([BALANCER], [BALANCER])


@pytest.mark.parametrize(("nodes", "changes", "targets"), [
    (["node1", "node2"], {}, ["instance"]),
    (["node1", "node2"], {"balancer_enabled": True}, ["instance", "balancer"]),
    (["node1"], {"balancer_enabled": True}, ["instance"]),
    (["node1"], {"balancer_enabled": True, "benchmark_balancer_url": BALANCER}, ["instance", "balancer"]),
    (["node1", "node2"], {"balancer_enabled": True, "benchmark_balancer_url": ""}, ["instance"]),
])
def test_balancer_is_measured_if_its_url_is_set_or_all_its_nodes_are_in_the_run(stage, nodes, changes, targets):
    hosts = HostVars({name: {"inventory_hostname": name, "ansible_host": address, **changes}
                      for name, address in (("node1", "192.0.2.11"), ("node2", "192.0.2.12"), ("lb", "192.0.2.9"))})
    outcome, _result = stage(Node(valid()), step="begin", hosts=nodes, hostvars=hosts,
                             groups={"npu_nodes": ["node1", "node2"], "balancer": ["lb"]}, **changes)
    assert outcome["observed"]["wanted"]["targets"] == targets


def test_url_of_the_balancer_contains_the_address_of_its_host(stage):
    hosts = HostVars({"node1": {"inventory_hostname": "node1"},
                      "lb": {"inventory_hostname": "lb", "ansible_host": "10.0.0.9"}})
    node = Node(valid())
    variables = {"hostvars": hosts, "groups": {"npu_nodes": ["node1"], "balancer": ["lb"]}, "balancer_enabled": True}
    for step in ("begin", "balancer"):
        stage(node, step=step, **variables)
    assert node.runs == [BALANCER]


def test_restarted_server_on_another_node_is_reported(stage):
    _nodes, results = measure_through_the_balancer(stage, restarts=1)
    (check,) = [check for check in results["node1"]["checks"] if check["id"] == "benchmark.same_server"]
    assert (check["status"], check["actual"]) == ("failed", f"node2 {VLLM}: restarts 0 → 1")


def test_client_is_stopped_at_the_timeout(stage):
    node = Node(valid())
    observe = node.benchmark_info

    def endless(**arguments):
        found = observe(**arguments)
        if found["client"]:
            time.sleep(arguments["wait_s"])
            found["client"].update(running=True, exit_code=None, ended_at=None)
            found["result"] = None
        return found

    node.benchmark_info = endless
    outcome, result = stage(node, benchmark_timeout_s="1")
    assert (outcome["failed"], statuses(result)["client"]) == (True, "failed")
    assert result["observed"]["measurements"][0]["runs"][0]["timed_out"]
    assert node.clients == {}


@pytest.mark.parametrize(("change", "first", "best", "count"), [
    # The maximum meets the objective, so the other points only show the curve.
    ({"benchmark_sweep_maximum": 4}, 4, 4, 5), ({"benchmark_sweep_maximum": 4, "benchmark_sweep_runs": 1}, 4, 4, 1),
    ({"benchmark_sweep_minimum": 8, "benchmark_sweep_runs": 5}, 16, None, 5),
    ({"benchmark_sweep_tolerance_percent": 400}, 16, 2, 5),
    ({"benchmark_slo": {}, "benchmark_sweep_runs": 3}, 16, 16, 3),
])
def test_sweep_inputs_limit_the_measured_points(stage, change, first, best, count):
    node = Node(valid(), limit_rps=5.0)
    _outcome, result = stage(node, **{**SWEEP, **change})
    sweep = result["observed"]["measurements"][0]["sweep"]
    assert (sweep["points"][0]["value"], sweep["best"], len(sweep["points"])) == (first, best, count)
    assert min(point["value"] for point in sweep["points"]) >= change.get("benchmark_sweep_minimum", 0.25)


SWEEP = {"benchmark_sweep": "request_rate", "benchmark_slo": {"p99_ttft_ms": 100}, "benchmark_sweep_maximum": 16,
         "benchmark_sweep_tolerance_percent": 10, "benchmark_request_rate": 1}


def test_killed_sweep_is_resumed(stage):
    def kill(_name):
        if len(node.runs) == 4:
            raise KeyboardInterrupt

    _outcome, result = stage(Node(valid(), limit_rps=5.0), benchmark_sweep_resume=False, **SWEEP)
    points = [point["value"] for point in result["observed"]["measurements"][0]["sweep"]["points"]]
    best = result["observed"]["measurements"][0]["sweep"]["best"]
    assert points[0] == 16
    assert 5 / 1.1 <= best <= 5
    assert len(points) <= 8  # the maximum, then log2(log(64) / log(1.1)) steps to narrow 0.25 – 16 down to 10 %

    node = Node(valid(), limit_rps=5.0)
    node.before_start = kill
    with pytest.raises(KeyboardInterrupt):
        stage(node, benchmark_sweep_resume=False, **SWEEP)
    killed_after = len(node.runs) - 1
    node.before_start, node.runs = lambda name: None, []
    _outcome, result = stage(node, **SWEEP)
    assert len(node.runs) - 1 == len(points) - killed_after
    assert result["observed"]["measurements"][0]["sweep"]["best"] == best


def test_sweep_points_are_not_reused_after_a_restart_of_the_server(stage):
    node = Node(valid(), limit_rps=5.0)
    stage(node, **SWEEP)
    all_runs = len(node.runs)
    node.runs = []
    stage(node, **SWEEP)
    assert len(node.runs) == 1  # the measurement that is not part of the sweep
    node.services[VLLM]["started_at"], node.runs = "later", []
    stage(node, **SWEEP)
    assert len(node.runs) == all_runs


OFFLINE = {"benchmark_offline": ["latency", "throughput"], "benchmark_offline_stop_service": True}


def full_node():
    """Return a node without a free NPU."""
    return Node(valid(serving_replicas=4))


def test_service_is_stopped_for_an_offline_run_and_started_again(stage):
    node = full_node()
    _outcome, result = stage(node, benchmark_targets=["instance"], **OFFLINE)
    assert [arguments["state"] for arguments in node.calls_of("benchmark_pause")] == ["paused", "resumed"]
    assert (statuses(result, f"{VLLM}-latency"), result["observed"]["restored"]) == ({"offline": "passed"}, True)
    assert node.services[VLLM]["running"]


def test_service_is_started_again_after_a_failed_run(stage):
    def fail(name):
        if "-benchmark-" in name and not node.services[VLLM]["running"]:
            raise benchmark.AnsibleActionFail("no space left on device")

    node = full_node()
    node.before_start = fail
    outcome, result = stage(node, benchmark_targets=["instance"], **OFFLINE)
    assert outcome["failed"]
    assert node.services[VLLM]["running"]
    assert statuses(result)["restored"] == "passed"
    assert [check["actual"] for check in result["checks"] if check["id"] == "benchmark.offline"] == [
        "none, exit code None; end of the log: no space left on device"] * 2


def test_service_is_started_again_after_an_interrupt(stage):
    def interrupt(_name):
        if not node.services[VLLM]["running"]:
            raise KeyboardInterrupt

    node = full_node()
    node.before_start = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage(node, benchmark_targets=["instance"], **OFFLINE)
    assert node.services[VLLM]["running"]


def test_service_is_not_stopped_by_default(stage):
    node = full_node()
    outcome, result = stage(node, benchmark_offline=["latency"])
    assert outcome["failed"]
    assert "benchmark_offline_stop_service" in result["error"]
    assert (node.runs, node.calls_of("benchmark_pause")) == ([], [])


def test_only_valid_results_become_a_baseline(stage, tmp_path):
    node = Node(valid())
    start_client = node.docker_container

    def half_completed(**arguments):
        start_client(**arguments)
        for result in node.clients.values():
            result["completed"] /= 2
        return {}

    node.docker_container = half_completed
    outcome, _result = stage(node, benchmark_baseline_save=True, benchmark_repeats=5)
    assert outcome["failed"]
    assert not (tmp_path / "baselines").exists()
    node.docker_container = start_client
    node.load["running"] = 1
    stage(node, benchmark_baseline_save=True, benchmark_repeats=5)
    assert not (tmp_path / "baselines").exists()
    node.load["running"] = 0
    stage(node, benchmark_baseline_save=True, benchmark_repeats=5)
    baseline, _last = sorted((tmp_path / "baselines").iterdir())
    assert json.loads(baseline.read_text())["key"]["target"] == "instance"
    _outcome, result = stage(node, benchmark_repeats=5)
    assert statuses(result)["regression"] == "passed"
    _outcome, result = stage(node, benchmark_repeats=4)
    assert statuses(result)["regression"] == "not_run"


def test_baseline_with_too_few_repeats_is_refused(stage):
    outcome, result = stage(Node(valid()), "begin", benchmark_baseline_save=True, benchmark_repeats=4)
    assert outcome["failed"]
    assert "benchmark_repeats must be at least 5, but is 4" in result["error"]


def test_run_after_an_upgrade_is_compared_with_the_last_good_run_before(stage):
    """The first good run of the new deployment is not compared with itself, and its baseline takes precedence."""
    variables = {"benchmark_repeats": 5, "benchmark_baseline_required": True}
    old, new = Node(valid()), Node(valid())
    _outcome, result = stage(old, **variables)
    assert (statuses(result)["verdict"], result["checks"][-1]["actual"]) == ("failed", "no baseline")
    stage(old, benchmark_repeats=5)  # the last good run
    new.services[VLLM]["image"] = "sha256:2"
    for _repeat in range(2):
        outcome, result = stage(new, **variables)
        assert (outcome["failed"], statuses(result)["verdict"]) == (False, "passed")
        (check,) = [check for check in result["checks"] if check["id"] == "benchmark.baseline"]
        assert check["actual"].startswith("the last good run of another deployment (v0.11.0rc1)")
    stage(new, benchmark_repeats=5, benchmark_baseline_save=True)
    _outcome, result = stage(new, **variables)
    assert not result["observed"]["measurements"][0]["baseline"]["fallback"]


@pytest.mark.parametrize(("during", "others"), [({}, 0), ({"finished": 3}, 3), ({"running": 2}, 2)])
def test_requests_of_other_clients_are_counted(stage, during, others):
    """The client itself sends one request before the load, and each health check another one."""
    node = Node(valid())

    def start(_name):
        node.load["finished"] += 2
        for key, value in during.items():
            node.load[key] += value

    node.before_start = start
    _outcome, result = stage(node)
    assert result["observed"]["measurements"][0]["runs"][0]["others"] == others
    assert statuses(result)["other_requests"] == ("warned" if others else "passed")


def test_counters_that_cannot_be_read_are_unknown(stage):
    node = Node(valid())
    node.load = {"error": "/metrics returns 404"}
    node.docker_container = lambda **arguments: Node.docker_container(node, **arguments)
    node.before_start = lambda _name: node.load.setdefault("finished", 0)
    node.before_load = lambda: node.load.pop("finished", None)
    _outcome, result = stage(node)
    assert statuses(result)["other_requests"] == "not_run"


@pytest.mark.parametrize(("timeout", "waited"), [(0, 0), (60, 3)])
def test_run_waits_until_the_service_is_quiet(stage, monkeypatch, timeout, waited):
    node, polls = Node(valid()), []
    node.load["running"] = 1

    def poll(seconds):
        polls.append(seconds)
        node.load["running"] = int(len(polls) < 3)

    monkeypatch.setattr(benchmark.time, "sleep", poll)
    _outcome, result = stage(node, benchmark_quiet_wait_s=timeout)
    assert len(polls) == waited
    assert statuses(result)["other_requests"] == ("passed" if waited else "warned")


def test_ais_bench_measures_the_service(stage):
    class WithAisBench(Node):
        def ais_bench(self, state, load=None, server=None, **_others):
            if state == "started":
                self.runs.append(("ais_bench", server["url"], load["requests"]))
                return {"job": "/job", "problem": None, "data": {}}
            if state == "absent":
                return {}
            totals = {"Benchmark Duration": {"total": "10 ms"}, "Total Requests": {"total": 4},
                      "Success Requests": {"total": 4}, "Failed Requests": {"total": 0},
                      "Total Generated Tokens": {"total": 4 * 128},
                      "Output Token Throughput": {"total": "50 token/s"}}
            return {"running": False, "exit_code": 0, "rows": [], "answers": {}, "outcomes": {}, "log": [],
                    "performance": {"totals": json.dumps(totals), "latencies": None}}

    node = WithAisBench(valid())
    variables = {"benchmark_tools": ["ais_bench"], "accuracy_executable": "/ais"}
    begun, _result = stage(node, step="begin", **variables)
    assert begun["observed"]["wanted"] == {"targets": ["instance"], "ais_bench": True, "balancer": False}
    stage(node, step="ais_bench", **variables)
    outcome, result = stage(node, **variables)
    assert not outcome["failed"], outcome
    assert node.runs == [("ais_bench", "http://192.0.2.11:8888", 4)]
    assert statuses(result, f"{VLLM}-ais_bench-1") == {"client": "passed", "completed": "passed", "tokens": "passed"}
    assert statuses(result, f"{VLLM}, AISBench")["same_server"] == "passed"


def test_unreachable_node_fails_the_stage(stage):
    node = Node(valid())
    node.unreachable = True
    outcome, result = stage(node)
    assert (outcome["reachable"], statuses(result)) == (False, {"node_reachable": "failed"})


@pytest.mark.parametrize(("waive", "status"), [([], "failed"), (["node_reachable"], "waived")])
def test_failed_check_can_be_waived(stage, waive, status):
    node = Node(valid())
    node.unreachable = True
    _outcome, result = stage(node, benchmark_waive=waive)
    assert statuses(result) == {"node_reachable": status}


@pytest.mark.parametrize(("ratio", "status"), [(0.97, "failed"), (0.4, "passed")])
def test_run_below_the_minimum_ratio_to_the_baseline_fails(stage, ratio, status):
    node = Node(valid())
    stage(node, benchmark_baseline_save=True, benchmark_repeats=5)
    start_client = node.docker_container

    def half_as_fast(**arguments):
        start_client(**arguments)
        for result in node.clients.values():
            result["output_throughput"] /= 2
        return {}

    node.docker_container = half_as_fast
    _outcome, result = stage(node, benchmark_minimum_ratio=ratio, benchmark_repeats=5)
    assert statuses(result)["regression"] == status


def test_sweep_is_recorded_with_an_earlier_one(stage, tmp_path):
    _outcome, earlier = stage(Node(valid(), limit_rps=5.0), benchmark_sweep_runs=2, **SWEEP)
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps(earlier))
    _outcome, result = stage(Node(valid(), limit_rps=5.0), benchmark_sweep_resume=False,
                             benchmark_sweep_compare_with=str(path), **SWEEP)
    sweep = result["observed"]["measurements"][0]["sweep"]
    assert [value for value, _metrics in sweep["earlier"]] == [16, 2]
    assert sweep["earlier_name"].startswith("qwen2_5_vl_32b_instruct_w8a8, v0.11.0rc1, ")
    seeds = [point["run"]["seed"] for point in sweep["points"]]
    assert len({*seeds, result["observed"]["measurements"][0]["runs"][0]["seed"]}) == len(seeds) + 1


def test_trace_is_replayed_and_its_tokens_are_expected(stage, tmp_path):
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join('{"timestamp_s": %d, "input_tokens": 9, "output_tokens": %d}\n' % (row, 5 + row)
                             for row in range(4)))
    inputs = {"benchmark_dataset": "trace", "benchmark_trace_path": str(trace)}
    _outcome, result = stage(Node(valid()), **inputs)
    (measured,) = result["observed"]["measurements"]
    assert (measured["output_tokens"], statuses(result)["tokens"]) == (5 + 6 + 7 + 8, "passed")
    assert "--dataset-path" not in measured["runs"][0]["command"]
    _outcome, result = stage(Node(valid()), "begin", **inputs, benchmark_tools=["ais_bench"])
    assert "does not send requests of benchmark_dataset trace" in result["error"]
