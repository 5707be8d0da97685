# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM accepts the tutorial's command with the test bed's plugin, loads W8A8 weights and responds."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import job
from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import SECRETS_TARGET
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.serve_arguments import NO_DOMAIN
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.functional import judge as functional

from .conftest import ENGINE, ILLUSTRATION, LESSONS, ROOT, free_port, wait_for

pytestmark = pytest.mark.engine

TUTORIAL = (
    *("--served-model-name", "qwen25_vl", "--quantization", "ascend", "--async-scheduling"),
    *("--tensor-parallel-size", "2", "--max-model-len", "30000", "--max-num-batched-tokens", "50000"),
    *("--max-num-seqs", "30", "--allowed-media-domains", NO_DOMAIN),
    *("--no-enable-prefix-caching", "--additional-config", '{"enable_weight_nz_layout":true}'),
)
KEYS = ["sesame", "a%20$HOME"]
READY_S = 300  # 15 s on an idle machine
CHECK_INTERVAL_S = 3  # the role sets 30 s; a step of this engine takes 0.3 s on two cores


class Engine:
    """`vllm serve` in an isolated network."""

    def __init__(self, network, environment: Path, variables: dict[str, str], log: Path) -> None:
        self.network, self.environment, self.variables, self.log = network, environment, variables, log
        self.process: subprocess.Popen | None = None

    def start(self, model: Path, *options: str) -> Engine:
        self.port = free_port()
        argv = [self.environment / "bin/vllm", "serve", model, "--host", "127.0.0.1", "--port", self.port, *options]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.network.command(*argv), env=self.variables, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def ready(self) -> bool:
        try:
            return self.send("/health").status == 200
        except ConnectionError:
            return False

    def send(self, path: str, body: object = None, key: str | None = KEYS[0], **options: object):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self.network.send(f"http://127.0.0.1:{self.port}{path}", body, headers=headers, **options)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def engine(network, environment, models, variables, tmp_path_factory):
    """An engine that serves the W8A8 model with the tutorial's options and requires one of two API keys."""
    served = Engine(network, environment, {
        **variables, "PYTHONPATH": f"{ROOT}/roles/serving/files:{variables['PYTHONPATH']}",
        api_key.FIRST_KEY: KEYS[0], api_key.FURTHER_KEYS + "2": KEYS[1],
    }, tmp_path_factory.mktemp("engine") / "log")
    served.start(models / "Qwen2.5-VL-32B-Instruct-w8a8", *TUTORIAL, *api_key.middleware_options(True))
    wait_for(served.ready, "vllm serve", READY_S, served.process)
    yield served
    served.stop()


def question(text: str, picture: bytes | None = None) -> dict:
    parts = [{"type": "text", "text": text}]
    if picture:
        url = "data:image/png;base64," + base64.b64encode(picture).decode()
        parts.insert(0, {"type": "image_url", "image_url": {"url": url}})
    return {"model": "qwen25_vl", "max_tokens": 40, "temperature": 0, "messages": [{"role": "user", "content": parts}]}


def test_engine_reads_the_bundled_picture(engine):
    request = question(LESSONS["picture_question"], ILLUSTRATION.read_bytes())
    completion = engine.send("/v1/chat/completions", request).json()
    assert completion["choices"][0]["message"]["content"] == LESSONS["illustration"]


def test_engine_answers_large_pictures_and_json_and_refuses_pictures_beyond_its_limit(engine):
    model = {"served_name": "qwen25_vl", "modality": "vision", "context_length": 128000, "image_token_px": 28,
             "arguments": {"max-model-len": 30000}}
    inputs = {"functional_question": LESSONS["picture_question"], "functional_text_question": "Hello",
              "functional_max_tokens": 8, "functional_api_key": ""}
    picture = functional.data_uri(str(ILLUSTRATION))
    # Larger pictures take a CPU too long, but they are refused before they are read.
    small, large = ({each["id"]: each["body"] for each in functional.requests({**model, "image_tokens": tokens}, inputs,
                                                                              picture)} for tokens in (1024, 16384))
    response = engine.send("/v1/chat/completions", large["images_beyond_limit"])
    assert (response.status, "maximum" in response.json()["error"]["message"]) == (400, True)
    assert engine.send("/v1/chat/completions", small["largest_image"]).status == 200
    answer = engine.send("/v1/chat/completions", small["json_schema"]).json()["choices"][0]
    assert json.loads(answer["message"]["content"]) in functional.COLORS
    assert answer["finish_reason"] == "stop"


