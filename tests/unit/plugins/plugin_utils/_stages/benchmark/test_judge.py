# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of invalid result fails its check."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import judge as benchmark
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import statistics
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.targets import serves_as_planned
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.vllm_bench import identity
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context

INPUTS = {"benchmark_reference": False, "benchmark_num_prompts": 10, "benchmark_random_output_len_tokens": 8,
          "benchmark_slo": {},
          "benchmark_max_cv_percent": 5, "benchmark_minimum_ratio": 0.97, "benchmark_baseline_save": False,
          "benchmark_baseline_required": False}
SERVICE = {"id": "c0ffee", "image": "sha256:1", "running": True, "started_at": "now", "restarts": 0,
           "labels": {labels.INSTANCE: "abc"}, "weights": "w", "driver": "d"}
RUN = {"id": "vllm-serve-1", "kind": "serve", "file": "node1/benchmark/vllm-serve-1.json", "exit_code": 0,
       "seconds": 3.0, "timed_out": False, "log": ["done"], "services": {"vllm": identity(SERVICE)},
       "overlap_percent": None, "others": 0,
       "metrics": {"num_prompts": 10.0, "completed": 10.0, "failed": 0.0, "total_output_tokens": 80.0,
                   "output_throughput": 100.0, "p99_ttft_ms": 50.0}}
WARM_UP = {"models": ["qwen25_vl"], "sent": 2, "answered": 2, "errors": [], "good": True}
INSTANCE = {"name": "vllm", "url": "http://a:1", "serves": True, "hash": "abc", "service": SERVICE, "warm_up": WARM_UP}
MEASURED = {"name": "vllm", "target": "instance", "tool": "vllm", "hosts": ["node1"], "num_prompts": 10,
            "output_tokens": 80, "warm_up": None, "runs": [RUN], "baseline": None, "sweep": None}


def checks_of(change=lambda measured: None, instance=None, peers=None, snapshots=2, **inputs):
    """Return the checks of a measurement that is valid except for the changes.

    :param change: a function that changes the measurement.
    :param instance: changed values of the observed instance.
    :param peers: snapshots of the other hosts.
    :param snapshots: snapshots of this host, or the number of identical snapshots.
    """
    measured = copy.deepcopy(MEASURED)
    change(measured)
    measured["summary"] = statistics.summarize(measured["runs"])
    observed = dict(INSTANCE, **(instance or {}))
    is_measured = serves_as_planned(observed) and observed["warm_up"]["good"]
    return benchmark.judge(context(
        {"model": {"served_name": "qwen25_vl"}}, {
            "instances": [observed], "measurements": [measured] if is_measured else [],
            "snapshots": snapshots if isinstance(snapshots, list) else [{"vllm": identity(SERVICE)}] * snapshots},
        dict(INPUTS, **inputs), survey={"snapshots": peers or {}, "verdicts": {}}))


def judge(*args, **changes):
    return {check["id"]: (check["status"], check["actual"]) for check in checks_of(*args, **changes)}


def failed(change):
    return [name for name, (status, _actual) in judge(change).items() if status == "failed"]


def test_valid_run_passes():
    found = {name: status for name, (status, _actual) in judge().items()}
    assert found.pop("baseline") == "not_run"
    assert found == dict.fromkeys(
        ("service", "warm_up", "client", "completed", "tokens", "same_server", "other_requests"), "passed")


def test_result_of_vllm_0_11_without_a_failed_count_passes():
    assert failed(lambda measured: measured["runs"][0]["metrics"].pop("failed")) == []


@pytest.mark.parametrize(("check", "change"), [
    ("completed", {"completed": 5.0, "total_output_tokens": 40.0, "failed": 5.0}),
    ("completed", {"failed": 1.0}),
    ("completed", {"num_prompts": 9.0}),
    ("tokens", {"total_output_tokens": 79.0}),
])
def test_wrong_counts_fail_their_check(check, change):
    assert failed(lambda measured: measured["runs"][0]["metrics"].update(change)) == [check]


def test_result_without_a_throughput_is_not_judged_further():
    found = judge(lambda measured: measured["runs"][0]["metrics"].pop("output_throughput"),
                  benchmark_slo={"p99_ttft_ms": 60})
    assert not {"objective", "baseline"} & set(found)


def test_exit_code_0_without_an_answered_request_fails():
    counts = {"completed": 0.0, "failed": 0.0, "total_output_tokens": 0.0}
    assert failed(lambda measured: measured["runs"][0]["metrics"].update(counts)) == ["completed", "tokens"]


