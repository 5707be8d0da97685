# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage serving is judged by what was seen: nothing that was not reached is passed."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils.checks import serving
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils.plan_case import valid

CAUSES = [{"cause": "out_of_memory", "evidence": "NPU out of memory", "remedy": "Use more NPUs."}]


def seen(plan, **changes):
    """A ready instance of the plan, changed."""
    (instance,) = plan["instances"]
    ready = {
        "name": instance["name"], "state": "ready", "reason": None,
        "holder": {"pid": 7, "process": "vllm", "ours": True},
        "container": {"hash": instance["hash"], "status": "running", "restarts": 0}, "health": {"status": 200},
        "models": {"status": 200, "models": ["qwen25_vl"]}, "completion": {"status": 200}, "progress": None,
        "causes": [], "log": []}
    return dict(ready, **changes)


def judge(plan, observed=None, **changes):
    """{check id: (status, message)} of a node with one instance."""
    context = {"plan": plan, "observed": dict({
        "engine_error": None, "image": "sha256:1", "wrong_sources": [], "missing_devices": [],
        "instances": [seen(plan, **changes)]}, **observed or {})}
    return {check["id"]: (check["status"], check["message"]) for check in serving.judge(context)}


def statuses(*args, **changes):
    return {name: status for name, (status, _message) in judge(*args, **changes).items()}


STEPS = ("up_to_date", "running", "health", "served_name", "completion")


@pytest.fixture
def plan():
    return valid(serving_api_key="set", image_digest="sha256:" + 64 * "0", plan_release="v0.18.0",
                 plan_architecture="aarch64")


def test_service_that_runs_as_planned_passes(plan):
    assert set(statuses(plan).values()) == {"passed"}


def test_open_server_and_plan_warnings_are_told():
    found = judge(valid())
    assert found["api_key"][0] == "warned"
    assert found["plan_warnings"][0] == "warned"


# changes of the one instance -> (the step that fails, part of its message); steps after it are not run
ENDED = {"state": "failed", "reason": "the container has ended with exit code 1", "health": None, "models": None,
         "completion": None}


@pytest.mark.parametrize(("changes", "failing", "said"), [
    ({"container": None, "state": "missing"}, "up_to_date", None),
    ({"container": {"hash": "older", "status": "running"}}, "up_to_date", None),
    (dict(ENDED, causes=CAUSES), "running", "exit code 1; cause out_of_memory: NPU out of memory. Use more NPUs."),
    (dict(ENDED, causes=[{"cause": "unknown", "evidence": None, "remedy": ""}], log=["a", "the end"]), "running",
     "the end"),
    ({"state": "starting", "health": {"status": None, "error": "refused"}, "models": None, "completion": None,
      "progress": "loading weights, 40 %"}, "health", "loading weights, 40 %"),
    ({"state": "failed", "models": {"status": 200, "models": ["other"]}, "completion": None}, "served_name", None),
    ({"state": "failed", "reason": "a completion is refused", "completion": {"status": 500}}, "completion", "refused"),
    ({"state": "starting", "reason": "a completion is not answered", "completion": {"status": None}}, "completion",
     "not answered"),
])
def test_first_step_that_does_not_hold_fails(plan, changes, failing, said):
    found = judge(plan, **changes)
    reached = STEPS.index(failing)
    assert [found[step][0] for step in STEPS] == (
        ["passed"] * reached + ["failed"] + ["not_run"] * (len(STEPS) - reached - 1))
    assert said is None or said in found[failing][1]


def test_crash_loop_that_looks_alive_now_fails(plan):
    crashed = seen(plan, **dict(ENDED, causes=CAUSES))
    now = {"state": "starting", "health": {"status": None}, "models": None, "completion": None}
    found = statuses(plan, {"waited": {"seconds": 3, "failed_instances": [crashed]}}, **now)
    assert found["running"] == "failed"


def test_what_came_back_after_a_crash_passes(plan):
    crashed = seen(plan, **dict(ENDED, causes=CAUSES))
    assert statuses(plan, {"waited": {"seconds": 3, "failed_instances": [crashed]}})["running"] == "passed"


@pytest.mark.parametrize(("observed", "changes", "failing"), [
    ({"image": None}, {}, "image_present"),
    ({"wrong_sources": [{"source": "/data/x", "expected": "directory", "found": "nothing"}]}, {}, "mount_sources"),
    ({"missing_devices": ["/dev/davinci1"]}, {}, "devices"),
    ({}, {"container": {"hash": None, "status": "running"}}, "name_free"),
    ({}, {"holder": {"pid": 9, "process": "nginx", "ours": False}}, "port_free"),
])
def test_prerequisites_are_judged_before_anything_is_changed(plan, observed, changes, failing):
    found = statuses(plan, dict(observed, before=True), **changes)
    assert found.pop(failing) == "failed"
    assert set(found.values()) == {"passed"}
    assert not set(found) & set(STEPS)


def test_free_name_and_port_pass(plan):
    found = statuses(plan, {"before": True}, container=None, holder=None, state="missing")
    assert set(found.values()) == {"passed"}


def test_dead_engine_is_all_there_is_to_say(plan):
    assert statuses(plan, {"engine_error": "no answer", "instances": []}) == {"engine": "failed"}


def test_check_mode_starts_nothing_and_says_so(plan):
    found = statuses(plan, {"check_mode": True}, container=None, state="missing")
    assert [found[step] for step in STEPS] == ["not_run"] * 5


def test_failed_task_fails_the_stage_even_if_the_service_runs(plan):
    found = judge(plan, {"error": "No space left on device"})
    assert found["start"] == ("failed", "No space left on device")


def test_arguments_leave_out_what_the_role_puts_there_itself(plan):
    arguments = serving.arguments({"plan": plan, "settings": {"api_key": "k"}})
    sources = [mount["source"] for mount in arguments["mounts"]]
    assert "/data/Qwen2.5-VL-32B-Instruct-w8a8" in sources
    assert plan["instances"][0]["secrets_path"] not in sources
    assert "/dev/davinci1" in arguments["devices"]
