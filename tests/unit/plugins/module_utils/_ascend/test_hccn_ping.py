# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pings of a node in the ping mesh (rounds, retries, skipped pings), and TCP connections to other hosts."""
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_ping, ping_loss


class Clock:
    """A clock that advances only during sleep and pings."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def run_part(loss, partners, npus=(0,), limit_s=100, ping_s=0.1, shifts=(0, 1)):
    """Return the result of one node's part of the mesh, and the sent pings as [(NPU, address, time in seconds)].

    ``loss(npu, address, attempt)`` returns the packet loss in percent, or the result of the runner.
    """
    clock, sent = Clock(), []

    def run(argv, timeout_s):
        npu, address = int(argv[2]), argv[-1]
        attempt = sum(1 for one in sent if one[:2] == (npu, address)) + 1
        sent.append((npu, address, round(clock.now, 3)))
        clock.now += ping_s
        percent = loss(npu, address, attempt)
        if isinstance(percent, tuple):
            return percent
        received = round(3 * (100 - percent) / 100)
        summary = f"3 packets transmitted, {received} received, {percent:.2f}% packet loss"
        return 0 if received == 3 else 1, f"device {npu} PING {address}\n{summary}\n", ""

    result = hccn_ping.ping_mesh_part(run, "hccn_tool", list(npus), partners, list(shifts), 1.0, 10, limit_s, clock,
                                      clock.sleep)
    return result, sent


NODE2 = {"host": "node2", "npus": {"0": "10.0.0.2", "1": "10.0.1.2"}}
NODE3 = {"host": "node3", "npus": {"0": "10.0.0.3", "1": "10.0.1.3"}}


def test_rounds_start_on_schedule():
    result, sent = run_part(lambda *_: 0, [NODE2, None, NODE3])
    assert sent == [(0, "10.0.0.2", 0), (0, "10.0.1.2", 1), (0, "10.0.0.3", 4), (0, "10.0.1.3", 5)]
    assert result["matrix"] == {"0": {"node2": [0, 0], "node3": [0, 0]}}
    assert (result["not_sent"], result["retried"], result["rounds"]) == (0, 0, 6)


def test_pings_with_partial_loss_are_retried():
    result, sent = run_part(lambda npu, address, attempt: 33.33 if attempt == 1 else 0, [NODE2])
    assert result["matrix"] == {"0": {"node2": [0, 0]}}
    assert result["retried"] == 2
    assert len(sent) == 4


def test_ping_without_reply_is_retried_once():
    result, _sent = run_part(lambda npu, address, attempt: 100 if address == "10.0.1.2" else 0, [NODE2])
    assert result["matrix"]["0"]["node2"] == [0, 100]
    assert result["retried"] == 1


def test_many_pings_without_reply_are_not_retried():
    partners = [partner(f"node{n}") for n in range(2, 12)]
    result, sent = run_part(lambda npu, address, attempt: 100 if address.endswith(".5") else 0, partners,
                            shifts=range(8))
    assert result["retried"] == 0
    assert len(sent) == 80


def test_tool_errors_are_returned_with_their_npu_pairs():
    result, _sent = run_part(lambda *_: (22, "", "Execute failed: Link status is down.\n"), [NODE2], shifts=(1,))
    assert result["matrix"] == {"0": {"node2": [None, ping_loss.ERROR]}}
    assert result["errors"] == {"Execute failed: Link status is down.": ["npu 0 -> node2 npu 1"]}


def partner(host):
    return {"host": host, "npus": {str(npu): f"{host}.{npu}" for npu in range(8)}}


def test_remaining_pings_to_a_dead_node_are_skipped_and_the_next_node_is_pinged():
    result, sent = run_part(lambda npu, address, attempt: 100 if address.startswith("node2") else 0,
                            [partner("node9"), partner("node2"), partner("node3")], shifts=range(8))
    assert sum(address.startswith("node2") for _npu, address, _time in sent) == 3 + result["retried"]
    assert (result["given_up"], result["retried"], result["not_sent"]) == (5, 3, 0)
    assert result["matrix"]["0"]["node2"] == [100] * 3 + [None] * 5
    assert result["matrix"]["0"]["node3"] == [0] * 8


@pytest.mark.parametrize("loss", [100, (None, "", "")])
def test_remaining_pings_of_an_npu_that_never_receives_a_reply_are_skipped(loss):
    """The port is dead, or the tool hangs. The NPU stops after six timeouts."""
    result, sent = run_part(lambda *_: loss, [partner(f"node{n}") for n in range(2, 9)], ping_s=10, shifts=range(8))
    assert len(sent) == 6
    assert result["given_up"] == 7 * 8 - 6
    assert result["retried"] == 0


def test_pings_after_the_time_limit_are_not_sent():
    result, sent = run_part(lambda *_: 0, [NODE2, NODE3], limit_s=2.5)
    assert len(sent) == 3
    assert result["not_sent"] == 1
    assert result["matrix"]["0"]["node3"] == [0, None]


def test_npu_without_an_address_is_not_pinged():
    result, sent = run_part(lambda *_: 0, [{"host": "node2", "npus": {"1": "10.0.1.2"}}])
    assert [one[1] for one in sent] == ["10.0.1.2"]
    assert result["matrix"] == {"0": {"node2": [None, 0]}}


def test_host_that_refuses_the_connection_counts_as_reached():
    def connect(address, timeout):
        if address[0].endswith(".3"):
            raise ConnectionRefusedError(111, "refused")
        if address[0].endswith(".4"):
            raise OSError(113, "No route to host")

        class Socket:
            def close(self):
                pass
        return Socket()

    targets = [{"host": f"node{n}", "address": f"192.0.2.{n}", "port": 22} for n in (2, 3, 4)]
    reached = hccn_ping.reach_hosts(targets, 5, connect)
    assert {host: one["reached"] for host, one in reached.items()} == {"node2": True, "node3": True, "node4": False}
    assert "No route to host" in reached["node4"]["error"]
    assert hccn_ping.reach_hosts([], 5, connect) == {}
