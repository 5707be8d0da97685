# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the npu_driver stage on many nodes, compared with raw parallel ssh and with a playbook of `command` loops.

All three make the same observations on every node: npu-smi's table, ECC counters and board of each NPU, version files,
the Docker engine, device nodes and mount sources. The loop runs with Ansible's defaults (5 forks, no pipelining), or
with this collection's ansible.cfg (--tuned). The nodes belong to a test bed and are reached by real SSH. Instead of
npu-smi, a script prints the recorded output of the simulator after a delay, because the real tool waits for its device
and does not use the controller's CPU. Needs root:

    .venv/bin/python tests/benchmarks/npu_driver_stage.py [--nodes 16] [--delay 0.15] [--skip-loop | --tuned] [--keep]

Exits with 1 if the stage takes more than 1.8 times as long as raw ssh, or if it is less than 20 times faster than the
loop.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from cluster import ROOT, in_bed, nodes, parser, playbook, ssh, wait_until_idle

MAX_RATIO_TO_RAW, MIN_SPEEDUP = 1.8, 20
NPUS = range(8)
QUERIES = ["info"] + [f"info -t {kind} -i {npu}" for npu in NPUS for kind in ("ecc", "board")]
FILES = ["/usr/local/Ascend/driver/version.info", "/usr/local/Ascend/firmware/version.info", "/etc/ascend_install.info",
         "/etc/os-release", "/proc/meminfo"]
PATHS = [f"/dev/davinci{npu}" for npu in NPUS] + [
    "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc", "/usr/local/dcmi", "/usr/local/bin/npu-smi",
    "/usr/local/Ascend/driver/lib64", "/usr/local/Ascend/driver/version.info", "/etc/ascend_install.info", "/data"]
OTHERS = ["uname -a", "docker version", "docker info", "docker ps", "df /var/lib/docker /dev/shm /"]

# Makes the same observations with one ssh connection per node, and runs the tools in parallel.
RAW_COMMAND = "\n".join([
    "printf '%s\\n' " + " ".join(f"'{query}'" for query in QUERIES) + " | xargs -P 8 -I{} sh -c 'npu-smi {}'",
    "cat " + " ".join(FILES), "stat " + " ".join(PATHS) + " 2>/dev/null", *OTHERS, "true"])

REPLAY = """#!/bin/sh
sleep %s
exec cat "/opt/output/$(printf %%s "$*" | tr ' ' _)"
"""

# The nodes are containers without these resources, and are slow because they share a machine.
INPUTS = {"npu_driver_shm_minimum_gib": 0, "npu_driver_tool_slow_s": 10, "npu_driver_tool_timeout_s": 30}


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=3, help="number of measurements, of which the best counts")
    options.add_argument("--skip-loop", action="store_true", help="skip the slow playbook")
    options.add_argument("--tuned", action="store_true", help="run the slow playbook with the collection's ansible.cfg")
    return in_bed("bench-npu-driver", options.parse_args(), measure)


def measure(options) -> int:
    hosts = nodes(options)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.nodes) as pool:
        work, raws, stages = Path(folder), [], []
        list(pool.map(lambda node: replace_tool(node, options.delay), hosts))
        list(pool.map(wait_until_idle, hosts))
        for _run in range(options.repeat):  # alternately, so that both have the same conditions
            raws.append(raw(pool, hosts))
            stages.append(playbook(work, hosts, ROOT / "playbooks" / "npu_driver.yml", **INPUTS))
            check_results(work / "results", hosts)
        raw_s, stage_s = min(raws), min(stages)
        loop_s = None if options.skip_loop else playbook(work, hosts, write_loop(work), tuned=options.tuned)
    print(f"{options.nodes} nodes, {len(QUERIES)} npu-smi calls that take {options.delay} s each, "
          f"{os.cpu_count()} CPUs for controller and nodes together")
    print(f"  raw parallel ssh            {raw_s:7.1f} s   best of {', '.join(f'{each:.1f}' for each in raws)}")
    print(f"  npu_driver stage            {stage_s:7.1f} s   best of {', '.join(f'{each:.1f}' for each in stages)}: "
          f"{stage_s / raw_s:.2f} x raw (limit {MAX_RATIO_TO_RAW})")
    if loop_s:
        print(f"  playbook, command and loop  {loop_s:7.1f} s   {loop_s / stage_s:.1f} x the stage "
              f"(at least {MIN_SPEEDUP})")
    met = stage_s <= MAX_RATIO_TO_RAW * raw_s and (not loop_s or loop_s >= MIN_SPEEDUP * stage_s)
    return 0 if met else 1


def replace_tool(node: str, delay: float) -> None:
    """Record the output of the simulated npu-smi and replace it with a script that prints this output."""
    record = " && ".join(f"npu-smi {query} > '/opt/output/{query.replace(' ', '_')}'" for query in QUERIES)
    script = REPLAY % delay
    ssh(node, f"[ -d /opt/output ] || {{ mkdir /opt/output && {record}; }}; "
              f"rm -f /usr/local/bin/npu-smi; cat > /usr/local/bin/npu-smi <<'END'\n{script}END\n"
              "chmod 755 /usr/local/bin/npu-smi")


def write_loop(work: Path) -> Path:
    """Write a playbook that makes the same observations with only `command`."""
    def task(commands):
        return {"ansible.builtin.command": "{{ item }}", "loop": commands, "changed_when": False}
    (work / "loop.yml").write_text(yaml.safe_dump([{
        "hosts": "npu_nodes", "gather_facts": False, "tasks": [
            task([f"npu-smi {query}" for query in QUERIES]), task([f"cat {path}" for path in FILES]),
            task([f"stat -c %F {path}" for path in PATHS if path != "/data"]), task(OTHERS)]}]))
    return work / "loop.yml"


def check_results(results: Path, hosts: list[str]) -> None:
    """Check that the stage passed and that no observation is missing."""
    for node in hosts:
        result = json.loads((results / node / "npu_driver.json").read_text("utf-8"))
        observed = result["observed"]
        assert result["status"] == "passed", [c for c in result["checks"] if c["status"] in ("failed", "warned")]
        assert len(observed["tools"]) == len(QUERIES)
        assert [chip["ecc"] is not None and chip["board"] is not None
                for chip in observed["npu_smi"]["chips"]] == [True] * len(NPUS)
        assert observed["docker_engine"]["version"]


def raw(pool: ThreadPoolExecutor, hosts: list[str]) -> float:
    started = time.monotonic()
    for output in pool.map(lambda node: ssh(node, RAW_COMMAND), hosts):
        assert output.count("Double Bit Isolated Pages") >= len(NPUS), output[-2000:]
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
