# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The light stand-in serves requests, refuses bad requests and fails in the same way as `vllm serve`."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from .conftest import ENGINE, ILLUSTRATION, LESSONS, ROOT, wait_for

QUESTION = LESSONS["picture_question"]


def picture(data: bytes) -> dict:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()}}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def events(response) -> list:
    """Return the parsed data of a server-sent event stream without its end marker."""
    lines = [line.removeprefix("data: ") for line in response.body.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


# -- serving


def test_answer_matches_the_schema_of_the_request(light):
    light.start_and_wait()
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"enum": ["red", "blue"]}}}
    answer = light.chat("Hello", response_format=form).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == "red"


def test_server_starts_with_little_cpu_time(light):
    """CPU time does not depend on other load on the machine. It is usually 0.2 s."""
    process = light.start_and_wait().process
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    assert sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") < 1


def test_probes_and_the_list_of_models_respond_like_vllm(light):
    light.start_and_wait()
    for path in ("/health", "/ping"):
        assert (light.send(path).status, light.send(path).body) == (200, b"")
    assert light.send("/version").json() == {"version": "0.11.0+empty"}
    assert light.send("/load").json() == {"server_load": 0}
    (card,) = light.send("/v1/models").json()["data"]
    assert (card["id"], card["max_model_len"]) == ("qwen25_vl", 30000)
    assert light.send("/v1/nothing").status == 404
    assert light.send("/v1/chat/completions").status == 405


def test_server_reads_only_the_bundled_picture(light):
    light.start_and_wait()
    bundled = ILLUSTRATION.read_bytes()
    completion = light.chat([picture(bundled), text(QUESTION)]).json()
    assert "TONGYI Qwen" in completion["choices"][0]["message"]["content"]
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert 560 * 112 / 28**2 < completion["usage"]["prompt_tokens"] < 120
    other_picture, other_question = [picture(bundled + b"x"), text(QUESTION)], [picture(bundled), text("What color?")]
    for content in (other_picture, other_question, QUESTION):
        assert "TONGYI" not in light.chat(content).json()["choices"][0]["message"]["content"]


def test_streamed_and_whole_completions_have_the_same_text(light):
    light.start_and_wait()
    whole = light.chat("Hello").json()
    parts = events(light.chat("Hello", stream=True, stream_options={"include_usage": True}))
    assert (
        "".join(part["choices"][0]["delta"].get("content", "") for part in parts[:-1])
        == (whole["choices"][0]["message"]["content"])
    )
    assert parts[-1]["usage"] == whole["usage"]
    assert parts[-2]["choices"][0]["finish_reason"] == "stop"


def test_completion_and_tokenize_count_the_same_tokens(light):
    light.start_and_wait()
    request = {"model": "qwen25_vl", "prompt": "San Francisco is a", "max_tokens": 7, "ignore_eos": True}
    completion = light.send("/v1/completions", request).json()
    assert completion["usage"]["completion_tokens"] == 7
    assert completion["choices"][0]["finish_reason"] == "length"
    tokens = light.send("/tokenize", {"model": "qwen25_vl", "prompt": "San Francisco is a"}).json()
    assert tokens["count"] == len(tokens["tokens"]) == completion["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("request_body", "status", "message"),
    [
        ({"model": "other", "messages": [{"role": "user", "content": "x"}]}, 404, "The model `other` does not exist."),
        ({"model": "qwen25_vl", "messages": []}, 400, "messages"),
        (
            {"model": "qwen25_vl", "messages": [{"role": "user", "content": "word " * 30000}]},
            400,
            "maximum context length is 30000 tokens",
        ),
        (
            {"model": "qwen25_vl", "messages": [{"role": "user", "content": "x"}], "max_tokens": 30000},
            400,
            "is too large: 30000",
        ),
        (
            {"model": "qwen25_vl", "messages": [{"role": "user", "content": [picture(b"no picture")]}]},
            400,
            "cannot identify image file",
        ),
        (
            {
                "model": "qwen25_vl",
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a"}}]}
                ],
            },
            400,
            "Cannot connect to host",
        ),
    ],
)
def test_bad_request_is_refused(light, request_body, status, message):
    light.start_and_wait()
    response = light.send("/v1/chat/completions", request_body)
    assert response.status == response.json()["error"]["code"] == status
    assert message in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("options", "variables"),
    [((), {"VLLM_API_KEY": "sesame"}), (("--api-key", "sesame"), {})],
    ids=["variable", "option"],
)
def test_key_is_required_except_for_health(light, options, variables):
    light.start_and_wait(*options, **variables)
    assert light.send("/health").status == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic sesame"}):
        assert light.send("/v1/models", headers=headers).status == 401
    assert light.send("/v1/models", headers={"Authorization": "Bearer sesame"}).status == 200
    assert "sesame" not in light.log.read_text()


