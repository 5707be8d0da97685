# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host interface is meant, and what each node has to ping."""
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import interfaces as hccl_fabric


def interface(name, *addresses, up=True, kind=None):
    return {"name": name, "up": up, "kind": kind,
            "addresses": [dict(zip(("address", "prefix"), (one.split("/")[0], int(one.split("/")[1]))))
                          for one in addresses]}


def node(*interfaces, npus=()):
    return {"npus": {str(npu): {"ip": {"address": address, "netmask": "255.255.255.0"}}
                     for npu, address in enumerate(npus)},
            "host_network": {"interfaces": list(interfaces), "error": None}}


ETH = interface("eth0", "192.0.2.1/24")
STORAGE = interface("eth1", "198.51.100.1/24")


def test_the_only_candidate():
    observed = node(interface("lo", kind="loopback"), ETH, interface("docker0", "172.17.0.1/16", kind="bridge"),
                    interface("br-0123456789ab", "172.18.0.1/16"), interface("eth2", "203.0.113.1/24", up=False),
                    interface("eth3"), interface("npu0", "10.0.0.1/24"), npus=["10.0.0.1"])
    found = hccl_fabric.host_interfaces({"a": observed})["a"]
    assert (found["name"], found["address"], found["candidates"]) == ("eth0", "192.0.2.1", ["eth0 (192.0.2.1)"])


def test_a_bridge_of_the_site_is_a_candidate():
    observed = node(interface("br0", "192.0.2.1/24", kind="bridge"))
    assert hccl_fabric.host_interfaces({"a": observed})["a"]["name"] == "br0"


def test_the_network_that_all_hosts_share_decides():
    here = node(ETH, STORAGE)
    there = node(interface("enp1", "192.0.2.2/24"), interface("enp2", "203.0.113.2/24"))
    peers = {"a": here, "b": there}
    assert hccl_fabric.host_interfaces(peers)["a"]["name"] == "eth0"
    assert hccl_fabric.host_interfaces(peers)["b"]["name"] == "enp1"


@pytest.mark.parametrize("peers", [{}, {"b": node(interface("e", "192.0.2.2/24"), interface("f", "198.51.100.2/24"))}])
def test_in_doubt_nothing_is_guessed(peers):
    here = node(ETH, STORAGE)
    found = hccl_fabric.host_interfaces({"a": here, **peers})["a"]
    assert found["name"] is None
    assert found["reason"] == "eth0 (192.0.2.1) and eth1 (198.51.100.1) could be meant"


def test_the_site_decides():
    here = node(ETH, STORAGE)
    assert hccl_fabric.host_interfaces({"a": here}, "eth1")["a"]["address"] == "198.51.100.1"
    wrong = hccl_fabric.host_interfaces({"a": here}, "eth9")["a"]
    assert wrong["name"] is None
    assert "hccl_interface is eth9, which is no usable interface of a" in wrong["reason"]


def test_no_candidate():
    here = node()
    assert "no interface of a is up" in hccl_fabric.host_interfaces({"a": here})["a"]["reason"]
    here["host_network"]["error"] = "ip cannot be run"
    assert hccl_fabric.host_interfaces({"a": here})["a"]["reason"] == "ip cannot be run"


INPUTS = {"hccl_interface": "", "hccl_host_port": 22, "hccl_ping_full_mesh_max_nodes": 16, "hccl_ping_enabled": True,
            "hccl_ping_same_rail_only": False, "hccl_ping_round_s": 0.5, "hccl_ping_timeout_s": 10,
            "hccl_ping_limit_s": 600}


def peers(count, npus=2):
    return {f"n{number}": node(interface("eth0", f"192.0.2.{number}/24"),
                               npus=[f"10.0.{npu}.{number}" for npu in range(npus)]) for number in range(1, count + 1)}


def test_mesh_arguments():
    arguments = hccl_fabric.mesh_arguments(peers(2), INPUTS)["n1"]
    assert arguments["npus"] == [0, 1]
    assert arguments["partners"] == [{"host": "n2", "npus": {"0": "10.0.0.2", "1": "10.0.1.2"}}]
    assert arguments["shifts"] == [0, 1]
    assert arguments["hosts"] == [{"host": "n2", "address": "192.0.2.2", "port": 22}]


def test_an_npu_without_address_neither_sends_nor_is_sent_to():
    three = peers(3)
    three["n2"]["npus"]["1"]["ip"] = {"error": {"kind": "tool", "message": "no ip", "code": 13}}
    assert hccl_fabric.mesh_arguments(three, INPUTS)["n2"]["npus"] == [0]
    met = {one["host"]: one["npus"] for one in hccl_fabric.mesh_arguments(three, INPUTS)["n1"]["partners"] if one}
    assert met == {"n2": {"0": "10.0.0.2"}, "n3": {"0": "10.0.0.3", "1": "10.0.1.3"}}


def test_switched_off():
    assert hccl_fabric.mesh_arguments(peers(2), dict(INPUTS, hccl_ping_enabled=False))["n1"]["partners"] == []
    assert hccl_fabric.mesh_arguments(peers(2), dict(INPUTS, hccl_ping_same_rail_only=False))["n1"]["shifts"] == [0, 1]


def test_a_node_of_a_sampled_mesh_tries_the_hosts_that_it_meets():
    inputs = dict(INPUTS, hccl_ping_full_mesh_max_nodes=4)
    for arguments in hccl_fabric.mesh_arguments(peers(20), inputs).values():
        assert [one["host"] for one in arguments["hosts"]] == sorted(one["host"] for one in arguments["partners"])
        assert len(arguments["hosts"]) == 3


def test_each_host_may_have_its_own_name_of_the_interface():
    pair = {"a": dict(node(ETH, STORAGE), wanted_interface="eth1"),
            "b": dict(node(interface("bond0", "198.51.100.2/24"), interface("eth0", "192.0.2.2/24")),
                      wanted_interface="bond0")}
    found = hccl_fabric.host_interfaces(pair)
    assert [found[host]["address"] for host in "ab"] == ["198.51.100.1", "198.51.100.2"]
