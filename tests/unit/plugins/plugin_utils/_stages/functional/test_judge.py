# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The functional stage sends requests to each server and checks the answers."""

from __future__ import annotations

import base64
import copy
import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.functional import judge as functional
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid_group
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context

INPUTS = {"functional_image": "", "functional_question": "What?", "functional_expected_words": ["TONGYI", "Qwen"],
          "functional_text_question": "Name colors.", "functional_max_tokens": 64, "functional_timeout_s": 60,
          "functional_api_key": "secret", "functional_waive": []}
PLAN = {"model": {"served_name": "qwen25_vl", "modality": "vision"}, "group": None, "ca": "pem",
        "release": {"routes": {"/health": "health", "/invocations": "inference", "/metrics": "metrics",
                               "/pause": "control"}},
        "instances": [{"name": "vllm", "url": "http://10.0.0.1:8888", "serves": True,
                       "command": ["vllm", "serve", "--middleware", "ascend_vllm_api_key.ApiKey"]}]}
SERVER = {
    "name": "vllm", "url": "http://10.0.0.1:8888", "models": {"status": 200, "models": ["qwen25_vl"]},
    "answers": {
        "text_answer": {"status": 200, "text": "red"},
        "image_answer": {"status": 200, "text": "The text is \"Tongyi QWEN\"."},
        "streaming": {"status": 200, "text": "TONGYI Qwen", "ended": True},
        "several_images": {"status": 200, "text": "both"},
        "long_prompt": {"status": 200, "text": "x"},
        "beyond_limit": {"status": 400, "error": "too long"},
        "wrong_model": {"status": 404, "error": "no such model"},
        "wrong_key": {"status": 401, "error": "Unauthorized"},
        "missing_key": {"status": 401, "error": "Unauthorized"},
    },
    "routes": {"/health": 405, "/invocations": 401, "/metrics": 401, "/pause": 404},
}


def judge(inputs=None, models=None, **answers):
    server = copy.deepcopy(SERVER)
    server["answers"].update(answers)
    server["models"].update(models or {})
    found = functional.judge(context(PLAN, {"servers": [server]}, dict(INPUTS, **(inputs or {}))))
    assert {check["subject"] for check in found} == {"vllm"}
    return {check["id"]: check["status"] for check in found}


def test_correct_answers_pass():
    assert judge() == dict.fromkeys((check.id for check in functional.CHECKS), "passed")


@pytest.mark.parametrize(("check", "answer"), [
    ("text_answer", {"status": 200, "text": "  "}),
    ("text_answer", {"status": 500, "error": "broken"}),
    ("text_answer", {"status": None, "error": "timed out"}),
    ("image_answer", {"status": 200}),
    ("streaming", {"status": 200, "text": "TONGYI", "ended": False}),
    ("streaming", {"status": 200, "text": "TONGYI", "ended": True, "error": "EngineCore died"}),
    ("several_images", {"status": 400, "error": "at most 1 image"}),
    ("long_prompt", {"status": 200, "text": ""}),
    ("beyond_limit", {"status": 200, "text": "cut silently"}),
    ("beyond_limit", {"status": None, "error": "timed out"}),
    ("wrong_model", {"status": 200, "text": "hello"}),
    ("wrong_key", {"status": 200, "text": "hello"}),
    ("expected_words", None),
])
def test_wrong_answers_fail(check, answer):
    found = judge(**{check: answer}) if answer else judge(image_answer={"status": 200, "text": "a TONGYI logo"})
    assert [name for name, status in found.items() if status == "failed"] == [check]


def test_server_that_serves_another_model_fails():
    assert judge(models={"models": ["other"]})["served_name"] == "failed"
    assert judge(models={"models": [], "status": None, "error": "refused"})["served_name"] == "failed"


def test_server_without_a_key_causes_a_warning():
    assert judge(missing_key={"status": 200, "text": "hello"})["missing_key"] == "warned"
    found = judge(inputs={"functional_api_key": ""})
    assert "wrong_key" not in found
    assert found["missing_key"] == "not_run"


def test_check_is_not_run_if_its_request_was_not_sent_or_its_answer_cannot_be_judged():
    assert judge(inputs={"functional_expected_words": []})["expected_words"] == "not_run"
    assert judge(image_answer={"status": 500, "error": "x"})["expected_words"] == "not_run"
    assert judge(long_prompt={"status": None, "sent": False, "error": "no limit"})["long_prompt"] == "not_run"