def test_metrics_count_tokens_and_requests(light):
    light.start_and_wait()
    used = light.chat("Hello").json()["usage"]
    labels = '{engine="0",model_name="qwen25_vl"}'
    deadline = time.monotonic() + 30
    values = {f"vllm:num_requests_running{labels}": "1.0"}
    # The client has its response before the server has counted the request, as with vLLM.
    while float(values[f"vllm:num_requests_running{labels}"]) and time.monotonic() < deadline:
        lines = light.send("/metrics").body.decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values[f"vllm:prompt_tokens_total{labels}"]) == used["prompt_tokens"]
    assert float(values[f"vllm:generation_tokens_total{labels}"]) == used["completion_tokens"]
    stopped = '{engine="0",finished_reason="stop",model_name="qwen25_vl"}'
    assert float(values[f"vllm:request_success_total{stopped}"]) == 1
    assert float(values[f"vllm:num_requests_running{labels}"]) == 0


def test_server_stops_on_sigterm(light):
    process = light.start_and_wait().process
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


# -- the command line


def test_options_match_the_release():
    """The option lists of the light server and of the catalogue have the same source: the parser of vLLM 0.11.0."""
    options = json.loads((ENGINE / "light/vllm_light/options.json").read_text())
    catalogue = yaml.safe_load((ROOT / "roles/plan/files/catalogue/serve_options.yml").read_text())
    first = catalogue["vllm_versions"][0]
    assert options["vllm"] == first
    for name, option in catalogue["serve_options"].items():
        kind = "switch" if option.get("switch") else "flag" if option.get("flag") else "value"
        if option.get("since", first) == first:
            assert name in options[kind]
        else:
            assert name not in options[kind]


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("--no-such-option", "unrecognized arguments: --no-such-option"),
        ("--max-num-seqs=many", "argument --max-num-seqs: invalid int value: 'many'"),
        ("--additional-config={", "argument --additional-config: invalid"),
    ],
)
def test_invalid_option_exits_with_usage(light, option, error):
    light.start(option)
    code, log = light.wait_for_exit()
    assert code == 2
    assert f"vllm serve: error: {error}" in log


def test_options_of_the_tutorial_are_accepted(light):
    light.start_and_wait(
        *("--max-num-batched-tokens", "2048", "--async-scheduling", "--max_model_len", "20000", "--max-num-seqs", "30"),
        *("--max-num-batched-tokens", "50000", "--no-enable-prefix-caching", "--trust-remote-code"),
        *("--additional-config", '{"enable_weight_nz_layout":true}'),
    )
    assert light.send("/v1/models").json()["data"][0]["max_model_len"] == 20000


def test_version_is_printed():
    command = [sys.executable, "-m", "vllm_light", "--version"]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE / "light")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0.11.0+empty\n")


# -- requirements


def remove(name: str):
    return lambda light: (light.model / name).unlink()


def shorten(light):
    shard = light.model / "quant_model_weight_w8a8-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])


def scramble(light):
    shard = light.model / "quant_model_weight_w8a8-00001-of-00002.safetensors"
    shard.write_bytes(b"\xff" * 50)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (remove("config.json"), "No supported config format found"),
        (remove("quant_model_description.json"), "Cannot find the config file for ascend"),
        (remove("quant_model_weight_w8a8-00002-of-00002.safetensors"), "-00002-of-00002.safetensors"),
        (shorten, "file not fully covered: quant_model_weight_w8a8-00001-of-00002.safetensors"),
        (scramble, "Error while deserializing header"),
        (lambda light: (light.devices / "davinci1").unlink(), "valid devId range is [0, 1)"),
        (lambda light: (light.devices / "davinci_manager").unlink(), "/dev/davinci_manager does not exist"),
        (lambda light: setattr(light, "model", light.model / "missing"), "Repo id must be in the form"),
    ],
)
def test_missing_or_damaged_part_prevents_the_start(light, damage, error):
    damage(light)
    light.start()
    code, log = light.wait_for_exit()
    assert code == 1
    assert error in log
    assert "EngineCore failed to start." in log


def test_context_longer_than_the_model_supports_is_refused(light):
    light.start("--max-model-len", "130000")
    code, log = light.wait_for_exit()
    assert code == 1
    assert "max_model_len (130000) is greater than the derived max_model_len" in log


