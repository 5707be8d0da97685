# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the time of the report of clusters of 4 to 1,000 hosts in all forms, and the size of its page.

    .venv/bin/python tests/benchmarks/report_page.py [--hosts N ...]

Needs no test bed. The results folder is derived from the results of a real run in the test bed. The action of the role
reads it and writes report.html, report.md, report.json, junit.xml, report.prom and the lists of hosts. The CPU time
counts, because other load on the machine does not change it much, and the action waits for nothing. Exits with 1 if the
report of 100 hosts takes more than 3 s or its page exceeds 2 MB, or if that of 1,000 hosts takes more than 20 s or its
page exceeds 10 MB.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "playbooks" / "collections"), str(ROOT / "tests")]

import results_folder
from cluster import verdict

from ansible_collections.ascend.vllm.plugins.action import report
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import new_action

# {hosts: (seconds, MB)}
LIMITS = {100: (3.0, 2.0), 1000: (20.0, 10.0)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[4, 100, 1000])
    met = True
    for hosts in parser.parse_args().hosts:
        with tempfile.TemporaryDirectory() as folder:
            names = results_folder.names(hosts)
            results_folder.write(Path(folder), names)
            action = new_action(report, {"hosts": names})
            started, spent = time.perf_counter(), time.process_time()
            written = action.run(task_vars={"inventory_hostname": names[0], "report_path": folder})
            seconds, spent = time.perf_counter() - started, time.process_time() - spent
            sizes = {path.name: path.stat().st_size / 1e6 for path in Path(folder).glob("*.*")}
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{hosts} hosts: {written['msg']}; {seconds:.1f} s, memory {memory} MiB")
        print("  MB: " + ", ".join(f"{name} {size:.2f}" for name, size in sorted(sizes.items())))
        limits = LIMITS.get(hosts)
        if limits:
            met &= verdict("CPU time", spent, limits[0], " s")
            met &= verdict("size of the page", sizes["report.html"], limits[1], " MB")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
