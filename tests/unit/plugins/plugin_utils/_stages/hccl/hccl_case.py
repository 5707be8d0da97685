# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations of a healthy cluster for the hccl stage, and helpers that judge them."""

from __future__ import annotations

import json

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import judge as hccl
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults

INPUTS = defaults("hccl")
NPUS = 4


def npu(node, number):
    """Return the parsed output of hccn_tool for a healthy NPU. Nodes are numbered from 1."""
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
    """Return the observation of a node in a healthy cluster. Nodes are numbered from 1."""
    devices = {str(number): {"address": f"10.0.{number}.{node}", "netmask": "255.255.255.0",
                             "gateway": f"10.0.{number}.254"} for number in range(NPUS)}
    others = [f"n{other}" for other in range(1, nodes + 1) if other != node]
    return {
        "npus": {str(number): npu(node, number) for number in range(NPUS)},
        "conf": {"fields": {}, "devices": devices, "duplicates": []}, "conf_error": None,
        "host_network": {"error": None, "interfaces": [
            {"name": "eth0", "up": True, "kind": None, "addresses": [{"address": f"192.0.2.{node}", "prefix": 24}]}]},
        "processes": [], "image_present": True,
        "ping": {"matrix": {str(number): {other: [0] * NPUS for other in others} for number in range(NPUS)},
                 "errors": {}, "not_sent": 0, "given_up": 0, "retried": 0, "rounds": 4, "duration_s": 2.0},
        "ping_error": None,
        "reach": {other: {"address": f"192.0.2.{other[1:]}", "reached": True, "error": None} for other in others},
        "collective": {"runs": [{"round": "all", "hosts": [f"n{number}" for number in range(1, nodes + 1)],
                                 "result": good_run()}], "baseline": {}},
    }


def good_run(speed=30.0):
    """Return the result of an all-reduce with a bus bandwidth in GB/s."""
    return {"rows": [{"size_bytes": 268435456, "time_us": 1.0, "alg_bandwidth_gbs": speed / 1.5,
                      "bus_bandwidth_gbs": speed, "check": "success"}],
            "failed": False, "reason": None, "backend": "hccl", "ranks": 8, "tool": "probe",
            "choice": None}


def cluster(nodes=2):
    """Return the observations of the nodes n1, n2, ..."""
    return {f"n{node}": observation(node, nodes) for node in range(1, nodes + 1)}


def judge(peers, host="n2", **inputs):
    """Return the checks of a host. Its survey is serialized to JSON and read again, as between tasks."""
    inputs = dict(INPUTS, hccl_host_port=22, **inputs)
    survey = json.loads(json.dumps(hccl.survey(peers, inputs)))[host]
    return hccl.judge(context({}, peers[host], inputs, host, survey))


def not_passed(checks):
    """Return ``{(check, subject): status}`` of the critical checks and warnings that did not pass."""
    return {(check["id"], check["subject"]): check["status"] for check in checks
            if check["status"] not in ("passed", "unsupported") and check["severity"] != "info"}
