# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network fault fails its check on the affected host, and no other check."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import judge as hccl
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.hccl.hccl_case import (
    INPUTS,
    NPUS,
    cluster,
    good_run,
    judge,
    not_passed,
    observation,
)


def status(checks):
    return contract.stage_status(checks)


def test_healthy_cluster_passes_every_check():
    checks = judge(cluster(), hccl_collective_bus_bandwidth_minimum_gbs="20")
    assert {check["status"] for check in checks} == {"passed"}
    assert {check["id"] for check in checks} == {check.id for check in hccl.CHECKS}


# --- The network is optional for independent replicas

ALONE, GROUP = {"group": None}, {"group": {"topology": "data_parallel"}}


def without_cables():
    """Return a cluster whose NPU ports have neither cables nor addresses, as `hccn_tool` shows them."""
    peers = cluster()
    for number, observed in enumerate(peers.values()):
        observed.update(conf=None, conf_error="No such file")
        observed["ping"] = {"matrix": {}, "errors": {}, "not_sent": 0, "given_up": 0, "retried": 0, "rounds": 0,
                            "duration_s": 0.0}
        observed["collective"] = {"runs": [], "obstacle": "no interface"}
        observed["host_network"]["interfaces"].append(
            {"name": "eth1", "up": True, "kind": None,
             "addresses": [{"address": f"198.51.100.{number + 1}", "prefix": 24}]})
        for answers in observed["npus"].values():
            answers.update(link={"status": "DOWN"}, net_health={"status": "Init"}, netdetect={"address": "0.0.0.0"})
            answers["ip"] = {"error": {"kind": "tool", "message": "Get ipconf failed, because no ip was preset there!",
                                       "code": 13}}
            answers["gateway"] = {"error": {"kind": "tool", "message": "no gateway was preset", "code": 13}}
            answers["lldp"] = {"error": {"kind": "empty", "message": "nothing was printed", "code": 0}}
            answers["status"] = {"fields": {"Speed": "Unknown!", "Duplex": "Unknown!"}}
            answers["optical"] = {"error": {"kind": "tool", "message": "Optical module is not present", "code": 1}}
    return peers


def judged(peers, plan, **inputs):
    inputs = {**INPUTS, "hccl_host_port": 22, **inputs}
    return hccl.judge(context(plan, peers["n2"], inputs, "n2", hccl.survey(peers, inputs)["n2"]))


@pytest.mark.parametrize(("plan", "policy", "expected"), [
    (ALONE, "auto", "warned"), (GROUP, "auto", "failed"), (ALONE, "required", "failed"), (GROUP, "optional", "warned")])
def test_node_without_cables_fails_only_if_nodes_serve_together(plan, policy, expected):
    checks = judged(without_cables(), plan, hccl_network_policy=policy)
    assert status(checks) == expected
    by_id = {check["id"]: check for check in checks}
    for check in ("link", "net_health", "netdetect", "conf", "host_interface"):
        assert by_id[check]["status"] == expected, check
        assert by_id[check]["severity"] == {"failed": "critical", "warned": "warning"}[expected]
        assert by_id[check]["remedy"]


@pytest.mark.parametrize(("plan", "expected"), [(ALONE, "warned"), (GROUP, "failed")])
def test_missing_hccn_tool_fails_only_if_nodes_serve_together(plan, expected):
    peers = cluster()
    peers["n2"]["npus"] = hccn_query.unanswered(range(NPUS), "hccn_tool was not found")
    checks = judged(peers, plan)
    assert status(checks) == expected
    assert "hccn_tool was not found" in next(
        check["message"] for check in checks if check["id"] == "tool_answers")


def test_hung_tool_fails_an_independent_node_too():
    peers = cluster()
    peers["n2"]["npus"]["1"]["link"] = {"error": {"kind": "timeout", "message": "no answer", "code": None}}
    assert not_passed(judged(peers, ALONE))[("tool_answers", "npu 1")] == "failed"


