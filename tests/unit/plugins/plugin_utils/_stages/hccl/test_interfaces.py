# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host interface is chosen, and each node receives its part of the ping mesh."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import interfaces


def interface(name, *addresses, up=True, kind=None, **ports):
    return {"name": name, "up": up, "kind": kind, **ports,
            "addresses": [{"address": address, "prefix": int(prefix)}
                          for address, prefix in (each.split("/") for each in addresses)]}


def node(*found, npus=(), error=None):
    return {"npus": {str(npu): {"ip": {"address": address, "netmask": "255.255.255.0"}}
                     for npu, address in enumerate(npus)},
            "host_network": {"interfaces": list(found), "error": error}}


ETH = interface("eth0", "192.0.2.1/24")
STORAGE = interface("eth1", "198.51.100.1/24")


def names(peers, wanted=""):
    """Return ``{host: name of its interface, or None}``."""
    return {host: choice["interface"] and choice["interface"]["name"]
            for host, choice in interfaces.host_interfaces(peers, wanted).items()}


def test_only_candidate_is_chosen():
    observed = node(interface("lo", kind="loopback"), ETH, interface("docker0", "172.17.0.1/16", kind="bridge"),
                    interface("br-0123456789ab", "172.18.0.1/16"), interface("eth2", "203.0.113.1/24", up=False),
                    interface("eth3"), interface("npu0", "10.0.0.1/24"), npus=["10.0.0.1"])
    assert interfaces.host_interfaces({"a": observed})["a"] == {
        "interface": {"name": "eth0", "address": "192.0.2.1"}, "reason": "the only candidate on a",
        "candidates": ["eth0 (192.0.2.1)"]}


@pytest.mark.parametrize(("found", "expected"), [
    (interface("br0", "192.0.2.1/24", kind="bridge"), "br0"),
    (interface("br0", "192.0.2.1/24", kind="bridge", ports=["physical", "veth"]), "br0"),
    (interface("br0", "192.0.2.1/24", kind="bridge", ports=["bond"]), "br0"),
    (interface("team-net", "192.0.2.1/24", kind="bridge", ports=["veth", "veth"]), None),  # a Docker network
    (interface("team-net", "192.0.2.1/24", kind="bridge", ports=[]), None),
    (interface("docker0", "192.0.2.1/24", kind="bridge", ports=["veth"]), None),
    (interface("br-0123456789ab", "192.0.2.1/24"), None),
    (interface("tailscale0", "100.110.34.31/32", kind="tun"), None),
    (interface("vpn", "10.8.0.6/24", kind="tun"), None),
    (interface("calico", "10.244.1.0/32", kind="ipip"), None),
    (interface("usb0", "169.254.95.120/16"), None),  # the internal interface of a BMC
    (interface("bond0", "169.254.7.7/16", "198.51.100.9/32", "192.0.2.1/24", kind="bond"), "bond0"),
])
def test_interface_is_a_candidate_if_it_leads_to_other_hosts(found, expected):
    choice = interfaces.host_interfaces({"a": node(found)})["a"]
    assert (choice["interface"] and choice["interface"]["name"]) == expected
    assert expected is None or choice["interface"]["address"] == "192.0.2.1"


def test_bridge_with_unknown_ports_is_not_used_if_there_is_another_interface():
    bridge = interface("lan", "198.51.100.1/24", kind="bridge", ports=None)
    assert names({"a": node(bridge)}) == {"a": "lan"}
    assert names({"a": node(bridge, ETH)}) == {"a": "eth0"}


def test_address_that_another_host_also_has_is_not_used():
    nodes = {name: node(interface("lan", "172.20.%d.1/24" % number), interface("bmc", "192.168.7.1/24"))
             for number, name in enumerate("abc")}
    assert names(nodes) == {"a": "lan", "b": "lan", "c": "lan"}
    choice = interfaces.host_interfaces({"a": node(ETH), "b": node(ETH)})["a"]
    assert choice["interface"] is None
    assert choice["reason"].endswith("other hosts can reach; not considered: eth0 (192.0.2.1)")


def test_candidates_are_named_if_hosts_share_at_most_one_network():
    """The hosts share no network, or only the management network."""
    nodes = {name: [interface("mgmt", f"10.{number}.0.9/24"), interface("data", f"10.1{number}.0.9/24")]
             for number, name in enumerate("ab")}
    assert interfaces.host_interfaces({name: node(*found) for name, found in nodes.items()})["a"]["reason"] == (
        "mgmt (10.0.0.9) and data (10.10.0.9) are possible")
    shared = {name: node(interface("eth0", f"192.0.2.{number + 1}/24"), *found[1:])
              for number, (name, found) in enumerate(nodes.items())}
    choice = interfaces.host_interfaces(shared)["b"]
    assert choice["interface"]["name"] == "eth0"
    assert choice["reason"] == (
        "the only candidate on a network that all hosts share; set hccl_interface to choose data (10.11.0.9)")
    assert names(shared, "data") == {"a": "data", "b": "data"}


def test_hccl_interface_may_name_an_interface_that_is_never_detected():
    assert names({"a": node(interface("eth0", "10.128.0.3/32"))}) == {"a": None}
    assert names({"a": node(interface("eth0", "10.128.0.3/32"))}, "eth0") == {"a": "eth0"}


