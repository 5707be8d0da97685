#!/usr/bin/env python3
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proof of a model costs: against sha256sum by xargs -P on the same files, and a second time.

The files lie in memory, so that hashing is measured and no disk. Each way is timed in turn, --repeats times, and the
best of each counts, since other work on the machine only ever makes it slower:

    .venv/bin/python tests/benchmarks/weights_proof.py [--gibibytes 4] [--shards 8] [--repeats 3]

Exit status 1 if a limit is not met: at least 0.9 of the rate of sha256sum, a second proof within 0.02 of the first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.observation import observe

LEAST_OF_SHA256SUM, MOST_OF_FIRST = 0.9, 0.02
LONG_AGO = 1_600_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gibibytes", type=float, default=4)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        model = make(Path(root) / "model", options.shards, int(options.gibibytes * 2**30 / options.shards))
        cache = Path(root) / "cache"
        peer, ours, again = [], [], []
        for _repeat in range(options.repeats):
            peer.append(timed(lambda: sha256sum(model)))
            ours.append(timed(lambda: proof(model, cache, full=True)))
            again.append(timed(lambda: proof(model, cache, full=False)))
    rate, second = min(peer) / min(ours), min(again) / min(ours)
    size = options.gibibytes
    print(f"xargs -P {os.cpu_count()} sha256sum: {min(peer):.2f} s ({size / min(peer):.2f} GiB/s)")
    print(f"proof, every byte: {min(ours):.2f} s, {rate:.2f} of its rate (limit {LEAST_OF_SHA256SUM})")
    print(f"proof once more: {min(again) * 1000:.1f} ms, {second:.5f} of the first (limit {MOST_OF_FIRST})")
    return int(rate < LEAST_OF_SHA256SUM or second > MOST_OF_FIRST)


def make(model: Path, shards: int, size: int) -> Path:
    """Files without a header: the proof names them as damaged, and reads them to their end all the same."""
    model.mkdir()
    block = os.urandom(1 << 20)
    for shard in range(shards):
        path = model / f"model-{shard:05d}.safetensors"
        with path.open("wb") as stream:
            for _ in range(size >> 20):
                stream.write(block)
        os.utime(path, (LONG_AGO, LONG_AGO))
    return model


def timed(work) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def sha256sum(model: Path) -> None:
    listed = subprocess.run(["find", model, "-type", "f", "-print0"], stdout=subprocess.PIPE, check=True).stdout
    argv = ["xargs", "-0", "-n", "1", "-P", str(os.cpu_count()), "sha256sum"]
    subprocess.run(argv, input=listed, stdout=subprocess.DEVNULL, check=True)


def proof(model: Path, cache: Path, full: bool) -> None:
    found = observe(str(model), full, 8, files.DigestCache.of(str(model), str(cache)))
    expected = found["bytes"] if full else 0
    if found["hashed_bytes"] != expected:
        raise SystemExit(f"{found['hashed_bytes']} bytes were hashed, expected {expected}")


if __name__ == "__main__":
    sys.exit(main())
