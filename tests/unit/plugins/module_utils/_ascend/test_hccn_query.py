# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hccn_tool queries: results and errors, retries if the tool is busy, and NPUs on which it hangs."""
from __future__ import annotations

import json
import random
import sys
import threading
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query
from ansible_collections.ascend.vllm.plugins.module_utils._host import network as network_module

UP = (0, "link status: UP\n", "")


def runner(*results):
    """Return a runner that returns these results in turn, and records its commands in ``commands``."""
    commands, remaining = [], list(results)

    def run(argv, timeout_s):
        commands.append(argv)
        return remaining.pop(0) if len(remaining) > 1 else remaining[0]
    run.commands = commands
    return run


def run_query(query, *results, arguments=()):
    return hccn_query.run_query(runner(*results), "hccn_tool", 3, query, 15, arguments, sleep=lambda _s: None)


LOST = "device 3 PING 192.0.2.1\nrecv time out seq=0\n1 packets transmitted, 0 received, 100.00% packet loss\n"


@pytest.mark.parametrize(("query", "result", "expected"), [
    ("link", UP, {"status": "UP"}),
    # A ping that lost packets exits with an error status.
    ("ping", (1, LOST, "Command execute failed!\n"), {"address": "192.0.2.1", "transmitted": 1, "received": 0,
                                                      "loss_percent": 100.0, "rtt_ms": []}),
])
def test_output_is_parsed(query, result, expected):
    assert run_query(query, result) == expected


@pytest.mark.parametrize(("query", "result", "kind", "message"), [
    ("ip", (13, "", "Get ipconf failed, because no ip was preset there!\nCmd execute failed!\n"), "tool",
     "Get ipconf failed, because no ip was preset there!"),
    # The same exit status for another reason, which is printed on stdout.
    ("link", (13, "The command is not supported on this product.\n", ""), "tool",
     "The command is not supported on this product."),
    ("optical", (0, "Optical module is not present.\n", ""), "tool", "Optical module is not present."),
    # Data is not trusted if the exit status is not 0.
    ("link", (1, "link status: UP\n", "Command execute failed!\n"), "tool", "Command execute failed!"),
    ("link", (5, "", ""), "tool", "exit status 5 without a message"),
    ("lldp", (0, "", ""), "empty", "nothing was printed"),
    ("link", (0, "link state unclear\n", ""), "unreadable", "link state unclear"),
    ("link", (None, "", ""), "timeout", "no answer to -link within 15 s"),
    ("ping", (22, "", "Execute failed: Link status is down.\n"), "tool", "Execute failed: Link status is down."),
])
def test_error_has_a_kind_a_message_and_the_exit_status(query, result, kind, message):
    error = run_query(query, result)["error"]
    assert (error["kind"], error["message"], error["code"]) == (kind, message, result[0])


def test_busy_tool_is_queried_up_to_four_times():
    busy = (11, "hccn_tool is busy, please try again.\n", "")
    assert run_query("link", busy, busy, UP) == {"status": "UP"}
    run = runner(busy)
    error = hccn_query.run_query(run, "hccn_tool", 0, "link", 15, sleep=lambda _s: None)["error"]
    assert error["message"] == "hccn_tool is busy, please try again."
    assert len(run.commands) == 4


def test_npus_are_queried_in_parallel_each_with_one_query_at_a_time():
    active, most_active, lock, overlap = set(), [0], threading.Lock(), []

    def run(argv, timeout_s):
        npu = argv[2]
        with lock:
            overlap.append(npu in active)
            active.add(npu)
            most_active[0] = max(most_active[0], len(active))
        time.sleep(0.02)
        with lock:
            active.remove(npu)
        return UP

    found = hccn_query.query_npus(run, "hccn_tool", [0, 1, 5], 15)
    assert sorted(found) == ["0", "1", "5"]
    assert most_active[0] == 3
    assert not any(overlap)


def test_remaining_queries_of_a_hung_npu_are_skipped():
    def run(argv, timeout_s):
        return (None, "", "") if argv[2] == "1" and argv[3] == "-ip" else UP

    found = hccn_query.query_npus(run, "hccn_tool", [0, 1], 15)
    assert found["0"]["link"] == {"status": "UP"}
    assert found["1"]["ip"]["error"]["kind"] == "timeout"
    assert {answer["error"]["kind"] for answer in list(found["1"].values())[3:]} == {"skipped"}


def test_hung_process_is_killed_after_its_timeout():
    started = time.monotonic()
    assert hccn_query.run_bounded(["sleep", "30"], 0.2) == (None, "", "")
    assert time.monotonic() - started < 5
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    assert hccn_query.run_bounded([sys.executable, "-c", code], 10) == (7, "out\n", "err\n")


def test_without_the_tool_every_query_returns_the_reason():
    found = hccn_query.unanswered([0, 5], "hccn_tool was not found")
    assert {npu: tuple(answers) for npu, answers in found.items()} == dict.fromkeys(("0", "5"), hccn_query.QUERIES)
    assert found["5"]["ip"]["error"] == {"kind": "tool", "message": "hccn_tool was not found", "code": None}


def test_npu_numbers_are_read_from_device_names():
    assert hccn_query.device_npus(["davinci10", "davinci2", "davinci_manager", "davinci", "null"]) == [2, 10]


