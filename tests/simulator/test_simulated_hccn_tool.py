# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated hccn_tool prints the state of the node, and fails like the real tool."""

from __future__ import annotations

import time

import pytest
from ascend_simulator import hccn_tool, npu_network
from ascend_simulator import state as node_state


@pytest.mark.parametrize(("query", "words", "healthy", "faulty"), [
    ("link", "link=down", "link status: UP", "link status: DOWN"),
    ("net_health", "net_health=Receive timeout", "net health status: Success", "net health status: Receive timeout"),
    ("ip", "ip=10.78.3.99", "ipaddr:10.78.3.11", "ipaddr:10.78.3.99"),
    ("ip", "netmask=255.255.0.0", "netmask:255.255.255.0", "netmask:255.255.0.0"),
    ("gateway", "gateway=10.78.3.254", "gateway:10.78.3.1, Iface:eth3", "gateway:10.78.3.254, Iface:eth3"),
    ("netdetect", "netdetect=none", "netdetect address: 10.78.3.1", "netdetect address: 0.0.0.0"),
    ("net_health", "netdetect=10.78.3.254", "net health status: Success", "net health status: Receive timeout"),
    ("lldp", "lldp=leaf-9/400GE1/0/4:2", "\tIfname: 400GE1/0/1:1", "\tIfname: 400GE1/0/4:2"),
    ("tls", "tls=1", "tls switch[0](0:disable, 1:enable)", "tls switch[1](0:disable, 1:enable)"),
    ("speed", "speed=100000", "Speed: 200000 Mb/s", "Speed: 100000 Mb/s"),
    ("speed", "link=down", "Speed: 200000 Mb/s", "Speed: Unknown!"),
    ("status", "duplex=Half", "\tDuplex: Full", "\tDuplex: Half"),
    ("mtu", "mtu=4200", "mtu:1500", "mtu:4200"),
    ("fec", "fec=no FEC mode", "fec mode: rs FEC mode", "fec mode: no FEC mode"),
    ("optical", "tx_power=0.15", "Tx Power2            : 1.1988 mW", "Tx Power2            : 0.1500 mW"),
    ("optical", "rx_power=0.05", "Rx Power0            : 1.0189 mW", "Rx Power0            : 0.0500 mW"),
    ("optical", "snr=17.5", "Media SNR Lane3      : 23.2969 dB", "Media SNR Lane3      : 17.5000 dB"),
    ("optical", "link=down", "Rx Los Flag          : 0x0", "Rx Los Flag          : 0xff"),
])
def test_fault_is_only_shown_on_its_npu(node, query, words, healthy, faulty):
    def prints(device: int, text: str) -> bool:
        return text in node.hccn(device, query).stdout

    assert prints(3, healthy)
    assert not prints(3, faulty)
    other = node.hccn(4, query).stdout
    node.fault("set", "npu=3", words)
    assert prints(3, faulty)
    assert not prints(3, healthy)
    assert node.hccn(4, query).stdout == other


@pytest.mark.parametrize(("words", "query", "status", "stdout", "stderr"), [
    ("hccn=busy", "link", 11, "hccn_tool is busy, please try again.\n", ""),
    ("hccn=busy:ip", "ip", 11, "hccn_tool is busy, please try again.\n", ""),
    ("hccn=timeout", "tls", 1, "", "The cmd line execute timeout!\n"),
    ("hccn=unsupported:vnic", "vnic", 13, "The command is not supported on this product.\n", ""),
    ("ip=none", "ip", 13, "", "Get ipconf failed, because no ip was preset there!\n"),
    ("gateway=none", "gateway", 2, "", "Get gateway failed, because no gateway was preset there!\n"),
    ("present=no", "link", 4, "", "The device is not exist!\n"),
    ("optics=absent", "optical", 20, "Optical module is not present.\n", ""),
    ("hccn=no-health:net_health", "net_health", 3, "", "Get device health status failed!\n"),
])
def test_errors_have_the_stream_and_exit_code_of_the_vendor_tool(node, words, query, status, stdout, stderr):
    node.fault("set", "npu=3", words)
    done = node.hccn(3, query)
    assert (done.returncode, done.stdout, done.stderr) == (status, stdout, stderr)
    assert node.hccn(4, query).returncode == 0


def test_fault_of_one_query_does_not_affect_others(node):
    node.fault("set", "npu=3", "hccn=busy:ip")
    assert node.hccn(3, "link").stdout == "link status: UP\n"


def test_port_without_neighbor_prints_nothing(node):
    node.fault("set", "npu=3", "lldp=none")
    done = node.hccn(3, "lldp")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("arguments", "status", "message"), [
    (("-i", "0"), 2, "Get invalid major cmd number."),
    (("-a", "0", "-link", "-g"), 1, "Get invalid major cmd type."),
    (("-i", "8", "-link", "-g"), 4, "Get invalid device id."),
    (("-i", "x", "-link", "-g"), 4, "Get invalid device id."),
    (("-i", "0", "-lnk", "-g"), 3, "Get invalid major cmd."),
    (("-i", "0", "-link", "-s"), 3, "Get unknown option!"),
    (("-i", "0", "-link", "-g", "more"), 3, "Get unknown option!"),
    (("-i", "0", "-ping", "-g", "10.78.0.12"), 3, "Get unknown option!"),
    (("-i", "0", "-ping", "-g", "address", "10.78.0"), 6, "The ip address you configured is invalid!"),
])
def test_invalid_command_line_prints_the_vendors_error(node, arguments, status, message):
    done = node.run("usr/local/Ascend/driver/tools/hccn_tool", *arguments)
    assert done.stderr.startswith(message)
    assert (done.returncode, done.stdout) == (status, "")


