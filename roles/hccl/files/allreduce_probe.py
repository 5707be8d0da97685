# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure and verify an all-reduce of fp32 over all ranks. torchrun starts this program on every node.

The first rank of each node prints records as lines with MARK and JSON. Environment variables: PROBE_BACKEND (hccl or
gloo), PROBE_SIZES (bytes, comma-separated), PROBE_WARMUP, PROBE_ITERATIONS, PROBE_TIMEOUT_S.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import sys
import time
from typing import Any

MARK = "ASCEND-VLLM-PROBE "
# Elements and factors are 1 to 7, so a sum is at most 49 x ranks, which is exact in fp32 (2^24) for 340,000 ranks.
PATTERN = 7


def print_record(**record: Any) -> None:
    print(MARK + json.dumps(record), flush=True)


def main() -> None:
    import torch
    import torch.distributed as dist

    backend = os.environ["PROBE_BACKEND"]
    local_rank, rank, ranks = (int(os.environ[name]) for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE"))
    device, synchronize = torch.device("cpu"), torch.cpu.synchronize
    if backend == "hccl":
        import torch_npu  # noqa: F401  (registers the device and the backend)

        torch.npu.set_device(local_rank)
        device, synchronize = torch.device("npu", local_rank), torch.npu.synchronize
    dist.init_process_group(backend, timeout=datetime.timedelta(seconds=float(os.environ["PROBE_TIMEOUT_S"])))
    sizes = [int(text) for text in os.environ["PROBE_SIZES"].split(",")]
    if local_rank == 0:
        print_record(type="start", backend=backend, ranks=ranks, rank=rank, host=socket.gethostname(), sizes=sizes)

    warmup, iterations = int(os.environ["PROBE_WARMUP"]), int(os.environ["PROBE_ITERATIONS"])
    for size in sizes:
        correct = verified(torch, dist, device, size, rank, ranks)
        data = torch.zeros(size // 4, dtype=torch.float32, device=device)
        for _warm in range(warmup):
            dist.all_reduce(data)
        synchronize()
        dist.barrier()
        begin = time.perf_counter()
        for _run in range(iterations):
            dist.all_reduce(data)
        synchronize()
        # The time of the slowest rank counts, and every rank has to have the correct sum.
        outcome = torch.tensor([time.perf_counter() - begin, 0.0 if correct else 1.0], dtype=torch.float32,
                               device=device)
        dist.all_reduce(outcome, op=dist.ReduceOp.MAX)
        if local_rank == 0:
            seconds = float(outcome[0]) / iterations
            algorithm = size / seconds / 1e9
            print_record(type="row", size_bytes=size, time_us=seconds * 1e6, alg_bandwidth_gbs=algorithm,
                         bus_bandwidth_gbs=algorithm * 2 * (ranks - 1) / ranks,
                         check="failed" if float(outcome[1]) else "success")
    dist.barrier()
    if local_rank == 0:
        print_record(type="end")
    dist.destroy_process_group()


def verified(torch: Any, dist: Any, device: Any, size: int, rank: int, ranks: int) -> bool:
    """Return whether every element of an all-reduce is the exact sum. The elements differ, so swaps are detected."""
    position = torch.arange(size // 4, device=device) % PATTERN + 1
    data = (position * (rank % PATTERN + 1)).to(torch.float32)
    dist.all_reduce(data)
    factor = sum(other % PATTERN + 1 for other in range(ranks))
    return bool(torch.equal(data, (position * factor).to(torch.float32)))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        print_record(type="error", rank=os.environ.get("RANK"), host=socket.gethostname(),
                     message="%s: %s" % (type(error).__name__, reason))
        sys.exit(1)