def test_requests_contain_the_planned_model_and_the_picture(tmp_path):
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\x89PNG")
    sent = functional.request(context(PLAN, inputs=dict(INPUTS, functional_image=str(picture)))).arguments
    uri = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    by_id = {request["id"]: request for request in sent["requests"]}
    assert sent["ca"] == "pem"
    assert sent["servers"] == [{"name": "vllm", "url": "http://10.0.0.1:8888"}]
    assert set(by_id) == set(SERVER["answers"])
    assert {request["body"]["model"] for name, request in by_id.items() if name != "wrong_model"} == {"qwen25_vl"}
    assert by_id["wrong_model"]["body"]["model"] != "qwen25_vl"
    assert json.dumps(by_id["several_images"]).count(uri) == 2
    assert by_id["beyond_limit"]["prompt_tokens_over_limit"] > 0 > by_id["long_prompt"]["prompt_tokens_over_limit"]


def test_text_model_gets_only_requests_without_pictures():
    plan = {**PLAN, "model": {"served_name": "qwen3", "modality": "text"}}
    sent = functional.request(context(plan, inputs=dict(INPUTS, functional_image="/none.png"))).arguments
    picture_requests = {"image_answer", "several_images"}
    assert {request["id"] for request in sent["requests"]} == set(SERVER["answers"]) - picture_requests
    assert "image" not in json.dumps(sent)
    answers = {request["id"]: SERVER["answers"][request["id"]] for request in sent["requests"]}
    server = {**SERVER, "models": {"status": 200, "models": ["qwen3"]}, "answers": answers}
    found = functional.judge(context(plan, {"servers": [server]}, INPUTS))
    assert {check["id"]: check["status"] for check in found} == dict.fromkeys(
        {check.id for check in functional.CHECKS} - picture_requests - {"expected_words"}, "passed")


@pytest.mark.parametrize("name", ["none.png", "text.txt"])
def test_file_that_is_not_a_picture_is_refused(tmp_path, name):
    (tmp_path / "text.txt").write_text("x")
    (sentence,) = functional.check_inputs(context(PLAN, inputs={"functional_image": str(tmp_path / name)}))
    assert sentence.startswith("functional_image has to be")


def test_node_without_an_api_is_not_tested(tmp_path):
    plan = valid_group("data_parallel")["node2"]
    (check,) = functional.judge(context(plan, {"servers": []}))
    assert (check["status"], check["message"]) == (
        "not_run", "node1 serves the whole group and is tested instead of this host.")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"PNG")
    assert functional.request(
        context(plan, inputs=dict(INPUTS, functional_image=str(picture)))).arguments["servers"] == []


def open_routes(routes, key="secret", plan=None):
    plan = plan or PLAN
    server = copy.deepcopy(SERVER)
    server["routes"].update(routes)
    found = functional.judge(context(plan, {"servers": [server]}, dict(INPUTS, functional_api_key=key)))
    (check,) = [check for check in found if check["id"] == "open_routes"]
    return check["status"], check["actual"]


@pytest.mark.parametrize(("routes", "status", "actual"), [
    ({}, "passed", "health: /health"),
    ({"/pause": 405}, "failed", "control: /pause; health: /health"),
    ({"/invocations": 405, "/metrics": 200}, "failed", "inference: /invocations; metrics: /metrics; health: /health"),
    ({"/invocations": 500}, "failed", "inference: /invocations; health: /health"),
    ({"/health": 403}, "passed", "none"),
    ({"/pause": None}, "not_run", None),
])
def test_only_the_health_route_may_be_open_if_a_key_is_set(routes, status, actual):
    assert open_routes(routes) == (status, actual)


def test_metrics_route_may_be_open_if_the_plan_exempts_it_from_the_key():
    plan = copy.deepcopy(PLAN)
    plan["instances"][0]["command"][-1] += "ExceptMetrics"
    assert open_routes({"/metrics": 200}, plan=plan)[0] == "passed"
    assert open_routes({"/pause": 405}, plan=plan)[0] == "failed"


def test_open_routes_are_listed_but_do_not_fail_if_no_key_is_set():
    assert open_routes({"/pause": 405}, key="") == ("passed", "control: /pause; health: /health")


def test_check_mode_sends_nothing():
    in_check_mode = context(PLAN, {"check_mode": True, "servers": []}, INPUTS)
    assert functional.request(in_check_mode) is None
    (check,) = functional.judge(in_check_mode)
    assert (check["status"], check["message"]) == (
        "not_run", "Without --check, the run would send requests to the model.")