def test_host_network_contains_interfaces_or_an_error():
    entries = [
        {"ifname": "lo", "flags": ["LOOPBACK", "UP"], "addr_info": [{"family": "inet", "local": "127.0.0.1",
                                                                     "prefixlen": 8, "scope": "host"}]},
        {"ifname": "bond0", "flags": ["UP", "LOWER_UP"], "linkinfo": {"info_kind": "bond"},
         "addr_info": [{"family": "inet", "local": "192.0.2.7", "prefixlen": 24, "scope": "global"}]},
        {"ifname": "eth1", "flags": ["NO-CARRIER", "UP"], "master": "bond0", "addr_info": []},
        {},
    ]
    network = network_module.host_network(runner((0, json.dumps(entries), "")), 5)
    assert network == {"error": None, "interfaces": [
        {"name": "lo", "up": True, "kind": "loopback", "ports": [], "addresses": []},
        {"name": "bond0", "up": True, "kind": "bond", "ports": ["physical"],
         "addresses": [{"address": "192.0.2.7", "prefix": 24}]},
        {"name": "eth1", "up": False, "kind": None, "ports": [], "addresses": []},
    ]}
    old = network_module.host_network(runner((255, "", 'Option "-json" is unknown\n')), 5)
    assert old == {"interfaces": [], "error": 'ip -json address failed: Option "-json" is unknown'}


# The format of CentOS 7. The lines are from Debian 12, and the interface of a container was added.
LINKS = r"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default\    \
link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0 addrgenmode eui64
4: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc pfifo_fast state UP mode DEFAULT group default qlen 1000\    \
link/ether 02:fc:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 addrgenmode eui64 numtxqueues 1
5: net1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default \    \
link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 \    bridge forward_delay 1500 hello_time 200
7: veth1@if6: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master net1 state UP mode DEFAULT \    \
link/ether 02:42:00:00:00:02 brd ff:ff:ff:ff:ff:ff link-netnsid 0 promiscuity 1 \    veth \    bridge_slave state
""".replace("\\\n", "")
ADDRESSES = r"""1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
4: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\       valid_lft forever preferred_lft forever
5: net1    inet 172.18.0.1/16 brd 172.18.255.255 scope global net1\       valid_lft forever preferred_lft forever
"""


def test_host_network_is_read_if_ip_does_not_support_json():
    """CentOS 7.6, which the vendor supports, has iproute2 4.11."""
    def run(argv, timeout_s):
        if "-json" in argv:
            return 255, "", 'Option "-json" is unknown, try "ip -help".\n'
        return 0, LINKS if "link" in argv else ADDRESSES, ""
    assert network_module.host_network(run, 5) == {"error": None, "interfaces": [
        {"name": "lo", "up": True, "kind": "loopback", "ports": [], "addresses": []},
        {"name": "eth0", "up": True, "kind": None, "ports": [], "addresses": [{"address": "192.0.2.2", "prefix": 24}]},
        {"name": "net1", "up": True, "kind": "bridge", "ports": ["veth"],
         "addresses": [{"address": "172.18.0.1", "prefix": 16}]},
        {"name": "veth1", "up": True, "kind": "veth", "ports": [], "addresses": []}]}


OUTPUTS = {
    "link": "link status: UP\n", "net_health": "net health status: Success\n",
    "ip": "ipaddr:10.0.0.1\nnetmask:255.255.255.0\n", "gateway": "default gateway:10.0.0.254, Iface:eth0\n",
    "netdetect": "netdetect address: 10.0.0.254\n", "tls": "dev_id:0, tls switch[0](0:disable, 1:enable)\n",
    "lldp": "Chassis ID TLV\n\tMAC: 00:00:00:00:00:01\nPort ID TLV\n\tIfname: 200GE1/0/1\nSystem Name TLV\n\tleaf\n",
    "status": "Speed: 200000Mb/s\nDuplex: Full\n", "mtu": "mtu: 4200\n", "fec": "fec mode: rs FEC mode\n",
    "optical": "present : present\nTx Power0 : 1.2 mW\nRx Power0 : 0.9 mW\n",
    "link_stat": "[device 0]current time : Mon Nov 23 12:00:00 2026\n[device 0]link up count : 1\n", "ping": LOST}


@pytest.mark.parametrize("query", sorted(OUTPUTS))
def test_damaged_output_is_parsed_or_returned_as_an_error(query):
    rng, text = random.Random(query), OUTPUTS[query]
    outputs = ["", "\0", "\ufffd" * 1000, ":" * 100000, "9" * 100000, text * 1000, text.replace(":", "="),
               text.replace("0", "9" * 5000), text.replace("1", "\u00b2")]
    for _mutation in range(300):
        raw = bytearray(text.encode())
        for _change in range(rng.choice((1, 3, 10))):
            at = rng.randrange(len(raw) + 1)
            raw[at:at + rng.randrange(3)] = bytes(rng.randrange(256) for _byte in range(rng.randrange(3)))
        outputs.append(bytes(raw).decode("utf-8", "replace"))
    for output in outputs:
        for result in ((0, output, ""), (1, "", output), (1, output, output)):
            found = run_query(query, result)
            assert isinstance(found, dict)
            assert found.get("error") is None or found["error"]["kind"] in ("tool", "empty", "unreadable")
            json.dumps(found)


@pytest.mark.parametrize("output", ["", "[", "5", "null", "[5]", "[{}]", '[{"ifname": 5}]', "[" * 100000,
                                    '[{"ifname": "eth0", "flags": 5, "addr_info": [5]}]',
                                    '[{"ifname": "eth0", "linkinfo": [], "addr_info": {"x": 1}}]', "9" * 5000])
def test_unexpected_output_of_ip_returns_an_error_or_no_interfaces(output):
    found = network_module.host_network(lambda argv, timeout_s: (0, output, ""), 1)
    assert found["interfaces"] == []
    assert found["error"] or output in ("[{}]", '[{"ifname": 5}]')
