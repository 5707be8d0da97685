#!/usr/bin/env python3
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to ask, judge and record the NPU ports of many nodes, against raw parallel ssh.

Both ask the same: seven queries of hccn_tool for each of eight NPUs, NPUs side by side. The nodes are those of a test
bed, real SSH included; in the place of the vendor's tools stand scripts that give the simulator's answers after a delay
(real ones wait for their device and use no processor of the controller's machine). Needs root:

    .venv/bin/python tests/benchmarks/hccl_stage.py [--nodes 16] [--delay 0.15] [--pairs 5] [--keep]

The two are measured in turn, several times, once the nodes are at rest, and the medians are compared. Exit status 1
when the stage takes more than 2.5 times what raw ssh takes.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from cluster import at_rest, in_bed, nodes, parser, playbook, ssh

MOST_TIMES_RAW = 2.5
NPUS = range(8)
QUERIES = ("link", "net_health", "ip", "gateway", "netdetect", "lldp", "tls")
TOOL = "/opt/stand-in/hccn_tool"
NPU_SMI = "/usr/local/bin/npu-smi"
SIMULATOR = "/usr/local/Ascend/driver/tools/hccn_tool"

STAND_IN = """#!/bin/sh
sleep %s
exec cat "/opt/stand-in/%s"
"""
BY_HAND = (f"for i in {' '.join(map(str, NPUS))}; do "
           f"( for q in {' '.join(QUERIES)}; do {TOOL} -i $i -$q -g; done ) & done; wait")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=5, help="how often each of the two is measured")
    return in_bed("bench-hccl", options.parse_args(), measure)


def measure(options) -> int:
    hosts = nodes(options)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.nodes) as pool:
        work, pairs = Path(folder), []
        list(pool.map(lambda node: stand_in(node, options.delay), hosts))
        list(pool.map(at_rest, hosts))
        for _ in range(options.pairs):
            pairs.append((raw(pool, hosts), playbook(work, hosts, write_play(work))))
            check_results(work / "results", hosts)
    raw_s, stage_s = map(statistics.median, zip(*pairs))
    print(f"{options.nodes} nodes, {len(NPUS)} NPUs, {len(QUERIES)} queries of {options.delay} s each, "
          f"{os.cpu_count()} processors for controller and nodes together, load {os.getloadavg()[0]:.1f}")
    print(f"  raw parallel ssh            {raw_s:6.1f} s   " + " ".join(f"{pair[0]:.1f}" for pair in pairs))
    print(f"  plan, ask, judge, record    {stage_s:6.1f} s   " + " ".join(f"{pair[1]:.1f}" for pair in pairs))
    print(f"  ratio of the medians        {stage_s / raw_s:6.2f}     (limit {MOST_TIMES_RAW})")
    return 0 if stage_s <= MOST_TIMES_RAW * raw_s else 1


def stand_in(node: str, delay: float) -> None:
    """Take the simulator's answers once; scripts give them from then on."""
    ssh(node, f"mkdir -p /opt/stand-in && cd /opt/stand-in && for i in {' '.join(map(str, NPUS))}; do "
              f"for q in {' '.join(QUERIES)}; do {SIMULATOR} -i $i -$q -g > $i-$q; done; done; npu-smi info > info\n"
              f"cat > {TOOL} <<'END'\n{STAND_IN % (delay, '$2$3')}END\n"
              f"rm {NPU_SMI}; cat > {NPU_SMI} <<'END'\n{STAND_IN % (delay, 'info')}END\nchmod 755 {TOOL} {NPU_SMI}")


def write_play(work: Path) -> Path:
    (work / "play.yml").write_text(yaml.safe_dump([{"hosts": "npu_nodes", "gather_facts": False, "tasks": [
        {"ascend.vllm.stage": {"stage": "hccl", "observe": "ascend.vllm.hccn_info",
                               "arguments": {"queries": list(QUERIES), "npus": list(NPUS), "tool": TOOL}}}]}]))
    return work / "play.yml"


def check_results(results: Path, hosts: list[str]) -> None:
    """The stage must have seen what it was timed for."""
    for node in hosts:
        result = json.loads((results / node / "hccl.json").read_text("utf-8"))
        answers = result["observed"]["npus"]
        assert {check["subject"] for check in result["checks"] if check["status"] == "passed"} == {"npu 0-7"}
        assert len(answers) == len(NPUS)
        assert all("error" not in answer for npu in answers.values() for answer in npu.values())
        assert all(set(npu) == set(QUERIES) for npu in answers.values())


def raw(pool: ThreadPoolExecutor, hosts: list[str]) -> float:
    started = time.monotonic()
    for output in pool.map(lambda node: ssh(node, BY_HAND), hosts):
        assert output.count("link status: UP") == len(NPUS), output[-2000:]
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
