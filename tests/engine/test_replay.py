# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real `vllm bench serve` sends the requests of a trace at their times, with their lengths and pictures."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import bench_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import load, vllm_bench
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import defaults

pytestmark = [pytest.mark.engine, pytest.mark.long]

# [seconds, input tokens, output tokens, images]
TEXT = [(0, 40, 3, 0), (0.2, 900, 20, 0), (2.4, 40, 7, 0)]
PICTURES = [(0, 40, 3, 0), (0.5, 12, 4, 2)]


@pytest.mark.parametrize("rows", [TEXT, PICTURES], ids=["text", "pictures"])
def test_requests_have_the_times_and_lengths_of_the_trace(tmp_path, environment, models, light, rows):
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(json.dumps(dict(zip(
        ("timestamp_s", "input_tokens", "output_tokens", "images"), row))) + "\n" for row in rows))
    inputs = {**defaults("benchmark"), "benchmark_dataset": "trace", "benchmark_trace_path": str(trace),
              "benchmark_trace_speed": 0.5, "benchmark_num_prompts": len(rows),
              "benchmark_image_width_px": 56, "benchmark_image_height_px": 28,
              "benchmark_args": {"save-detailed": True}}
    plan = {"hash": "0", "release": {"id": "test"}, "ca": None, "image": {"reference": "i"}, "model": {
        "served_name": "qwen25_vl", "path": str(models / "Qwen2.5-VL-32B-Instruct-w8a8")}}
    light.start_and_wait()
    known = bench_options(CATALOGUE, "0.32.0", "serve")
    run = {"id": "r", "repeat": 1, "seed": 5, "target": "instance"}
    command = vllm_bench.command(known, plan, light.url, inputs, run)
    command[command.index("--result-dir") + 1] = str(tmp_path)
    client = vllm_bench.client(plan, {"name": "i", "mounts": [], "secrets_path": None}, command, inputs,
                               replays=True)
    done = subprocess.run(
        client["command"], capture_output=True, text=True, timeout=500, check=False, cwd=tmp_path,
        env={**os.environ, **client["env"], "PATH": f"{environment}/bin:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "ascend-vllm-benchmark.json").read_text())
    measured = {"num_prompts": len(rows), "output_tokens": load.output_tokens(inputs)}
    assert vllm_bench.complete({"metrics": found}, measured)
    assert found["output_lens"] == [output for _at, _input, output, _images in rows]
    starts = [start - found["start_times"][0] for start in found["start_times"]]
    for start, row in zip(starts, rows):
        assert 2 * row[0] - 0.05 <= start < 2 * row[0] + 1
    if rows is TEXT:
        assert found["input_lens"] == [tokens for _at, tokens, _output, _images in rows]
