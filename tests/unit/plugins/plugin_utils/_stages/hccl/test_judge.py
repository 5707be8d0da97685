# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault of the fabric fails its own check, on the host and NPU that it is of, and no other check."""
from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import judge as hccl
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults

ROOT = Path(__file__).resolve().parents[6]
INPUTS = defaults("hccl")
NPUS = 4


def npu(node, number):
    """The answers of a healthy NPU of node 1, 2, ..."""
    return {
        "link": {"status": "UP"},
        "net_health": {"status": "Success"},
        "ip": {"address": f"10.0.{number}.{node}", "netmask": "255.255.255.0"},
        "gateway": {"address": f"10.0.{number}.254", "interface": f"eth{number}"},
        "netdetect": {"address": f"10.0.{number}.254"},
        "lldp": {"ifname": f"200GE1/0/{node}", "tlvs": {"System Name TLV": f"leaf-{number}"}},
        "tls": {"enabled": False},
        "status": {"fields": {"Speed": "200000Mb/s", "Duplex": "Full", "Port": "FIBRE"}},
        "mtu": {"fields": {"mtu": "4200"}},
        "fec": {"mode": "rs FEC mode"},
        "optical": {"present": True, "Tx Power0": 1.2, "Tx Power1": 1.3, "Rx Power0": 0.9, "Rx Power1": 1.0,
                    "Tx Bias0": 7.5, "Media SNR Lane0": 23.0, "Host SNR Lane0": None, "TxPower High Thres": 3.5},
        "link_stat": {"up_count": 1, "down_count": 0, "current_time": "Mon Nov 23 12:00:00 2026",
                      "events": [{"time": "Sun Nov  1 12:00:00 2026", "status": "LINK UP"}]},
    }


def observation(node, nodes):
    devices = {str(number): {"address": f"10.0.{number}.{node}", "netmask": "255.255.255.0",
                             "gateway": f"10.0.{number}.254"} for number in range(NPUS)}
    others = [f"n{other}" for other in range(1, nodes + 1) if other != node]
    return {
        "npus": {str(number): npu(node, number) for number in range(NPUS)},
        "conf": {"kind": "hccn_conf", "fields": {}, "devices": devices, "duplicates": []}, "conf_error": None,
        "host_network": {"error": None, "interfaces": [
            {"name": "eth0", "up": True, "kind": None, "addresses": [{"address": f"192.0.2.{node}", "prefix": 24}]}]},
        "processes": [], "image_present": True,
        "ping": {"matrix": {str(number): {other: [0] * NPUS for other in others} for number in range(NPUS)},
                 "errors": {}, "not_sent": 0, "given_up": 0, "retried": 0, "rounds": 4, "duration_s": 2.0},
        "ping_error": None,
        "reach": {other: {"address": f"192.0.2.{other[1:]}", "reached": True, "error": None} for other in others},
        "collective": {"runs": [{"round": "all", "hosts": [f"n{one}" for one in range(1, nodes + 1)],
                                 "result": good_run()}], "baseline": {}},
    }


def good_run(speed=30.0):
    return {"rows": [{"size_bytes": 268435456, "time_us": 1.0, "alg_bandwidth_gbs": speed / 1.5,
                      "bus_bandwidth_gbs": speed, "check": "success"}],
            "failed": False, "reason": None, "backend": "hccl", "ranks": 8, "tool": "probe",
            "choice": None}


def cluster(nodes=2):
    return {f"n{node}": observation(node, nodes) for node in range(1, nodes + 1)}


def judge(peers, host="n2", **inputs):
    inputs = dict(INPUTS, hccl_host_port=22, **inputs)
    # As ascend.vllm.stage hands it over: by a file.
    survey = json.loads(json.dumps(hccl.survey(peers, inputs)))[host]
    return hccl.judge(context({}, peers[host], inputs, host, survey))


def bad(checks):
    """{(check, subject): status} of what is not well; what nobody asked for left out."""
    return {(check["id"], check["subject"]): check["status"] for check in checks
            if check["status"] not in ("passed", "unsupported") and check["severity"] != "info"}


def status(checks):
    return contract.stage_status(checks)


def test_a_healthy_cluster_passes_every_check():
    checks = judge(cluster(), hccl_collective_bus_bandwidth_minimum_gbs="20")
    assert {check["status"] for check in checks} == {"passed"}
    assert {check["id"] for check in checks} == {check.id for check in hccl.CHECKS}


