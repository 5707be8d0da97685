# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container's health check: a hung engine shows, load and a starting server do not."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import container
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.engine_case import hanging_server
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

SCRIPT = ROOT / "roles/serving/files/health.py"
_spec = importlib.util.spec_from_file_location("serving_health", SCRIPT)
health = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(health)


def test_plan_knows_the_script():
    """Another script has to be another plan, or running containers would keep the old one."""
    assert hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:12] == container.HEALTH_DIGEST


def engine(pending=0, generated=0, prompts=0, cache=0.0, steps=0):
    return {"pending": float(pending), "signs": [float(generated), float(prompts), float(steps), float(cache)]}


METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="q"} 2.0
vllm:num_requests_waiting{engine="0",model_name="q"} 1.0
vllm:num_requests_running{engine="1",model_name="q"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="q"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="q"} 1.5e+03
vllm:generation_tokens_total{engine="1",model_name="q"} 7.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="q"} 3.0
python_gc_objects_collected_total{generation="0"} 99.0
"""


def test_metrics_are_read_by_engine():
    assert health.engines(METRICS) == {"0": engine(3, prompts=1500, cache=0.25), "1": engine(0, generated=7)}
    assert health.engines('vllm:num_requests_running{model_name="q"} 1.0\n') == {"0": engine(1)}
    assert health.engines("") == {}


IDLE, DONE = engine(), engine(generated=10)


@pytest.mark.parametrize(("why", "before", "now", "completion", "after", "goes_on"), [
    ("the first look at a busy engine says nothing yet", None, engine(400), None, None, True),
    ("tokens come", engine(3, 10), engine(3, 11), None, None, True),
    ("a long prompt fills the cache before its first token", engine(1, cache=0.1), engine(1, cache=0.2), None, None,
     True),
    ("the work before was finished, this is new", IDLE, engine(1), None, None, True),
    ("the same number of requests, other tokens", engine(400, prompts=1), engine(400, prompts=2), None, None, True),
    ("work and no sign of life", engine(3, 10), engine(3, 10), None, None, False),
    ("requests that arrive are no sign of life", engine(3, 10), engine(50, 10), None, None, False),
    ("an idle engine answers", IDLE, IDLE, 200, None, True),
    ("the first look at an idle engine asks, too", None, IDLE, 200, None, True),
    ("an idle engine does not answer", IDLE, IDLE, None, IDLE, False),
    ("nor does the API server by then", IDLE, IDLE, None, None, False),
    ("load came while the completion waited", IDLE, IDLE, None, engine(30, 5), True),
    ("load came, but nothing goes on", IDLE, IDLE, None, engine(30), False),
    ("it worked since the last look, so nobody asks", IDLE, DONE, None, None, True),
    ("the engine is dead", IDLE, IDLE, 500, None, False),
    ("a key that is refused is no hang", IDLE, IDLE, 401, None, True),
])
def test_decide(why, before, now, completion, after, goes_on):
    ready = {"0": before} if before else {}
    assert health.decide(ready, {"0": now}, completion, {"0": after} if after else None)[0] is goes_on, why


def test_one_hung_engine_of_several_is_named():
    before = {"0": engine(2, 10), "1": engine(4, 20)}
    assert health.decide(before, {"0": engine(2, 11), "1": engine(4, 20)}) == (
        False, "engine 1 has 4 requests and did nothing since the last look")


def test_dead_api_and_no_metrics():
    assert health.decide({}, None)[0] is False
    assert health.decide({}, {})[0] is True


@pytest.mark.parametrize(("failures", "ready", "restart_after", "expected"), [
    (9, True, 10, None), (10, True, 10, signal.SIGTERM), (11, True, 10, signal.SIGTERM), (12, True, 10, signal.SIGKILL),
    (99, True, 0, None),    # not asked for
    (99, False, 10, None),  # still starting
])
def test_only_a_server_that_was_ready_is_ended(failures, ready, restart_after, expected):
    assert health.action({"failures": failures, "ready": ready}, restart_after) == expected


def test_state_is_of_one_life(tmp_path):
    path = str(tmp_path / "state")
    state = health.recall(path, "100")
    assert state == {"life": "100", "ready": False, "failures": 0, "engines": {}}
    health.keep(path, dict(state, failures=3))
    assert health.recall(path, "100")["failures"] == 3
    assert health.recall(path, "200")["failures"] == 0
    (tmp_path / "state").write_text("{")
    assert health.recall(path, "100")["failures"] == 0


def test_life_is_the_start_of_a_process():
    assert health.life("/proc/self/stat").isdigit()


@pytest.mark.parametrize(("text", "key"), [
    ("VLLM_API_KEY=plain\n", "plain"), ("VLLM_API_KEY='a b$c'\n", "a b$c"), ("OTHER=1\n", None), ("'", None)])
def test_key_is_read_as_the_shell_reads_it(tmp_path, text, key):
    (tmp_path / "secrets.env").write_text(text)
    assert health.api_key(str(tmp_path / "secrets.env")) == key


def test_no_file_is_no_key(tmp_path):
    assert health.api_key(str(tmp_path / "none")) is None


@pytest.fixture
def server(monkeypatch, tmp_path):
    with hanging_server() as running:
        monkeypatch.setattr(health, "STATE", str(tmp_path / "state"))
        monkeypatch.setattr(health, "life", lambda: "1")
        monkeypatch.setattr(health, "api_key", lambda: "sesame")
        yield running


def probe(server, *words):
    return health.main(["--host", "127.0.0.1", "--port", str(server.server_address[1]), "--model", "q",
                        "--timeout", "0.3", *words])


def test_real_server_from_health_to_hang_to_restart(server, monkeypatch, capsys):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    assert probe(server, "--restart-after", "2") == 0
    assert server.keys == ["Bearer sesame"]
    server.hangs = True
    assert probe(server, "--restart-after", "2") == 0  # the completion of the first look was its last sign of life
    assert [probe(server, "--restart-after", "2") for _time in range(4)] == [1] * 4
    assert sent == [(1, signal.SIGTERM), (1, signal.SIGTERM), (-1, signal.SIGKILL)]
    assert "sesame" not in capsys.readouterr().out
    server.hangs = False
    assert probe(server, "--restart-after", "2") == 0
    assert json.loads(Path(health.STATE).read_text("utf-8"))["failures"] == 0


def test_nobody_listens(server, monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a server that was never ready must not be ended"))
    assert health.main(["--host", "127.0.0.1", "--port", "1", "--model", "q", "--timeout", "1",
                        "--restart-after", "1"]) == 1