@pytest.mark.parametrize(("alone", "expected"), [(good_run(), "warned"), (None, "failed")])
def test_all_reduce_that_fails_within_a_node_fails_an_independent_node(alone, expected):
    """The instances of a node use the links within the node."""
    bad = dict(good_run(), rows=[], failed=True, reason="EI0006")
    peers = cluster()
    for host, observed in peers.items():
        observed["collective"]["runs"] = [
            {"round": "all", "hosts": ["n1", "n2"], "result": bad},
            {"round": "alone", "hosts": [host], "result": alone or (bad if host == "n2" else good_run())}]
    checks = judged(peers, ALONE)
    assert not_passed(checks)[("collective_result", None)] == expected


def test_npus_with_only_ipv6_addresses_are_unsupported():
    """The entries are from a published hccn.conf of such a node."""
    peers = cluster()
    for observed in peers.values():
        observed["conf"]["devices"] = {
            str(npu): {"IPv6address": "121::101", "IPv6netmask": "112"} for npu in range(NPUS)}
        for answers in observed["npus"].values():
            answers["ip"] = {"error": {"kind": "tool", "message": "Get ipconf failed, because no ip was preset there!",
                                       "code": 13}}
    checks = [check for check in judged(peers, GROUP) if check["id"] == "address"]
    assert [(check["status"], "has only an IPv6 address (121::101" in check["message"]) for check in checks] == [
        ("unsupported", True)] * NPUS


# --- Addresses, switches and hosts

def test_duplicate_address_fails_both_npus():
    peers = cluster()
    for target in (peers["n2"]["npus"]["3"]["ip"], peers["n2"]["conf"]["devices"]["3"]):
        target["address"] = "10.0.3.1"
    for host, other in (("n1", "n2 npu 3"), ("n2", "n1 npu 3")):
        checks = judge(peers, host)
        assert not_passed(checks) == {("duplicate_address", "npu 3"): "failed"}
        assert other in next(check["message"] for check in checks if check["status"] == "failed")


def test_npu_outside_the_subnet_of_its_rail_causes_a_warning():
    peers = cluster(3)
    for target in (peers["n2"]["npus"]["3"]["ip"], peers["n2"]["conf"]["devices"]["3"]):
        target["address"] = "10.9.3.2"
    assert not_passed(judge(peers)) == {("rail_subnet", "npu 3"): "warned"}


def test_two_npus_at_the_same_switch_port_fail():
    peers = cluster()
    peers["n2"]["npus"]["3"]["lldp"] = copy.deepcopy(peers["n1"]["npus"]["3"]["lldp"])
    assert not_passed(judge(peers)) == {("switch_port", "npu 3"): "failed"}
    assert not_passed(judge(peers, "n1")) == {("switch_port", "npu 3"): "failed"}


def test_npu_at_a_different_switch_than_its_rail_causes_a_warning():
    peers = cluster(3)
    peers["n2"]["npus"]["3"]["lldp"]["tlvs"]["System Name TLV"] = "leaf-9"
    assert not_passed(judge(peers)) == {("rail_switch", "npu 3"): "warned"}
    assert not_passed(judge(peers, "n1")) == {}


def test_switch_of_each_rail_can_be_set():
    switches = {"0": "leaf-0", 1: "leaf-7"}
    assert not_passed(judge(cluster(), hccl_rail_switches=switches)) == {("rail_switch", "npu 1"): "warned"}


def test_switches_are_not_judged_without_lldp():
    peers = cluster()
    for answers in peers["n2"]["npus"].values():
        answers["lldp"] = {"error": {"kind": "empty", "message": "nothing was printed", "code": 0}}
    found = not_passed(judge(peers))
    assert found[("switch_port", None)] == "not_run"
    assert found[("rail_switch", None)] == "not_run"


def test_unclear_host_interface_fails():
    peers = cluster()
    for node, observed in enumerate(peers.values(), 1):
        observed["host_network"]["interfaces"].append(
            {"name": "eth1", "up": True, "kind": None, "addresses": [{"address": f"198.51.100.{node}", "prefix": 24}]})
    checks = judge(peers)
    assert not_passed(checks) == {("host_interface", None): "failed"}
    assert "eth0 (192.0.2.2) and eth1 (198.51.100.2)" in next(c["message"] for c in checks if c["status"] == "failed")
    assert not_passed(judge(peers, hccl_interface="eth1")) == {}