# --- One fault, one check

def put(path, value):
    """A fault of NPU 3 of n2: the answer or field at ``path`` has this value."""
    def plant(peers):
        target = peers["n2"]["npus"]["3"]
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
    return plant


def conf(key, value):
    def plant(peers):
        peers["n2"]["conf"]["devices"]["3"][key] = value
        if value is None:
            del peers["n2"]["conf"]["devices"]["3"][key]
    return plant


def error(query, message, kind="tool"):
    return put([query], {"error": {"kind": kind, "message": message, "code": 13}})


def flaps(count):
    events = [{"time": f"Mon Nov 23 0{hour}:00:00 2026", "status": "LINK DOWN"} for hour in range(count)]
    return put(["link_stat", "events"], events)


ONE_NPU = [
    (put(["gateway", "address"], "10.0.3.1"), "gateway", "failed"),
    (error("gateway", "Get gateway failed, because no gateway was preset there!"), "gateway", "failed"),
    (conf("address", "10.0.3.99"), "address", "failed"),
    (conf("address", None), "address", "failed"),
    (conf("netmask", "255.255.0.0"), "netmask", "failed"),
    (conf("gateway", None), "gateway", "failed"),
    (put(["netdetect", "address"], "0.0.0.0"), "netdetect", "failed"),
    (error("lldp", "nothing was printed", "empty"), "lldp_neighbour", "warned"),
    (put(["status", "fields", "Speed"], "100000Mb/s"), "speed", "failed"),
    (put(["status", "fields", "Duplex"], "Half"), "duplex", "failed"),
    (put(["mtu", "fields", "mtu"], "1500"), "mtu", "failed"),
    (put(["fec", "mode"], "no FEC mode"), "fec", "warned"),
    (put(["tls", "enabled"], True), "tls", "failed"),
    (put(["optical"], {"present": False, "Tx Power0": 9.9}), "optics_present", "warned"),
    (error("optical", "Optical module is not present."), "optics_present", "warned"),
    (put(["optical", "Tx Power0"], 0.1), "optics_power", "failed"),
    (put(["optical", "Tx Bias0"], 11.0), "optics_power", "failed"),
    (put(["optical", "Media SNR Lane0"], 19.0), "optics_margin", "warned"),
    (put(["optical", "Rx Power0"], 0.5), "optics_margin", "warned"),
    (put(["optical", "Rx Power1"], 2.2), "optics_margin", "warned"),
    (flaps(6), "link_flaps", "warned"),
    (put(["lldp", "tlvs", "System Name TLV"], "leaf-9"), "rail_switch", "warned"),
]


@pytest.mark.parametrize(("plant", "check", "expected"), ONE_NPU)
def test_a_fault_of_one_npu_fails_its_check_on_that_npu_only(plant, check, expected):
    peers = cluster(3)
    plant(peers)
    assert bad(judge(peers)) == {(check, "npu 3"): expected}
    assert bad(judge(peers, "n1")) == {}


def test_what_is_watched_cannot_be_told_while_net_health_fails():
    peers = cluster()
    put(["net_health", "status"], "Receive timeout")(peers)
    checks = judge(peers)
    assert bad(checks) == {("net_health", "npu 3"): "failed", ("netdetect", "npu 3"): "not_run"}
    assert "watching 10.0.3.254" in next(check["message"] for check in checks if check["status"] == "failed")


def test_the_snr_alarm_also_has_no_margin():
    peers = cluster()
    put(["optical", "Media SNR Lane0"], 17.0)(peers)
    assert bad(judge(peers)) == {("optics_snr", "npu 3"): "failed", ("optics_margin", "npu 3"): "warned"}


def test_a_link_that_is_down():
    peers = cluster(3)
    answers = peers["n2"]["npus"]["3"]
    answers.update(link={"status": "DOWN"}, net_health={"status": "Fault"})
    answers["status"]["fields"].update(Speed="Unknown!", Duplex="Unknown! (255)")
    found = bad(judge(peers))
    assert found[("link", "npu 3")] == "failed"
    assert {key[0] for key, state in found.items() if state == "not_run"} == {"speed", "duplex", "netdetect"}
    assert all(subject == "npu 3" for _check, subject in found)


