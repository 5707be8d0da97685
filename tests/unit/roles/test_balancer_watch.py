# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog reports a hung engine to the balancer. It reports neither load nor a server that does not respond."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
import time

import jinja2
import pytest
from ansible.plugins.filter.core import FilterModule
from ansible.plugins.test.core import TestModule as AnsibleTests

from ansible_collections.ascend.vllm.plugins.filter.serving import FilterModule as ServingFilters
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.engine_case import Handler, hanging_server
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

FILES = ROOT / "roles/balancer/files"
HEALTH = ROOT / "roles/serving/files"  # contains health.py, which the role copies to the folder of watch.py
TEMPLATES = ROOT / "roles/balancer/templates"


@pytest.fixture
def watch(monkeypatch):
    for name, folder in (("health", HEALTH), ("watch", FILES)):
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def server():
    with hanging_server() as running:
        yield running


def options(port, servers=(), **changes):
    return dict({"port": port, "interval_s": 0.2, "retries": 3, "api_key": "sesame", "ca": None, "servers": [
        {"name": f"n1:{number}", "host": "n1", "address": "127.0.0.1", "port": number, "tls": False,
         "served_name": "q"} for number in servers]}, **changes)


def engine_of(watch, server, folder):
    port = server.server_address[1]
    found = options(0, [port], interval_s=1)  # longer than in other tests, for a busy machine
    return watch.Engine(found["servers"][0], found, str(folder))


def check(engine, times):
    for _time in range(times):
        engine.check()
    return engine.answer()


def test_nothing_is_reported_before_the_first_check(watch, server, tmp_path):
    server.metrics_key = "Bearer sesame"
    engine = engine_of(watch, server, tmp_path)
    assert engine.answer() is None
    assert check(engine, 1) == "up"
    assert server.keys == ["Bearer sesame"]


def test_hung_idle_engine_is_reported_after_the_retries_until_it_recovers(watch, server, tmp_path):
    engine = engine_of(watch, server, tmp_path)
    check(engine, 2)
    server.hangs = True
    assert check(engine, 2) == "up"
    # HAProxy reads the first word, and logs the text after #.
    assert check(engine, 1) == (
        "down #3 consecutive checks failed, the last one: the engine is idle, but does not complete a request for one "
        "token")
    server.hangs = False
    assert check(engine, 1) == "up"


def test_hung_busy_engine_is_reported_without_a_request_to_it(watch, server, tmp_path):
    server.running, server.generated = 5, 100
    engine = engine_of(watch, server, tmp_path)
    assert check(engine, 3) == "up"
    assert "engine 0 has 5 requests and made no progress" in check(engine, 1)
    assert engine.answer().startswith("down #3 consecutive checks failed")
    assert server.keys == []


def test_load_is_not_reported_as_a_hang_however_long_requests_wait(watch, server, tmp_path):
    """One token between two checks is enough progress. A one-token completion would wait for all other requests."""
    engine = engine_of(watch, server, tmp_path)
    server.running, server.hangs = 5000, True
    for _check in range(20):
        server.generated += 1
        assert check(engine, 1) == "up"
    assert server.keys == []


def test_server_that_does_not_respond_keeps_its_state(watch, server, tmp_path):
    engine = engine_of(watch, server, tmp_path)
    check(engine, 2)
    engine.api.port = 1
    assert check(engine, 5) == "up"
    engine.state["failures"] = 3
    assert check(engine, 5).startswith("down #3")


def test_state_survives_a_restart_of_the_watchdog(watch, server, tmp_path):
    check(engine_of(watch, server, tmp_path), 2)
    server.hangs = True
    assert check(engine_of(watch, server, tmp_path), 3).startswith("down #3")
    assert engine_of(watch, server, tmp_path).answer().startswith("down #3")


def test_error_of_a_check_is_printed_once_and_does_not_stop_the_watchdog(watch, monkeypatch, capsys):
    class Ended(BaseException):
        pass

    class Broken:
        checks = 0

        def check(self):
            self.checks += 1
            if self.checks == 4:
                raise Ended
            raise OverflowError("cannot convert")

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    engine = Broken()
    with pytest.raises(Ended):
        watch.watch(engine, 1)
    assert engine.checks == 4
    assert capsys.readouterr().err.count("OverflowError: cannot convert") == 1


class InvalidMetrics(Handler):
    """Responds to every GET with the parts in its server's ``text``."""

    def do_GET(self):
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.end_headers()
            for part in self.server.text:
                self.wfile.write(part)
                self.wfile.flush()
                self.server.ended.wait(0.05)


