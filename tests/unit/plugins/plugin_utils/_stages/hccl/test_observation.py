# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values are read from the observation of a node."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import observation

HEALTHY = {"link": {"status": "UP"}, "net_health": {"status": "Success"}, "ip": {"address": "10.0.0.1"}}
ERROR = {"error": {"kind": "tool", "message": "no ip was preset", "code": 13}}
CONF = {"fields": {}, "devices": {"0": {"address": "10.0.0.1"}}, "duplicates": []}


def test_npus_without_an_address_are_left_out():
    observed = {"npus": {"0": {"ip": {"address": "10.0.0.1"}}, "1": {"ip": ERROR}, "12": {}}}
    assert observation.npu_addresses(observed) == {0: "10.0.0.1"}


@pytest.mark.parametrize(("lldp", "port"), [
    ({"ifname": "200GE1/0/1", "tlvs": {"System Name TLV": "leaf-1", "Chassis ID TLV": "00:11"}},
     ("leaf-1", "200GE1/0/1")),
    ({"ifname": "200GE1/0/1", "tlvs": {"Chassis ID TLV": "00:11"}}, ("00:11", "200GE1/0/1")),
    ({"ifname": None, "tlvs": {"System Name TLV": "leaf-1", "Port ID TLV": "port 7"}}, ("leaf-1", "port 7")),
    ({"ifname": "200GE1/0/1"}, None),
    ({"ifname": None, "tlvs": {"System Name TLV": "leaf-1"}}, None),
    ({"error": {"kind": "empty", "message": "nothing was printed", "code": 0}}, None),
])
def test_switch_port_is_read_from_lldp(lldp, port):
    assert observation.switch_ports({"npus": {"3": {"lldp": lldp}, "4": {}}}) == ({3: port} if port else {})


@pytest.mark.parametrize(("changes", "unhealthy"), [
    ({}, []),
    ({"link": {"status": "DOWN"}}, [0]),
    ({"net_health": {"status": "Fault"}}, [0]),
    ({"net_health": ERROR}, [0]),
    ({"ip": {"address": "10.0.0.9"}}, [0]),
])
def test_npu_with_a_fault_or_a_wrong_address_is_unhealthy(changes, unhealthy):
    assert observation.unhealthy_npus({"npus": {"0": {**HEALTHY, **changes}}, "conf": CONF}) == unhealthy


def test_npus_are_unhealthy_without_hccn_conf():
    assert observation.unhealthy_npus({"npus": {"0": HEALTHY}, "conf": None}) == [0]
