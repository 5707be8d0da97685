# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rounds of all-reduces are planned: a run unless there is an obstacle, and a diagnosis after a failure."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective, collective_rounds

INPUTS = {"hccl_collective_policy": "auto", "hccl_interface": "", "hccl_collective_pair_rounds": 3,
          "hccl_collective_bus_bandwidth_minimum_gbs": "", "hccl_collective_baseline_tolerance": 0.9}


def node(address):
    return {"npus": {}, "processes": [], "image_present": True, "host_network": {"error": None, "interfaces": [
        {"name": "eth0", "up": True, "kind": None, "addresses": [{"address": address, "prefix": 24}]}]}}


def cluster(nodes=2, **changes):
    """Return the observations of n1, n2 ..., with changes to the observation of n2."""
    found = {f"n{number}": node(f"192.0.2.{number}") for number in range(1, nodes + 1)}
    if nodes > 1:
        found["n2"].update(changes)
    return found


def test_run_is_planned_if_there_is_no_obstacle():
    assert collective_rounds.run_rounds(cluster(), INPUTS, 5, False) == {
        "rounds": ["all"], "obstacle": None, "waits_for_image": False,
        "interfaces": {"n1": {"name": "eth0", "address": "192.0.2.1"}, "n2": {"name": "eth0", "address": "192.0.2.2"}}}


@pytest.mark.parametrize(("peers", "inputs", "forks", "obstacle"), [
    (cluster(), {"hccl_collective_policy": "never"}, 5, "hccl_collective_policy is never"),
    (cluster(1), {}, 5, "only one node"),
    (cluster(), {}, 1, "all 2 nodes at a time, but the forks setting of Ansible is 1"),
    (cluster(image_present=False), {}, 5, "n2 does not have the image yet"),
    (cluster(image_present=None), {}, 5, "Docker on n2 does not report"),
    (cluster(processes=None), {}, 5, "npu-smi on n2 does not show whether the NPUs are free"),
    (cluster(processes=[{"npu": 3, "pid": 77, "name": "vllm"}]), {}, 5,
     "NPU 3 of n2 is in use by vllm (pid 77)"),
    (cluster(host_network={"interfaces": [], "error": None}), {}, 5,
     "The interface of n2 for HCCL is unknown: n2 has no interface that is up"),
])
def test_obstacle_prevents_the_run(peers, inputs, forks, obstacle):
    rounds = collective_rounds.run_rounds(peers, {**INPUTS, **inputs}, forks, False)
    assert obstacle in rounds["obstacle"]
    assert (rounds["rounds"], rounds["interfaces"]) == ([], {})


def test_check_mode_runs_nothing():
    rounds = collective_rounds.run_rounds(cluster(), INPUTS, 5, True)
    assert rounds["rounds"] == []
    assert rounds["obstacle"] == "Without --check, the run would measure an all-reduce in containers."


@pytest.mark.parametrize(("peers", "policy", "waits"), [
    (cluster(), "auto", False),
    (cluster(image_present=False), "auto", True),
    (cluster(image_present=None), "auto", False),
    (cluster(image_present=False), "never", False),
    ({"n1": dict(node("192.0.2.1"), image_present=False)}, "auto", False),
])
def test_run_waits_only_for_a_missing_image(peers, policy, waits):
    rounds = collective_rounds.run_rounds(peers, {**INPUTS, "hccl_collective_policy": policy}, 5, False)
    assert rounds["waits_for_image"] is waits


# --- Diagnosis

def result(bandwidth=10.0, reason=None):
    rows = [] if reason else [{"size_bytes": 8, "time_us": 1.0, "alg_bandwidth_gbs": bandwidth,
                               "bus_bandwidth_gbs": bandwidth, "check": "success"}]
    return {"rows": rows, "failed": reason is not None, "reason": reason, "backend": "gloo", "ranks": 4,
            "tool": "probe", "choice": None}


def after(outcome, nodes=4, baseline=None):
    """Return the observations of nodes after a run on all of them."""
    peers = cluster(nodes)
    for observed in peers.values():
        observed["collective"] = {"runs": [{"round": "all", "hosts": sorted(peers), "result": outcome}],
                                  "baseline": baseline or {}}
    return peers


@pytest.mark.parametrize(("peers", "minimum", "rounds"), [
    (after(result()), "", []),
    (after(result()), "9", []),
    (after(result()), "11", ["alone", "pair 0", "pair 1", "pair 2"]),
    (after(result(), baseline={"4 nodes, 4 ranks, gloo, 8 bytes": 12.0}), "", ["alone", "pair 0", "pair 1", "pair 2"]),
    (after(result(), baseline={"4 nodes, 4 ranks, gloo, 8 bytes": 11.0}), "", []),
    (after(result(reason="no route")), "", ["alone", "pair 0", "pair 1", "pair 2"]),
    (after(result(reason="no route"), nodes=2), "", ["alone"]),
    (after(result(reason="no route"), nodes=9), "", ["alone", "pair 0", "pair 1", "pair 2"]),
    (cluster(4), "", []),
])
def test_failed_or_slow_run_is_followed_by_diagnosis_rounds(peers, minimum, rounds):
    found = collective_rounds.diagnosis_rounds(peers, {**INPUTS, "hccl_collective_bus_bandwidth_minimum_gbs": minimum})
    assert found["rounds"] == rounds
    assert sorted(found["interfaces"]) == (sorted(peers) if rounds else [])


@pytest.mark.parametrize(("limit", "rounds"), [
    (0, ["alone"]), (1, ["alone", "pair 0"]), (9, ["alone", "pair 0", "pair 1", "pair 2"])])
def test_number_of_pair_rounds_is_limited(limit, rounds):
    inputs = {**INPUTS, "hccl_collective_pair_rounds": limit}
    assert collective_rounds.diagnosis_rounds(after(result(reason="no route")), inputs)["rounds"] == rounds


def test_nothing_is_diagnosed_if_the_interface_of_a_node_is_unknown():
    """The interface may be unknown because the other nodes on its network failed earlier in the run."""
    peers = after(result(reason="no route"), nodes=2)
    peers["n2"]["host_network"]["interfaces"] = []
    assert collective_rounds.diagnosis_rounds(peers, INPUTS)["rounds"] == []


# --- Groups

def test_all_nodes_of_a_group_compute_the_same_group():
    hosts = ["n3", "n1", "n2", "n4"]
    assert collective_rounds.group(hosts, "n3", collective.ALL) == {"hosts": ["n1", "n2", "n3", "n4"], "rank": 2}
    assert collective_rounds.group(hosts, "n3", collective.ALONE) == {"hosts": ["n3"], "rank": 0}
    for round_name in ("pair 0", "pair 1", "pair 2"):
        for host in hosts:
            group = collective_rounds.group(hosts, host, round_name)
            other = next(name for name in group["hosts"] if name != host)
            assert collective_rounds.group(hosts, other, round_name)["hosts"] == group["hosts"]


def test_one_of_three_nodes_pauses():
    groups = [collective_rounds.group(["a", "b", "c"], host, "pair 0") for host in "abc"]
    assert groups.count({"hosts": [], "rank": None}) == 1
