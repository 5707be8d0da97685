# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy is queried through a real socket, and its responses are interpreted."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils.haproxy_case import Balancer


def test_servers_are_read_from_the_statistics():
    balancer = Balancer(**{"node1_8888": ["UP 1/3", 4], "node-2.a_8888": ["DOWN", 0]})
    assert haproxy.servers(balancer.ask) == [
        {"name": "node1:8888", "host": "node1", "status": "UP", "disabled": False, "sessions": 4, "check": "L7OK/200",
         "watched": True, "engine": "up"},
        {"name": "node-2.a:8888", "host": "node-2.a", "status": "DOWN", "disabled": False, "sessions": 0,
         "check": "L7OK/200", "watched": True, "engine": "up"}]


@pytest.mark.parametrize(("state", "message", "watched", "engine"), [  # as HAProxy 2.6 shows them
    ("", "", None, ""),
    ("INI", "", True, "not checked yet"),
    ("* L7OK", "via agent : up", True, "up"),
    ("L7STS", "via agent : down (3 consecutive checks failed)", True, "down (3 consecutive checks failed)"),
    ("L7RSP", "TCPCHK got an empty response at step 2", True, "TCPCHK got an empty response at step 2"),
    ("L4CON", "Connection refused", False, "Connection refused"),
    ("SOCKERR", "", False, ""),
])
def test_agent_check_shows_the_state_of_the_engine(state, message, watched, engine):
    balancer = Balancer(node1_8888=["UP", 0])
    balancer.agent = (state, message)
    (server,) = haproxy.servers(balancer.ask)
    assert (server["watched"], server["engine"]) == (watched, engine)


@pytest.mark.parametrize(("shown", "status"), [
    ("UP", "UP"), ("UP 2/3", "UP"), ("DOWN 1/2", "DOWN"), ("DRAIN", "DRAIN"), ("NOLB", "DRAIN"), ("no check", "UP"),
    ("MAINT", "MAINT"), ("MAINT (via x/y)", "MAINT")])
def test_status_is_simplified(shown, status):
    assert haproxy.status(shown) == status


def test_missing_statistics_are_an_error():
    with pytest.raises(haproxy.BalancerError, match="Permission denied"):
        haproxy.servers(lambda command: "Permission denied\n")


def test_refused_command_is_an_error():
    with pytest.raises(haproxy.BalancerError, match="No such server"):
        haproxy.set_state(Balancer().ask, "node1:1", "drain")


@pytest.fixture
def serve(tmp_path):
    """Return a function that serves one connection with a given function, and returns the path of the socket."""
    threads = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "admin.sock"))
        server.listen()

        def run(respond):
            def accept():
                connection, _address = server.accept()
                with connection, contextlib.suppress(OSError):
                    respond(connection)

            threads.append(threading.Thread(target=accept))
            threads[-1].start()
            return str(tmp_path / "admin.sock")

        yield run
        for thread in threads:
            thread.join()


def test_commands_are_sent_through_a_real_socket(serve, tmp_path):
    path = serve(lambda connection: connection.sendall(b"received: " + connection.recv(100)))
    assert haproxy.command_sender(path, 5)("show stat") == "received: show stat\n"
    closed = str(tmp_path / "closed.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(closed)
    with pytest.raises(haproxy.BalancerError, match="does not respond at"):
        haproxy.command_sender(closed, 5)("show stat")


def send_without_end(part, pause_s):
    def respond(connection):
        while True:
            connection.sendall(part)
            time.sleep(pause_s)

    return respond


def test_size_of_a_response_is_limited(serve, monkeypatch):
    monkeypatch.setattr(haproxy, "_MAX_RESPONSE_BYTES", 1 << 18)
    response = haproxy.command_sender(serve(send_without_end(b"x" * 1000, 0)), 60)("show stat")
    assert 1 << 18 <= len(response) < 1 << 19


def test_time_for_a_response_is_limited(serve):
    send_command = haproxy.command_sender(serve(send_without_end(b"x", 0.05)), 0.4)
    started = time.monotonic()
    with pytest.raises(haproxy.BalancerError, match="timed out"):
        send_command("show stat")
    assert time.monotonic() - started < 20