@pytest.mark.parametrize(("change", "actual"), [
    ({"kind": None, "metrics": {}, "exit_code": 1, "log": ["a", "Error: b"]}, "1; end of the log: a / Error: b"),
    ({"kind": None, "metrics": {}, "exit_code": 0, "log": []}, "exit code 0"),
    ({"kind": None, "metrics": {}, "exit_code": None, "timed_out": True}, "none after 3.0 s"),
    ({"kind": "unknown", "metrics": {}}, "none, exit code 0"),
])
def test_client_without_a_result_fails(change, actual):
    found = judge(lambda measured: measured["runs"][0].update(change))
    assert found["client"][0] == "failed"
    assert actual in found["client"][1]
    assert "completed" not in found


@pytest.mark.parametrize("change", [{"container": "other"}, {"restarts": 1}, {"started_at": "later"},
                                    {"image": "sha256:2"}, {"weights": "v"}, {"driver": "e"}])
def test_change_of_the_server_fails_the_check(change):
    assert failed(lambda measured: measured["runs"][0]["services"]["vllm"].update(change)) == ["same_server"]


@pytest.mark.parametrize(("before", "after", "verdict"), [
    ({"weights": None}, {"weights": None}, "not_run"),  # unknown digests cannot be compared
    ({"weights": None}, {}, "failed"),                  # the digest appeared during the run
    ({"driver": None}, {"driver": None}, "not_run"),
    ({"driver": None}, {"driver": None, "restarts": 1}, "failed"),
])
def test_server_without_digests_is_not_judged(before, after, verdict):
    first, last = dict(identity(SERVICE), **before), dict(identity(SERVICE), **after)

    def change(measured):
        second = dict(RUN, id="vllm-serve-2", services={"vllm": last})
        measured["runs"] = [dict(RUN, services={"vllm": first}), second]

    found = [check for check in checks_of(change, snapshots=[{"vllm": first}] * 2) if check["id"] == "same_server"]
    assert [check["status"] for check in found] == ["not_run", verdict]
    assert f"vllm: {next(iter(before))}" in found[0]["message"]


def test_server_behind_a_balancer_without_digests_is_not_judged():
    unknown = {"v": identity(dict(SERVICE, weights=None))}
    assert judge(behind_a_balancer, peers={"node2": [unknown, unknown]})["same_server"][0] == "not_run"


def test_removal_of_the_server_fails_the_check():
    assert failed(lambda measured: measured["runs"][0].update(services={"vllm": identity(None)})) == ["same_server"]


@pytest.mark.parametrize(("change", "actual"), [
    ({"models": ["other"]}, "served names: ['other']"),
    ({"models": None, "answered": 0, "errors": ["refused"]}, "refused"),
    ({"answered": 1, "errors": ["boom"]}, "1 of 2 answered, boom"),
])
def test_failed_warm_up_prevents_the_measurement(change, actual):
    found = judge(instance={"warm_up": dict(WARM_UP, good=False, **change)})
    assert set(found) == {"service", "warm_up"}
    assert found["warm_up"][0] == "failed"
    assert actual in found["warm_up"][1]


@pytest.mark.parametrize("service", [None, dict(SERVICE, running=False), dict(SERVICE, labels={}),
                                     dict(SERVICE, labels={labels.INSTANCE: "xyz"})])
def test_only_the_planned_instance_is_measured(service):
    found = judge(instance={"service": service})
    assert {name: status for name, (status, _actual) in found.items()} == {"service": "failed"}


def behind_a_balancer(measured):
    measured.update(name="balancer", target="balancer", hosts=["node1", "node2"], warm_up=WARM_UP)


SAME, RESTARTED = {"v": identity(SERVICE)}, {"v": identity(dict(SERVICE, restarts=1))}


@pytest.mark.parametrize(("peers", "verdict", "actual"), [
    ({"node2": [SAME, SAME]}, "passed", "nothing changed"),
    ({"node2": [SAME, RESTARTED]}, "failed", "node2 v: restarts 0 → 1"),
    ({"node2": [SAME, {}]}, "failed", "node2 v: container c0ffee → None"),
    ({"node2": [SAME]}, "failed", "node2 failed during the measurement"),
    ({}, "failed", "node2 failed during the measurement"),
])
def test_servers_behind_a_balancer_must_not_change_on_any_node(peers, verdict, actual):
    found = judge(behind_a_balancer, peers=peers)
    assert (found["same_server"][0], found["completed"][0]) == (verdict, "passed")
    assert actual in found["same_server"][1]


def test_failed_warm_up_of_the_balancer_is_reported():
    def change(measured):
        behind_a_balancer(measured)
        measured.update(warm_up=dict(WARM_UP, good=False, answered=0, models=["other"]), runs=[])

    assert judge(change, peers={"node2": [SAME, SAME]})["warm_up"] == (
        "failed", "0 of 2 answered, served names: ['other']")


