# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the first and the second verification of a model, compared with `xargs -P sha256sum` on the same files.

The files are in memory, so that the disk is not measured. The three are measured alternately, --repeats times. Only the
best time of each counts, because other load on the machine can only make them slower:

    .venv/bin/python tests/benchmarks/weights_verification.py [--gibibytes 4] [--shards 8] [--repeats 3]

Exits with 1 if the first verification has less than 0.9 times the rate of sha256sum, or if the second verification
takes more than 0.02 times as long as the first.
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

MIN_RATIO_TO_SHA256SUM, MAX_RATIO_TO_FIRST = 0.9, 0.02
LONG_AGO = 1_600_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gibibytes", type=float, default=4)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        model = write_model(Path(root) / "model", options.shards, int(options.gibibytes * 2**30 / options.shards))
        time.sleep(2.5)  # because digests of files that were just written are not cached
        cache = Path(root) / "cache"
        reference, ours, again = [], [], []
        for _repeat in range(options.repeats):
            reference.append(timed(lambda: sha256sum(model)))
            ours.append(timed(lambda: verify(model, cache, full=True)))
            again.append(timed(lambda: verify(model, cache, full=False)))
    rate, second = min(reference) / min(ours), min(again) / min(ours)
    size = options.gibibytes
    print(f"xargs -P {os.cpu_count()} sha256sum: {min(reference):.2f} s ({size / min(reference):.2f} GiB/s)")
    print(f"first verification: {min(ours):.2f} s, {rate:.2f} of sha256sum's rate (limit {MIN_RATIO_TO_SHA256SUM})")
    print(f"second verification: {min(again) * 1000:.1f} ms, {second:.5f} of the first (limit {MAX_RATIO_TO_FIRST})")
    return int(rate < MIN_RATIO_TO_SHA256SUM or second > MAX_RATIO_TO_FIRST)


def write_model(model: Path, shards: int, size: int) -> Path:
    """Write files without a header. The verification reports them as damaged, but reads them to the end."""
    model.mkdir()
    block = os.urandom(1 << 20)
    for shard in range(shards):
        path = model / f"model-{shard:05d}.safetensors"
        with path.open("wb") as stream:
            for _mebibyte in range(size >> 20):
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


def verify(model: Path, cache: Path, full: bool) -> None:
    found = observe(str(model), full, 8, files.DigestCache.of(str(model), str(cache)))
    expected = found["bytes"] if full else 0
    if found["hashed_bytes"] != expected:
        raise SystemExit(f"{found['hashed_bytes']} bytes were hashed, expected {expected}")


if __name__ == "__main__":
    sys.exit(main())