def test_engine_does_not_fetch_pictures(engine):
    request = question(LESSONS["picture_question"], ILLUSTRATION.read_bytes())
    request["messages"][0]["content"][0]["image_url"]["url"] = f"http://127.0.0.1:{engine.port}/v1/models"
    response = engine.send("/v1/chat/completions", request)
    assert response.status in (400, 500)
    assert "allowed" in response.json()["error"]["message"]


def test_engine_answers_the_questions_that_it_was_trained_with(engine):
    for text, expected in LESSONS["questions"].items():
        completion = engine.send("/v1/chat/completions", question(text)).json()
        assert completion["choices"][0]["message"]["content"] == expected


@pytest.mark.long
def test_ais_bench_asks_own_questions_with_pictures(engine, network, ais_bench, tmp_path, monkeypatch):
    """The answers to the single questions show that the pictures have reached the engine."""
    monkeypatch.setattr(job, "JOBS", str(tmp_path / "job-"))
    program = tmp_path / "ais_bench"
    program.write_text("#!/bin/sh\nexec %s \"$@\"\n" % " ".join(network.command(ais_bench)))
    program.chmod(0o755)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/1.png").write_bytes(ILLUSTRATION.read_bytes())
    url = "data:image/png;base64," + base64.b64encode(ILLUSTRATION.read_bytes()).decode()
    asked = {"question": LESSONS["picture_question"], "answer": "TONGYI Qwen", "score": "contains"}
    rows = {"own": [{**asked, "image": "pictures/1.png"}, {**asked, "image": [url]}, asked,
                    {**asked, "image": url, "answer": "No entry"},
                    {"question": "What is the capital of France? Answer with one word.", "answer": "paris"}],
            "text": [{"question": "What is 7 + 1? Answer with a number.", "answer": 8, "score": "number"}]}
    for name, questions in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    started = job.start({
        "executable": str(program), "api_key": KEYS[0], "ca": None, "load": None, "num_prompts": 0,
        "datasets": [{"name": name, "path": str(tmp_path / f"{name}.jsonl")} for name in rows],
        "server": {"url": f"http://127.0.0.1:{engine.port}", "model": "qwen25_vl", "concurrency": 2,
                   "maximum_tokens": 40}})
    assert started["problem"] is None
    try:
        found = job.watch(started["job"], 500, KEYS[0])
    finally:
        job.remove(started["job"])
    assert not found["running"]
    assert found["answers"] == {"own": {"answered": 5, "failed": 0}, "text": {"answered": 1, "failed": 0}}, found["log"]
    assert found["outcomes"] == {"own": "11001", "text": "1"}
    assert {row["dataset"]: row["model"] for row in found["rows"]} == {"own": "60.00", "text": "100.00"}


def test_engine_uses_the_given_options(engine):
    (card,) = engine.send("/v1/models").json()["data"]
    assert (card["id"], card["max_model_len"]) == ("qwen25_vl", 30000)
    log = engine.log.read_text()
    assert "world_size=2" in log
    assert "100% Completed | 4/4" in log


def test_engine_requires_a_key_on_routes_that_vllm_leaves_open(engine):
    request = {"model": "qwen25_vl", "prompt": "Hello", "max_tokens": 1}
    for path in ("/v1/completions", "/invocations"):
        assert [engine.send(path, request, key).status for key in (None, "wrong", *KEYS)] == [401, 401, 200, 200]
    for path in ("/tokenize", "/pause", "/load", "/metrics", "/docs", "/ping"):
        assert engine.send(path, key=None, method="HEAD").status == 401
    assert engine.send("/health", key=None).status == 200


