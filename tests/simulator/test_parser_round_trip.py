# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the output of the simulated tools, the collection's parsers read the state of the simulator, in every layout."""

from __future__ import annotations

import pytest
from ascend_simulator import state as node_state

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool, npu_smi, version_files
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._ascend.npu_smi_listings import (
    parse_listing,
    parse_mapping,
)

LAYOUTS = [("24.1.0.3", "atlas_800_a2"), ("25.3.rc1", "atlas_800_a2"), ("26.0.rc1", "atlas_800_a2"),
           ("25.5.1", "atlas_800i_a2"), ("25.3.rc1", "atlas_800_a3"), ("26.1.0", "atlas_800_a3")]
DEVICE = 3


@pytest.fixture(params=LAYOUTS, ids="-".join)
def any_node(request, make_node):
    return make_node(*request.param)


def state_of(node) -> dict:
    return node_state.load(str(node.root))


def test_table_is_read(any_node):
    any_node.fault("set", f"npu={DEVICE}", "health=Warning", "temperature=91", "aicore=87", "hbm_used=56000")
    any_node.fault("set", "npu=2", "process=python3.10:17000")
    any_node.fault("set", "npu=6,7", "present=no")
    parsed = npu_smi.parse_info(any_node.npu_smi("info").stdout)
    state = state_of(any_node)
    present = [chip for chip in state["chips"] if chip["present"]]
    assert parsed["complete"] is True
    assert {key: parsed[f"{key}_version"] for key in ("tool", "driver")}.items() <= state["versions"].items()
    keys = ("npu", "chip", "name", "health", "temperature_c", "bus_id", "aicore_percent", "hbm_total_mb")
    read, expected = ([[chip[key] for key in keys] for chip in chips] for chips in (parsed["chips"], present))
    assert read == expected
    two_chips = any(chip["chip"] for chip in present)
    for read, chip in zip(parsed["chips"], present, strict=True):
        memory = 17000 if chip["phy_id"] == 2 else 0
        assert read["hbm_used_mb"] == min(chip["hbm_total_mb"], chip["hbm_idle_mb"] + chip["hbm_extra_mb"] + memory)
        assert read["phy_id"] == (chip["phy_id"] if two_chips else None)
        assert read["power_w"] == (None if chip["chip"] else round(chip["power_w"], 1))
        assert (read["memory_total_mb"], read["hugepages_used"]) == (0, 0)
    process = parsed["processes"][0]
    assert len(parsed["processes"]) == 1
    owner = present[2]
    assert (process["npu"], process["chip"], process["name"], process["memory_mb"], process["pid_in_container"]) == (
        owner["npu"], owner["chip"], "python3.10", 17000, None)


def test_mapping_and_list_are_read(any_node):
    chips = state_of(any_node)["chips"]
    mapping = parse_mapping(any_node.npu_smi("info", "-m").stdout)["blocks"]
    rows = [row for row in mapping if row["Chip Name"] != "Mcu"]
    assert len(mapping) - len(rows) == chips[-1]["npu"] + 1
    assert [(row["NPU ID"], row["Chip ID"]) for row in rows] == [(str(c["npu"]), str(c["chip"])) for c in chips]
    assert all(row["Chip Name"].endswith(chips[0]["name"]) for row in rows)
    listed = parse_listing(any_node.npu_smi("info", "-l").stdout)
    assert (listed["type"], listed["header"]) == ("list", {"Total Count": str(chips[-1]["npu"] + 1)})
    assert len(listed["blocks"]) == chips[-1]["npu"] + 1


@pytest.mark.parametrize(("kind", "fault", "key", "value"), [
    ("board", "driver=25.2.0", "Software Version", "25.2.0"),
    ("ecc", "isolated_pages=64", "HBM Double Bit Isolated Pages Count", "64"),
    ("usages", "aicore=55", "Aicore Usage Rate(%)", "55"),
    ("common", "temperature=93", "Temperature(C)", "93"),
    ("temp", "temperature=93", "NPU Temperature (C)", "93"),
    ("memory", "hbm_total=32768", "HBM Capacity(MB)", "32768"),
    ("power", "tls=1", "NPU Real-time Power(W)", "98.6"),
])
def test_details_of_an_npu_are_read(node, kind, fault, key, value):
    node.fault("set", f"npu={DEVICE}", fault)
    parsed = parse_listing(node.npu_smi("info", "-t", kind, "-i", str(DEVICE)).stdout)
    assert parsed["type"] == ("other" if kind == "memory" else kind)  # the parser has no separate type for it
    assert parsed["blocks"][0]["NPU ID"] == str(DEVICE)
    assert parsed["blocks"][0][key] == value


def test_error_codes_are_read(node):
    node.fault("set", f"npu={DEVICE}", "health=Alarm", "code=0x80E01801,0x81078603")
    parsed = parse_listing(node.npu_smi("info", "-t", "health", "-i", str(DEVICE), "-c", "0").stdout)
    assert parsed["type"] == "health"
    assert parsed["blocks"][0]["Health Status"] == "Alarm"
    assert parsed["blocks"][0]["Error Code"].split() == ["80E01801", "81078603"]
    assert len(parsed["blocks"][0]["Error Information"].split("\n")) == 2


