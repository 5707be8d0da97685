# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping, upgrading and showing a service depends on what runs, not only on the plan."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers as containers_module
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import metrics as metrics_module
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import drain, replacement, status_table
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

NAME = "vllm-ascend-qwen25-vl"
COMMAND = ["/bin/bash", "-c", "exec \"$@\"", "/run/s", "vllm", "serve", "/data/m", "--host", "10.0.0.1", "--port",
           "9000", "--served-model-name", "old", "--tensor-parallel-size", "2", "--shutdown-timeout", "600"]


def inspected(**changes):
    return dict({
        "Id": "c1", "Name": "/" + NAME, "Image": "sha256:i1",
        "Config": {"Image": "vllm:v1", "Labels": {"ours": "h1"}, "Cmd": COMMAND},
        "HostConfig": {
            "Devices": [{"PathOnHost": path} for path in ("/dev/davinci3", "/dev/davinci2", "/dev/davinci_manager")],
            "RestartPolicy": {"Name": "always"}},
        "State": {"Status": "running", "StartedAt": "2026-01-02T03:04:05.678901234Z"}}, **changes)


def test_a_container_is_what_it_was_started_with():
    assert containers_module.described(inspected(), "ours") == {
        "name": NAME, "id": "c1", "image": "sha256:i1", "image_name": "vllm:v1", "hash": "h1", "status": "running",
        "started_s": 1767323045, "restart_policy": "always", "devices": [2, 3], "bind": "10.0.0.1", "port": 9000,
        "served_name": "old", "shutdown_timeout_s": 600}


def test_a_container_without_our_options_is_described_too():
    found = containers_module.described(inspected(
        Config={"Image": "x", "Labels": None, "Cmd": ["sleep", "--port"]}, HostConfig={}), "ours")
    assert (found["port"], found["hash"], found["restart_policy"], found["devices"], found["shutdown_timeout_s"]) == (
        None, None, "no", [], 0)


METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 5e-01
"""


@pytest.mark.parametrize(("metrics", "expected"), [
    (METRICS, {"running": 4, "waiting": 2, "kv_cache_usage": 0.5}),
    ("vllm:num_requests_running 0\nvllm:gpu_cache_usage_perc{} 0.1\n",
     {"running": 0, "waiting": 0, "kv_cache_usage": 0.1}),
    ("vllm:num_requests_running 1.0", {"running": 1, "waiting": 0, "kv_cache_usage": None}),
    ("python_gc_objects_collected_total 1\n", None),
    ("", None),
])
def test_load(metrics, expected):
    assert metrics_module.load(metrics) == expected


def containers(*names, **changes):
    return [dict({"name": name, "status": "running", "hash": "h", "image": "sha256:i", "port": 8888, "bind": "0.0.0.0",
                  "served_name": "qwen25_vl", "load": {"running": 0, "waiting": 0, "kv_cache_usage": 0.0},
                  "devices": [0, 1], "started_s": 100, "image_digest": None, "restart_policy": "always"}, **changes)
            for name in names]


def names(found):
    return [container["name"] for container in found]


def test_other_deployments_are_not_this_one():
    there = containers(NAME, NAME + "-1", NAME + "-12-previous", NAME + "-previous", NAME + "-x", "other", NAME + "2")
    assert names(replacement.deployment(there, NAME)) == [NAME, NAME + "-1", NAME + "-12-previous", NAME + "-previous"]
    assert names(replacement.previous_containers(there, NAME)) == [NAME + "-12-previous", NAME + "-previous"]
    assert replacement.deployment(containers("aXb"), "a.b") == []


@pytest.fixture
def plan():
    return valid(serving_replicas=2)


def observed(plan, there):
    return {"containers": there, "image": "sha256:i", "engine_error": None, "instances": []}


def as_planned(plan):
    return [container for instance in plan["instances"]
            for container in containers(instance["name"], hash=instance["hash"], port=instance["port"])]


def test_what_runs_as_planned_is_not_replaced(plan):
    there = as_planned(plan) + containers("other", NAME + "-previous")
    assert replacement.replacement_reasons(observed(plan, there), plan) == []


@pytest.mark.parametrize(("change", "reason"), [
    (lambda there: there.pop(), f"{NAME}-1 does not exist"),
    (lambda there: there[0].update(hash="older"), f"{NAME} has plan older instead of"),
    (lambda there: there[0].update(image="sha256:j"), f"{NAME} runs image sha256:j instead of sha256:i"),
    (lambda there: there[1].update(status="exited"), f"{NAME}-1 is exited"),
    (lambda there: there.extend(containers(NAME + "-2")), f"{NAME}-2 is no longer planned"),
])
def test_whatever_differs_is_replaced(plan, change, reason):
    there = as_planned(plan)
    change(there)
    (found,) = replacement.replacement_reasons(observed(plan, there), plan)
    assert found.startswith(reason)


@pytest.mark.parametrize(("there", "expected"), [
    ((NAME, NAME + "-1"), {"remove": [], "rename": [NAME, NAME + "-1"]}),
    ((NAME, NAME + "-previous"), {"remove": [NAME], "rename": []}),  # an interrupted upgrade
    ((NAME + "-previous",), {"remove": [], "rename": []}),
    (("other",), {"remove": [], "rename": []}),
])
def test_upgrade_keeps_the_containers_that_were_verified_last(there, expected):
    assert replacement.upgrade_steps(containers(*there), NAME) == expected


@pytest.mark.parametrize(("replicas", "ours", "unplanned"), [
    (1, [NAME], []),
    (2, [NAME, NAME + "-1", NAME + "-3"], [NAME + "-3"]),
    (1, ["other", "other-1", NAME + "-x", NAME + "-1-2"], []),
])
def test_unplanned_containers(replicas, ours, unplanned):
    assert replacement.unplanned_containers(ours, valid(serving_replicas=replicas)) == unplanned


@pytest.mark.parametrize(("before", "now", "expected"), [
    ((NAME,), (NAME, NAME + "-previous"), {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # with more instances than before
    ((NAME,), (NAME, NAME + "-1", NAME + "-previous"),
     {"remove": [NAME, NAME + "-1"], "rename": [NAME], "start": [NAME]}),
    # failed before anything was renamed: stopped ones are started again, nothing is removed
    ((NAME, NAME + "-1"), (NAME, NAME + "-1"), {"remove": [], "rename": [], "start": [NAME, NAME + "-1"]}),
    # failed between two of them
    ((NAME, NAME + "-1"), (NAME + "-previous", NAME + "-1"),
     {"remove": [], "rename": [NAME], "start": [NAME, NAME + "-1"]}),
    # after an interrupted upgrade the verified one comes back
    ((NAME, NAME + "-previous"), (NAME, NAME + "-previous"), {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # a first deployment
    ((), (NAME,), {"remove": [NAME], "rename": [], "start": []}),
    ((NAME, "other"), (NAME, "other"), {"remove": [], "rename": [], "start": [NAME]}),
])
def test_rollback_steps(before, now, expected):
    found = replacement.rollback_steps(containers(*now), containers(*before), NAME, "unless-stopped")
    assert dict(found, start=names(found["start"])) == expected
    assert {container["restart_policy"] for container in found["start"]} <= {"always"}


def before_upgrade(*described):
    """The containers of ``[(suffix of the name, status, restart policy)]``."""
    return [container for suffix, status, policy in described
            for container in containers(NAME + suffix, status=status, restart_policy=policy)]


@pytest.mark.parametrize(("before", "policies"), [
    # each its own, which is neither that of now (stopping set it to "no") nor the one that the upgrade has planned
    ([("", "running", "always"), ("-1", "running", "on-failure")], ["always", "on-failure"]),
    ([("", "running", "no")], ["no"]),
    ([("", "restarting", "always")], ["always"]),
    # stopped before the upgrade: its own policy is lost
    ([("", "exited", "no")], ["unless-stopped"]),
    ([("", "exited", "on-failure")], ["on-failure"]),
    # an interrupted upgrade had stopped the previous one
    ([("", "running", "always"), ("-previous", "exited", "no")], ["unless-stopped"]),
])
def test_rollback_starts_containers_with_the_restart_policy_from_before_the_upgrade(before, policies):
    before = before_upgrade(*before)
    now = [dict(container, status="exited", restart_policy="no") for container in before]
    found = replacement.rollback_steps(now, before, NAME, "unless-stopped")
    assert [container["restart_policy"] for container in found["start"]] == policies


def test_plan_of_running_containers_has_their_own_names_and_ports():
    before = containers(NAME + "-previous", port=9000, served_name="old") + containers(NAME + "-1", port=9001)
    found = replacement.plan_of_running(before, [NAME], "10.0.0.1")
    assert [(each["name"], each["port"], each["url"]) for each in found["instances"]] == [
        (NAME, 9000, "http://10.0.0.1:9000")]
    assert (found["model"], found["image"]) == ({"served_name": "old"}, {"reference": "sha256:i"})
    assert replacement.plan_of_running([], [], "10.0.0.1") == {"instances": []}


@pytest.mark.parametrize(("load", "clause"), [
    ({"running": 2, "waiting": 1, "kv_cache_usage": None}, f"{NAME} has 2 requests running and 1 waiting"),
    ({"running": 0, "waiting": 1, "kv_cache_usage": None}, f"{NAME} has 0 requests running and 1 waiting"),
    ({"error": "/metrics: timed out"}, f"{NAME} does not tell its requests (/metrics: timed out)"),
    ({"running": 0, "waiting": 0, "kv_cache_usage": None}, None),
    (None, None),
])
def test_requests_left(load, clause):
    assert drain.requests_left(containers(NAME, load=load)) == ([clause] if clause else [])


def npus(error=None, holders=(), **used):
    return {"npu_smi": {"error": error, "chips": [{"device": int(name[1:]), "hbm_used_mb": mb}
                                                  for name, mb in used.items()]}, "holders": list(holders)}


@pytest.mark.parametrize(("seen", "clauses"), [
    (npus(d0=3400, d1=3500, d2=60000), []),
    (npus(d0=60000, d1=3500), ["NPU 0 is held by nobody that is shown (60000 MB of HBM in use)"]),
    (npus(d0=3400), ["NPU 1 is not shown by npu-smi"]),
    (npus(d0=3400, d1=None), ["NPU 1 is held by nobody that is shown (unknown MB of HBM in use)"]),
    (npus({"message": "npu-smi info: timed out"}), ["whether the NPUs are free is not known: npu-smi info: timed out"]),
    (npus(None, [{"device": 1, "pid": 7, "process": "python3", "container": {"name": "train"}},
                 {"device": 4, "pid": 8, "process": "python3", "container": None}], d0=1, d1=9000),
     ["NPU 1 is held by process 7 (python3) of container train (9000 MB of HBM in use)"]),
])
def test_npus_held(seen, clauses):
    assert drain.npus_held(seen, [1, 0], 6144) == clauses


def test_status_tells_each_instance(plan):
    there = as_planned(plan)[:1] + containers(NAME + "-previous", status="exited") + containers("other")
    there[0].update(load={"running": 3, "waiting": 1, "kv_cache_usage": 0.42}, image_digest="sha256:0123456789abcdef")
    seen = dict(observed(plan, there), instances=[{"name": NAME, "state": "ready"},
                                                  {"name": NAME + "-1", "state": "missing"}])
    assert status_table.rows("node1", plan, seen, 100 + 3700) == [
        ["node1", NAME, "running", "ready", "3", "1", "42 %", "0,1", "1h 1m", "as planned", "sha256:0123456789ab"],
        ["node1", NAME + "-1", "none", "-", "-", "-", "-", "2,3", "-", "not deployed", "-"],
        ["node1", NAME + "-previous", "exited", "stopped", "0", "0", "0 %", "0,1", "-", "kept by an upgrade",
         "sha256:i"]]


@pytest.mark.parametrize(("state", "health", "shown"), [
    ("failed", "unhealthy", "hangs"), ("ready", "unhealthy", "ready"), ("starting", "starting", "starting"),
    ("failed", None, "failed")])
def test_status_tells_a_hung_engine(plan, state, health, shown):
    container = {"status": "running", "health": health and {"status": health}}
    seen = dict(observed(plan, as_planned(plan)), instances=[{"name": NAME, "state": state, "container": container}])
    assert status_table.rows("node1", plan, seen, 0)[0][status_table.COLUMNS.index("state")] == shown


@pytest.mark.parametrize(("change", "plan_cell"), [
    ({"hash": "older"}, "drift older"), ({"image": "sha256:j"}, "other image"), ({}, "as planned")])
def test_status_tells_drift(plan, change, plan_cell):
    there = as_planned(plan)
    there[0].update(change)
    row = status_table.rows("node1", plan, observed(plan, there), 0)[0]
    assert row[status_table.COLUMNS.index("plan")] == plan_cell


def test_status_tells_a_name_that_is_anothers_and_a_dead_engine(plan):
    seen = dict(observed(plan, []), instances=[{"name": NAME, "state": "ready"}])
    assert status_table.rows("node1", plan, seen, 0)[0][2] == "another's"
    (row,) = status_table.rows("node1", plan, {"engine_error": "no answer"}, 0)
    assert row[:3] == ["node1", "-", "no answer"]
    lines = status_table.table([row])
    assert lines[0].split()[:2] == ["host", "instance"]
    assert lines[1].startswith("node1  -")


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0s"), (42, "42s"), (420, "7m"), (18720, "5h 12m"), (273600, "3d 4h")])
def test_duration(seconds, text):
    assert status_table.duration(seconds) == text