def test_five_flaps_are_tolerated_and_old_ones_do_not_count():
    peers = cluster()
    flaps(5)(peers)
    old = [{"time": "Fri Nov 20 01:00:00 2026", "status": "LINK DOWN"}] * 9
    peers["n2"]["npus"]["2"]["link_stat"]["events"] = old
    assert bad(judge(peers)) == {}
    peers["n2"]["npus"]["2"]["link_stat"]["events"] = [{"time": "Fri Nov :20 01:00:00 2026", "status": "LINK DOWN"}]
    assert bad(judge(peers)) == {("link_flaps", "npu 2"): "not_run"}


def test_a_tool_that_hangs_is_named_and_nothing_unasked_passes():
    peers = cluster()
    answers = peers["n2"]["npus"]["1"]
    for query in answers:
        answers[query] = {"error": {"kind": "skipped", "message": "not asked", "code": None}}
    answers["link"] = {"error": {"kind": "timeout", "message": "no answer to -link within 15 s", "code": None}}
    checks = judge(peers)
    found = bad(checks)
    assert found[("tool_answers", "npu 1")] == "failed"
    assert {state for (check, _subject), state in found.items() if check != "tool_answers"} == {"not_run"}
    message = next(check["message"] for check in checks if check["status"] == "failed")
    assert "no answer to -link within 15 s" in message


def test_what_the_product_does_not_know_is_unsupported():
    peers = cluster()
    for answers in peers["n2"]["npus"].values():
        answers["fec"] = {"error": {"kind": "tool", "message": "The command is not supported on this product."}}
        answers["status"]["fields"]["Port"] = "Direct Attach Copper"
        answers["optical"] = {"present": False}
    checks = judge(peers)
    assert bad(checks) == {}
    assert {check["id"] for check in checks if check["status"] == "unsupported"} == {
        "fec", "optics_present", "optics_power", "optics_snr", "optics_margin"}


def test_no_gateway_anywhere_is_no_gateway_needed():
    peers = cluster()
    for answers, entries in zip(peers["n2"]["npus"].values(), peers["n2"]["conf"]["devices"].values()):
        answers["gateway"] = {"error": {"kind": "tool", "message": "Get gateway failed, because no gateway was preset "
                                        "there!", "code": 2}}
        del entries["gateway"]
    checks = judge(peers)
    assert bad(checks) == {}
    assert {check["status"] for check in checks if check["id"] == "gateway"} == {"unsupported"}


def test_hccn_conf_that_cannot_be_read():
    peers = cluster()
    peers["n2"].update(conf=None, conf_error="No such file")
    found = bad(judge(peers))
    assert {key[0] for key, state in found.items() if state == "failed"} == {"conf"}
    assert {key[0] for key, state in found.items() if state == "not_run"} == {"address", "netmask", "gateway"}
    assert ("conf", "npu 0-3") in found


def test_an_even_split_has_no_majority_and_fails_both_sides():
    peers = cluster()
    for answers in peers["n1"]["npus"].values():
        answers["tls"]["enabled"] = True
    for host in peers:
        assert bad(judge(peers, host)) == {("tls", f"npu {number}"): "failed" for number in range(NPUS)}


def test_npus_with_one_and_the_same_finding_share_an_entry():
    peers = cluster()
    for number in ("0", "1", "3"):
        peers["n2"]["npus"][number]["fec"] = {"error": {"kind": "tool", "message": "I2c is busy.", "code": 12}}
    found = bad(judge(peers))
    assert found == {("tool_answers", "npu 0-1, 3"): "failed", ("fec", "npu 0-1, 3"): "not_run"}


# --- Across the cluster

def test_a_duplicate_address_names_both():
    peers = cluster()
    for target in (peers["n2"]["npus"]["3"]["ip"], peers["n2"]["conf"]["devices"]["3"]):
        target["address"] = "10.0.3.1"
    for host, other in (("n1", "n2 npu 3"), ("n2", "n1 npu 3")):
        checks = judge(peers, host)
        assert bad(checks) == {("duplicate_address", "npu 3"): "failed"}
        assert other in next(check["message"] for check in checks if check["status"] == "failed")


def test_another_subnet_in_a_rail():
    peers = cluster(3)
    for target in (peers["n2"]["npus"]["3"]["ip"], peers["n2"]["conf"]["devices"]["3"]):
        target["address"] = "10.9.3.2"
    assert bad(judge(peers)) == {("rail_subnet", "npu 3"): "warned"}