@pytest.mark.parametrize(("fault", "code"), [("dcmi-8005", -8005), ("dcmi-8020", -8020), ("library", None)])
def test_errors_of_npu_smi_are_read(node, fault, code):
    node.fault("set", f"npu_smi={fault}")
    done = node.npu_smi("info")
    assert npu_smi.parse_info(done.stdout + done.stderr)["error"]["code"] == code


def test_state_of_a_healthy_port_is_read(any_node):
    nic = state_of(any_node)["chips"][DEVICE]["nic"]

    def read(query: str) -> dict:
        return hccn_tool.parse(query, any_node.hccn(DEVICE, query).stdout)

    assert read("link") == {"status": "UP"}
    assert read("net_health") == {"status": "Success"}
    assert read("ip") == {"address": nic["address"], "netmask": nic["netmask"]}
    assert read("gateway") == {"address": nic["gateway"], "interface": f"eth{DEVICE}"}
    assert read("netdetect") == {"address": nic["netdetect"]}
    assert read("lldp")["ifname"] == nic["lldp"]["port"]
    assert read("tls")["enabled"] is False
    assert read("fec") == {"mode": nic["fec"]}
    assert read("speed")["fields"] == {"Speed": f"{nic['speed_mbps']} Mb/s"}
    assert read("vnic")["fields"]["vnic link status"] == "UP"
    assert read("mtu")["fields"] == {"mtu": str(nic["mtu"])}
    assert read("status")["fields"]["Duplex"] == nic["duplex"]
    assert read("stat")["fields"]["roce_qp_status_err_num"] == "0"
    optical = read("optical")
    assert optical["present"] is True
    assert [optical[f"Rx Power{lane}"] for lane in range(4)] == nic["optical"]["rx_power_mw"]
    assert [optical[f"Media SNR Lane{lane}"] for lane in range(4)] == nic["optical"]["media_snr_db"]
    link_stat = read("link_stat")
    assert link_stat["up_count"] == 2
    assert [event["status"] for event in link_stat["events"]] == ["LINK UP", "LINK DOWN", "LINK UP"]


@pytest.mark.parametrize(("words", "query", "result"), [
    ("link=down", "link", {"status": "DOWN"}),
    ("net_health=Receive timeout", "net_health", {"status": "Receive timeout"}),
    ("ip=10.78.3.99", "ip", {"address": "10.78.3.99", "netmask": "255.255.255.0"}),
    ("tls=1", "tls", {"enabled": True}),
    ("fec=no FEC mode", "fec", {"mode": "no FEC mode"}),
])
def test_fault_of_a_port_is_read(node, words, query, result):
    node.fault("set", f"npu={DEVICE}", words)
    read = hccn_tool.parse(query, node.hccn(DEVICE, query).stdout)
    assert {key: read[key] for key in result} == result


@pytest.mark.parametrize(("words", "query"), [
    ("hccn=busy", "link"), ("hccn=timeout", "ip"), ("hccn=unsupported", "lldp"), ("gateway=none", "gateway"),
    ("ip=none", "ip"), ("present=no", "link"), ("optics=absent", "optical"),
])
def test_errors_of_hccn_tool_are_read(node, words, query):
    node.fault("set", f"npu={DEVICE}", words)
    done = node.hccn(DEVICE, query)
    message = (done.stdout + done.stderr).strip()
    assert hccn_tool.parse(query, done.stdout + done.stderr)["error"]["message"] == message


def test_result_of_a_ping_is_read(node, monkeypatch, capsys):
    from ascend_simulator import hccn_tool as simulated
    from ascend_simulator import npu_network

    monkeypatch.setattr(npu_network, "ping", lambda *_arguments: [None, 0.097, 0.066])
    simulated.main(["hccn_tool", "-i", "3", "-ping", "-g", "address", "10.78.3.12"], str(node.root))
    assert hccn_tool.parse("ping", capsys.readouterr().out) == {
        "address": "10.78.3.12", "transmitted": 3, "received": 2, "loss_percent": 33.33, "rtt_ms": [0.097, 0.066]}


def test_vendor_files_are_read(any_node):
    state = state_of(any_node)
    driver = version_files.parse(any_node.read("usr/local/Ascend/driver/version.info"))
    firmware = version_files.parse(any_node.read("usr/local/Ascend/firmware/version.info"))
    assert (driver["kind"], driver["fields"]["Version"]) == ("driver_version", state["versions"]["driver_package"])
    assert (firmware["kind"], firmware["fields"]["package_version"]) == (
        "firmware_version", state["versions"]["firmware_package"])
    any_node.fault("set", f"npu={DEVICE}", "conf_address=10.78.3.99")
    devices = hccn_tool.parse_conf(any_node.read("etc/hccn.conf"))["devices"]
    for chip in state["chips"]:
        expected = "10.78.3.99" if chip["phy_id"] == DEVICE else chip["nic"]["address"]
        assert devices[str(chip["phy_id"])]["address"] == expected
