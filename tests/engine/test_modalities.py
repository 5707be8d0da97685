# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The functional stage with the real vLLM and tiny models that generate text, compute embeddings and rank documents."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.functional import judge as functional
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context

from .conftest import ROOT, wait_for
from .test_engine import READY_S, Engine

pytestmark = [pytest.mark.engine, pytest.mark.long]

INPUTS = {"functional_image": "", "functional_question": "", "functional_expected_words": [],
          "functional_text_question": "Name the three primary colours.", "functional_max_tokens": 64,
          "functional_timeout_s": 60, "functional_api_key": ""}
PARSERS = {"reasoning-parser": "qwen3", "tool-call-parser": "hermes", "enable-auto-tool-choice": True}
RERANKER = CATALOGUE["models"]["qwen3_reranker_8b"]["arguments"]["hf-overrides"]
OPTIONS = {
    "text": ("--reasoning-parser", "qwen3", "--tool-call-parser", "hermes", "--enable-auto-tool-choice"),
    "embedding": ("--runner", "pooling"),
    "rerank": ("--runner", "pooling", "--hf-overrides", json.dumps(RERANKER)),
}


@pytest.fixture(scope="module", params=OPTIONS)
def served(request, network, environment, variables, tmp_path_factory):
    """A model that is served, as (model of a plan, function that sends requests and judges the responses)."""
    folder = tmp_path_factory.mktemp("tiny")
    script = Path(__file__).with_name("tiny_models.py")
    subprocess.run([environment / "bin/python", script, request.param, folder / "model"], check=True)
    engine = Engine(network, environment, variables, folder / "log").start(
        folder / "model", "--served-model-name", "tiny", "--max-model-len", "2048", "--enforce-eager",
        "--max-num-seqs", "4", *OPTIONS[request.param])
    wait_for(engine.ready, "vllm serve", READY_S, engine.process)
    model = {"served_name": "tiny", "modality": request.param, "context_length": 2048, "embedding_size": 512,
             "arguments": PARSERS if request.param == "text" else {}}

    def send(requests):
        paths = {**os.environ, "PYTHONPATH": str(ROOT / "playbooks/collections")}
        done = network.run(sys.executable, Path(__file__).with_name("send_requests.py"), env=paths, input=json.dumps(
            {"url": f"http://127.0.0.1:{engine.port}", "requests": requests}))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    yield model, send
    engine.stop()


def failed_checks(model, server):
    """Return {check: what was found} of the failed checks on the responses of a server."""
    plan = {"model": model, "group": None, "ca": None, "release": {"routes": {}}, "instances": [
        {"name": "tiny", "url": "", "serves": True, "command": []}]}
    found = functional.judge(context(plan, {"servers": [server]}, INPUTS))
    assert {check["status"] for check in found} <= {"passed", "failed", "not_run"}
    return {check["id"]: check["actual"] for check in found if check["status"] == "failed"}


def test_model_of_each_modality_passes_and_each_check_fails_on_a_fault(served):
    model, send = served
    requests = functional.requests(model, INPUTS, "")
    server = send(requests)
    assert failed_checks(model, server) == {}
    by_id = {each["id"]: copy.deepcopy(each) for each in requests}
    faults = {
        "reasoning": lambda body: body["chat_template_kwargs"].update(enable_thinking=False),
        "tool_call": lambda body: body.pop("tools"),
        "streamed_tool_call": lambda body: body.pop("tools"),
        "json_schema": lambda body: body.pop("response_format"),
        "embedding": lambda body: body.update(input=body["input"][:1]),
        "similarity": lambda body: body["input"].append(body["input"].pop(1)),
        "ranking": lambda body: body["documents"].reverse(),
    }
    for check, fault in faults.items():
        name = "embedding" if check == "similarity" else check
        if name in by_id:
            request = copy.deepcopy(by_id[name])
            fault(request["body"])
            wrong = {**server, "answers": {**server["answers"], **send([request])["answers"]}}
            assert check in failed_checks(model, wrong)
    if model["modality"] == "embedding":
        assert "embedding" in failed_checks({**model, "embedding_size": 1024}, server)