def test_interface_in_a_network_that_all_hosts_share_is_chosen():
    other = node(interface("enp1", "192.0.2.2/24"), interface("enp2", "203.0.113.2/24"))
    assert names({"a": node(ETH, STORAGE), "b": other}) == {"a": "eth0", "b": "enp1"}


@pytest.mark.parametrize("others", [
    {}, {"b": node(interface("e", "192.0.2.2/24"), interface("f", "198.51.100.2/24"))}])
def test_no_interface_is_chosen_if_several_are_possible(others):
    choice = interfaces.host_interfaces({"a": node(ETH, STORAGE), **others})["a"]
    assert choice["interface"] is None
    assert choice["reason"] == "eth0 (192.0.2.1) and eth1 (198.51.100.1) are possible"


def test_hccl_interface_overrides_the_detection():
    peers = {"a": node(ETH, STORAGE)}
    assert interfaces.host_interfaces(peers, "eth1")["a"]["interface"] == {"name": "eth1", "address": "198.51.100.1"}
    wrong = interfaces.host_interfaces(peers, "eth9")["a"]
    assert wrong["interface"] is None
    assert wrong["reason"] == "hccl_interface is eth9, but a has no usable interface of this name"


def test_hccl_interface_may_differ_between_hosts():
    peers = {"a": dict(node(ETH, STORAGE), wanted_interface="eth1"),
             "b": dict(node(interface("bond0", "198.51.100.2/24"), interface("eth0", "192.0.2.2/24")),
                       wanted_interface="bond0")}
    assert names(peers) == {"a": "eth1", "b": "bond0"}


@pytest.mark.parametrize(("error", "reason"), [
    (None, "a has no interface that is up and has an IPv4 address that other hosts can reach"),
    ("ip cannot be run", "ip cannot be run")])
def test_no_interface_is_chosen_without_a_candidate(error, reason):
    assert interfaces.host_interfaces({"a": node(error=error)})["a"] == {
        "interface": None, "reason": reason, "candidates": []}


INPUTS = {"hccl_interface": "", "hccl_host_port": 22, "hccl_ping_full_mesh_max_nodes": 16, "hccl_ping_enabled": True,
          "hccl_ping_same_rail_only": False, "hccl_ping_round_s": 0.5, "hccl_ping_timeout_s": 10,
          "hccl_ping_limit_s": 600}


def cluster(count):
    """Return the observations of the nodes n1, n2 ... with two NPUs each."""
    return {f"n{number}": node(interface("eth0", f"192.0.2.{number}/24"),
                               npus=[f"10.0.{npu}.{number}" for npu in range(2)]) for number in range(1, count + 1)}


def test_ping_arguments_contain_the_partners_and_their_hosts():
    assert interfaces.mesh_arguments(cluster(2), INPUTS)["n1"] == {
        "npus": [0, 1], "partners": [{"host": "n2", "npus": {"0": "10.0.0.2", "1": "10.0.1.2"}}], "shifts": [0, 1],
        "round_s": 0.5, "timeout_s": 10, "limit_s": 600,
        "hosts": [{"host": "n2", "address": "192.0.2.2", "port": 22}]}


def test_npu_without_an_address_neither_sends_nor_receives_pings():
    peers = cluster(3)
    peers["n2"]["npus"]["1"]["ip"] = {"error": {"kind": "tool", "message": "no ip", "code": 13}}
    arguments = interfaces.mesh_arguments(peers, INPUTS)
    assert arguments["n2"]["npus"] == [0]
    assert {partner["host"]: partner["npus"] for partner in arguments["n1"]["partners"] if partner} == {
        "n2": {"0": "10.0.0.2"}, "n3": {"0": "10.0.0.3", "1": "10.0.1.3"}}


@pytest.mark.parametrize(("change", "expected"), [
    ({"hccl_ping_round_s": 2}, {"round_s": 2}), ({"hccl_ping_timeout_s": 3}, {"timeout_s": 3}),
    ({"hccl_ping_limit_s": 60}, {"limit_s": 60}),
    ({"hccl_host_port": 2222}, {"hosts": [{"host": "n2", "address": "192.0.2.2", "port": 2222}]}),
])
def test_input_changes_one_argument_of_the_pings(change, expected):
    default, arguments = (interfaces.mesh_arguments(cluster(2), {**INPUTS, **each})["n1"] for each in ({}, change))
    assert {name: value for name, value in arguments.items() if value != default[name]} == expected


@pytest.mark.parametrize(("change", "expected"), [
    ({"hccl_ping_enabled": False}, ([], [0, 1])),
    ({"hccl_ping_same_rail_only": True}, (["n2"], [0])),
])
def test_pings_can_be_disabled_or_restricted_to_the_same_rail(change, expected):
    arguments = interfaces.mesh_arguments(cluster(2), {**INPUTS, **change})["n1"]
    assert ([partner["host"] for partner in arguments["partners"]], arguments["shifts"]) == expected
    assert len(arguments["hosts"]) == 1


def test_in_a_sampled_mesh_a_node_connects_to_the_hosts_that_it_pings():
    inputs = dict(INPUTS, hccl_ping_full_mesh_max_nodes=4)
    for arguments in interfaces.mesh_arguments(cluster(20), inputs).values():
        assert [target["host"] for target in arguments["hosts"]] == sorted(
            partner["host"] for partner in arguments["partners"])
        assert len(arguments["hosts"]) == 3
