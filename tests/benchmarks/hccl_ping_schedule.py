# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulate the ping mesh on clusters of 2 to 1,000 nodes. Needs no test bed.

    .venv/bin/python tests/benchmarks/hccl_ping_schedule.py [--skew SECONDS] [--nodes N ...]

The nodes start up to --skew seconds apart, as Ansible starts them, and only the length of a round keeps them in step.
The last columns show how often an NPU receives more than one ping at a time.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import ping_mesh

NPUS = 8
ROUND_S = 0.5  # hccl_ping_round_s
FULL_MESH_MAX_NODES = 16  # hccl_ping_full_mesh_max_nodes
PACKETS = 3  # number of echo requests that one hccn_tool -ping sends
TIMEOUT_S = 10.0  # hccl_ping_timeout_s
LOST_TO_PARTNER, LOST_TO_ALL = 3, 6  # lost pings after which an NPU skips the partner, or all nodes (hccn_ping.py)


def ping_s(rng: random.Random) -> float:
    """Return the duration in seconds of a ping that gets a reply, including the start of the tool."""
    return rng.uniform(0.15, 0.40)


def simulate(nodes: int, skew_s: float, dead: bool = False) -> tuple[float, float, int]:
    """Return the time until the last node has finished, in seconds, and the results of `crowding`.

    ``dead``: no ping to or from the first node gets a reply.
    """
    rng = random.Random(1)
    hosts = [f"node{number:04d}" for number in range(nodes)]
    index = {host: number for number, host in enumerate(hosts)}
    received: dict[tuple[int, int], list[tuple[float, float]]] = {}
    end = 0.0
    for host in hosts:
        start = rng.uniform(0, skew_s)
        partners = ping_mesh.partners(hosts, host, FULL_MESH_MAX_NODES)
        free = [start] * NPUS
        silent = 0
        pings = [(other, shift) for other in partners for shift in ping_mesh.shifts(NPUS)]
        for number, (other, shift) in enumerate(pings):
            lost = dead and other is not None and 0 in (index[host], index[other])
            if other is None or (lost and (shift >= LOST_TO_PARTNER or silent >= LOST_TO_ALL)):
                continue
            silent += lost
            for npu in range(NPUS):
                begin = max(free[npu], start + number * ROUND_S)
                free[npu] = begin + (TIMEOUT_S if lost else ping_s(rng))
                received.setdefault((index[other], (npu + shift) % NPUS), []).append((begin, free[npu]))
        end = max(end, *free)
    share, most = crowding(received)
    return end, share, most


def crowding(received: dict) -> tuple[float, int]:
    """Return the fraction of pings that started while the NPU received others, and the most pings at the same time."""
    busy = total = most = 0
    for intervals in received.values():
        running: list[float] = []
        for begin, end in sorted(intervals):
            running = [other for other in running if other > begin]
            busy += bool(running)
            running.append(end)
            most = max(most, len(running))
            total += 1
    return busy / max(1, total), most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skew", type=float, default=2.0, help="seconds between the first and the last start")
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 16, 128, 1000])
    arguments = parser.parse_args()
    print(f"{NPUS} NPUs per node, rounds of {ROUND_S} s, starts up to {arguments.skew} s apart, full mesh up to "
          f"{FULL_MESH_MAX_NODES} nodes\n")
    print(f"{'nodes':>6}{'mode':>9}{'coverage':>10}{'rounds':>8}{'pings':>10}{'packets':>10}{'scheduled':>11}"
          f"{'healthy':>9}{'one dead':>10}{'crowded':>9}{'most':>6}")
    for nodes in arguments.nodes:
        cost = ping_mesh.size(nodes, NPUS, FULL_MESH_MAX_NODES)
        hosts = [f"node{number:04d}" for number in range(nodes)]
        started = time.perf_counter()
        for host in hosts:
            ping_mesh.partners(hosts, host, FULL_MESH_MAX_NODES)
        scheduled = time.perf_counter() - started
        healthy, crowded, most = simulate(nodes, arguments.skew)
        with_dead = simulate(nodes, arguments.skew, dead=True)[0]
        mode = "full" if cost["coverage"] == 1 else "sampled"
        print(f"{nodes:>6}{mode:>9}{cost['coverage']:>10.1%}{cost['rounds']:>8}{cost['pings']:>10}"
              f"{PACKETS * cost['pings']:>10}{scheduled:>9.2f} s{healthy:>7.0f} s{with_dead:>8.0f} s{crowded:>9.1%}"
              f"{most:>6}")


if __name__ == "__main__":
    main()
