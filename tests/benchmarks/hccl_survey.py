# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the time that is needed to judge the NPU ports of clusters of up to 1,000 nodes. Needs no test bed.

    .venv/bin/python tests/benchmarks/hccl_survey.py [--nodes N ...] [--fault]

The observations of all nodes after the ping mesh are written to a results folder. Then the tasks "ping", "run an
all-reduce" and "judge" are measured, each for all hosts, one after another in one process: first the survey, which one
host makes, then each host's own part. The last column estimates the time if every host read all observations.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import ObservationRecord, Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import (
    collective_rounds,
    interfaces,
    judge,
    ping_mesh,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context

NPUS = 8
INPUTS = yaml.safe_load((ROOT / "roles/hccl/defaults/main.yml").read_text("utf-8"))


def queries(node: int, npu: int) -> dict:
    """Return the parsed output of all queries for an NPU."""
    address = f"10.{npu}.{node // 250}.{1 + node % 250}"
    return {
        "link": {"status": "UP"}, "net_health": {"status": "Success"}, "tls": {"enabled": False},
        "ip": {"address": address, "netmask": "255.255.0.0"}, "gateway": {"address": f"10.{npu}.255.254"},
        "netdetect": {"address": f"10.{npu}.255.254"}, "fec": {"mode": "rs FEC mode"},
        "lldp": {"ifname": f"200GE{node}/0/{npu}", "tlvs": {"System Name TLV": f"leaf-{npu}-{node // 32}"}},
        "status": {"fields": {"Speed": "200000Mb/s", "Duplex": "Full", "Port": "FIBRE"}},
        "mtu": {"fields": {"mtu": "4200"}},
        "optical": {"present": True, **{f"{name} Power{lane}": 1.2 for name in ("Tx", "Rx") for lane in range(4)},
                    **{f"Tx Bias{lane}": 7.5 for lane in range(4)},
                    **{f"{side} SNR Lane{lane}": 23.0 for side in ("Media", "Host") for lane in range(4)}},
        "link_stat": {"up_count": 1, "down_count": 0, "current_time": "Mon Nov 23 12:00:00 2026",
                      "events": [{"time": "Sun Nov  1 12:00:00 2026", "status": "LINK UP"}] * 5},
    }


def observation(names: list[str], node: int, fault: bool) -> dict:
    npus = {str(npu): queries(node, npu) for npu in range(NPUS)}
    partners = ping_mesh.partners(names, names[node], INPUTS["hccl_ping_full_mesh_max_nodes"])
    matrix = {str(npu): {other: [0] * NPUS for other in partners if other} for npu in range(NPUS)}
    if fault:  # no ping to or from NPU 3 of the first node gets a reply
        for npu, row in matrix.items():
            for other, losses in row.items():
                for target in range(NPUS):
                    if (node, npu) == (0, "3") or (other, target) == (names[0], 3):
                        losses[target] = 100
    return {
        "npus": npus, "conf_error": None, "processes": [], "image_present": True, "ping_error": None,
        "conf": {"duplicates": [], "devices": {npu: {
            "address": one["ip"]["address"], "netmask": one["ip"]["netmask"], "gateway": one["gateway"]["address"],
        } for npu, one in npus.items()}},
        "host_network": {"error": None, "interfaces": [{"name": "eth0", "up": True, "kind": None, "addresses": [
            {"address": f"192.168.{node // 250}.{1 + node % 250}", "prefix": 16}]}]},
        "ping": {"matrix": matrix, "errors": {}, "not_sent": 0, "given_up": 0, "retried": 0, "rounds": 120,
                 "duration_s": 60.0},
        "reach": {other: {"address": "192.168.0.1", "reached": True, "error": None} for other in partners if other},
    }


def rounds(peers: dict) -> dict:
    return dict.fromkeys(peers, collective_rounds.run_rounds(peers, INPUTS, len(peers), False))


def measure(nodes: int, fault: bool) -> tuple[float, float, float, float]:
    """Return the seconds for the surveys, all parts, and reading all observations, and the size of a part in KB."""
    names = [f"node{number:04d}" for number in range(nodes)]
    with tempfile.TemporaryDirectory() as folder:
        records = Records(folder)
        for number, name in enumerate(names):
            records.write_observation(name, "hccl", ObservationRecord(observed=observation(names, number, fault)))
        surveys = own = 0.0
        failed = 0
        for purpose, make in (("mesh", lambda peers: interfaces.mesh_arguments(peers, INPUTS)), ("run", rounds),
                              ("judge", lambda peers: judge.survey(peers, INPUTS))):
            begin = time.perf_counter()
            records.survey(names[0], names, "hccl", purpose, make)
            surveyed = time.perf_counter()
            for name in names:
                part = records.survey(name, names, "hccl", purpose, make)
                if purpose == "judge":
                    observed = records.read_observation(name, "hccl").observed
                    checks = judge.judge(Context(name, {}, INPUTS, observed, survey=part))
                    failed += sum(check["status"] == "failed" for check in checks)
            own += time.perf_counter() - surveyed
            surveys += surveyed - begin
        assert failed == int(fault), failed
        begin = time.perf_counter()
        records.read_observations(names, "hccl")
        return surveys, own, time.perf_counter() - begin, len(json.dumps(part)) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[16, 125, 250, 500, 1000])
    parser.add_argument("--fault", action="store_true", help="one NPU does not reply to any ping")
    arguments = parser.parse_args()
    print(f"{'nodes':>6}{'three surveys':>15}{'parts':>11}{'all':>9}{'per node':>11}{'a part':>9}"
          f"{'if each read all':>18}")
    for nodes in arguments.nodes:
        surveys, own, reading, size = measure(nodes, arguments.fault)
        total = surveys + own
        print(f"{nodes:>6}{surveys:>13.2f} s{own:>9.2f} s{total:>7.2f} s{1000 * total / nodes:>8.1f} ms{size:>6.1f} KB"
              f"{3 * reading * nodes:>16.0f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
