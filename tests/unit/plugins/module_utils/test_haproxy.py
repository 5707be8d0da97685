# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query HAProxy through a real socket, and change the state of servers only if that is safe."""

from __future__ import annotations

import socket
import threading

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy
from ansible_collections.ascend.vllm.plugins.modules import balancer_info, balancer_server

HEAD = "# pxname,svname,qcur,scur,status,check_status,check_code,agent_status,last_agt,\n"


class Balancer:
    """{server: [status, sessions]} behind the functions that a socket offers."""

    def __init__(self, **servers):
        self.servers = {name.replace("_", ":"): state for name, state in servers.items()}
        self.taken_out = {name for name, (status, _sessions) in self.servers.items() if status in ("DRAIN", "MAINT")}
        self.commands, self.agent = [], ("L7OK", "via agent : up")

    def ask(self, command):
        if command == "show stat":
            rows = ["vllm,%s,0,%d,%s,L7OK,200,%s,%s," % (name, sessions, status, *self.agent)
                    for name, (status, sessions) in self.servers.items()]
            return HEAD + "\n".join(["vllm,FRONTEND,,1,OPEN,,,,,", "other,node1:1,0,9,UP,L7OK,200,,,", *rows,
                                     "vllm,BACKEND,0,3,UP,,,,,"]) + "\n\n"
        if command == "show servers state vllm":
            return "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n" + "".join(
                "3 vllm 1 %s 10.0.0.1 2 %d 1\n" % (name, 8 * (name in self.taken_out)) for name in self.servers)
        self.commands.append(command)
        _set, _server, target, _state, state = command.split(" ")
        name = target.partition("/")[2]
        if name not in self.servers:
            return "No such server.\n"
        (self.taken_out.add if state == "drain" else self.taken_out.discard)(name)
        if self.servers[name][0] != "DOWN":
            self.servers[name][0] = {"drain": "DRAIN", "ready": "UP"}[state]
        return "\n"


def test_servers():
    balancer = Balancer(**{"node1_8888": ["UP 1/3", 4], "node-2.a_8888": ["DOWN", 0]})
    assert haproxy.servers(balancer.ask) == [
        {"name": "node1:8888", "host": "node1", "status": "UP", "taken_out": False, "sessions": 4, "check": "L7OK/200",
         "watched": True, "engine": "up"},
        {"name": "node-2.a:8888", "host": "node-2.a", "status": "DOWN", "taken_out": False, "sessions": 0,
         "check": "L7OK/200", "watched": True, "engine": "up"}]


@pytest.mark.parametrize(("state", "said", "watched", "engine"), [  # as HAProxy 2.6 shows them
    ("", "", None, ""),
    ("INI", "", True, "not asked yet"),
    ("* L7OK", "via agent : up", True, "up"),
    ("L7STS", "via agent : down (3 looks in a row failed)", True, "down (3 looks in a row failed)"),
    ("L7RSP", "TCPCHK got an empty response at step 2", True, "TCPCHK got an empty response at step 2"),
    ("L4CON", "Connection refused", False, "Connection refused"),
    ("SOCKERR", "", False, ""),
])
def test_state_of_the_watch(state, said, watched, engine):
    balancer = Balancer(node1_8888=["UP", 0])
    balancer.agent = (state, said)
    (server,) = haproxy.servers(balancer.ask)
    assert (server["watched"], server["engine"]) == (watched, engine)


def test_ready_waits_for_the_first_answer_of_the_watch():
    balancer = Balancer(node1_8888=["UP", 0])
    balancer.agent = ("INI", "")
    assert balancer_server.settle(balancer.ask, params("ready"))[1] is False


@pytest.mark.parametrize(("shown", "status"), [
    ("UP", "UP"), ("UP 2/3", "UP"), ("DOWN 1/2", "DOWN"), ("DRAIN", "DRAIN"), ("NOLB", "DRAIN"), ("no check", "UP"),
    ("MAINT", "MAINT"), ("MAINT (via x/y)", "MAINT")])
def test_status(shown, status):
    assert haproxy.status(shown) == status


def test_no_statistics_are_an_error():
    with pytest.raises(haproxy.BalancerError, match="Permission denied"):
        haproxy.servers(lambda command: "Permission denied\n")


