#!/usr/bin/env python3
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the npu_driver stage costs on many nodes, against raw parallel ssh and a playbook of `command` and `loop`.

All three ask the same of every node: npu-smi's table, ECC counters and board of each NPU, version files, the container
engine, device nodes and mount sources. The loop runs as Ansible comes (5 forks, no pipelining; --tuned: as this
collection's ansible.cfg). The nodes are those of a test bed, real SSH included; in the place of npu-smi
stands a script that gives the simulator's answers after a delay (a real one waits for its device and uses no processor
of the controller's machine). Needs root:

    .venv/bin/python tests/benchmarks/npu_driver_stage.py [--nodes 16] [--delay 0.15] [--skip-loop | --tuned] [--keep]

Exit status 1 if a limit is not met: 2.5 times raw ssh, and 20 times faster than the loop.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BED = str(ROOT / "molecule" / "testbed" / "bed")
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE", "/var/cache/ascend-vllm-testbed"))
NAME = "bench-npu-driver"
MOST_TIMES_RAW, LEAST_TIMES_FASTER = 2.5, 20
NPUS = range(8)
QUERIES = ["info"] + [f"info -t {kind} -i {npu}" for npu in NPUS for kind in ("ecc", "board")]
FILES = ["/usr/local/Ascend/driver/version.info", "/usr/local/Ascend/firmware/version.info", "/etc/ascend_install.info",
         "/etc/os-release", "/proc/meminfo"]
STATED = [f"/dev/davinci{npu}" for npu in NPUS] + [
    "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc", "/usr/local/dcmi", "/usr/local/bin/npu-smi",
    "/usr/local/Ascend/driver/lib64", "/usr/local/Ascend/driver/version.info", "/etc/ascend_install.info", "/data"]
OTHERS = ["uname -a", "docker version", "docker info", "docker ps", "df /var/lib/docker /dev/shm /"]

# The same, by hand: one connection a node, the tools side by side.
BY_HAND = "\n".join([
    "printf '%s\\n' " + " ".join(f"'{query}'" for query in QUERIES) + " | xargs -P 8 -I{} sh -c 'npu-smi {}'",
    "cat " + " ".join(FILES), "stat " + " ".join(STATED) + " 2>/dev/null", *OTHERS, "true"])

STAND_IN = """#!/bin/sh
sleep %s
exec cat "/opt/answers/$(printf %%s "$*" | tr ' ' _)"
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--delay", type=float, default=0.15, help="seconds that each answer of npu-smi takes")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of ssh and stage, of which the best count")
    parser.add_argument("--skip-loop", action="store_true", help="leave the slow playbook out")
    parser.add_argument("--tuned", action="store_true", help="run the slow playbook with the forks of the stage")
    parser.add_argument("--keep", action="store_true", help="leave the bed up")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return measure(options)
    subprocess.run([BED, "-n", NAME, "up", "--nodes", str(options.nodes), "--image", "none"], check=True)
    try:
        # Everything that talks to the nodes runs in the bed's network, which has no way out.
        inside = [BED, "-n", NAME, "run", "--", sys.executable, *sys.argv, "--inside"]
        return subprocess.run(inside, check=False).returncode
    finally:
        if not options.keep:
            subprocess.run([BED, "-n", NAME, "down"], check=True)


def measure(options) -> int:
    nodes = {f"node{index}": f"10.77.0.{10 + index}" for index in range(1, options.nodes + 1)}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.nodes) as pool:
        list(pool.map(lambda node: stand_in(node, options.delay), nodes))
        work = Path(folder)
        tuned = f"forks = {options.nodes}", "pipelining = true"
        inventory = write_inventory(work, nodes)
        raws, stages = [], []
        for _ in range(options.repeat):  # in turns, so that both meet the same machine
            raws.append(raw(pool, nodes))
            stages.append(playbook(work, inventory, ROOT / "playbooks" / "npu_driver.yml", *tuned))
            check_results(work / "results", nodes)
        raw_s, stage_s = min(raws), min(stages)
        loop_s = None if options.skip_loop else playbook(
            work, inventory, write_loop(work), *(tuned if options.tuned else ()))
    print(f"{options.nodes} nodes, {len(QUERIES)} calls of npu-smi of {options.delay} s each, "
          f"{os.cpu_count()} processors for controller and nodes together")
    print(f"  raw parallel ssh            {raw_s:7.1f} s   of {', '.join(f'{each:.1f}' for each in raws)}")
    print(f"  npu_driver stage            {stage_s:7.1f} s   of {', '.join(f'{each:.1f}' for each in stages)}: "
          f"{stage_s / raw_s:.2f} x raw (limit {MOST_TIMES_RAW})")
    if loop_s:
        print(f"  playbook, command and loop  {loop_s:7.1f} s   {loop_s / stage_s:.1f} x the stage "
              f"(at least {LEAST_TIMES_FASTER})")
    met = stage_s <= MOST_TIMES_RAW * raw_s and (not loop_s or loop_s >= LEAST_TIMES_FASTER * stage_s)
    return 0 if met else 1


def ssh(node: str, command: str) -> str:
    argv = ["ssh", "-F", str(CACHE / "ssh" / "config"), node, command]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def stand_in(node: str, delay: float) -> None:
    """Take the simulator's answers once, and let a script give them from then on."""
    record = " && ".join(f"npu-smi {query} > '/opt/answers/{query.replace(' ', '_')}'" for query in QUERIES)
    script = STAND_IN % delay
    ssh(node, f"[ -d /opt/answers ] || {{ mkdir /opt/answers && {record}; }}; "
              f"rm -f /usr/local/bin/npu-smi; cat > /usr/local/bin/npu-smi <<'END'\n{script}END\n"
              "chmod 755 /usr/local/bin/npu-smi")


def write_inventory(work: Path, nodes: dict[str, str]) -> Path:
    (work / "hosts.yml").write_text(yaml.safe_dump({"npu_nodes": {
        "hosts": {node: {"ansible_host": address} for node, address in nodes.items()},
        "vars": {"ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
                 "ansible_ssh_common_args": f"-F {CACHE}/ssh/config", "report_path": str(work / "results"),
                 "npu_driver_shm_minimum_gib": 0, "npu_driver_memlock_minimum_gib": 0, "npu_driver_tool_slow_s": 10,
                 "npu_driver_tool_wedged_s": 30}}}))
    return work / "hosts.yml"


def write_loop(work: Path) -> Path:
    """The same questions as a playbook asks them that has only `command`."""
    def task(commands):
        return {"ansible.builtin.command": "{{ item }}", "loop": commands, "changed_when": False}
    (work / "loop.yml").write_text(yaml.safe_dump([{
        "hosts": "npu_nodes", "gather_facts": False, "tasks": [
            task([f"npu-smi {query}" for query in QUERIES]), task([f"cat {path}" for path in FILES]),
            task([f"stat -c %F {path}" for path in STATED if path != "/data"]), task(OTHERS)]}]))
    return work / "loop.yml"


def playbook(work: Path, inventory: Path, path: Path, forks: str = "", pipelining: str = "") -> float:
    """Seconds that the playbook takes, connections included: no earlier run has left one open."""
    shutil.rmtree(work / "cp", ignore_errors=True)
    (work / "ansible.cfg").write_text(
        f"[defaults]\ncollections_path = {ROOT}/playbooks/collections\n{forks}\n"
        f"[ssh_connection]\ncontrol_path_dir = {work}/cp\n{pipelining}\n")
    environment = dict(os.environ, ANSIBLE_CONFIG=str(work / "ansible.cfg"))
    started = time.monotonic()
    run = subprocess.run([str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(path)],
                         env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if run.returncode:
        sys.exit(run.stdout[-4000:] + run.stderr[-1000:])
    return seconds


def check_results(results: Path, nodes: dict[str, str]) -> None:
    """The stage must have seen what it was timed for."""
    for node in nodes:
        result = json.loads((results / node / "npu_driver.json").read_text("utf-8"))
        observed = result["observed"]
        assert result["status"] == "passed", [c for c in result["checks"] if c["status"] in ("failed", "warned")]
        assert len(observed["tools"]) == len(QUERIES)
        assert [chip["ecc"] is not None and chip["board"] is not None
                for chip in observed["npu_smi"]["chips"]] == [True] * len(NPUS)
        assert observed["engine"]["version"]


def raw(pool: ThreadPoolExecutor, nodes: dict[str, str]) -> float:
    started = time.monotonic()
    for output in pool.map(lambda node: ssh(node, BY_HAND), nodes):
        assert output.count("Double Bit Isolated Pages") >= len(NPUS), output[-2000:]
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
