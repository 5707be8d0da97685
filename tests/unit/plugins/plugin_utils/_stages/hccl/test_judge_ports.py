# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault of one network port fails its check on that NPU, and no other check."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import judge_ports
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.hccl.hccl_case import (
    INPUTS,
    NPUS,
    cluster,
    judge,
    not_passed,
)


def put(path, value):
    """Return a function that sets the value at ``path`` in the parsed output for NPU 3 of n2."""
    def inject(peers):
        target = peers["n2"]["npus"]["3"]
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
    return inject


def conf(key, value):
    def inject(peers):
        peers["n2"]["conf"]["devices"]["3"][key] = value
        if value is None:
            del peers["n2"]["conf"]["devices"]["3"][key]
    return inject


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
]


@pytest.mark.parametrize(("inject", "check", "expected"), ONE_NPU)
def test_fault_of_one_npu_fails_its_check_only_on_that_npu(inject, check, expected):
    peers = cluster(3)
    inject(peers)
    assert not_passed(judge(peers)) == {(check, "npu 3"): expected}
    assert not_passed(judge(peers, "n1")) == {}


def test_netdetect_is_not_run_if_net_health_fails():
    peers = cluster()
    put(["net_health", "status"], "Receive timeout")(peers)
    checks = judge(peers)
    assert not_passed(checks) == {("net_health", "npu 3"): "failed", ("netdetect", "npu 3"): "not_run"}
    assert "netdetect address: 10.0.3.254" in next(check["message"] for check in checks if check["status"] == "failed")


def test_snr_below_the_limit_also_causes_a_warning_about_the_margin():
    peers = cluster()
    put(["optical", "Media SNR Lane0"], 17.0)(peers)
    assert not_passed(judge(peers)) == {("optics_snr", "npu 3"): "failed", ("optics_margin", "npu 3"): "warned"}


def test_link_that_is_down_fails_only_its_own_npu():
    peers = cluster(3)
    answers = peers["n2"]["npus"]["3"]
    answers.update(link={"status": "DOWN"}, net_health={"status": "Fault"})
    answers["status"]["fields"].update(Speed="Unknown!", Duplex="Unknown! (255)")
    found = not_passed(judge(peers))
    assert found[("link", "npu 3")] == "failed"
    assert {key[0] for key, state in found.items() if state == "not_run"} == {"speed", "duplex", "netdetect"}
    assert all(subject == "npu 3" for _check, subject in found)


def test_old_flaps_and_flaps_up_to_the_limit_pass():
    peers = cluster()
    flaps(5)(peers)
    old = [{"time": "Fri Nov 20 01:00:00 2026", "status": "LINK DOWN"}] * 9
    peers["n2"]["npus"]["2"]["link_stat"]["events"] = old
    assert not_passed(judge(peers)) == {}
    peers["n2"]["npus"]["2"]["link_stat"]["events"] = [{"time": "Fri Nov :20 01:00:00 2026", "status": "LINK DOWN"}]
    assert not_passed(judge(peers)) == {("link_flaps", "npu 2"): "not_run"}


def test_tool_that_hangs_fails_and_skipped_queries_are_not_run():
    peers = cluster()
    answers = peers["n2"]["npus"]["1"]
    for query in answers:
        answers[query] = {"error": {"kind": "skipped", "message": "skipped", "code": None}}
    answers["link"] = {"error": {"kind": "timeout", "message": "no answer to -link within 15 s", "code": None}}
    checks = judge(peers)
    found = not_passed(checks)
    assert found[("tool_answers", "npu 1")] == "failed"
    assert {state for (check, _subject), state in found.items() if check != "tool_answers"} == {"not_run"}
    message = next(check["message"] for check in checks if check["status"] == "failed")
    assert "no answer to -link within 15 s" in message


def test_queries_that_the_hardware_does_not_support_are_unsupported():
    peers = cluster()
    for answers in peers["n2"]["npus"].values():
        answers["fec"] = {"error": {"kind": "tool", "message": "The command is not supported on this product."}}
        answers["status"]["fields"]["Port"] = "Direct Attach Copper"
        answers["optical"] = {"present": False}
    checks = judge(peers)
    assert not_passed(checks) == {}
    assert {check["id"] for check in checks if check["status"] == "unsupported"} == {
        "fec", "optics_present", "optics_power", "optics_snr", "optics_margin"}


def test_missing_gateway_on_device_and_in_hccn_conf_is_unsupported():
    peers = cluster()
    for answers, entries in zip(peers["n2"]["npus"].values(), peers["n2"]["conf"]["devices"].values()):
        answers["gateway"] = {"error": {"kind": "tool", "message": "Get gateway failed, because no gateway was preset "
                                        "there!", "code": 2}}
        del entries["gateway"]
    checks = judge(peers)
    assert not_passed(checks) == {}
    assert {check["status"] for check in checks if check["id"] == "gateway"} == {"unsupported"}


def test_unreadable_hccn_conf_fails_only_the_check_of_the_file():
    peers = cluster()
    peers["n2"].update(conf=None, conf_error="No such file")
    found = not_passed(judge(peers))
    assert {key[0] for key, state in found.items() if state == "failed"} == {"conf"}
    assert {key[0] for key, state in found.items() if state == "not_run"} == {"address", "netmask", "gateway"}
    assert ("conf", "npu 0-3") in found


def test_tie_fails_both_sides():
    peers = cluster()
    for answers in peers["n1"]["npus"].values():
        answers["tls"]["enabled"] = True
    for host in peers:
        assert not_passed(judge(peers, host)) == {("tls", f"npu {number}"): "failed" for number in range(NPUS)}


