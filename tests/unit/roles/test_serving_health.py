# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check of a container detects a hung engine, and reports neither load nor a start as a hang."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import container
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.engine_case import hanging_server
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

SCRIPT = ROOT / "roles/serving/files/health.py"
_spec = importlib.util.spec_from_file_location("serving_health", SCRIPT)
health = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(health)


def test_script_has_the_digest_that_was_reviewed_for_its_version():
    """Set HEALTH_VERSION to the new digest if running containers must be replaced, and add a changelog fragment."""
    digest = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:12]
    assert (digest, container.HEALTH_VERSION) == ("fca8218a1678", "02e71bccf18a")


def engine(pending=0, generated=0, prompts=0, cache=0.0, steps=0):
    return {"pending": float(pending), "progress": [float(generated), float(prompts), float(steps), float(cache)]}


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


@pytest.mark.parametrize("value", ["abc", "1e999", "-inf", "nan", "-1", "1e300", "0x10", "1" * 400, ""])
def test_value_that_cannot_be_a_count_is_ignored(value):
    text = 'vllm:num_requests_running{engine="0"} %s\nvllm:num_requests_waiting{engine="1"} 2\n' % value
    assert health.engines(text) == {"1": engine(2)}


def test_metrics_are_read_per_engine():
    assert health.engines(METRICS) == {"0": engine(3, prompts=1500, cache=0.25), "1": engine(0, generated=7)}
    assert health.engines('vllm:num_requests_running{model_name="q"} 1.0\n') == {"0": engine(1)}
    assert health.engines("") == {}


IDLE, DONE = engine(), engine(generated=10)


@pytest.mark.parametrize(("case", "before", "now", "completion", "after", "healthy"), [
    ("the first check of a busy engine has no result yet", None, engine(400), None, None, True),
    ("tokens are generated", engine(3, 10), engine(3, 11), None, None, True),
    ("a long prompt fills the cache before its first token", engine(1, cache=0.1), engine(1, cache=0.2), None, None,
     True),
    ("earlier requests were finished, these are new", IDLE, engine(1), None, None, True),
    ("the same number of requests, more tokens", engine(400, prompts=1), engine(400, prompts=2), None, None, True),
    ("there are requests, but no progress", engine(3, 10), engine(3, 10), None, None, False),
    ("new requests are not progress", engine(3, 10), engine(50, 10), None, None, False),
    ("an idle engine completes a request", IDLE, IDLE, 200, None, True),
    ("the first check of an idle engine sends a completion, too", None, IDLE, 200, None, True),
    ("an idle engine does not complete a request", IDLE, IDLE, None, IDLE, False),
    ("neither an idle engine nor its API server responds", IDLE, IDLE, None, None, False),
    ("requests arrived while the completion waited", IDLE, IDLE, None, engine(30, 5), True),
    ("requests arrived, but there is no progress", IDLE, IDLE, None, engine(30), False),
    ("the engine made progress since the last check, so no completion is sent", IDLE, DONE, None, None, True),
    ("the engine is dead", IDLE, IDLE, 500, None, False),
    ("a refused key is not a hang", IDLE, IDLE, 401, None, True),
])
def test_health_is_decided_from_two_checks(case, before, now, completion, after, healthy):
    earlier = {"0": before} if before else {}
    found = health.decide(earlier, {"0": now}, completion, {"0": after} if after else None)
    assert found[0] is healthy, case


def test_reason_names_the_hung_engine():
    before = {"0": engine(2, 10), "1": engine(4, 20)}
    assert health.decide(before, {"0": engine(2, 11), "1": engine(4, 20)}) == (
        False, "engine 1 has 4 requests and made no progress since the last check")


def test_server_without_a_response_is_unhealthy_but_empty_metrics_are_not():
    assert health.decide({}, None)[0] is False
    assert health.decide({}, {})[0] is True


@pytest.mark.parametrize(("failures", "ready", "restart_after", "expected"), [
    (9, True, 10, None), (10, True, 10, signal.SIGTERM), (11, True, 10, signal.SIGTERM), (12, True, 10, signal.SIGKILL),
    (99, True, 0, None),    # not enabled
    (99, False, 10, None),  # still starting
])
def test_only_a_server_that_was_ready_is_terminated(failures, ready, restart_after, expected):
    assert health.signal_to_send({"failures": failures, "ready": ready}, restart_after) == expected


@pytest.mark.parametrize("text", [
    "{", "[]", '{"server": "100", "ready": true, "failures": 3}', "[" * 100000, '{"server": "100", "failures": "3"}',
    '{"server": "100", "ready": true, "failures": 3, "engines": {"0": {"pending": "1", "progress": []}}}',
    '{"server": "100", "ready": true, "failures": 3, "engines": {"0": 5}}',
    '{"life": "100", "ready": true, "failures": 3, "engines": {}}'])