def test_a_refusal_is_an_error():
    with pytest.raises(haproxy.BalancerError, match="No such server"):
        haproxy.set_state(Balancer().ask, "node1:1", "drain")


def test_a_real_socket(tmp_path):
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def answer():
            connection, _address = server.accept()
            with connection:
                connection.sendall(b"you said " + connection.recv(100))

        thread = threading.Thread(target=answer)
        thread.start()
        assert haproxy.asker(path, 5)("show stat") == "you said show stat\n"
        thread.join()
    with pytest.raises(haproxy.BalancerError, match="does not answer at"):
        haproxy.asker(path, 5)("show stat")


def params(state, **changes):
    return dict({"node": "node1", "state": state, "keep_serving": True, "wait_s": 0}, **changes)


def test_drain_changes_only_the_servers_of_the_node():
    balancer = Balancer(node1_8888=["UP", 0], node1_8889=["DOWN", 0], node11_8888=["UP", 2])
    assert balancer_server.change(balancer.ask, params("drain"))
    assert balancer.commands == ["set server vllm/node1:8888 state drain", "set server vllm/node1:8889 state drain"]
    assert not balancer_server.change(balancer.ask, params("drain"))


@pytest.mark.parametrize("others", [{}, {"node2_8888": ["DOWN", 0]}, {"node2_8888": ["DRAIN", 1]}])
def test_the_last_node_is_not_drained(others):
    balancer = Balancer(node1_8888=["UP", 0], node1_8889=["UP", 0], **others)
    with pytest.raises(balancer_server.Refused, match="node1 cannot be drained"):
        balancer_server.change(balancer.ask, params("drain"))
    assert balancer.commands == []
    assert balancer_server.change(balancer.ask, params("drain", keep_serving=False))


def test_dry_sets_nothing():
    balancer = Balancer(node1_8888=["UP", 0], node2_8888=["UP", 0])
    assert balancer_server.change(balancer.ask, params("drain"), dry=True)
    assert balancer.commands == []


def test_ready():
    balancer = Balancer(node1_8888=["DRAIN", 0], node1_8889=["UP", 0], node2_8888=["DRAIN", 0])
    assert balancer_server.change(balancer.ask, params("ready"))
    assert balancer.commands == ["set server vllm/node1:8888 state ready"]
    assert balancer_server.settle(balancer.ask, params("ready"))[1]


@pytest.mark.parametrize(("state", "servers", "settled"), [
    ("drain", {"node1_8888": ["DRAIN", 1], "node2_8888": ["UP", 0]}, False),
    ("drain", {"node1_8888": ["DRAIN", 0], "node2_8888": ["UP", 5]}, True),
    ("drain", {"node2_8888": ["UP", 5]}, True),
    ("ready", {"node1_8888": ["UP", 1], "node1_8889": ["DOWN", 0]}, False),
    ("ready", {"node2_8888": ["UP", 5]}, False),  # an unknown node receives no requests
])
def test_settle(state, servers, settled):
    assert balancer_server.settle(Balancer(**servers).ask, params(state))[1] is settled


def test_settle_survives_a_reload(monkeypatch):
    monkeypatch.setattr(balancer_server.time, "sleep", lambda seconds: None)
    answers = [haproxy.BalancerError("gone"), haproxy.BalancerError("gone")]
    balancer = Balancer(node1_8888=["UP", 0])

    def ask(command):
        if answers:
            raise answers.pop()
        return balancer.ask(command)

    assert balancer_server.settle(ask, params("ready", wait_s=60))[1]
    answers.append(haproxy.BalancerError("gone"))
    with pytest.raises(haproxy.BalancerError):
        balancer_server.settle(ask, params("ready"))


@pytest.mark.parametrize(("cgroup", "expected"), [
    ("0::/system.slice/ascend-vllm-balancer.service\n", None),
    ("0::/system.slice/ascend-vllm-balancer-watch.service\n", None),
    ("0::/system.slice/ssh.service\n", "process 7 (sshd)"),
    ("", "process 7 (sshd)"),
])
def test_who_else_has_the_port(monkeypatch, cgroup, expected):
    monkeypatch.setattr(balancer_info.holders, "open_files", lambda ports: (
        {22: {"pid": 7, "process": "sshd", "cgroup": cgroup}}, {}))
    assert balancer_info.holder(22) == expected
    assert balancer_info.holder(23) is None