def test_unreachable_host_fails_the_check():
    peers = cluster()
    peers["n2"]["reach"]["n1"].update(reached=False, error="[Errno 113] No route to host")
    checks = judge(peers)
    assert not_passed(checks) == {("host_reachable", "n1"): "failed"}
    assert "n2 does not reach n1 at 192.0.2.1" in next(c["message"] for c in checks if c["status"] == "failed")


# --- Mesh

def lose(peers, pair, loss=100):
    """Set the ping loss of a pair of NPUs in percent."""
    host, number, other, target = pair
    peers[host]["ping"]["matrix"][str(number)][other][target] = loss


def test_dead_npu_fails_only_its_host():
    peers = cluster(3)
    for other in ("n1", "n3"):
        for number in range(NPUS):
            lose(peers, ("n2", 3, other, number))
            lose(peers, (other, number, "n2", 3))
    checks = judge(peers)
    assert not_passed(checks) == {("ping_mesh", "npu 3"): "failed"}
    assert "the suspect is n2 npu 3" in next(check["message"] for check in checks if check["status"] == "failed")
    other = judge(peers, "n1")
    assert not_passed(other) == {}
    assert next(c["message"] for c in other if c["id"] == "ping_mesh") == "All bad pairs involve n2 npu 3"


def test_direction_in_which_pings_fail_is_reported():
    peers = cluster()
    lose(peers, ("n2", 3, "n1", 0))
    message = next(check["message"] for check in judge(peers) if check["status"] == "failed")
    assert message.startswith("the suspect is n2 npu 3 -> n1 npu 0, only pings from it: 1 of 1 pairs")


def test_lost_packets_cause_a_warning():
    peers = cluster()
    lose(peers, ("n2", 3, "n1", 0), 33.33)
    assert not_passed(judge(peers)) == {("ping_loss", "npu 3"): "warned"}


def test_failed_pings_without_a_pattern_fail_all_hosts():
    peers = cluster(4)
    for index, observed in enumerate(peers.values()):
        for number, row in observed["ping"]["matrix"].items():
            for other, losses in row.items():
                losses[(index + int(number) + int(other[1:])) % NPUS] = 100
    assert any(key[0] == "ping_mesh" for key in not_passed(judge(peers)))


@pytest.mark.parametrize("error_text", ["n2 is not reachable", None])
def test_node_without_pings_fails(error_text):
    peers = cluster()
    peers["n2"].update(ping=None, reach=None, ping_error=error_text)
    found = not_passed(judge(peers))
    assert found[("ping_mesh", None)] == "failed"
    assert found[("ping_loss", None)] == "not_run"
    assert found[("host_reachable", None)] == "not_run"


def test_pings_that_were_not_sent_cause_a_warning():
    peers = cluster()
    peers["n2"]["ping"]["not_sent"] = 5
    assert not_passed(judge(peers)) == {("ping_coverage", None): "warned"}


def test_coverage_of_a_sampled_mesh_is_reported():
    peers = cluster(4)
    message = next(c["message"] for c in judge(peers, hccl_ping_full_mesh_max_nodes=2) if c["id"] == "ping_coverage")
    assert message == "64 pings in 4 rounds cover 33.3 % of all NPU pairs"


def test_stage_passes_if_pings_are_disabled():
    checks = judge(cluster(), hccl_ping_enabled=False)
    assert status(checks) == "passed"
    assert {c["status"] for c in checks if c["id"].startswith("ping_")} == {"not_run"}


# --- Collective

def with_runs(peers, *runs, **more):
    for observed in peers.values():
        observed["collective"] = {"runs": [{"round": name, "hosts": hosts, "result": result}
                                           for name, hosts, result in runs], "baseline": {}, **more}
    return peers


def test_bandwidth_without_a_required_minimum_is_only_reported():
    check = next(c for c in judge(cluster()) if c["id"] == "collective_bandwidth")
    assert (check["status"], check["severity"]) == ("not_run", "info")
    assert "Reported, not judged: 268435456 bytes at 20 GB/s algorithm and 30 GB/s bus bandwidth" in check["message"]
    assert status(judge(cluster())) == "passed"


