# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The listening ports of a host, its port range for outgoing connections and its interfaces are read."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import network

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:22B9 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 00000000 0 0 4713 1 0
"""


def test_only_listening_sockets_are_returned():
    assert network.listening([TCP, TCP6, ""]) == {8888: "4711", 80: "4713"}


def test_all_of_200_listeners_are_returned():
    head, line = TCP.splitlines()[:2]
    table = [head] + [line.replace("22B8", "%04X" % (3000 + number)).replace("4711", str(9000 + number))
                      for number in range(200)]
    found = network.listening(["\n".join(table)])
    assert (len(found), found[3000], found[3199]) == (200, "9000", "9199")


@pytest.mark.parametrize(("limits", "reserved", "expected"), [
    ("32768\t60999\n", "", {"first": 32768, "last": 60999, "reserved": []}),
    ("32768\t60999\n", "60000-60015,61016\n",
     {"first": 32768, "last": 60999, "reserved": [[60000, 60015], [61016, 61016]]}),
    ("", "", None),
])
def test_port_range_of_outgoing_connections_is_read(tmp_path, limits, reserved, expected):
    folder = tmp_path / "sys/net/ipv4"
    folder.mkdir(parents=True)
    (folder / "ip_local_port_range").write_text(limits)
    (folder / "ip_local_reserved_ports").write_text(reserved)
    assert network.outgoing_ports(str(tmp_path)) == expected


@pytest.mark.parametrize(("answer", "error"), [
    ((1, "", "Cannot open netlink socket\n"), "ip -json address failed: Cannot open netlink socket"),
    ((1, "on stdout\n", ""), "ip -json address failed: on stdout"),
    ((7, "", ""), "ip -json address failed: 7"),
    ((0, "x", ""), "ip -json address printed an unknown format: x (JSONDecodeError)"),
])
def test_reason_why_interfaces_cannot_be_read_is_returned(answer, error):
    assert network.host_network(lambda _argv, _timeout: answer, 5) == {"interfaces": [], "error": error}


@pytest.mark.parametrize("kind", [
    "bridge", "veth", "bond", "vlan", "macvlan", "ipvlan", "team", "dummy", "tun", "vxlan", "geneve", "ipip", "sit",
    "gre", "ip6tnl", "wireguard", "vti", "openvswitch"])
def test_old_version_of_ip_shows_that_an_interface_is_not_a_network_card(kind):
    shown = {"link": r"2: x0: <UP> mtu 1500 \    link/none  promiscuity 0 \    %s id 1" % kind, "address": ""}
    found = network.host_network(lambda argv, _timeout: (
        (255, "", 'Option "-json" is unknown') if "-json" in argv else (0, shown[argv[-2]], "")), 5)
    assert [each["kind"] for each in found["interfaces"]] == [kind]