def test_state_of_another_server_and_damaged_state_are_ignored(tmp_path, text):
    path = str(tmp_path / "state")
    state = health.read_state(path, "100")
    assert state == {"server": "100", "ready": False, "failures": 0, "engines": {}}
    health.write_state(path, dict(state, failures=3))
    assert health.read_state(path, "100")["failures"] == 3
    assert health.read_state(path, "200")["failures"] == 0
    (tmp_path / "state").write_text(text)  # interrupted, or written by an earlier version
    assert health.read_state(path, "100")["failures"] == 0


def test_start_time_of_a_process_is_read():
    assert health.start_time("/proc/self/stat").isdigit()


@pytest.mark.parametrize(("text", "key"), [
    ("VLLM_API_KEY=plain\n", "plain"), ("VLLM_API_KEY='a b$c'\n", "a b$c"), ("OTHER=1\n", None), ("'", None)])
def test_key_is_read_as_the_shell_reads_it(tmp_path, text, key):
    (tmp_path / "secrets.env").write_text(text)
    assert health.api_key(str(tmp_path / "secrets.env")) == key


def test_key_is_none_without_a_file(tmp_path):
    assert health.api_key(str(tmp_path / "none")) is None


@pytest.fixture
def server(monkeypatch, tmp_path):
    with hanging_server() as running:
        monkeypatch.setattr(health, "STATE", str(tmp_path / "state"))
        monkeypatch.setattr(health, "start_time", lambda: "1")
        monkeypatch.setattr(health, "api_key", lambda: "sesame")
        yield running


def test_metrics_are_read_with_the_key(server):
    server.metrics_key = "Bearer sesame"
    port = server.server_address[1]
    assert health.Api("127.0.0.1", port, 1, "sesame").metrics() is not None
    assert health.Api("127.0.0.1", port, 1, None).metrics() is None


def test_server_with_tls_is_checked_even_if_its_certificate_has_expired(tmp_path):
    """Clients refuse such a server, but its engine does not hang."""
    with hanging_server(Authority(tmp_path).issue("server", "a.example", -1)) as server:
        port = server.server_address[1]
        assert health.Api("127.0.0.1", port, 5, "sesame", health.ssl._create_unverified_context()).metrics() is not None
        assert health.Api("127.0.0.1", port, 1, "sesame").metrics() is None


def test_invalid_key_is_not_printed(server, capfd):
    assert health.Api("127.0.0.1", server.server_address[1], 1, "sesame\n").metrics() is None
    assert "sesame" not in "".join(capfd.readouterr())


def probe(server, *words):
    return health.main(["--host", "127.0.0.1", "--port", str(server.server_address[1]), "--model", "q",
                        "--timeout", "0.3", *words])


def test_server_that_hangs_after_it_was_ready_is_terminated(server, monkeypatch, capsys):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    assert probe(server, "--restart-after", "2") == 0
    assert server.keys == ["Bearer sesame"]
    server.hangs = True
    assert probe(server, "--restart-after", "2") == 0  # the completion of the first check counts as progress
    assert [probe(server, "--restart-after", "2") for _time in range(4)] == [1] * 4
    assert sent == [(1, signal.SIGTERM), (1, signal.SIGTERM), (-1, signal.SIGKILL)]
    assert "sesame" not in capsys.readouterr().out
    server.hangs = False
    assert probe(server, "--restart-after", "2") == 0
    assert json.loads(Path(health.STATE).read_text("utf-8"))["failures"] == 0


def test_connection_is_not_closed_while_its_deadline_shuts_it_down(server, monkeypatch):
    """Otherwise, the deadline could shut down a later connection that has the same descriptor."""
    expired, descriptors = threading.Event(), []

    def shut_down(connected, _expired):
        expired.set()
        time.sleep(0.2)
        descriptors.append(connected.fileno())

    def response(_connection):
        assert expired.wait(20)
        raise OSError

    monkeypatch.setattr(health, "shut_down", shut_down)
    monkeypatch.setattr(health.http.client.HTTPConnection, "getresponse", response)
    assert health.Api("127.0.0.1", server.server_address[1], 0.1, None).metrics() is None
    assert [descriptor >= 0 for descriptor in descriptors] == [True]


@pytest.mark.parametrize("parts", [[b"x"] * 1000, [b"x" * (1 << 20)] * 40], ids=["slow", "large"])
def test_time_and_size_of_a_response_are_limited(parts):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _address = listener.accept()
        with client, contextlib.suppress(OSError):
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for part in parts:
                client.sendall(part)
                time.sleep(0.05 if len(part) == 1 else 0)

    threading.Thread(target=serve, daemon=True).start()
    timeout = 0.4 if len(parts[0]) == 1 else 20
    started = time.monotonic()
    with listener:
        assert health.Api("127.0.0.1", listener.getsockname()[1], timeout, None).metrics() is None
    assert time.monotonic() - started < 10


def test_server_that_does_not_listen_is_not_terminated(server, monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a server that was never ready must not be terminated"))
    assert health.main(["--host", "127.0.0.1", "--port", "1", "--model", "q", "--timeout", "1",
                        "--restart-after", "1"]) == 1
