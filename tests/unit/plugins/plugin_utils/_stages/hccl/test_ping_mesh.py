# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ping mesh is scheduled, and suspects are determined if pings fail."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import ping_loss
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import ping_mesh


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 8, 15, 16, 33])
def test_each_node_has_every_other_node_as_its_opponent_in_exactly_one_round(nodes):
    all_opponents = {node: [] for node in range(nodes)}
    for round_number in range(ping_mesh.tournament_rounds(nodes)):
        opponents = [ping_mesh.opponent(node, round_number, nodes) for node in range(nodes)]
        assert opponents.count(None) == nodes % 2
        for node, other in enumerate(opponents):
            if other is not None:
                assert opponents[other] == node
                all_opponents[node].append(other)
    for node, others in all_opponents.items():
        assert sorted(others) == [other for other in range(nodes) if other != node]


@given(st.integers(2, 1200), st.data())
def test_opponents_are_mutual(nodes, data):
    node = data.draw(st.integers(0, nodes - 1))
    round_number = data.draw(st.integers(0, ping_mesh.tournament_rounds(nodes) - 1))
    other = ping_mesh.opponent(node, round_number, nodes)
    assert other != node
    assert other is None or ping_mesh.opponent(other, round_number, nodes) == node


def test_every_npu_sends_and_receives_one_ping_per_round():
    for shift in ping_mesh.shifts(8):
        assert sorted((npu + shift) % 8 for npu in range(8)) == list(range(8))
    assert ping_mesh.shifts(8, same_rail_only=True) == [0]


def test_partners_do_not_depend_on_the_order_of_the_hosts():
    hosts = [f"node{number}" for number in range(1, 8)]
    partners = {host: ping_mesh.partners(hosts, host, 16) for host in hosts}
    assert {host: ping_mesh.partners(hosts[::-1], host, 16) for host in hosts} == partners
    for host in hosts:
        for round_number, other in enumerate(partners[host]):
            assert other is None or partners[other][round_number] == host


def test_large_cluster_is_sampled_evenly():
    nodes, full_mesh_max_nodes = 100, 16
    hosts = [f"node{number:03d}" for number in range(nodes)]
    for host in hosts[:3]:
        others = ping_mesh.partners(hosts, host, full_mesh_max_nodes)
        assert len(set(others)) == len(others) == full_mesh_max_nodes - 1
    size = ping_mesh.size(nodes, 8, full_mesh_max_nodes)
    assert size["pings"] == nodes * 15 * 64
    assert size["coverage"] == pytest.approx(15 / 99)
    assert ping_mesh.size(16, 8, full_mesh_max_nodes)["coverage"] == 1


@pytest.mark.parametrize(("nodes", "rounds", "pings"), [
    (1, 0, 0), (2, 8, 128), (3, 24, 384), (16, 120, 15360), (128, 120, 122880), (1000, 120, 960000)])
def test_size_of_the_mesh_depends_on_the_number_of_nodes(nodes, rounds, pings):
    size = ping_mesh.size(nodes, 8, 16)
    assert (size["rounds"], size["pings"]) == (rounds, pings)


def test_mesh_of_a_thousand_nodes_is_scheduled_in_two_seconds():
    hosts = [f"node{number}" for number in range(1000)]
    started = time.perf_counter()
    for host in hosts:
        ping_mesh.partners(hosts, host, 16)
    assert len(ping_mesh.partners(hosts, "node500", 1000)) == 999
    assert time.perf_counter() - started < 2


# --- Verdict

NPUS = 8


def mesh(nodes, bad):
    """Return the matrices of a full mesh. A pair fails if ``bad(sending host, NPU, receiving host, NPU)`` is true."""
    hosts = [f"node{number}" for number in range(1, nodes + 1)]
    return {host: {str(npu): {other: [100 if bad(host, npu, other, target) else 0 for target in range(NPUS)]
                              for other in hosts if other != host} for npu in range(NPUS)} for host in hosts}


def touches(*ends):
    return lambda host, npu, other, target: (host, npu) in ends or (other, target) in ends


