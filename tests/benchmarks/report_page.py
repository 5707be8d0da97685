# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the time and the size of the report page of clusters of 4 to 1,000 hosts. Needs no test bed.

    .venv/bin/python tests/benchmarks/report_page.py [--hosts N ...]

The results folder is derived from the results of a real run in the test bed. The time includes reading it. Exits with 1
if the page of 100 hosts takes more than 3 s or exceeds 2 MB, or if that of 1,000 hosts takes more than 20 s or exceeds
10 MB.
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

# {hosts: (seconds, MB)}
LIMITS = {100: (3.0, 2.0), 1000: (20.0, 10.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[4, 100, 1000])
    print(f"{'hosts':>6}{'seconds':>9}{'CPU':>7}{'MB':>7}{'memory MB':>11}")
    failed = False
    for hosts in parser.parse_args().hosts:
        with tempfile.TemporaryDirectory() as folder:
            names = results_folder.names(hosts)
            results_folder.write(Path(folder), names)
            started, spent = time.perf_counter(), time.process_time()
            size = len(results_folder.page(Path(folder), names).encode()) / 1e6
            seconds, spent = time.perf_counter() - started, time.process_time() - spent
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{hosts:>6}{seconds:>9.2f}{spent:>7.2f}{size:>7.2f}{memory:>11}")
        limit = LIMITS.get(hosts, (seconds, size))
        failed |= seconds > limit[0] or size > limit[1]
    sys.exit(failed)


if __name__ == "__main__":
    main()