METRIC = b'vllm:num_requests_running{engine="0"} %s\nvllm:generation_tokens_total{engine="0"} %s\n'
INVALID = {
    "no number": [METRIC % (b"abc", b"1")], "infinite": [METRIC % (b"1e999", b"1e999")],
    "nan": [METRIC % (b"nan", b"nan")], "negative": [METRIC % (b"-1", b"-1e300")], "nothing": [b""],
    "binary": [b"\xff\x00\xfe" * 1000], "label": [b'vllm:num_requests_running{engine="%s"} 1\n' % (b"x" * 100000)],
    "slow": [b"x"] * 1000, "large": [b"#" * (1 << 20)] * 40,
}


def test_invalid_metrics_of_an_engine_affect_only_that_engine(server, tmp_path):
    with contextlib.ExitStack() as stack:
        invalid = [stack.enter_context(hanging_server()) for _text in INVALID]
        for each, text in zip(invalid, INVALID.values()):
            each.RequestHandlerClass, each.text = InvalidMetrics, text
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        numbers = [each.server_address[1] for each in [server, *invalid]]
        name = f"n1:{numbers[0]}"
        # The saved state of an engine can be damaged, too.
        (tmp_path / f"n1:{numbers[1]}.json").write_text(json.dumps({"server": f"n1:{numbers[1]}", "ready": True}))
        (tmp_path / "watch.json").write_text(json.dumps(options(port, numbers, interval_s=1)))
        for program in (HEALTH / "health.py", FILES / "watch.py"):
            shutil.copy(program, tmp_path)
        program = subprocess.Popen([sys.executable, "-B", tmp_path / "watch.py", tmp_path / "watch.json", tmp_path],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_for(port, name, "up")
            server.hangs = True
            wait_for(port, name, "down")
            assert program.poll() is None
            states = {kind: query(port, f"n1:{number}") for kind, number in zip(INVALID, numbers[1:])}
            found = {kind: state.split(" ", 1)[0].strip() for kind, state in states.items()}
            # Most engines seem idle, one is busy without progress, and the state of two is unknown.
            assert found == {**dict.fromkeys(INVALID, "up"), "label": "down", "slow": "", "large": ""}
        finally:
            program.kill()
        assert "Traceback" not in program.communicate(timeout=5)[0]


@pytest.mark.parametrize("unit", ["watch.service.j2", "balancer.service.j2"])
def test_systemd_always_restarts_the_service(unit):
    text = rendered(unit, serving_state_path="/var/lib/ascend-vllm", balancer_path="/etc/ascend-vllm")
    sections = text.partition("[Service]")
    assert "StartLimitIntervalSec=0\n" in sections[0]
    assert "Restart=always\n" in sections[2]


def query(port, name):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(name.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def wait_for(port, name, word):
    """Query the watchdog until its response begins with this word, and return the response."""
    deadline, response = time.monotonic() + 20, None
    while time.monotonic() < deadline:
        try:
            response = query(port, name)
        except ConnectionRefusedError:  # not started yet
            pass
        if response is not None and response.startswith(word):
            return response
        time.sleep(0.05)
    pytest.fail(f"{name} is {response!r} after 20 s, not {word}")


def test_program_reports_up_then_down_then_up(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    number = server.server_address[1]
    name = f"n1:{number}"
    (tmp_path / "watch.json").write_text(json.dumps(options(port, [number])))
    for program in (HEALTH / "health.py", FILES / "watch.py"):
        shutil.copy(program, tmp_path)
    program = subprocess.Popen([sys.executable, "-B", tmp_path / "watch.py", tmp_path / "watch.json", tmp_path],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert wait_for(port, name, "up") == "up\n"
        assert query(port, "n1:1") == ""
        server.hangs = True
        assert wait_for(port, name, "down").startswith("down #3 consecutive checks failed")
        server.hangs = False
        wait_for(port, name, "up")
    finally:
        program.terminate()
    assert "sesame" not in program.communicate(timeout=5)[0]


def rendered(name, **changes):
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
                                     loader=jinja2.FileSystemLoader(str(TEMPLATES)))
    environment.filters.update(FilterModule().filters())
    environment.tests.update(AnsibleTests().tests())
    environment.filters.update({f"ascend.vllm.{name}": found for name, found in ServingFilters().filters().items()})
    variables = {
        "ansible_managed": "managed", "serving_api_key": ['a%20$b"c', "second"], "balancer_bind": "0.0.0.0",
        "balancer_port": 8080, "balancer_timeout_s": 3600, "balancer_max_connections": 8192,
        "balancer_watch_interval_s": 10, "balancer_watch_retries": 3,
        "balancer_watch_port": 8079, "balancer_tls_certificate": "", "balancer_path": "/etc/ascend-vllm",
        "__plan_resolved": {"plan": {"ca": None}}, "__balancer_plan": {
            "servers": options(0, [8888, 8889])["servers"], "control_paths": ["/pause", "/v1/load_lora_adapter"]}}
    return environment.get_template(name).render(**{**variables, **changes})


def test_balancer_queries_the_watchdog_for_every_server():
    lines = [line.strip() for line in rendered("balancer.cfg.j2").splitlines()]
    assert "default-server agent-check agent-inter 2s agent-addr 127.0.0.1 agent-port 8079" in lines
    assert [line for line in lines if line.startswith("server ")] == [
        f"server n1:{port} 127.0.0.1:{port} agent-send n1:{port}\\n" for port in (8888, 8889)]


def test_ipv6_addresses_are_written_without_brackets():
    """HAProxy interprets the text after the last colon as the port."""
    servers = [{**options(0, [8888])["servers"][0], "address": "fd00::1"}]
    lines = [line.strip() for line in rendered("balancer.cfg.j2", balancer_bind="::", balancer_watch_interval_s=0,
                                               __balancer_plan={"servers": servers, "control_paths": ["/pause"]}
                                               ).splitlines()]
    assert "bind :::8080" in lines
    assert "server n1:8888 fd00::1:8888" in lines


@pytest.mark.parametrize(("ca", "trusted"), [("pem", "/etc/ascend-vllm/ca.pem"), (None, "@system-ca")])
def test_balancer_with_tls_verifies_its_servers(ca, trusted):
    servers = [{**options(0, [8888])["servers"][0], "tls": True, "address": address}
               for address in ("n1.example", "10.0.0.1", "fd00::1")]
    text = rendered("balancer.cfg.j2", balancer_watch_interval_s=0, balancer_tls_certificate="/c.pem",
                    __plan_resolved={"plan": {"ca": ca}},
                    __balancer_plan={"servers": servers, "control_paths": ["/pause"]})
    lines = [line.strip() for line in text.splitlines()]
    assert "bind 0.0.0.0:8080 ssl crt /etc/ascend-vllm/balancer.pem" in lines
    # Without "default" a health check does not use the TLS settings of its server.
    assert [line for line in lines if line.startswith("http-check connect")] == ["http-check connect default"] * 2
    assert [line for line in lines if line.startswith("server ")] == [
        f"server n1:8888 n1.example:8888 ssl verify required ca-file {trusted} verifyhost n1.example",
        f"server n1:8888 10.0.0.1:8888 ssl verify required ca-file {trusted}",
        f"server n1:8888 fd00::1:8888 ssl verify required ca-file {trusted}"]


def test_watchdog_sends_the_key_only_to_a_server_whose_certificate_it_accepts(watch, tmp_path):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    with hanging_server(authority.issue("server", "127.0.0.1")) as server:
        found = options(0, [server.server_address[1]], interval_s=2)
        found["servers"][0]["tls"] = True
        reports = {trusted: check(watch.Engine(found["servers"][0], dict(found, ca=trusted.path.read_text()), str(
            tmp_path / trusted.path.stem)), 1) for trusted in (other, authority)
            if (tmp_path / trusted.path.stem).mkdir() is None}
        assert (reports[other], reports[authority], server.keys) == (None, "up", ["Bearer sesame"])


def test_balancer_without_a_watchdog_has_no_agent_checks():
    lines = [line.strip() for line in rendered("balancer.cfg.j2", balancer_watch_interval_s=0).splitlines()]
    assert [line for line in lines if line.startswith("server ")] == [
        f"server n1:{port} 127.0.0.1:{port}" for port in (8888, 8889)]
    assert not [line for line in lines if "agent" in line]


def test_watchdog_reads_the_file_that_the_role_writes():
    found = json.loads(rendered("watch.json.j2"))
    assert found == options(8079, [8888, 8889], interval_s=10.0, api_key='a%20$b"c')


@pytest.mark.parametrize("key", ["sesame", ""])
def test_balancer_refuses_control_routes_and_requests_without_a_valid_key(key):
    lines = [line.strip() for line in rendered("balancer.cfg.j2", serving_api_key=key).splitlines()]
    assert "acl control path,url_dec -m end /pause /v1/load_lora_adapter" in lines
    assert "http-request deny deny_status 403 if control" in lines
    refusals = [line for line in lines if line.startswith("http-request return status 401 ")]
    assert [line.rpartition(" unless ")[2] for line in refusals] == (
        ["with_key or health or METH_OPTIONS preflight preflight_method"] if key else [])
    assert "sesame" not in "\n".join(lines)
    # The comment in the template explains why it must not use regular expressions.
    assert not [line for line in lines if re.search(r"-m reg|(?:_|\b)reg(?:sub)?\b", line) and not line.startswith("#")]
