# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the time from the start of every playbook to the refusal of a wrong inventory. Needs no test bed.

    .venv/bin/python tests/benchmarks/first_refusal.py [--hosts 256] [--playbooks site.yml ...]

All hosts have a release that is not in the catalogue, so every playbook that contacts nodes checks the plans of all
hosts and then stops. init.yml and compare.yml have no nodes and get other wrong values. The figure that counts
is the CPU time of the controller, because other load on the machine does not change it much. On an idle machine, it is
at least as long as the refusal takes, since a refusal waits for nothing. Exits with 1 if a playbook needs 15 s or more,
or does not refuse.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import yaml
from cluster import ROOT, cost, verdict

GOAL_S = 15.0
# {playbook: (arguments, part of the refusal)} for the playbooks without nodes. nodes.yml is a part of the others.
OTHERS = {"compare.yml": ((), "Set compare_before and compare_after"),
          "init.yml": (("-e", "init_nodes=atlas-01"), "The variable init_nodes must contain the names")}
PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml") if path.name != "nodes.yml")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=256)
    parser.add_argument("--playbooks", nargs="+", default=PLAYBOOKS, choices=PLAYBOOKS, metavar="PLAYBOOK")
    options = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "hosts.yml").write_text(yaml.safe_dump({"npu_nodes": {
            "hosts": {f"atlas-{number:03d}": {"ansible_host": f"192.0.2.{number % 250 + 1}"}
                      for number in range(options.hosts)},
            "vars": {"plan_release": "v9", "report_path": str(work / "results")}}}), "utf-8")
        print(f"{options.hosts} hosts, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
        for name in options.playbooks:
            arguments, refusal = OTHERS.get(name, ((), "plan_release is v9, which is not in the catalogue"))
            run = cost(["-i", work / "hosts.yml", ROOT / "playbooks" / name, *arguments], work,
                       {"ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg", "PWD": folder})
            if run.exit_code == 0 or refusal not in " ".join(run.output.split()):
                sys.exit(f"{name} does not refuse:\n{run.output[-4000:]}")
            met &= verdict(f"{name}: refused after {run.seconds:.1f} s, CPU of the controller", run.cpu_s, GOAL_S, " s")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