@pytest.mark.parametrize(("driver", "query", "faults", "expected", "absent"), [
    ("24.1.0.3", "link_stat", [], "[devid 3]link up count       : 2", "link down count"),
    ("25.5.1", "link_stat", [], "[devid 3]link down count     : 1", "LINK_UP"),
    ("24.1.0.3", "net_health", ["net_health=Socket fail"], "net health status: Socket failed\n", "Success"),
    ("26.0.rc1", "net_health", ["net_health=Socket fail"], "net health status: Socket fail\n", "Success"),
    ("26.0.rc1", "netdetect", [], "netdetect addr: 10.78.3.1\n", "address"),
    ("24.1.0.3", "optical", ["optics=absent"], "present              : not present\n", ": present"),
    ("26.0.rc1", "tls", [], "\t subject[", "dev_id:0"),
    ("25.3.rc1", "tls", [], "\t issuer[", "subject["),
])
def test_output_differs_between_driver_versions(make_node, driver, query, faults, expected, absent):
    node = make_node(driver)
    if faults:
        node.fault("set", "npu=3", *faults)
    text = node.hccn(3, query).stdout
    assert expected in text
    assert absent not in text


def test_flaps_are_recent_and_newest_first(node):
    node.fault("set", "npu=3", "flaps=7")
    lines = node.hccn(3, "link_stat").stdout.splitlines()
    assert lines[1:3] == ["[devid 3]link up count       : 9", "[devid 3]link down count     : 8"]
    events = [(time.mktime(time.strptime(line[len("[devid 3]    "):][:24])), line.split()[-1]) for line in lines[4:]]
    assert len(events) == 10
    assert events == sorted(events, reverse=True)
    assert events[0][1] == "UP"
    assert time.time() - events[0][0] < 3600


# -ping: the output of iputils is converted to the vendor's format

ANSWERED = """\
PING 10.78.3.12 (10.78.3.12) from 10.78.3.11 : 64(92) bytes of data.
72 bytes from 10.78.3.12: icmp_seq=1 ttl=64 time=1.42 ms
72 bytes from 10.78.3.12: icmp_seq=2 ttl=64 time=0.034 ms
72 bytes from 10.78.3.12: icmp_seq=3 ttl=64 time=0.040 ms
72 bytes from 10.78.3.12: icmp_seq=3 ttl=64 time=0.050 ms (DUP!)

--- 10.78.3.12 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 20ms
"""
FIRST_LOST = "\n".join(line for line in ANSWERED.splitlines() if "icmp_seq=1" not in line)
UNREACHABLE = """\
PING 10.78.3.12 (10.78.3.12) from 10.78.3.11 : 64(92) bytes of data.
From 10.78.3.11 icmp_seq=1 Destination Host Unreachable
"""


@pytest.mark.parametrize(("printed", "times"), [
    (ANSWERED, [1.42, 0.034, 0.04]),
    (FIRST_LOST, [None, 0.034, 0.04]),
    (UNREACHABLE, [None, None, None]),
    ("", [None, None, None]),
])
def test_times_of_a_ping_are_parsed(printed, times):
    assert npu_network.parse(printed) == times


@pytest.mark.parametrize(("printed", "status", "lines"), [
    (ANSWERED, 0, ["device 3 PING 10.78.3.12", "recv seq=0,time=1.420000ms", "recv seq=1,time=0.034000ms",
                   "recv seq=2,time=0.040000ms", "3 packets transmitted, 3 received, 0.00% packet loss"]),
    (FIRST_LOST, 1, ["device 3 PING 10.78.3.12", "recv time out seq=0", "recv seq=1,time=0.034000ms",
                     "recv seq=2,time=0.040000ms", "3 packets transmitted, 2 received, 33.33% packet loss"]),
    (UNREACHABLE, 1, ["device 3 PING 10.78.3.12", *(f"recv time out seq={number}" for number in range(3)),
                      "3 packets transmitted, 0 received, 100.00% packet loss"]),
])
def test_ping_is_printed_in_the_vendors_format(node, monkeypatch, capsys, printed, status, lines):
    calls = []
    monkeypatch.setattr(npu_network, "ping", lambda *arguments: calls.append(arguments) or npu_network.parse(printed))
    words = ["hccn_tool", "-i", "3", "-ping", "-g", "address", "10.78.3.12", "pkt", "1000"]
    assert hccn_tool.main(words, str(node.root)) == status
    shown = capsys.readouterr()
    assert shown.out.splitlines() == lines
    assert shown.err == ("" if status == 0 else "Command execute failed!\n")
    assert calls == [("10.78.3.11", "10.78.3.12", 1000)]


def test_ping_from_a_port_that_is_down_fails(node):
    node.fault("set", "link", "npu=3", "down")
    done = node.hccn(3, "ping", "address", "10.78.3.12")
    assert (done.returncode, done.stdout, done.stderr) == (22, "", "Execute failed: Link status is down.\n")


def test_every_counter_is_printed(node):
    state = node_state.load(str(node.root))
    state["chips"][3]["nic"]["counters"]["roce_new_pkt_rty_num"] = 17
    node_state.save(str(node.root), state)
    lines = node.hccn(3, "stat").stdout.splitlines()
    assert lines[0] == "packet statistics:"
    assert len(lines) == 1 + len(hccn_tool.COUNTERS)
    assert "roce_new_pkt_rty_num:17" in lines
