# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import offline
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE

SHARED = ["/dev/davinci_manager"]
INPUTS = {"benchmark_offline": ["latency"], "benchmark_offline_stop_service": False, "benchmark_seed": 3,
          "benchmark_random_input_len_tokens": 32, "benchmark_random_output_len_tokens": 16,
          "benchmark_offline_batch_size": 4, "benchmark_offline_warmup_iterations": 1,
          "benchmark_offline_iterations": 2, "benchmark_offline_guard_s": 120, "benchmark_num_prompts": 7,
          "benchmark_client_image": "", "benchmark_dataset_path": ""}
INSTANCE = {
    "name": "vllm", "url": "http://10.0.0.1:8888", "npus": [0, 1], "cap_drop": ["MKNOD"],
    "security_opts": ["no-new-privileges"], "secrets_path": "/s.env",
    "devices": ["/dev/davinci0", "/dev/davinci1", *SHARED], "shm_size": "1g",
    "environment": {"HCCL_X": "1", "ASCEND_VISIBLE_DEVICES": "0,1", "ASCEND_RT_VISIBLE_DEVICES": "0,1"},
    "command": ["vllm", "serve", "/data/model", "--host", "0.0.0.0", "--port", "8888", "--served-model-name", "m",
                "--tensor-parallel-size", "2", "--quantization", "ascend", "--async-scheduling", "--chat-template",
                "x.jinja", "--max-num-seqs", "30", "--no-enable-prefix-caching"],
    "mounts": [{"source": name, "target": name, "read_only": True, "origin": name} for name in (
        "host", "weights", "patch", "secrets", "tls")],
}


def plan(npus=range(8)):
    return {"hash": "0", "hardware": {"shared_devices": SHARED}, "npus": npus, "group": None,
            "instances": [INSTANCE],
            "release": {"id": "v0.11.0rc1", "vllm": "0.11.0"}, "model": {"path": "/data/model", "served_name": "m"},
            "image": {"reference": "image"}, "ca": None}


def test_free_npus_are_used_without_stopping_the_service():
    assert offline.devices(plan(), INSTANCE, INPUTS) == (
        ["/dev/davinci2", "/dev/davinci3", *SHARED], False)


def test_npus_outside_serving_npus_are_not_used():
    paths, _stopped = offline.devices(plan([0, 1, 5, 6]), INSTANCE, INPUTS)
    assert paths == ["/dev/davinci5", "/dev/davinci6", *SHARED]


def test_service_is_stopped_only_if_that_is_allowed():
    with pytest.raises(BadInput, match="benchmark_offline_stop_service"):
        offline.devices(plan([0, 1, 5]), INSTANCE, INPUTS)
    assert offline.devices(plan([0, 1, 5]), INSTANCE, dict(INPUTS, benchmark_offline_stop_service=True)) == (
        INSTANCE["devices"], True)


def test_engine_options_are_copied_from_the_service():
    argv = offline.command(CATALOGUE, plan(), INSTANCE, INPUTS, "latency")
    assert argv[:5] == ["vllm", "bench", "latency", "--model", "/data/model"]
    engine = "--tensor-parallel-size 2 --quantization ascend --async-scheduling --max-num-seqs 30"
    assert engine + " --no-enable-prefix-caching" in " ".join(argv)
    assert not {"--host", "--port", "--chat-template", "x.jinja", "8888"} & set(argv)
    assert argv[argv.index("--batch-size") + 1] == "4"


def test_both_options_for_the_lengths_are_set_for_newer_releases():
    """Since vLLM 0.14, the default of --random-input-len overrides --input-len."""
    newer = dict(plan(), release={"id": "v0.18.0", "vllm": "0.18.0"})
    argv = offline.command(CATALOGUE, newer, INSTANCE, INPUTS, "throughput")
    assert [argv[argv.index(name) + 1] for name in (
        "--random-input-len", "--random-output-len", "--random-prefix-len", "--random-range-ratio")] == [
            "32", "16", "0", "0"]
    assert "--random-input-len" not in offline.command(CATALOGUE, newer, INSTANCE, INPUTS, "latency")


def test_throughput_run_has_the_load_of_the_benchmark():
    argv = offline.command(CATALOGUE, plan(), INSTANCE, INPUTS, "throughput")
    assert " ".join(argv).endswith("--dataset-name random --num-prompts 7 --random-range-ratio 0 --prefix-len 0")
    assert argv[argv.index("--input-len") + 1] == "32"
    assert "--num-iters" not in argv


def test_release_without_a_required_option_is_refused():
    catalogue = dict(CATALOGUE, bench_options=dict(CATALOGUE["bench_options"], latency={"input-len": {}}))
    with pytest.raises(BadInput, match=r"bench latency of release v0\.11\.0rc1 has no option batch-size"):
        offline.command(catalogue, plan(), INSTANCE, INPUTS, "latency")


def test_container_resembles_the_service_but_has_no_secrets():
    found = offline.client(plan(), INSTANCE, ["/dev/davinci2"], ["vllm"], INPUTS)
    assert found["devices"] == ["/dev/davinci2:/dev/davinci2:rwm"]
    assert [mount["source"] for mount in found["mounts"]] == ["host", "weights", "patch"]
    assert found["command"] == ["vllm"]
    assert found["env"]["HCCL_X"] == "1"
    assert found["env"]["HCCL_IF_BASE_PORT"] == "62000"
    # These variables would select the NPUs of the service.
    assert not {"ASCEND_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"} & set(found["env"])
    assert (found["cap_drop"], found["security_opts"]) == (["MKNOD"], ["no-new-privileges"])


def test_figures_have_a_rounded_value_and_a_unit():
    runs = [{"metrics": {"avg_latency": 1.23456, "percentiles.99": 2.0}}, {"metrics": {"tokens_per_second": 9.0}}]
    assert [(figure["value"], figure["unit"]) for figure in offline.figures(runs)] == [
        (1.235, "s"), (2.0, "s"), (9.0, "tok/s")]