def test_server_measured_by_ais_bench_is_compared_by_its_snapshots():
    def by_ais_bench(measured):
        measured.update(tool="ais_bench")
        measured["runs"][0]["services"] = {}

    assert judge(by_ais_bench)["same_server"][0] == "passed"
    assert judge(by_ais_bench, snapshots=1)["same_server"][0] == "failed"


@pytest.mark.parametrize(("overlap", "verdict", "objective"), [
    (95.0, "passed", "passed"), (40.0, "not_run", "not_run")])
def test_objective_is_judged_only_if_the_clients_overlap(overlap, verdict, objective):
    found = judge(lambda measured: measured["runs"][0].update(overlap_percent=overlap),
                  benchmark_slo={"p99_ttft_ms": 60})
    assert (status(found, "clients_overlap"), status(found, "objective")) == (verdict, objective)


def test_run_fails_if_one_of_several_clients_has_no_result():
    clients = [dict(RUN), dict(RUN, kind=None, metrics={}, exit_code=1, log=["Error: b"])]
    found = judge(lambda measured: measured["runs"][0].update(clients=clients, kind=None, metrics={}))
    assert found["client"] == ("failed", "none, exit code 1; end of the log: Error: b")


def repeated(*throughputs):
    def change(measured):
        run = measured["runs"][0]
        measured["runs"] = [dict(run, metrics=dict(run["metrics"], output_throughput=value)) for value in throughputs]
    return change


def status(found, name):
    return found.get(name, (None,))[0]


def test_noisy_runs_are_inconclusive():
    assert status(judge(repeated(100.0, 101.0, 99.0)), "noise") == "passed"
    assert status(judge(repeated(100.0, 150.0, 60.0)), "noise") == "not_run"


@pytest.mark.parametrize(("limit", "throughputs", "verdict"), [
    (60, (100.0,), "passed"), (40, (100.0,), "failed"), (60, (100.0, 200.0), "not_run"),
    (40, (100.0, 200.0), "not_run")])
def test_objective_is_judged_unless_the_runs_are_noisy(limit, throughputs, verdict):
    assert status(judge(repeated(*throughputs), benchmark_slo={"p99_ttft_ms": limit}), "objective") == verdict


def compared(throughput, count=5, before=100.0, **run):
    """Return a function that adds a comparison with a baseline to a measurement."""
    def change(measured):
        repeated(*[throughput] * count)(measured)
        for each in measured["runs"]:
            each.update(run)
        measured["baseline"] = {"file": "b.json", "recorded_at": "then", "release": "v1", "fallback": False,
                                "repeats": [{"output_throughput": before}] * 5}
        survey = benchmark.survey({"node1": {"measurements": [measured], "snapshots": []}}, INPUTS)
        measured["baseline"]["result"] = survey["node1"]["verdicts"].get("vllm")
    return change


OTHERS = "the engines had 10 requests of other clients"


@pytest.mark.parametrize(("change", "verdict", "text"), [
    (compared(97.1), "passed", "output_throughput 97.1, p99_ttft_ms"),
    (compared(96.9), "failed", "output_throughput 96.9"),
    (compared(50.0, count=4), "not_run", "Inconclusive: the runs have 5 and 4 repeats, and at least 5 are needed"),
    (compared(50.0, others=2), "not_run", f"Inconclusive: {OTHERS}"),
    (compared(50.0, overlap_percent=40.0), "not_run",
     "Inconclusive: all clients were running for only 40 % of the time")])
def test_run_is_compared_with_the_baseline(change, verdict, text):
    def with_latency(measured):
        change(measured)
        if measured["baseline"]["result"]["rows"] and verdict == "passed":
            row = dict(measured["baseline"]["result"]["rows"][0], metric="p99_ttft_ms")
            measured["baseline"]["result"]["rows"].append(row)

    (check,) = [check for check in checks_of(with_latency) if check["id"] == "regression"]
    assert check["status"] == verdict
    assert str(check["message"] or check["actual"]).startswith(text)


def test_last_good_run_of_another_deployment_is_named():
    def change(measured):
        compared(100.0)(measured)
        measured["baseline"]["fallback"] = True

    assert judge(change)["baseline"][1] == "the last good run of another deployment (v1), b.json of then"


@pytest.mark.parametrize(("others", "verdict"), [(0, "passed"), (3, "warned"), (None, "not_run")])
def test_requests_of_other_clients_are_reported(others, verdict):
    assert status(judge(lambda measured: measured["runs"][0].update(others=others)), "other_requests") == verdict


