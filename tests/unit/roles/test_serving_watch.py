# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch beside the balancer: a hung engine is told, load and a server that does not answer are not."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time

import jinja2
import pytest
from ansible.plugins.filter.core import FilterModule

from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.engine_case import hanging_server
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

FILES = ROOT / "roles/serving/files"
TEMPLATES = ROOT / "roles/serving/templates"


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.syspath_prepend(str(FILES))
    for name in ("health", "watch"):
        spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def server():
    with hanging_server() as running:
        yield running


def options(port, servers=(), **changes):
    return dict({"port": port, "interval_s": 0.2, "retries": 3, "api_key": "sesame", "servers": [
        {"name": f"n1:{number}", "host": "n1", "address": "127.0.0.1", "port": number, "served_name": "q"}
        for number in servers]}, **changes)


def eye(watch, server, folder):
    port = server.server_address[1]
    found = options(0, [port], interval_s=1)  # a busy machine needs more than the watch's own tests
    return watch.Engine(found["servers"][0], found, str(folder))


def looks(engine, times):
    for _time in range(times):
        engine.look()
    return engine.answer()


def test_before_the_first_look_nothing_is_said(watch, server, tmp_path):
    engine = eye(watch, server, tmp_path)
    assert engine.answer() is None
    assert looks(engine, 1) == "up"
    assert server.keys == ["Bearer sesame"]


def test_idle_engine_that_hangs_is_told_after_its_looks_and_comes_back(watch, server, tmp_path):
    engine = eye(watch, server, tmp_path)
    looks(engine, 2)
    server.hangs = True
    assert looks(engine, 2) == "up"
    # HAProxy takes the word up to the blank, and what follows # for its log.
    assert looks(engine, 1) == (
        "down #3 looks in a row failed, at last: an idle engine does not answer a completion of one token")
    server.hangs = False
    assert looks(engine, 1) == "up"


def test_engine_that_hangs_with_work_is_told_without_asking_it(watch, server, tmp_path):
    server.running, server.generated = 5, 100
    engine = eye(watch, server, tmp_path)
    assert looks(engine, 3) == "up"
    assert "engine 0 has 5 requests and did nothing" in looks(engine, 1)
    assert engine.answer().startswith("down #3 looks in a row failed")
    assert server.keys == []


def test_load_is_no_hang_however_long_requests_wait(watch, server, tmp_path):
    """One more token between two looks is enough; a completion of one token would wait behind all others."""
    engine = eye(watch, server, tmp_path)
    server.running, server.hangs = 5000, True
    for _look in range(20):
        server.generated += 1
        assert looks(engine, 1) == "up"
    assert server.keys == []


def test_silence_of_the_server_changes_nothing(watch, server, tmp_path):
    engine = eye(watch, server, tmp_path)
    looks(engine, 2)
    engine.api.port = 1
    assert looks(engine, 5) == "up"
    engine.state["failures"] = 3
    assert looks(engine, 5).startswith("down #3")


def test_what_was_seen_outlives_the_watch(watch, server, tmp_path):
    looks(eye(watch, server, tmp_path), 2)
    server.hangs = True
    assert looks(eye(watch, server, tmp_path), 3).startswith("down #3")
    assert eye(watch, server, tmp_path).answer().startswith("down #3")


def test_eye_that_fails_ends_the_watch(watch, monkeypatch, capsys):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    watch.watch(None, 1)
    assert ended == [1]
    assert "AttributeError" in capsys.readouterr().err


def ask(port, name):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(name.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def wait_for(port, name, word):
    deadline, said = time.monotonic() + 20, None
    while time.monotonic() < deadline:
        try:
            said = ask(port, name)
        except ConnectionRefusedError:  # not started yet
            pass
        if said is not None and said.startswith(word):
            return said
        time.sleep(0.05)
    pytest.fail(f"{name} is {said!r} after 20 s, not {word}")


def test_the_program_from_up_to_down_to_up(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    number = server.server_address[1]
    name = f"n1:{number}"
    (tmp_path / "watch.json").write_text(json.dumps(options(port, [number])))
    program = subprocess.Popen([sys.executable, "-B", FILES / "watch.py", tmp_path / "watch.json", tmp_path],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert wait_for(port, name, "up") == "up\n"
        assert ask(port, "n1:1") == ""
        server.hangs = True
        assert wait_for(port, name, "down").startswith("down #3 looks in a row failed")
        server.hangs = False
        wait_for(port, name, "up")
    finally:
        program.terminate()
    assert "sesame" not in program.communicate(timeout=5)[0]


def rendered(name, **changes):
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
                                     loader=jinja2.FileSystemLoader(str(TEMPLATES)))
    environment.filters.update(FilterModule().filters())
    variables = {
        "ansible_managed": "managed", "serving_api_key": 'a%20$b"c', "serving_balancer_bind": "0.0.0.0",
        "serving_balancer_port": 8080, "serving_balancer_timeout_s": 3600, "serving_balancer_max_connections": 8192,
        "serving_balancer_watch_interval_s": 10, "serving_balancer_watch_retries": 3,
        "serving_balancer_watch_port": 8079, "__serving_balancer": {"servers": options(0, [8888, 8889])["servers"]}}
    return environment.get_template(name).render(**{**variables, **changes})


def test_balancer_asks_the_watch_for_every_server():
    lines = [line.strip() for line in rendered("balancer.cfg.j2").splitlines()]
    assert "default-server agent-check agent-inter 2s agent-addr 127.0.0.1 agent-port 8079" in lines
    assert [line for line in lines if line.startswith("server ")] == [
        f"server n1:{port} 127.0.0.1:{port} agent-send n1:{port}\\n" for port in (8888, 8889)]


def test_balancer_without_a_watch_asks_none():
    lines = [line.strip() for line in rendered("balancer.cfg.j2", serving_balancer_watch_interval_s=0).splitlines()]
    assert [line for line in lines if line.startswith("server ")] == [
        f"server n1:{port} 127.0.0.1:{port}" for port in (8888, 8889)]
    assert not [line for line in lines if "agent" in line]


def test_watch_reads_what_the_role_writes():
    found = json.loads(rendered("watch.json.j2"))
    assert found == options(8079, [8888, 8889], interval_s=10.0, api_key='a%20$b"c')
