# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every lie that a benchmark can tell, and that it is caught."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils.checks import benchmark
from ansible_collections.ascend.vllm.plugins.module_utils.plan import LABEL

SETTINGS = {"num_prompts": 10, "random_output_len_tokens": 8}
SERVICE = {"id": "c0ffee", "image": "sha256:1", "running": True, "started_at": "now", "restarts": 0,
           "labels": {LABEL: "abc"}, "weights": "w", "driver": "d"}
RUN = {"id": "vllm-serve-1", "kind": "serve", "file": "node1/benchmark/vllm-serve-1.json", "exit_code": 0,
       "seconds": 3.0, "timed_out": False, "log": ["done"], "service": dict(SERVICE),
       "metrics": {"num_prompts": 10.0, "completed": 10.0, "failed": 0.0, "total_output_tokens": 80.0}}
INSTANCE = {"name": "vllm", "hash": "abc", "service": SERVICE, "runs": [RUN],
            "warm_up": {"models": ["qwen25_vl"], "sent": 2, "answered": 2, "errors": []}}


def judge(change=lambda instance: None):
    instance = copy.deepcopy(INSTANCE)
    change(instance)
    return {check["id"]: (check["status"], check["actual"]) for check in benchmark.judge({
        "plan": {"model": {"served_name": "qwen25_vl"}}, "settings": SETTINGS, "observed": {"instances": [instance]}})}


def failed(change):
    return [name for name, (status, _actual) in judge(change).items() if status == "failed"]


def test_an_honest_run_passes():
    assert {status for status, _actual in judge().values()} == {"passed"}
    assert set(judge()) == {check.id for check in benchmark.CHECKS}


def test_a_result_without_a_count_of_failures_as_of_0_11():
    assert failed(lambda instance: instance["runs"][0]["metrics"].pop("failed")) == []


@pytest.mark.parametrize(("check", "change"), [
    ("completed", {"completed": 5.0, "total_output_tokens": 40.0, "failed": 5.0}),
    ("completed", {"failed": 1.0}),
    ("completed", {"num_prompts": 9.0}),
    ("tokens", {"total_output_tokens": 79.0}),
])
def test_wrong_counts(check, change):
    assert failed(lambda instance: instance["runs"][0]["metrics"].update(change)) == [check]


def test_exit_code_0_with_nothing_answered():
    lie = {"completed": 0.0, "failed": 0.0, "total_output_tokens": 0.0}
    assert failed(lambda instance: instance["runs"][0]["metrics"].update(lie)) == ["completed", "tokens"]


@pytest.mark.parametrize(("change", "actual"), [
    ({"kind": None, "metrics": {}, "exit_code": 1, "log": ["a", "Error: b"]}, "1; its log ends: a / Error: b"),
    ({"kind": None, "metrics": {}, "exit_code": 0, "log": []}, "exit code 0"),
    ({"kind": None, "metrics": {}, "exit_code": None, "timed_out": True}, "none after 3.0 s"),
    ({"kind": "unknown", "metrics": {}}, "none, exit code 0"),
])
def test_a_client_without_a_result(change, actual):
    found = judge(lambda instance: instance["runs"][0].update(change))
    assert found["client"][0] == "failed"
    assert actual in found["client"][1]
    assert "completed" not in found


@pytest.mark.parametrize("change", [{"id": "other"}, {"restarts": 1}, {"started_at": "later"}, {"image": "sha256:2"},
                                    {"weights": "v"}, {"driver": "e"}])
def test_another_server_afterwards(change):
    assert failed(lambda instance: instance["runs"][0]["service"].update(change)) == ["same_server"]


def test_a_server_that_is_gone_afterwards():
    assert failed(lambda instance: instance["runs"][0].update(service=None)) == ["same_server"]


@pytest.mark.parametrize(("change", "actual"), [
    ({"models": ["other"]}, "served names: ['other']"),
    ({"models": None, "answered": 0, "errors": ["refused"]}, "refused"),
    ({"answered": 1, "errors": ["boom"]}, "1 of 2 answered, boom"),
])
def test_a_warm_up_that_fails_ends_the_measurement(change, actual):
    found = judge(lambda instance: instance["warm_up"].update(change))
    assert set(found) == {"service", "warm_up"}
    assert found["warm_up"][0] == "failed"
    assert actual in found["warm_up"][1]


@pytest.mark.parametrize("service", [None, dict(SERVICE, running=False), dict(SERVICE, labels={}),
                                     dict(SERVICE, labels={LABEL: "xyz"})])
def test_only_the_planned_instance_is_measured(service):
    found = judge(lambda instance: instance.update(service=service))
    assert {name: status for name, (status, _actual) in found.items()} == {"service": "failed"}


def test_check_mode_passes_nothing():
    found = benchmark.judge({"plan": {}, "settings": SETTINGS, "observed": {"instances": [], "not_run": "check mode"}})
    assert [(check["id"], check["status"]) for check in found] == [("completed", "not_run")]
