# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a run of site.yml with nothing to do and without measuring stages, compared with `ansible -m ping`.

    .venv/bin/python tests/benchmarks/noop_site.py [--nodes 2] [--repeat 3] [--keep]

The first run deploys the model to nodes of a test bed, which serve it with the real vLLM on the CPU. The stages
accuracy and benchmark are skipped, and there is no all-reduce while the service uses the NPUs. Every run makes new
connections. Controller and nodes share the CPUs of one machine, but the CPU time of the nodes is not counted. Tasks
that are skipped on a node are counted separately: they need a worker, but no connection. Needs root. Exits with 1 if a
goal is missed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from cluster import BED, CACHE, ROOT, SSH, cost, in_bed, nodes, parser, verdict

MAX_RATIO_TO_PING, MAX_CPU_S, MAX_TASKS = 12.0, 1.5, 25
UNMEASURED = ["--skip-tags", "accuracy,benchmark"]


def main() -> int:
    options = parser(__doc__)
    options.set_defaults(nodes=2)
    options.add_argument("--repeat", type=int, default=3, help="number of measurements, of which the best counts")
    return in_bed("bench-site", options.parse_args(), measure, "--image", "full", "--hub")


def measure(options) -> int:
    hosts = nodes(options)
    with tempfile.TemporaryDirectory() as folder:
        work, pings, runs = Path(folder), [], []
        write_inventory(work / "inventory", hosts)
        environment = {"ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg", "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{work}/cp",
                       "ANSIBLE_NOCOLOR": "1"}
        for run in range(options.repeat + 1):
            site = cost(["-i", work / "inventory", ROOT / "playbooks" / "site.yml", *UNMEASURED], work, environment)
            shutil.rmtree(work / "cp", ignore_errors=True)
            if site.exit_code or (run and re.search("changed=[1-9]", site.output)):
                sys.exit(site.output[-4000:])
            if run:  # the first one deploys
                pings.append(ping(work / "inventory", environment))
                shutil.rmtree(work / "cp", ignore_errors=True)
                runs.append(site)
    best, pinged = min(run.seconds for run in runs), min(pings)
    done, skipped = recap(runs[-1].output, hosts[-1])
    print(f"{len(hosts)} nodes with nothing to do, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs: "
          f"{best:.1f} s, ping {pinged:.2f} s; tasks skipped on a node: {skipped}")
    met = [verdict("wall time against ping", best / pinged, MAX_RATIO_TO_PING, " x"),
           verdict("controller CPU per host", min(run.cpu_s for run in runs) / len(hosts), MAX_CPU_S, " s"),
           verdict("tasks on a node", done, MAX_TASKS)]
    return int(not all(met))


def write_inventory(folder: Path, hosts: list[str]) -> None:
    """Write the inventory of the demo for connections from inside the network of the bed."""
    shutil.copytree(ROOT / "inventories" / "simulated" / "group_vars", folder / "group_vars")
    (folder / "hosts.yml").write_text(yaml.safe_dump({"npu_nodes": {
        "hosts": {node: {"ansible_host": f"10.77.0.{10 + int(node[4:])}"} for node in hosts},
        "vars": {"ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
                 "ansible_ssh_common_args": f"-F {SSH}", "report_path": str(folder / ".results"),
                 "testbed_path": str(Path(BED).parent), "testbed_cache": str(CACHE)}}}))


def ping(inventory: Path, environment: dict[str, str]) -> float:
    """Return the duration of `ansible -m ping` with new connections, in seconds."""
    command = [Path(sys.executable).with_name("ansible"), "-i", inventory, "-m", "ping", "npu_nodes"]
    started = time.monotonic()
    subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def recap(output: str, host: str) -> tuple[int, int]:
    """Return the numbers of tasks that were done and skipped on a host. The first host also does the tasks for all."""
    (found,) = re.findall(rf"^{host}\s.*ok=(\d+).*skipped=(\d+)", output, re.MULTILINE)
    return int(found[0]), int(found[1])


if __name__ == "__main__":
    sys.exit(main())
