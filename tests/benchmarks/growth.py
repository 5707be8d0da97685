# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how wall time, CPU time and memory of the controller grow with the number of hosts, from 16 to 256.

The run is site.yml for the stage npu_driver: refusal of wrong plans, the lease, one observation of each host over SSH,
its judgment, and the report in all forms. Needs root:

    .venv/bin/python tests/benchmarks/growth.py [--hosts 16 64 256] [--nodes 4] [--repeat 2] [--keep]

Many hosts of the inventory are on a few nodes of a test bed. Every host has its own SSH connection, its own plan, its
own folder of results and its own observation. The tools of NPUs are scripts that print a recorded output at once. The
hosts of a node share its kernel, SSH server, Docker engine and NPUs, and all nodes share the CPUs of this machine with
the controller. Therefore, the wall time includes the CPU time of the modules, sshd and tools of all nodes, which real
nodes would spend in parallel on their own CPUs. The CPU time and the memory are only those of the controller.
The stage changes nothing on a node, so the hosts of a node do not need separate state folders and devices.

Of the repetitions of a size, the lowest wall time and the lowest CPU time count, because other load on the machine can
only raise them. Exits with 1 if the wall time or the CPU time per host is more than 1.1 times that of the next smaller
size, or if the controller needs more than 1 GiB for 256 hosts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from cluster import ROOT, SSH, cost, in_bed, nodes, parser, verdict, wait_until_idle
from npu_driver_stage import INPUTS, replace_tool

MAX_GROWTH, MAX_MEMORY_MIB, FORKS = 1.1, 1024, 32


def main() -> int:
    options = parser(__doc__)
    options.set_defaults(nodes=4, delay=0)
    options.add_argument("--hosts", type=int, nargs="+", default=[16, 64, 256])
    options.add_argument("--repeat", type=int, default=2, help="measurements of a size, of which the best counts")
    return in_bed("bench-growth", options.parse_args(), measure)


def measure(options) -> int:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.nodes) as pool:
        work = Path(folder)
        list(pool.map(lambda node: replace_tool(node, options.delay), nodes(options)))
        list(pool.map(wait_until_idle, nodes(options)))
        print(f"site.yml --tags npu_driver, {options.nodes} nodes, {FORKS} forks, {os.cpu_count()} CPUs for controller "
              f"and nodes together, load {os.getloadavg()[0]:.1f}", flush=True)
        met, before = True, None
        for hosts in options.hosts:
            runs = [run(work, hosts, options.nodes) for _repeat in range(options.repeat)]
            seconds, cpu_s = min(each.seconds for each in runs), min(each.cpu_s for each in runs)
            memory, connections = max((each.memory_mib, each.connections_mib) for each in runs)
            tasks = int(re.search(r"atlas-001 +: ok=(\d+)", runs[0].output).group(1))
            print(f"{hosts} hosts: {seconds:.1f} s, CPU {cpu_s:.1f} s, per host {seconds / hosts:.3f} s and "
                  f"{cpu_s / hosts:.3f} s, {tasks} tasks per host, memory {memory:.0f} MiB, of which connections "
                  f"of ssh {connections:.0f} MiB", flush=True)
            if before:
                met &= verdict(f"time per host, against {before[0]} hosts", seconds / hosts / before[1], MAX_GROWTH)
                met &= verdict(f"CPU time per host, against {before[0]} hosts", cpu_s / hosts / before[2], MAX_GROWTH)
            if hosts >= 256:
                met &= verdict("memory of the controller (sum of PSS)", memory, MAX_MEMORY_MIB, " MiB")
            before = hosts, seconds / hosts, cpu_s / hosts
    return int(not met)


def run(work: Path, hosts: int, count: int):
    """Run the stage with new connections to all hosts, and return its cost."""
    for old in ("cp", "results"):
        shutil.rmtree(work / old, ignore_errors=True)
    (work / "cp").mkdir()
    names = [f"atlas-{number:03d}" for number in range(hosts)]
    (work / "hosts.yml").write_text(yaml.safe_dump({"npu_nodes": {
        "hosts": {name: {"ansible_host": f"10.77.0.{11 + number % count}", "ansible_control_path": f"{work}/cp/{name}"}
                  for number, name in enumerate(names)},
        "vars": {"ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
                 "ansible_ssh_common_args": f"-F {SSH}", "report_path": str(work / "results"), **INPUTS}}}), "utf-8")
    found = cost(["-i", work / "hosts.yml", "--forks", FORKS, ROOT / "playbooks" / "site.yml", "--tags", "npu_driver"],
                 work, {"ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg"}, memory=True)
    if found.exit_code:
        sys.exit(found.output[-4000:])
    for name in names:
        result = json.loads((work / "results" / name / "npu_driver.json").read_text("utf-8"))
        assert result["status"] == "passed", result["checks"]
    assert len(json.loads((work / "results" / "report.json").read_text("utf-8"))["passing_hosts"]) == hosts
    return found


if __name__ == "__main__":
    sys.exit(main())