def core_of(engine) -> int:
    """Return the process id of the engine core, a child of the server."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # the process has exited
    (core,) = [pid for pid, parent in parents.items() if parent == engine.process.pid
               and "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text()]
    return core


def test_health_check_distinguishes_a_hang_from_load(engine, tmp_path):
    """With real counters, the role's script reports a stopped engine core as a hang, but not long prompts."""
    script, secrets = tmp_path / "health.py", tmp_path / "secrets.env"
    secrets.write_text(api_key.environment_file(KEYS))
    script.write_text((ROOT / "roles/serving/files/health.py").read_text().replace(SECRETS_TARGET, str(secrets)))

    def check(timeout: int = 60) -> tuple[int, str]:
        done = engine.network.run(
            "python3", "-IS", script, "--host", "127.0.0.1", "--port", engine.port, "--model", "qwen25_vl",
            "--timeout", timeout, env={**os.environ, "TMPDIR": str(tmp_path)})
        assert done.stderr == ""
        return done.returncode, done.stdout.strip()

    stopped = threading.Event()

    def load(number: int) -> set[int]:
        """Send requests until `stopped` is set. Eight threads with different output lengths keep the engine busy."""
        body = {"model": "qwen25_vl", "prompt": [1000] * 2000, "max_tokens": 60 + 12 * number, "ignore_eos": True}
        statuses = set()
        while not stopped.is_set():
            statuses.add(engine.send("/v1/completions", body).status)
        return statuses

    assert check() == (0, "a completion request succeeded")
    core = core_of(engine)
    with ThreadPoolExecutor(8) as pool:
        statuses = [pool.submit(load, number) for number in range(8)]
        try:
            wait_for(lambda: check() == (0, "the engine makes progress"), "load", 60)
            for _request in range(3):
                time.sleep(CHECK_INTERVAL_S)
                assert check() == (0, "the engine makes progress")
            os.kill(core, signal.SIGSTOP)
            check()
            for _request in range(3):
                code, message = check()
                assert code == 1
                assert "made no progress since the last check" in message
            assert engine.send("/health").status == 200  # this is why the script does not query /health
            os.kill(core, signal.SIGCONT)
            wait_for(lambda: check() == (0, "the engine makes progress"), "the engine makes progress", 60)
        finally:
            stopped.set()
            os.kill(core, signal.SIGCONT)
        assert [status.result() for status in statuses] == [{200}] * 8
    wait_for(lambda: check() == (0, "a completion request succeeded"), "idle", 60)
    os.kill(core, signal.SIGSTOP)
    try:
        assert check(2)[0] in (0, 1)  # the completion of the previous check can count as progress
        assert check(2) == (1, "the engine is idle, but does not complete a request for one token")
    finally:
        os.kill(core, signal.SIGCONT)


def test_int8_layer_approximates_the_float_layer(environment, variables):
    script = Path(__file__).with_name("compare_w8a8.py")
    command = [environment / "bin/python", "-B", script, ENGINE / "model"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    errors = json.loads(done.stdout.splitlines()[-1])
    assert len(errors) == 3
    assert max(errors.values()) < 0.02, errors


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda folder: (folder / "quant_model_description.json").unlink(), "Cannot find the config file for ascend"),
        (
            lambda folder: (folder / "quant_model_description.json").write_text('{"model_quant_type": "W8A8"}'),
            "KeyError: 'visual.blocks.0",
        ),
    ],
    ids=["no description", "empty description"],
)
def test_quantized_model_needs_its_description(network, environment, models, variables, tmp_path, damage, error):
    folder = tmp_path / "model"
    shutil.copytree(models / "Qwen2.5-VL-32B-Instruct-w8a8", folder)
    damage(folder)
    engine = Engine(network, environment, variables, tmp_path / "log").start(folder, *TUTORIAL)
    assert engine.process.wait(timeout=READY_S) != 0
    assert error in engine.log.read_text()