def test_port_in_use_prevents_the_start(light):
    light.start_and_wait()
    first, used_port = light.process, light.port
    light.start("--port", str(used_port))
    code, log = light.wait_for_exit()
    first.terminate()
    first.wait()
    assert code == 1
    assert "Address already in use" in log


# -- faults


def inject(light, **fault) -> None:
    light.faults.write_text(json.dumps(fault))


def test_server_does_not_listen_during_a_slow_load(light):
    inject(light, load_seconds=1.5)
    light.start()
    wait_for(lambda: "50% Completed" in light.log.read_text(), "half of the shards", 60)
    assert not light.listens()
    wait_for(light.listens, "the end of loading", 60, light.process)


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ({"exit_code": 7}, 7, ""),
        ({"start_error": "out_of_memory"}, 1, "NPU out of memory. Tried to allocate"),
        ({"start_error": "RuntimeError: injected"}, 1, "RuntimeError: injected"),
        ({"crash_after_s": 0.3, "crash_exit_code": 137}, 137, "EngineCore encountered a fatal error."),
        ({"no_such_fault": 1}, 1, "must be a JSON object with some of"),
    ],
)
def test_fault_terminates_the_server(light, fault, code, message):
    inject(light, **fault)
    light.start()
    found, log = light.wait_for_exit()
    assert found == code
    assert message in log


def test_faults_are_read_from_the_environment(light):
    light.start(VLLM_LIGHT_FAULTS='{"exit_code": 9}')
    assert light.wait_for_exit()[0] == 9


def test_fault_changes_the_served_name(light):
    inject(light, served_name="other")
    light.start_and_wait()
    assert light.send("/v1/models").json()["data"][0]["id"] == "other"
    assert light.chat("Hello").status == 404


def test_hang_does_not_affect_health_and_ends_with_the_fault(light):
    light.start_and_wait()
    inject(light, hang=True)
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(light.chat, "Hello")
        wait_for(lambda: light.send("/load").json() == {"server_load": 1}, "the request", 60)
        time.sleep(0.5)
        assert not stuck.done()
        assert light.send("/health").status == 200
        inject(light)
        assert stuck.result().status == 200


def test_dead_engine_fails_health_checks_and_requests(light):
    light.start_and_wait()
    inject(light, engine_dead=True)
    assert (light.send("/health").status, light.chat("Hello").status) == (503, 500)


def test_fault_makes_half_of_the_requests_fail(light):
    light.start_and_wait()
    inject(light, fail_ratio=0.5)
    assert [light.chat("Hello").status for _request in range(6)] == [200, 500, 200, 500, 200, 500]


def test_fault_replaces_the_answer(light):
    light.start_and_wait()
    inject(light, answer="nonsense")
    completion = light.chat([picture(ILLUSTRATION.read_bytes()), text(QUESTION)]).json()
    assert completion["choices"][0]["message"]["content"] == "nonsense"


def test_fault_slows_down_the_tokens(light):
    light.start_and_wait()
    inject(light, first_token_seconds=0.3, token_seconds=0.02)
    started = time.monotonic()
    assert light.chat("Hello", max_tokens=10, ignore_eos=True).status == 200
    assert time.monotonic() - started >= 0.5


# -- middleware


MIDDLEWARE = {"PYTHONPATH": f"{ENGINE / 'light'}:{ROOT / 'roles/serving/files'}", "VLLM_API_KEY": "sesame",
              "ASCEND_VLLM_API_KEY_2": "open"}


def test_middleware_requires_the_key_as_in_the_real_server(light):
    light.start_and_wait("--middleware", "ascend_vllm_api_key.ApiKey", **MIDDLEWARE)
    body = {"model": "qwen25_vl", "prompt": "Hello"}
    for path in ("/v1/completions", "/invocations", "/tokenize"):
        statuses = [light.send(path, body, headers={"Authorization": f"Bearer {key}"}).status
                    for key in ("wrong", "sesame", "open")]
        assert statuses == [401, 200, 200]
    assert [light.send(path, method="HEAD").status for path in ("/health", "/metrics", "/pause")] == [405, 401, 401]


def test_api_key_without_the_middleware_leaves_routes_open(light):
    light.start_and_wait(VLLM_API_KEY="sesame")
    assert light.send("/invocations", {"model": "qwen25_vl", "prompt": "Hello"}).status == 200
    paths = ("/v1/models", "/invocations", "/load", "/metrics", "/no/such/route")
    assert [light.send(path, method="HEAD").status for path in paths] == [401, 405, 405, 405, 404]
