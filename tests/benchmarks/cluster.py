# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run benchmarks on the nodes of a test bed over real SSH, directly and with playbooks, and measure what a run costs.

Only the test bed needs root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
BED = str(ROOT / "molecule" / "testbed" / "bed")
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed")
SSH = f"{CACHE}/ssh/config"
# Seconds between two measurements of memory.
SAMPLE_S = 0.5


class Cost(NamedTuple):
    """The cost of a run of ansible-playbook on the controller."""

    exit_code: int
    #: Standard output and standard error.
    output: str
    seconds: float
    #: User and system time of the process and of all its workers and ssh clients that have ended, in seconds. The
    #: persistent connections of ssh are not included, because they remain after the run.
    cpu_s: float
    #: The most memory at the same time, in MiB: the sum of PSS of the process, its descendants and its connections.
    #: 0 if it was not measured.
    memory_mib: float
    #: The part of it that the persistent connections of ssh use.
    connections_mib: float


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all cluster benchmarks share."""
    result = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    result.add_argument("--nodes", type=int, default=16)
    result.add_argument("--delay", type=float, default=0.15, help="run time of a vendor tool, in seconds")
    result.add_argument("--keep", action="store_true", help="keep the bed up")
    result.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return result


def in_bed(name: str, options: argparse.Namespace, measure: Callable[[argparse.Namespace], int],
           *up: str) -> int:
    """Start the nodes and run the calling script again in the bed's isolated network, where it calls ``measure``.

    :param up: options of ``bed up``, by default those for nodes without an image.
    """
    if options.inside:
        return measure(options)
    subprocess.run([BED, "-n", name, "up", "--nodes", str(options.nodes), *(up or ("--image", "none"))], check=True)
    try:
        inside = [BED, "-n", name, "run", "--", sys.executable, *sys.argv, "--inside"]
        return subprocess.run(inside, check=False).returncode
    finally:
        if not options.keep:
            subprocess.run([BED, "-n", name, "down"], check=True)


def nodes(options: argparse.Namespace) -> list[str]:
    return [f"node{index}" for index in range(1, options.nodes + 1)]


def ssh(node: str, command: str) -> str:
    return subprocess.run(["ssh", "-F", SSH, node, command], check=True, capture_output=True, text=True).stdout


def wait_until_idle(node: str) -> None:
    """Wait until the node has started all its services, so that their start is not measured."""
    ssh(node, "systemctl is-system-running --wait || true")


def cost(arguments: list, work: Path, environment: dict[str, str] | None = None, memory: bool = False) -> Cost:
    """Run ansible-playbook, and return what it costs. The output is also in ``work / "output"``.

    :param memory: whether to measure memory. The connections of ssh are found by their control path below ``work``.
    """
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *map(str, arguments)]
    peak = (0.0, 0.0)
    with (work / "output").open("w+", encoding="utf-8") as output:
        started = time.monotonic()
        run = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                               stdout=output, stderr=subprocess.STDOUT)
        ended = 0
        while not ended:
            if memory:
                peak = max(peak, memory_mib(run.pid, str(work)))
                time.sleep(SAMPLE_S)
            ended, status, used = os.wait4(run.pid, os.WNOHANG if memory else 0)
        seconds = time.monotonic() - started
        run.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return Cost(run.returncode, output.read(), seconds, used.ru_utime + used.ru_stime, *peak)


def memory_mib(root: int, mark: str) -> tuple[float, float]:
    """Return the PSS in MiB of a process with its descendants and connections, and that of the connections alone.

    :param mark: a text in the command lines of the connections.
    """
    parents, connections = {}, set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if entry.name != str(os.getpid()) and (entry / "cmdline").read_text().startswith("ssh: ") and (
                    mark in (entry / "cmdline").read_text()):
                connections.add(int(entry.name))
        except OSError:  # it has ended
            continue
    descendants = {root}
    for process in sorted(parents):  # a parent usually has a lower number than its children
        if parents[process] in descendants:
            descendants.add(process)
    connections -= descendants
    of_connections = sum(map(pss_mib, connections))
    return of_connections + sum(map(pss_mib, descendants)), of_connections


def pss_mib(process: int) -> float:
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):  # it has ended
        return 0.0


def verdict(figure: str, found: float, goal: float, unit: str = "") -> bool:
    """Print a figure with its goal, and return whether it is at most the goal."""
    print(f"  {figure:<58}{found:8.2f}{unit} (goal: at most {goal:g}{unit}){'' if found <= goal else '  MISSED'}",
          flush=True)
    return found <= goal


def playbook(work: Path, hosts: list[str], path: Path, tuned: bool = True, **variables) -> float:
    """Run a playbook with new connections to all hosts, and return its duration in seconds.

    ``tuned``: use this repository's ansible.cfg instead of Ansible's defaults. The results are in ``work / "results"``.
    """
    for old in ("cp", "results"):
        shutil.rmtree(work / old, ignore_errors=True)
    (work / "hosts.yml").write_text(yaml.safe_dump({"npu_nodes": {
        "hosts": {node: {"ansible_host": f"10.77.0.{10 + int(node[4:])}"} for node in hosts},
        "vars": {"ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
                 "ansible_ssh_common_args": f"-F {SSH}", "report_path": str(work / "results"), **variables}}}))
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", work / "hosts.yml", path]
    environment = {**os.environ, "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg" if tuned else os.devnull,
                   "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{work}/cp"}
    started = time.monotonic()
    run = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if run.returncode:
        sys.exit(run.stdout[-4000:] + run.stderr[-1000:])
    return seconds
