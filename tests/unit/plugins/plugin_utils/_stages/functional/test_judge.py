# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The functional stage sends requests to each server and checks the answers."""

from __future__ import annotations

import base64
import copy
import json
import struct

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.functional import judge as functional
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid_group
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context

INPUTS = {"functional_image": "", "functional_question": "What?", "functional_expected_words": ["TONGYI", "Qwen"],
          "functional_text_question": "Name colors.", "functional_max_tokens": 64, "functional_timeout_s": 60,
          "functional_api_key": "secret", "functional_waive": []}
MODEL = {"served_name": "qwen25_vl", "modality": "vision", "context_length": 128000, "image_tokens": 16384,
         "image_token_px": 28, "arguments": {
             "max-model-len": 30000, "reasoning-parser": "qwen3", "tool-call-parser": "hermes",
             "enable-auto-tool-choice": True}}
PLAN = {"model": MODEL, "group": None, "ca": "pem",
        "release": {"routes": {"/health": "health", "/invocations": "inference", "/metrics": "metrics",
                               "/pause": "control"}},
        "instances": [{"name": "vllm", "url": "http://10.0.0.1:8888", "serves": True,
                       "command": ["vllm", "serve", "--middleware", "ascend_vllm_api_key.ApiKey"]}]}
CALL = {"status": 200, "text": "", "tool_calls": [{"name": "get_weather", "arguments": '{"city": "Paris"}'}]}
SERVER = {
    "name": "vllm", "url": "http://10.0.0.1:8888", "models": {"status": 200, "models": ["qwen25_vl"]},
    "answers": {
        "text_answer": {"status": 200, "text": "red"},
        "image_answer": {"status": 200, "text": "The text is \"Tongyi QWEN\"."},
        "streaming": {"status": 200, "text": "TONGYI Qwen", "ended": True},
        "several_images": {"status": 200, "text": "both"},
        "largest_image": {"status": 200, "text": "black"},
        "images_beyond_limit": {"status": 400, "error": "too long"},
        "reasoning": {"status": 200, "text": "red", "reasoning": "Which colors are primary?"},
        "tool_call": CALL,
        "streamed_tool_call": {**CALL, "ended": True},
        "json_schema": {"status": 200, "text": ' "red"'},
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


# The checks of other modalities, and the one that names them.
POOLING = {"embedding", "similarity", "ranking", "features"}


def test_correct_answers_pass():
    others = dict.fromkeys((check.id for check in functional.CHECKS if check.id not in POOLING), "passed")
    assert judge() == {**others, "features": "not_run"}


@pytest.mark.parametrize(("check", "answer"), [
    ("text_answer", {"status": 200, "text": "  "}),
    ("text_answer", {"status": 500, "error": "broken"}),
    ("text_answer", {"status": None, "error": "timed out"}),
    ("image_answer", {"status": 200}),
    ("streaming", {"status": 200, "text": "TONGYI", "ended": False}),
    ("streaming", {"status": 200, "text": "TONGYI", "ended": True, "error": "EngineCore died"}),
    ("several_images", {"status": 400, "error": "at most 1 image"}),
    ("largest_image", {"status": 400, "error": "too long"}),
    ("images_beyond_limit", {"status": 200, "text": "black"}),
    ("images_beyond_limit", {"status": None, "error": "timed out"}),
    ("reasoning", {"status": 200, "text": "<think>Which?</think>red"}),
    ("reasoning", {"status": 200, "text": "Which?</think>red", "reasoning": "W"}),
    ("reasoning", {"status": 200, "text": "", "reasoning": "red", "finish_reason": "stop"}),
    ("tool_call", {"status": 200, "text": '<tool_call>{"name": "get_weather"}</tool_call>'}),
    ("tool_call", {**CALL, "tool_calls": [{"name": "get_weather", "arguments": '{"city": "Par'}]}),
    ("tool_call", {**CALL, "tool_calls": [{"name": "get_weather", "arguments": "[]"}]}),
    ("tool_call", {**CALL, "tool_calls": [{"name": "other", "arguments": '{"city": "Paris"}'}]}),
    ("tool_call", {**CALL, "status": 500}),
    ("streamed_tool_call", {**CALL, "ended": False}),
    ("json_schema", {"status": 200, "text": "red"}),
    ("json_schema", {"status": 200, "text": '"green"'}),
    ("json_schema", {"status": 200, "text": '["red"]'}),
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


def test_short_answer_may_consist_of_reasoning_only():
    assert judge(text_answer={"status": 200, "text": "", "reasoning": "Let me"})["text_answer"] == "passed"
    cut = {"status": 200, "text": "", "reasoning": "Let me", "finish_reason": "length"}
    assert judge(reasoning=cut)["reasoning"] == "passed"


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


def size_of(request):
    """Return the width and height of the last picture in a request, and the number of its pictures."""
    content = request["body"]["messages"][1]["content"]
    raw = base64.b64decode(content[-2]["image_url"]["url"].partition(",")[2])
    return (*struct.unpack(">II", raw[16:24]), len(content) - 1)


@pytest.mark.parametrize(("limit", "largest", "beyond"), [
    # A picture of 3584 x 3584 pixels has 128 * 128 = 16384 tokens, which is the maximum.
    (30000, (3584, 3584, 1), (3584, 3584, 2)), (9000, (28 * 93, 28 * 93, 1), (3584, 3584, 1)),
    (65535, (3584, 3584, 1), (3584, 3584, 4)), (65536, (3584, 3584, 1), None)])
def test_pictures_of_the_largest_allowed_size_and_beyond_the_limit_are_sent(tmp_path, limit, largest, beyond):
    model = {**MODEL, "arguments": {"max-model-len": limit}}
    found = sent(tmp_path, model)
    assert size_of(found["largest_image"]) == largest
    if beyond is None:
        assert "images_beyond_limit" not in found
    else:
        assert size_of(found["images_beyond_limit"]) == beyond
        assert list(found).index("images_beyond_limit") < list(found).index("text_answer")


def sent(tmp_path, model):
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\x89PNG")
    inputs = dict(INPUTS, functional_image=str(picture))
    requests = functional.request(context({**PLAN, "model": model}, inputs=inputs)).arguments["requests"]
    return {request["id"]: request for request in requests}


OF_PICTURES = {"image_answer", "several_images", "largest_image", "images_beyond_limit", "expected_words"}
OF_PARSERS = {"reasoning", "tool_call", "streamed_tool_call"}
OF_TEXT = {"text_answer", "streaming", "json_schema"} | OF_PARSERS
EMBEDDED = {"status": 200, "vectors": {"dimensions": [8] * 3, "norms": [1.0] * 3, "cosines": [1.0, 0.8, 0.3]}}


@pytest.mark.parametrize(("model", "skipped", "reason"), [
    ({"modality": "text"}, OF_PICTURES, "the model reads no pictures"),
    ({"arguments": {}}, OF_PARSERS | {"images_beyond_limit"}, "reasoning (the plan has no reasoning-parser)"),
    ({"arguments": {**MODEL["arguments"], "reasoning-parser": "minimax_m2_append_think"}}, {"reasoning"},
     "minimax_m2_append_think keeps"),
    ({"arguments": {**MODEL["arguments"], "limit-mm-per-prompt": {"image": 1}}},
     {"several_images", "images_beyond_limit"}, "allows one picture"),
    ({"arguments": {**MODEL["arguments"], "limit-mm-per-prompt": '{"image": {"count": 1}}'}},
     {"several_images", "images_beyond_limit"}, "allows one picture"),
    ({"image_tokens": None}, {"largest_image", "images_beyond_limit"}, "the catalogue has no image_tokens"),
    ({"modality": "embedding", "embedding_size": 8}, OF_PICTURES | OF_TEXT, "the model generates no text"),
    ({"modality": "rerank"}, OF_PICTURES | OF_TEXT | {"long_prompt"}, "the route takes no tokens"),
])
def test_features_that_the_model_lacks_are_not_requested_and_are_named(tmp_path, model, skipped, reason):
    model = {**MODEL, **model}
    found = sent(tmp_path, model)
    everything = {**SERVER["answers"], "embedding": EMBEDDED, "ranking": {"status": 200, "scores": [0.1, 0.9]}}
    if model["modality"] not in ("embedding", "rerank"):
        skipped = skipped | {"embedding", "ranking"}
    else:
        skipped = skipped | ({"ranking"} if model["modality"] == "embedding" else {"embedding"})
    assert set(found) == set(everything) - skipped
    assert ("image" in json.dumps(found)) == (model["modality"] == "vision")
    server = {**SERVER, "answers": {name: everything[name] for name in found}}
    if model["modality"] == "embedding":
        server["answers"]["long_prompt"] = EMBEDDED
    outcomes = {check["id"]: check for check in functional.judge(
        context({**PLAN, "model": model}, {"servers": [server]}, INPUTS))}
    assert reason in outcomes["features"]["message"]
    assert {check["status"] for name, check in outcomes.items() if name != "features"} == {"passed"}
    assert not skipped & set(outcomes)
    assert {"similarity", "ranking"} & set(outcomes) == {
        "embedding": {"similarity"}, "rerank": {"ranking"}}.get(model["modality"], set())


@pytest.mark.parametrize(("modality", "answer", "failed"), [
    ("embedding", {"norms": [1.0, 1.0, 3.0]}, {"embedding"}),
    ("embedding", {"dimensions": [8, 8, 4]}, {"embedding"}),
    ("embedding", {"dimensions": [4, 4, 4]}, {"embedding"}),
    ("embedding", {"dimensions": [8], "norms": [1.0], "cosines": [1.0]}, {"embedding", "similarity"}),
    ("embedding", {"cosines": [1.0, 0.5, 0.5]}, {"similarity"}),
    ("embedding", {"cosines": [1.0, 0.3, 0.8]}, {"similarity"}),
    ("embedding", None, {"embedding", "similarity"}),
    ("rerank", [0.9, 0.1], {"ranking"}),
    ("rerank", [0.5, 0.5], {"ranking"}),
    ("rerank", [0.5], {"ranking"}),
    ("rerank", None, {"ranking"}),
])
def test_wrong_vectors_and_rankings_fail(tmp_path, modality, answer, failed):
    model = {**MODEL, "modality": modality, "embedding_size": 8}
    answers = {name: SERVER["answers"].get(name, EMBEDDED) for name in sent(tmp_path, model)}
    if modality == "rerank":
        answers["ranking"] = {"status": 200, "scores": answer} if answer else {"status": 500, "error": "x"}
    else:
        answers["long_prompt"] = EMBEDDED
        answers["embedding"] = {"status": 200, "vectors": {**EMBEDDED["vectors"], **answer}} if answer else {
            "status": 404, "error": "no such route"}
    found = functional.judge(context({**PLAN, "model": model}, {"servers": [{**SERVER, "answers": answers}]}, INPUTS))
    assert {check["id"] for check in found if check["status"] == "failed"} == failed


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