def test_two_npus_on_one_switch_port():
    peers = cluster()
    peers["n2"]["npus"]["3"]["lldp"] = copy.deepcopy(peers["n1"]["npus"]["3"]["lldp"])
    assert bad(judge(peers)) == {("switch_port", "npu 3"): "failed"}
    assert bad(judge(peers, "n1")) == {("switch_port", "npu 3"): "failed"}


def test_the_site_says_which_switch_a_rail_is_on():
    assert bad(judge(cluster(), hccl_rail_switches={"0": "leaf-0", 1: "leaf-7"})) == {("rail_switch",
                                                                                       "npu 1"): "warned"}


def test_no_lldp_at_all():
    peers = cluster()
    for answers in peers["n2"]["npus"].values():
        answers["lldp"] = {"error": {"kind": "empty", "message": "nothing was printed", "code": 0}}
    found = bad(judge(peers))
    assert found[("switch_port", None)] == "not_run"
    assert found[("rail_switch", None)] == "not_run"


def test_host_interface_in_doubt():
    peers = cluster()
    for node, observed in enumerate(peers.values(), 1):
        observed["host_network"]["interfaces"].append(
            {"name": "eth1", "up": True, "kind": None, "addresses": [{"address": f"198.51.100.{node}", "prefix": 24}]})
    checks = judge(peers)
    assert bad(checks) == {("host_interface", None): "failed"}
    assert "eth0 (192.0.2.2) and eth1 (198.51.100.2)" in next(c["message"] for c in checks if c["status"] == "failed")
    assert bad(judge(peers, hccl_interface="eth1")) == {}


def test_a_host_that_is_not_reached():
    peers = cluster()
    peers["n2"]["reach"]["n1"].update(reached=False, error="[Errno 113] No route to host")
    checks = judge(peers)
    assert bad(checks) == {("host_reachable", "n1"): "failed"}
    assert "n2 does not reach n1 at 192.0.2.1" in next(c["message"] for c in checks if c["status"] == "failed")


# --- Mesh

def dead(peers, pair, loss=100):
    host, number, other, target = pair
    peers[host]["ping"]["matrix"][str(number)][other][target] = loss


def test_one_dead_npu_fails_its_own_host_only():
    peers = cluster(3)
    for other in ("n1", "n3"):
        for number in range(NPUS):
            dead(peers, ("n2", 3, other, number))
            dead(peers, (other, number, "n2", 3))
    checks = judge(peers)
    assert bad(checks) == {("ping_mesh", "npu 3"): "failed"}
    assert "the suspect is n2 npu 3" in next(check["message"] for check in checks if check["status"] == "failed")
    other = judge(peers, "n1")
    assert bad(other) == {}
    assert next(c["message"] for c in other if c["id"] == "ping_mesh") == "Only because of n2 npu 3"


def test_one_direction_only():
    peers = cluster()
    dead(peers, ("n2", 3, "n1", 0))
    message = next(check["message"] for check in judge(peers) if check["status"] == "failed")
    assert message.startswith("the suspect is n2 npu 3 -> n1 npu 0, from it only: 1 of 1 pairs")


def test_loss_warns():
    peers = cluster()
    dead(peers, ("n2", 3, "n1", 0), 33.33)
    assert bad(judge(peers)) == {("ping_loss", "npu 3"): "warned"}


def test_pings_without_a_pattern_fail_everyone():
    peers = cluster(4)
    for index, observed in enumerate(peers.values()):
        for number, row in observed["ping"]["matrix"].items():
            for other, losses in row.items():
                losses[(index + int(number) + int(other[1:])) % NPUS] = 100
    assert any(key[0] == "ping_mesh" for key in bad(judge(peers)))


@pytest.mark.parametrize("error_text", ["n2 is not reachable", None])
def test_a_mesh_that_was_not_run_is_no_success(error_text):
    peers = cluster()
    peers["n2"].update(ping=None, reach=None, ping_error=error_text)
    found = bad(judge(peers))
    assert found[("ping_mesh", None)] == "failed"
    assert found[("ping_loss", None)] == "not_run"
    assert found[("host_reachable", None)] == "not_run"


def test_pings_that_were_not_sent_are_told():
    peers = cluster()
    peers["n2"]["ping"]["not_sent"] = 5
    assert bad(judge(peers)) == {("ping_coverage", None): "warned"}


def test_coverage_of_a_sample():
    peers = cluster(4)
    message = next(c["message"] for c in judge(peers, hccl_ping_full_mesh_max_nodes=2) if c["id"] == "ping_coverage")
    assert message == "64 pings in 4 rounds cover 33.3 % of all pairs of NPUs"


