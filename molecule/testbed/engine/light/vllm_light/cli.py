# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vllm serve …` and `vllm --version`, with the log lines of the real server."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from pathlib import Path

from . import VERSION, arguments, faults, npus, weights
from .errors import StartError
from .server import Server

OUT_OF_MEMORY = (
    "RuntimeError: NPU out of memory. Tried to allocate 260.00 MiB (NPU 0; 60.96 GiB total capacity; "
    "60.24 GiB already allocated; 60.24 GiB current active; 149.57 MiB free; 60.28 GiB reserved in total by PyTorch)"
)
PROFILING_S = 0.05


def log(process: str, level: str, place: str, text: str) -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    for line in text.split("\n"):
        print("(%s pid=%d) %s %s [%s] %s" % (process, os.getpid(), level, stamp, place, line), flush=True)


def load(values: Namespace, fault: faults.Faults) -> list[int]:
    """Do what the engine core does before it is ready; return the file descriptors of its NPUs.

    Raises:
        StartError: something that the real engine needs is missing or damaged, or a fault is injected.
    """
    local = values.data_parallel_size_local or values.data_parallel_size
    held = npus.hold(values.tensor_parallel_size * values.pipeline_parallel_size * local)
    folder = Path(values.model)
    weights.check_quantization(folder, values.quantization)
    started, total, files = time.monotonic(), 0, weights.shards(folder)
    log("EngineCore_DP0", "INFO", "model_runner_v1.py:2627", "Starting to load model %s..." % folder)
    for done, path in enumerate(files, 1):
        time.sleep(fault.load_seconds / len(files))
        total += weights.tensor_bytes(path)
        share = 100 * done // len(files)
        print("Loading safetensors checkpoint shards: %3d%% Completed | %d/%d" % (share, done, len(files)), flush=True)
    if fault.start_error:
        raise StartError(OUT_OF_MEMORY if fault.start_error == "out_of_memory" else fault.start_error)
    seconds = time.monotonic() - started
    log("EngineCore_DP0", "INFO", "default_loader.py:267", "Loading weights took %.2f seconds" % seconds)
    log("EngineCore_DP0", "INFO", "model_runner_v1.py:2654", "Loading model weights took %.4f GB" % (total / 2**30))
    log("EngineCore_DP0", "INFO", "worker_v1.py:186", "Available memory: 30064771072, total memory: 65452113920")
    log("EngineCore_DP0", "INFO", "kv_cache_utils.py:1087", "GPU KV cache size: 458,752 tokens")
    time.sleep(PROFILING_S)
    log("EngineCore_DP0", "INFO", "model_runner_v1.py:3311", "Graph capturing finished in 1 secs, took 0.10 GiB")
    took = "init engine (profile, create kv cache, warmup model) took %.2f seconds" % (time.monotonic() - started)
    log("EngineCore_DP0", "INFO", "core.py:210", took)
    return held


def serve(argv: list[str]) -> int:
    values = arguments.parse(argv)
    fault = faults.current()
    if fault.exit_code is not None:
        return fault.exit_code
    log("APIServer", "INFO", "api_server.py:1839", "vLLM API server version %s" % VERSION.partition("+")[0])
    shown = {name: value for name, value in vars(values).items() if value not in (None, False) and "key" not in name}
    log("APIServer", "INFO", "utils.py:233", "non-default args: %s" % shown)
    folder = Path(values.model)
    try:
        context = values.max_model_len or weights.context_length(folder)
        if context > weights.context_length(folder):
            raise StartError(
                "ValueError: User-specified max_model_len (%d) is greater than the derived max_model_len "
                "(max_position_embeddings=%d)." % (context, weights.context_length(folder))
            )
        log("APIServer", "INFO", "model.py:1510", "Using max model len %d" % context)
        names = [fault.served_name] if fault.served_name else values.served_model_name
        middlewares = [load_class(name) for name in values.middleware]
        server = Server((values.host or "0.0.0.0", values.port), names, values.api_keys, context, middlewares)
        held = load(values, fault)
    except StartError as error:
        return fail(str(error))
    except OSError as error:
        return fail("OSError: %s" % error)
    server.server_activate()
    address = "http://%s:%d" % (values.host or "0.0.0.0", values.port)
    log("APIServer", "INFO", "api_server.py:1912", "Starting vLLM API server 0 on %s" % address)
    print("(APIServer pid=%d) INFO:     Application startup complete." % os.getpid(), flush=True)
    if fault.crash_after_s is not None:
        crash(fault)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    print("(APIServer pid=%d) INFO:     Shutting down" % os.getpid(), flush=True)
    for descriptor in held:
        os.close(descriptor)
    return 0


def load_class(name: str) -> type:
    """Return a class by its import path, as vLLM loads the class that --middleware names."""
    module, _dot, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def fail(cause: str) -> int:
    """Log a failed start: the cause in the engine, then the error of the API server."""
    log("EngineCore_DP0", "ERROR", "core.py:708", "EngineCore failed to start.\n%s" % cause)
    print(
        "(APIServer pid=%d) RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {}" % os.getpid(),
        flush=True,
    )
    return 1


def crash(fault: faults.Faults) -> None:
    def exit_now() -> None:
        log("EngineCore_DP0", "ERROR", "core.py:712", "EngineCore encountered a fatal error.\n%s" % OUT_OF_MEMORY)
        os._exit(fault.crash_exit_code)

    timer = threading.Timer(fault.crash_after_s, exit_now)
    timer.daemon = True
    timer.start()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # otherwise PID 1 of a container ignores the signal
    argv = sys.argv[1:]
    if argv in (["--version"], ["-v"]):
        print(VERSION)
        return 0
    if argv[:1] == ["serve"]:
        return serve(argv[1:])
    print("usage: vllm [-h] [-v] {serve} ...\nthe light image has only `vllm serve`", file=sys.stderr)
    return 2
