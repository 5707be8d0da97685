# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long the stage observes, judges and records many nodes' NPU ports, compared with raw parallel ssh.

Both run all hccn_tool queries of the stage on every node, for its eight NPUs in parallel. The nodes belong to a test
bed and are reached by real SSH. Instead of the vendor's tools, scripts print the simulator's recorded output after a
delay, because the real tools wait for their device and do not use the controller's CPU. Needs root:

    .venv/bin/python tests/benchmarks/hccl_stage.py [--nodes 16] [--delay 0.15] [--pairs 5] [--keep]

As soon as the nodes are idle, the stage and ssh are measured alternately, several times, and the medians are compared.
Exits with 1 if the stage takes more than 2.5 times as long as raw ssh.
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
from cluster import ROOT, in_bed, nodes, parser, playbook, ssh, wait_until_idle

sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_query import QUERIES, TOOL

MAX_RATIO_TO_RAW = 2.5
NPUS = range(8)
NPU_SMI = "/usr/local/bin/npu-smi"

REPLAY = """#!/bin/sh
sleep %s
exec cat "/opt/output/%s"
"""
RAW_COMMAND = (f"for i in {' '.join(map(str, NPUS))}; do "
               f"( for q in {' '.join(QUERIES)}; do {TOOL} -i $i -$q -g; done ) & done; wait")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=5, help="number of measurements of both ssh and the stage")
    return in_bed("bench-hccl", options.parse_args(), measure)


def measure(options) -> int:
    hosts = nodes(options)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.nodes) as pool:
        work, pairs = Path(folder), []
        list(pool.map(lambda node: replace_tools(node, options.delay), hosts))
        list(pool.map(wait_until_idle, hosts))
        for _pair in range(options.pairs):
            pairs.append((raw(pool, hosts), playbook(work, hosts, write_play(work))))
            check_results(work / "results", hosts)
    raw_s, stage_s = map(statistics.median, zip(*pairs))
    print(f"{options.nodes} nodes, {len(NPUS)} NPUs, {len(QUERIES)} queries that take {options.delay} s each, "
          f"{os.cpu_count()} CPUs for controller and nodes together, load {os.getloadavg()[0]:.1f}")
    print(f"  raw parallel ssh            {raw_s:6.1f} s   " + " ".join(f"{pair[0]:.1f}" for pair in pairs))
    print(f"  plan, observe, judge, record {stage_s:6.1f} s   " + " ".join(f"{pair[1]:.1f}" for pair in pairs))
    print(f"  ratio of the medians        {stage_s / raw_s:6.2f}     (limit {MAX_RATIO_TO_RAW})")
    return 0 if stage_s <= MAX_RATIO_TO_RAW * raw_s else 1


def replace_tools(node: str, delay: float) -> None:
    """Record the output of the simulated tools and replace the tools with scripts that print it."""
    record = (f"for i in {' '.join(map(str, NPUS))}; do for q in {' '.join(QUERIES)}; do "
              f"{TOOL} -i $i -$q -g > /opt/output/$i-$q; done; done; npu-smi info > /opt/output/info")
    ssh(node, f"[ -d /opt/output ] || {{ mkdir /opt/output && {record}; }}; rm {TOOL} {NPU_SMI}\n"
              f"cat > {TOOL} <<'END'\n{REPLAY % (delay, '$2$3')}END\n"
              f"cat > {NPU_SMI} <<'END'\n{REPLAY % (delay, 'info')}END\nchmod 755 {TOOL} {NPU_SMI}")


def write_play(work: Path) -> Path:
    (work / "play.yml").write_text(yaml.safe_dump([{
        "hosts": "npu_nodes", "gather_facts": False, "tasks": [{"ascend.vllm.stage": {"stage": "hccl"}}]}]))
    return work / "play.yml"


def check_results(results: Path, hosts: list[str]) -> None:
    """Check that every query of the stage was run and succeeded."""
    for node in hosts:
        result = json.loads((results / node / "hccl.json").read_text("utf-8"))
        npus = result["observed"]["npus"]
        assert {check["subject"] for check in result["checks"] if check["status"] == "passed"} == {"npu 0-7"}
        assert len(npus) == len(NPUS)
        assert all("error" not in query for npu in npus.values() for query in npu.values())
        assert all(set(npu) == set(QUERIES) for npu in npus.values())


def raw(pool: ThreadPoolExecutor, hosts: list[str]) -> float:
    started = time.monotonic()
    for output in pool.map(lambda node: ssh(node, RAW_COMMAND), hosts):
        assert output.count("link status: UP") == len(NPUS), output[-2000:]
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