@pytest.mark.parametrize(("change", "ok", "text"), [
    (compared(100.0), True, "a verdict"),
    (compared(50.0), True, "a verdict"),  # the check `regression` fails instead
    (compared(100.0, count=4), False, "Inconclusive: the runs have 5 and 4 repeats"),
    (compared(100.0, others=2), False, f"Inconclusive: {OTHERS}"),
    (lambda measured: None, False, "no baseline"),
    (lambda measured: measured["runs"][0]["metrics"].update(failed=1.0), False, "an invalid run: completed"),
    (lambda measured: measured["runs"][0]["services"]["vllm"].update(restarts=1), False, "an invalid run: same_server"),
    (lambda measured: measured.update(runs=[]), False, "an invalid run: no result"),
])
def test_required_comparison_fails_without_a_verdict(change, ok, text):
    found = judge(change, benchmark_baseline_required=True)["verdict"]
    assert (found[0], found[1].startswith(text)) == ("passed" if ok else "failed", True)
    assert "verdict" not in judge(change, benchmark_baseline_required=True, benchmark_baseline_save=True)
    assert "verdict" not in judge(change)


def test_noisy_throughput_has_no_verdict_unless_the_run_is_a_regression():
    def noisy(before):
        def change(measured):
            compared(100.0, before=before)(measured)
            for run, value in zip(measured["runs"], (90.0, 100.0, 110.0, 100.0, 100.0)):
                run["metrics"] = dict(run["metrics"], output_throughput=value)
        return change

    assert judge(noisy(100.0), benchmark_baseline_required=True)["verdict"][1].startswith("Inconclusive: the output")
    assert judge(noisy(300.0), benchmark_baseline_required=True)["verdict"][0] == "passed"


def test_required_comparison_fails_if_nothing_was_measured():
    found = judge(instance={"service": None}, benchmark_baseline_required=True)
    assert found["verdict"] == ("failed", "an invalid run: nothing was measured")


def test_metrics_of_a_failed_run_are_not_judged():
    broken = {"completed": 9.0, "failed": 1.0}
    found = judge(lambda measured: measured["runs"][0]["metrics"].update(broken), benchmark_slo={"p99_ttft_ms": 60})
    assert not {"objective", "baseline", "regression"} & set(found)


@pytest.mark.parametrize(("best", "kind", "verdict"), [(4, "serve", "passed"), (None, "serve", "failed"),
                                                       (4, None, "not_run")])
def test_sweep_passes_if_a_point_meets_the_objective(best, kind, verdict):
    point = {"value": 4, "missed": {} if best else {"p99_ttft_ms": 90.0}, "run": dict(RUN, kind=kind)}
    sweep = {"variable": "request_rate", "objective": {"p99_ttft_ms": 60}, "points": [point], "best": best,
             "knee": None}
    assert status(judge(lambda measured: measured.update(sweep=sweep)), "sweep") == verdict


OFFLINE = {"id": "vllm-latency", "wanted": "latency", "kind": "latency", "metrics": {"avg_latency": 1.5}, "log": [],
           "timed_out": False, "exit_code": 1, "seconds": 2.0}


def throughput(requests, tokens):
    return dict(OFFLINE, wanted="throughput", kind="throughput", metrics={
        "num_requests": float(requests), "total_num_tokens": float(tokens), "tokens_per_second": 1.0})


@pytest.mark.parametrize(("run", "verdict"), [
    (OFFLINE, "passed"), (dict(OFFLINE, kind=None, metrics={}), "failed"),
    (dict(OFFLINE, timed_out=True, kind=None), "failed"),
    (throughput(10, 10 * (32 + 8)), "passed"), (throughput(10, 10 * (31 + 8)), "passed"),
    (throughput(9, 10 * (32 + 8)), "failed"),
    (throughput(10, 10 * (1024 + 128)), "failed"),  # defaults of vllm bench throughput since 0.14
])
def test_offline_run_passes_with_a_result_for_the_requested_load(run, verdict):
    found = benchmark.judge(context({}, {"offline": [run]}, dict(INPUTS, benchmark_random_input_len_tokens=32)))
    assert [(check["id"], check["status"]) for check in found] == [("offline", verdict)]


@pytest.mark.parametrize(("restored", "verdict"), [(True, "passed"), (False, "failed")])
def test_stopped_service_must_be_restored(restored, verdict):
    found = benchmark.judge(context(
        {}, {"offline": [], "restored": restored}, dict(INPUTS, benchmark_restore_timeout_s=5)))
    assert [(check["id"], check["status"]) for check in found] == [("restored", verdict)]


def test_nothing_is_judged_in_check_mode():
    found = benchmark.judge(context({}, {"not_run": "check mode"}, INPUTS))
    assert [(check["id"], check["status"]) for check in found] == [("completed", "not_run")]