def test_what_is_switched_off_is_not_run_and_spoils_nothing():
    checks = judge(cluster(), hccl_ping_enabled=False)
    assert status(checks) == "passed"
    assert {c["status"] for c in checks if c["id"].startswith("ping_")} == {"not_run"}


# --- Collective

def with_runs(peers, *runs, **more):
    for observed in peers.values():
        observed["collective"] = {"runs": [{"round": name, "hosts": hosts, "result": result}
                                           for name, hosts, result in runs], "baseline": {}, **more}
    return peers


def test_without_anything_to_hold_against_it_is_reported_and_not_judged():
    check = next(c for c in judge(cluster()) if c["id"] == "collective_bandwidth")
    assert (check["status"], check["severity"]) == ("not_run", "info")
    assert "Reported, not judged: 268435456 bytes at 20 GB/s algorithm and 30 GB/s bus bandwidth" in check["message"]
    assert status(judge(cluster())) == "passed"


def test_a_baseline_judges():
    peers = cluster()
    key = collective.baseline_key(good_run(), 2)
    for observed in peers.values():
        observed["collective"]["baseline"] = {key: 30.0}
    assert next(c for c in judge(peers) if c["id"] == "collective_bandwidth")["status"] == "passed"
    for observed in peers.values():
        observed["collective"]["baseline"] = {key: 40.0}
    assert bad(judge(peers)) == {("collective_bandwidth", None): "failed"}


def test_a_slow_run_names_what_is_slow():
    runs = [("all", ["n1", "n2"], good_run(1.0)), ("alone", ["n1"], good_run(9.0)), ("alone", ["n2"], good_run(9.0))]
    checks = judge(with_runs(cluster(), *runs), hccl_collective_bus_bandwidth_minimum_gbs=20)
    assert bad(checks) == {("collective_bandwidth", None): "failed"}
    assert "the suspect is n1 <-> n2" in next(c["message"] for c in checks if c["status"] == "failed")


def test_a_broken_node_fails_and_the_other_proves_nothing():
    broken = collective.parse("EI0006: link timeout\n", 1)
    peers = with_runs(cluster(), ("all", ["n1", "n2"], broken), ("alone", ["n2"], broken))
    checks = judge(peers)
    assert bad(checks)[("collective_result", None)] == "failed"
    assert "the suspect is n2" in next(c["message"] for c in checks if c["status"] == "failed")
    assert bad(judge(peers, "n1"))[("collective_result", None)] == "not_run"


def test_unverified_is_never_passed():
    run = good_run()
    run["rows"][0]["check"] = "NULL"
    found = bad(judge(with_runs(cluster(), ("all", ["n1", "n2"], run))))
    assert found == {("collective_result", None): "not_run", ("collective_bandwidth", None): "not_run"}


@pytest.mark.parametrize(("policy", "severity", "stage"), [
    ("auto", "info", "passed"), ("always", "critical", "not_run")])
def test_an_obstacle_counts_only_where_the_run_is_required(policy, severity, stage):
    checks = judge(with_runs(cluster(), obstacle="n1 does not have the image yet."), hccl_collective_policy=policy)
    check = next(c for c in checks if c["id"] == "collective_result")
    assert (check["status"], check["severity"], check["message"]) == (
        "not_run", severity, "n1 does not have the image yet.")
    assert status(checks) == stage


# --- Scope

def test_on_one_node_only_the_inner_checks_run():
    checks = judge({"n2": observation(2, 1)})
    assert {c["id"] for c in checks if c["status"] == "not_run"} == set(hccl._CLUSTER)
    assert all("only one node" in c["message"] for c in checks if c["status"] == "not_run")
    assert status(checks) == "passed"


def test_switched_off():
    checks = hccl.judge(context({}, inputs=dict(INPUTS, hccl_enabled=False), host="n1"))
    assert {c["status"] for c in checks} == {"not_run"}
    assert status(checks) == "not_run"


def test_arguments():
    plan = valid(plan_release="v0.18.0", plan_hardware="atlas_800_a3")
    arguments = hccl.request(context(plan, inputs=INPUTS)).arguments
    assert arguments == {"npus": list(range(16)), "timeout_s": 15, "image": plan["image"]["reference"],
                         "docker_socket": plan["docker_socket"]}
    off = dict(INPUTS, hccl_collective_policy="never")
    assert hccl.request(context(plan, inputs=off)).arguments["image"] == ""
