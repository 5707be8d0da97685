# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the verification of a model: of a fresh download, of files that are in place, and of unchanged files.

The files are in memory, so that the disk is not measured. All three verifications, and `xargs -P sha256sum` on the same
files, are measured in turn, --repeats times. Only the best time of each counts, because other load on the machine can
only make them slower:

    .venv/bin/python tests/benchmarks/weights_verification.py [--gibibytes 4] [--shards 8] [--repeats 3]

The verification of a fresh download consists of the publication (modes, flush, digests, manifest) and of the
observation that the stage judges. It is compared with the verification of the same files in place, which reads and
hashes each of them once. Files are not hashed while they arrive, because the container that downloads them is not
trusted. A file that is hashed within 2 s of its last change is hashed again, since it can change again without a new
timestamp. A model of 65 GB is not hashed that fast, but the few GiB of this benchmark are, so the 2 s are set to 0
here.

Exits with 1 if the verification of a fresh download takes more than 1.1 times as long as that of files in place, if the
latter has less than 0.9 times the rate of sha256sum, or if the verification of unchanged files takes more than 0.02
times as long as the latter.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from cluster import verdict

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.observation import observe
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import hold_lock
from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Source, Staging

MAX_RATIO_OF_FRESH = 1.1
MIN_RATIO_TO_SHA256SUM, MAX_RATIO_TO_FIRST = 0.9, 0.02
LONG_AGO = 1_600_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gibibytes", type=float, default=4)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    files._SETTLED_S = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        model = write_model(Path(root) / "model", options.shards, int(options.gibibytes * 2**30 / options.shards))
        cache = Path(root) / "cache"
        listing = sha256sum(model)
        reference, fresh, ours, again = [], [], [], []
        for _repeat in range(options.repeats):
            reference.append(timed(lambda: sha256sum(model)))
            fresh.append(first_verification(Path(root) / "node", model, listing))
            ours.append(timed(lambda: verify(model, cache, full=True)))
            again.append(timed(lambda: verify(model, cache, full=False)))
    rate, second = min(reference) / min(ours), min(again) / min(ours)
    size = options.gibibytes
    print(f"xargs -P {os.cpu_count()} sha256sum: {min(reference):.2f} s ({size / min(reference):.2f} GiB/s)")
    met = verdict("verification of a download, against files in place", min(fresh) / min(ours), MAX_RATIO_OF_FRESH)
    met &= verdict("verification of files in place, against sha256sum", 1 / rate, 1 / MIN_RATIO_TO_SHA256SUM)
    met &= verdict("verification of unchanged files, against the first", second, MAX_RATIO_TO_FIRST)
    return int(not met)


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


def sha256sum(model: Path) -> dict[str, str]:
    """Return ``{file name: digest}``."""
    listed = subprocess.run(["find", model, "-type", "f", "-print0"], stdout=subprocess.PIPE, check=True).stdout
    argv = ["xargs", "-0", "-n", "1", "-P", str(os.cpu_count()), "sha256sum"]
    lines = subprocess.run(argv, input=listed, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    return {Path(path).name: digest for digest, path in (line.split("  ") for line in lines)}


class Hub:
    """A hub that lists the files of the model."""

    size = None

    def __init__(self, model: Path, listing: dict[str, str]) -> None:
        self._answer = json.dumps({"Code": 200, "Data": {"Files": [
            {"Path": name, "Type": "blob", "Size": (model / name).stat().st_size, "Sha256": digest}
            for name, digest in listing.items()]}})

    def get(self, _url: str) -> str:
        return self._answer


def first_verification(node: Path, model: Path, listing: dict[str, str]) -> float:
    """Move the files to the staging folder of a node, as if they were downloaded, and time their verification."""
    files.STATE_FOLDER = str(node / "state")
    target, cache = node / "data" / "model", files.DigestCache.of(str(node / "data" / "model"), str(node / "cache"))
    staging = Staging(str(target), Source("modelscope", "o/m", "", "", ""), cache, 8)
    target.parent.mkdir(parents=True)
    with hold_lock(staging.paths, 0, "preparing") as state:
        staging.prepare(staging.plan(Hub(model, listing)), 0, state)
    for name in listing:
        (model / name).rename(Path(staging.paths.staging) / name)

    def publish_and_observe() -> None:
        with hold_lock(staging.paths, 0, "publishing") as state:
            staging.publish("2026-11-30T12:00:00Z", state)
        found = observe(str(target), False, 8, cache)
        if found["faults"] or {entry["path"]: entry["sha256"] for entry in found["files"]} != listing:
            raise SystemExit("the model was not verified")

    seconds = timed(publish_and_observe)
    for name in listing:
        (target / name).rename(model / name)
        os.utime(model / name, (LONG_AGO, LONG_AGO))
    shutil.rmtree(node)
    return seconds


def verify(model: Path, cache: Path, full: bool) -> None:
    found = observe(str(model), full, 8, files.DigestCache.of(str(model), str(cache)))
    expected = found["bytes"] if full else 0
    if found["hashed_bytes"] != expected:
        raise SystemExit(f"{found['hashed_bytes']} bytes were hashed, expected {expected}")


if __name__ == "__main__":
    sys.exit(main())
