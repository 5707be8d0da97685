# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the triage of a large log on one core, compared with a plain regular expression that searches each line.

Four logs are triaged: the log of a server that handles requests, a log with only errors, a log with a single very long
line, and a log whose lines contain the words of the signatures but match none. A separate process reads each log from
a file, so that its peak memory can be measured:

    .venv/bin/python tests/benchmarks/log_triage.py [--megabytes 100]

Exits with 1 if a limit is exceeded: 20 s of CPU time for each 100 MB of the log, or 200 MB of memory.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose

SECONDS_PER_100_MB, MAX_MEMORY_MB = 20, 200
PUBLIC = ROOT / "tests" / "unit" / "plugins" / "module_utils" / "_vllm" / "public_logs.txt"
EXAMPLES = PUBLIC.with_name("log_examples.yml")
SERVING = """\
(APIServer pid=1) INFO:     10.0.0.1:50{0} - "POST /v1/chat/completions HTTP/1.1" 200 OK
(APIServer pid=1) INFO 11-20 10:10:00 [loggers.py:282] Engine 000: Avg prompt throughput: {0}.7 tokens/s, Avg \
generation throughput: 308.4 tokens/s, Running: 7 reqs, Waiting: 0 reqs, GPU KV cache usage: 6.4%
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(measure(options.read, options.plain)))
        return 0
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, pattern in logs().items():
            log = Path(folder) / "log"
            with log.open("w", encoding="utf-8") as stream:
                size = 0
                while size < options.megabytes * 1_000_000:
                    size += stream.write(pattern(size))
            plain, ours = run(log, "--plain"), run(log)
            limit = SECONDS_PER_100_MB * options.megabytes / 100
            failed |= ours["seconds"] > limit or ours["memory_mb"] > MAX_MEMORY_MB
            print("%-10s %d MB: %.1f s of CPU time (limit %.0f), %.1f MB/s, %.1f times as long as a plain expression, "
                  "%d MB of memory (limit %d): %s" % (
                      name, options.megabytes, ours["seconds"], limit, options.megabytes / ours["seconds"],
                      ours["seconds"] / plain["seconds"], ours["memory_mb"], MAX_MEMORY_MB, ours["cause"]))
    return int(failed)


def logs():
    """Return {name: function}. The function takes the current size of the log and returns the next part."""
    errors = "\n".join(line for line in PUBLIC.read_text("utf-8").split("\n") if not line.startswith("==="))
    # Lines that contain the literals of all signatures, but do not match any of them.
    by_cause = yaml.safe_load(EXAMPLES.read_text("utf-8"))
    examples = [example.split("\n")[-1] for examples in by_cause.values() for example in examples]
    hard = "\n".join("WARNING 11-20 10:00:00 [x.py:1] " + example * 4 for example in examples) + "\n"
    return {
        "serving": lambda size: SERVING.format(size % 1000) * 100,
        "errors": lambda size: errors,
        "one line": lambda size: "HCCL bind fail! family socket ifname " * 1000,
        "handled": lambda size: hard,
    }


def run(log: Path, *options: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--read", str(log), *options]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measure(log: Path, plain: bool):
    """Read a log with the triage or with a plain expression, and return CPU seconds, cause and peak memory in MB."""
    started = time.process_time()
    with log.open(encoding="utf-8", errors="replace") as stream:
        if plain:
            pattern = re.compile(r"error code is \d+", re.IGNORECASE)
            cause = sum(1 for line in stream if pattern.search(line))
        else:
            cause = diagnose(iter(lambda: stream.read(1 << 16), ""))[0]["cause"]
    return {"seconds": time.process_time() - started, "cause": cause,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000}


if __name__ == "__main__":
    sys.exit(main())