CASES = [
    # the pairs that fail, the number of nodes, the suspects as (name, direction)
    (lambda *_: False, 4, []),
    (touches(("node2", 3)), 2, [("node2 npu 3", ping_mesh.BOTH)]),
    (touches(("node2", 3)), 5, [("node2 npu 3", ping_mesh.BOTH)]),
    (touches(("node1", 0), ("node2", 7)), 3,
     [("node1 npu 0", ping_mesh.BOTH), ("node2 npu 7", ping_mesh.BOTH)]),
    (lambda h, n, o, t: (h, n) == ("node2", 3), 2, [("node2 npu 3", ping_mesh.FROM)]),
    (lambda h, n, o, t: (o, t) == ("node2", 3), 4, [("node2 npu 3", ping_mesh.TO)]),
    (lambda h, n, o, t: "node3" in (h, o), 4, [("node3", ping_mesh.BOTH)]),
    (lambda h, n, o, t: h == "node3", 4, [("node3", ping_mesh.FROM)]),
    # Two nodes that do not reach each other: neither is more suspicious.
    (lambda h, n, o, t: True, 2, [("node1 <-> node2", ping_mesh.BOTH)]),
    (lambda h, n, o, t: (h, o) == ("node1", "node2"), 2, [("node1 -> node2", ping_mesh.FROM)]),
    (lambda h, n, o, t: {h, o} == {"node1", "node2"}, 4, [("node1 <-> node2", ping_mesh.BOTH)]),
    (lambda h, n, o, t: 5 in (n, t), 2, [("rail 5", ping_mesh.BOTH)]),
    (lambda h, n, o, t: 5 in (n, t), 4, [("rail 5", ping_mesh.BOTH)]),
    (lambda h, n, o, t: n != t, 4, [("every rail <-> every other rail", ping_mesh.BOTH)]),
    (lambda h, n, o, t: {n, t} == {1, 2}, 4, [("rail 1 <-> rail 2", ping_mesh.BOTH)]),
    (lambda h, n, o, t: (h in ("node1", "node3")) != (o in ("node1", "node3")), 4,
     [("node1, node3 | node2, node4", ping_mesh.BOTH)]),
    (lambda h, n, o, t: (h, n, o, t) == ("node1", 1, "node2", 2), 2,
     [("node1 npu 1 -> node2 npu 2", ping_mesh.FROM)]),
    (lambda h, n, o, t: {(h, n), (o, t)} == {("node1", 1), ("node2", 2)}, 3,
     [("node1 npu 1 <-> node2 npu 2", ping_mesh.BOTH)]),
]


@pytest.mark.parametrize(("bad", "nodes", "suspects"), CASES)
def test_verdict_names_the_suspect(bad, nodes, suspects):
    found, unexplained = ping_mesh.verdict(mesh(nodes, bad))
    assert [(suspect["name"], suspect["direction"]) for suspect in found] == suspects
    assert unexplained == 0


def test_npu_with_one_working_pair_is_still_a_suspect():
    """If two NPUs have the same address, each of them reaches itself when it pings the other."""
    suspects, _unexplained = ping_mesh.verdict(mesh(2, lambda h, n, o, t: n == 3 and t != 3))
    assert [(suspect["name"], suspect["direction"]) for suspect in suspects] == [
        ("node1 npu 3", ping_mesh.FROM), ("node2 npu 3", ping_mesh.FROM)]
    given_up = mesh(2, lambda h, n, o, t: n == 3 and t != 3)
    for row in given_up.values():
        for losses in row["3"].values():
            losses[:3], losses[7] = [None] * 3, None
    assert [suspect["name"] for suspect in ping_mesh.verdict(given_up)[0]] == ["node1 npu 3", "node2 npu 3"]


def test_npu_that_a_third_node_reaches_is_not_the_suspect():
    same_rail = {f"n{node}": {"0": {f"n{other}": [100 if (node, other) in ((1, 2), (1, 3)) else 0]
                                    for other in range(1, 5) if other != node}} for node in range(1, 5)}
    suspects, _unexplained = ping_mesh.verdict(same_rail)
    assert [suspect["name"] for suspect in suspects] == ["n1 -> n2", "n1 -> n3"]


def test_other_possible_suspects_are_named():
    ((suspect,), _unexplained) = ping_mesh.verdict(mesh(2, lambda *_: True))
    assert suspect["also"] == ["node1", "node2"]
    assert {host for host, _npu in suspect["members"]} == {"node1", "node2"}


def test_other_checks_decide_between_equally_likely_causes():
    def same_rail(*pair):
        return touches(("node1", 4))(*pair) or touches(("node2", 4))(*pair)

    matrices = {host: {npu: {other: [loss if int(npu) == target else None for target, loss in enumerate(losses)]
                             for other, losses in row.items()} for npu, row in rows.items()}
                for host, rows in mesh(2, same_rail).items()}
    assert ping_mesh.verdict(matrices)[0][0]["name"] == "rail 4"
    assert ping_mesh.verdict(matrices, evidence=[("node2", 4)])[0][0]["name"] == "node2 npu 4"


def test_switch_can_be_a_suspect():
    switches = {(f"node{number}", npu): f"leaf-{(number > 2) * 4 + npu // 2}" for number in range(1, 5)
                for npu in range(NPUS)}
    suspects, _unexplained = ping_mesh.verdict(
        mesh(4, lambda h, n, o, t: "leaf-1" in (switches[h, n], switches[o, t])), switches=switches)
    assert [suspect["name"] for suspect in suspects] == ["switch leaf-1"]


def test_losses_without_a_pattern_remain_unexplained():
    suspects, unexplained = ping_mesh.verdict(
        mesh(4, lambda h, n, o, t: (int(h[4:]) * 7 + n * 3 + int(o[4:]) * 5 + t) % 11 == 0))
    assert len(suspects) == ping_mesh.MAX_SUSPECTS
    assert unexplained > 0


def test_lost_packets_failed_pings_and_untested_pairs_are_distinguished():
    matrices = {"a": {"0": {"b": [33.33, None]}}, "b": {"0": {"a": [0, ping_loss.ERROR]}}}
    assert [loss for _pair, loss in ping_mesh.tested_pairs(matrices)] == [33.33, 0, ping_loss.ERROR]
    for bad, members in ((ping_loss.lossy, [("a", 0), ("b", 0)]), (ping_loss.failed, [("a", 1)])):
        ((suspect,), _unexplained) = ping_mesh.verdict(matrices, bad)
        assert (suspect["bad"], suspect["members"]) == (1, members)
