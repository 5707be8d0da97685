# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's servers are drained only if draining is safe, and are made ready again."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy
from ansible_collections.ascend.vllm.plugins.modules import balancer_server
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils.haproxy_case import Balancer


def params(state, **changes):
    return dict({"node": "node1", "state": state, "keep_serving": True, "wait_s": 0}, **changes)


def test_drain_changes_only_the_servers_of_the_node():
    balancer = Balancer(node1_8888=["UP", 0], node1_8889=["DOWN", 0], node11_8888=["UP", 2])
    assert balancer_server.change(balancer.ask, params("drain"))
    assert balancer.commands == ["set server vllm/node1:8888 state drain", "set server vllm/node1:8889 state drain"]
    assert not balancer_server.change(balancer.ask, params("drain"))


@pytest.mark.parametrize("others", [{}, {"node2_8888": ["DOWN", 0]}, {"node2_8888": ["DRAIN", 1]}])
def test_last_node_is_not_drained(others):
    balancer = Balancer(node1_8888=["UP", 0], node1_8889=["UP", 0], **others)
    with pytest.raises(balancer_server.Refused, match="node1 cannot be drained"):
        balancer_server.change(balancer.ask, params("drain"))
    assert balancer.commands == []
    assert balancer_server.change(balancer.ask, params("drain", keep_serving=False))


def test_dry_run_changes_nothing():
    balancer = Balancer(node1_8888=["UP", 0], node2_8888=["UP", 0])
    assert balancer_server.change(balancer.ask, params("drain"), dry=True)
    assert balancer.commands == []


def test_ready_changes_only_the_drained_servers_of_the_node():
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
def test_settle_returns_whether_all_servers_have_the_state(state, servers, settled):
    assert balancer_server.settle(Balancer(**servers).ask, params(state))[1] is settled


def test_settle_retries_while_the_balancer_reloads(monkeypatch):
    monkeypatch.setattr(balancer_server.time, "sleep", lambda seconds: None)
    errors = [haproxy.BalancerError("gone"), haproxy.BalancerError("gone")]
    balancer = Balancer(node1_8888=["UP", 0])

    def ask(command):
        if errors:
            raise errors.pop()
        return balancer.ask(command)

    assert balancer_server.settle(ask, params("ready", wait_s=60))[1]
    errors.append(haproxy.BalancerError("gone"))
    with pytest.raises(haproxy.BalancerError):
        balancer_server.settle(ask, params("ready"))


def test_ready_waits_for_the_first_agent_check():
    balancer = Balancer(node1_8888=["UP", 0])
    balancer.agent = ("INI", "")
    assert balancer_server.settle(balancer.ask, params("ready"))[1] is False