def test_bandwidth_is_compared_with_the_baseline():
    peers = cluster()
    key = collective.baseline_key(good_run(), 2)
    for observed in peers.values():
        observed["collective"]["baseline"] = {key: 30.0}
    assert next(c for c in judge(peers) if c["id"] == "collective_bandwidth")["status"] == "passed"
    for observed in peers.values():
        observed["collective"]["baseline"] = {key: 40.0}
    assert not_passed(judge(peers)) == {("collective_bandwidth", None): "failed"}


def test_suspect_of_a_slow_run_is_named():
    runs = [("all", ["n1", "n2"], good_run(1.0)), ("alone", ["n1"], good_run(9.0)), ("alone", ["n2"], good_run(9.0))]
    checks = judge(with_runs(cluster(), *runs), hccl_collective_bus_bandwidth_minimum_gbs=20)
    assert not_passed(checks) == {("collective_bandwidth", None): "failed"}
    assert "the suspect is n1 <-> n2" in next(c["message"] for c in checks if c["status"] == "failed")


def test_failed_run_fails_only_the_suspect():
    failed_run = collective.parse("EI0006: link timeout\n", 1)
    peers = with_runs(cluster(), ("all", ["n1", "n2"], failed_run), ("alone", ["n2"], failed_run))
    checks = judge(peers)
    assert not_passed(checks)[("collective_result", None)] == "failed"
    assert "the suspect is n2" in next(c["message"] for c in checks if c["status"] == "failed")
    assert not_passed(judge(peers, "n1"))[("collective_result", None)] == "not_run"


def test_unverified_results_are_recorded_as_not_run():
    run = good_run()
    run["rows"][0]["check"] = "NULL"
    found = not_passed(judge(with_runs(cluster(), ("all", ["n1", "n2"], run))))
    assert found == {("collective_result", None): "not_run", ("collective_bandwidth", None): "not_run"}


@pytest.mark.parametrize(("policy", "severity", "stage"), [
    ("auto", "info", "passed"), ("always", "critical", "not_run")])
def test_obstacle_counts_only_if_the_run_is_required(policy, severity, stage):
    checks = judge(with_runs(cluster(), obstacle="n1 does not have the image yet."), hccl_collective_policy=policy)
    check = next(c for c in checks if c["id"] == "collective_result")
    assert (check["status"], check["severity"], check["message"]) == (
        "not_run", severity, "n1 does not have the image yet.")
    assert status(checks) == stage


# --- Scope

def test_single_node_runs_only_the_checks_of_its_ports():
    checks = judge({"n2": observation(2, 1)})
    assert {c["id"] for c in checks if c["status"] == "not_run"} == set(hccl._CLUSTER)
    assert all("only one node" in c["message"] for c in checks if c["status"] == "not_run")
    assert status(checks) == "passed"


def test_disabled_stage_is_recorded_as_not_run():
    checks = hccl.judge(context({}, inputs=dict(INPUTS, hccl_enabled=False), host="n1"))
    assert {c["status"] for c in checks} == {"not_run"}
    assert status(checks) == "not_run"


def test_request_contains_all_npus_and_the_image_only_if_it_is_used():
    plan = valid(plan_release="v0.18.0", plan_hardware="atlas_800_a3")
    arguments = hccl.request(context(plan, inputs=INPUTS)).arguments
    assert arguments == {"npus": list(range(16)), "timeout_s": 15, "image": plan["image"]["reference"],
                         "docker_socket": plan["docker_socket"]}
    off = dict(INPUTS, hccl_collective_policy="never")
    assert hccl.request(context(plan, inputs=off)).arguments["image"] == ""


@pytest.mark.parametrize(("tool", "text"), [
    ("hccl_test", "by hccl_test over 8 ranks"), ("probe", "by torch.distributed (hccl) over 8 ranks")])
def test_program_of_the_all_reduce_is_named(tool, text):
    peers = cluster()
    for observed in peers.values():
        observed["collective"]["runs"][0]["result"]["tool"] = tool
    (found,) = [check for check in judge(peers) if check["id"] == "collective_result"]
    assert found["status"] == "passed"
    assert text in "%s %s" % (found["actual"], found["message"])