def test_npus_with_the_same_outcome_share_an_entry():
    peers = cluster()
    for number in ("0", "1", "3"):
        peers["n2"]["npus"][number]["fec"] = {"error": {"kind": "tool", "message": "I2c is busy.", "code": 12}}
    found = not_passed(judge(peers))
    assert found == {("tool_answers", "npu 0-1, 3"): "failed", ("fec", "npu 0-1, 3"): "not_run"}


# --- Majority

@pytest.mark.parametrize(("votes", "value"), [
    ({}, None), ({"a": 1}, "a"), ({"a": 1, "b": 2}, "b"), ({"a": 2, "b": 2}, None), ({"a": 2, "b": 2, "c": 3}, "c")])
def test_most_frequent_value_wins_unless_there_is_a_tie(votes, value):
    assert judge_ports.majority(votes) == value


def test_votes_are_counted_across_nodes_without_unknown_values():
    peers = cluster()
    peers["n1"]["npus"]["0"]["status"]["fields"]["Speed"] = "Unknown!"
    peers["n2"]["npus"]["1"]["tls"]["enabled"] = True
    peers["n2"]["npus"]["2"]["fec"] = {"error": {"kind": "tool", "message": "I2c is busy.", "code": 12}}
    assert judge_ports.count_votes(peers) == {
        "speed": {"200000Mb/s": 2 * NPUS - 1}, "duplex": {"Full": 2 * NPUS}, "mtu": {"4200": 2 * NPUS},
        "fec": {"rs FEC mode": 2 * NPUS - 1}, "tls": {"off": 2 * NPUS - 1, "on": 1}}


# --- Recorded output for healthy ports

# {query: output of hccn_tool}, from a corpus of public outputs, with changed addresses. The outputs of -netdetect and
# of the optical power follow the hccn_tool reference, because no recordings of healthy ports are public.
RECORDED = {
    "link": "link status: UP",                                       # vllm-ascend, link of 8 NPUs
    "net_health": "net health status: Success",                      # the same source
    "ip": "ipaddr:10.12.165.11\nnetmask:255.255.255.0",              # 910B of a Huawei Cloud host
    "gateway": "default gateway:10.12.165.1, Iface:eth0",            # vllm-ascend, gateways of 8 NPUs
    "netdetect": "netdetect address: 10.12.165.1",
    "lldp": "\tIfname: 400GE1/1/5:1",                                # vllm-ascend, switch ports of 8 NPUs
    "tls": "dev_id:0, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), "
           "tls alarm time threshold[60]days",
    "status": "Netdev status:Settings for eth3:\n\tSupported ports: [ FIBRE ]\n\tSpeed: 200000Mb/s\n\tDuplex: Full\n"
              "\tAuto-negotiation: off\n\tPort: FIBRE\n",            # 910B with optical modules
    "mtu": "mtu:4200",
    "fec": "fec mode: rs FEC mode",                                  # mind-cluster
    "optical": "optical info:\npresent              : present\nTx Power0            : 1.3968 mW\n"
               "Rx Power0            : 1.0189 mW\nTx Bias0             : 7.9360 mA\n",
    "link_stat": "[devid 0]current time        : Tue Oct 28 21:46:46 2025\n[devid 0]link up count       : 2\n"
                 "[devid 0]link down count     : 1\n[devid 0]link change records :\n"
                 "[devid 0]    Sun Oct  5 10:13:51 2025    LINK UP\n"
                 "[devid 0]    Sun Oct  5 10:13:50 2025    LINK DOWN\n",  # mind-cluster
}


def test_every_check_of_a_port_accepts_output_of_healthy_ports():
    answers = {query: hccn_tool.parse(query, text) for query, text in RECORDED.items()}
    conf = hccn_tool.parse_conf("address_0=10.12.165.11\nnetmask_0=255.255.255.0\ngateway_0=10.12.165.1\n"
                                "netdetect_0=10.12.165.1\nsend_arp_status_0=1\n")
    observed = {"npus": {"0": answers}, "conf": conf, "conf_error": None}
    found = dict(judge_ports.judge_ports(observed, judge_ports.count_votes({"n1": observed}), INPUTS))
    assert {check: outcome.ok for check, (outcome,) in found.items() if outcome.ok is not True} == {"optics_snr": None}
    assert found["optics_snr"][0].unsupported


def test_limit_of_link_flaps_can_be_set():
    peers = cluster()
    flaps(3)(peers)
    assert not_passed(judge(peers)) == {}
    assert not_passed(judge(peers, hccl_link_flap_limit=2)) == {("link_flaps", "npu 3"): "warned"}


@pytest.mark.parametrize(("name", "value", "path", "measured", "check", "expected"), [
    ("tx_power_mw", [1.0, 2.5], "Tx Power0", 0.9, "optics_power", "failed"),
    ("rx_power_mw", [0.8, 2.3], "Rx Power0", 0.7, "optics_power", "failed"),
    ("tx_bias_ma", [7, 10], "Tx Bias0", 6.5, "optics_power", "failed"),
    ("snr_db", 22, "Media SNR Lane0", 21.0, "optics_snr", "failed"),
    ("snr_warn_db", 22, "Media SNR Lane0", 21.0, "optics_margin", "warned"),
    ("rx_power_warn_mw", 0.8, "Rx Power0", 0.7, "optics_margin", "warned"),
    ("lane_spread_db", 1, "Rx Power1", 1.2, "optics_margin", "warned"),
])
def test_optical_limits_can_be_set(name, value, path, measured, check, expected):
    peers = cluster()
    put(["optical", path], measured)(peers)
    assert not_passed(judge(peers)) == {}
    limits = dict(INPUTS["hccl_optical_limits"], **{name: value})
    assert not_passed(judge(peers, hccl_optical_limits=limits)).get((check, "npu 3")) == expected
