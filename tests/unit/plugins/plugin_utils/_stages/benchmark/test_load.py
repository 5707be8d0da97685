# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import load, targets, vllm_bench
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import defaults
from ansible_collections.ascend.vllm.tests.unit.roles.role_case import program

INPUTS = defaults("benchmark")
PLAN = {"model": {"modality": "vision", "name": "M", "served_name": "m"},
        "instances": [{"command": ["vllm", "serve", "--max-model-len", "30000"]}]}
REPLAY = program("benchmark/files/replay.py")
# {format: (file, [(seconds, input tokens, output tokens, images)])}
TRACES = {
    "own": ('{"timestamp_s": 5, "input_tokens": 9, "output_tokens": 2}\n\n'
            '{"timestamp_s": 6.5, "input_tokens": 700, "output_tokens": 3, "images": 2, "session": "a"}\n',
            [(0, 9, 2, 0), (1.5, 700, 3, 2)]),
    "azure": ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
              "2023-11-16 18:15:48.1805901,396,109\n", [(0, 374, 44, 0), (1.5, 396, 109, 0)]),
    "azure multimodal": ("\ufeffTIMESTAMP,NumImages,ContextTokens,GeneratedTokens\r\n"
                         "2024-05-10 00:00:01+00:00,0,5,44\r\n2024-05-10 00:00:01.5+00:00,3,6,2\r\n",
                         [(0, 5, 44, 0), (0.5, 6, 2, 3)]),
    "burstgpt": ("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
                 "45,ChatGPT,472,18,490,Conversation log\n47,GPT-4,80,0,80,API log\n118,GPT-4,1087,230,1317,API log\n",
                 [(0, 472, 18, 0), (73, 1087, 230, 0)]),
    "mooncake": ('{"timestamp": 3000, "input_length": 1030, "output_length": 7, "hash_ids": [0, 1, 2]}\n'
                 '{"timestamp": 4500, "input_length": 600, "output_length": 1, "hash_ids": [0, 9]}\n',
                 [(0, 1030, 7, 0), (1.5, 600, 1, 0)]),
    "bailian": ('{"chat_id": 1, "timestamp": 61.1, "input_length": 40, "output_length": 7, "hash_ids": [5, 6, 7]}\n',
                [(0, 40, 7, 0)]),
}


def trace(tmp_path, text, **inputs):
    path = tmp_path / "trace"
    path.write_text(text, newline="")
    count = inputs.pop("count", len(TRACES))
    return {**INPUTS, "benchmark_dataset": "trace", "benchmark_trace_path": str(path), "benchmark_num_prompts": count,
            **inputs}


@pytest.mark.parametrize("name", TRACES)
def test_public_formats_are_read(tmp_path, name):
    text, expected = TRACES[name]
    inputs = trace(tmp_path, text, count=len(expected))
    assert list(load.check_inputs(PLAN, inputs)) == []
    assert [(each.at_s, each.input_tokens, each.output_tokens, each.images) for each in load.requests(inputs)] == [
        (pytest.approx(row[0], abs=1e-5), *row[1:]) for row in expected]


@pytest.mark.parametrize(("text", "reason"), [
    ("", "has no requests"), ("a,b\n1,2\n", "line 2: its columns match none of the formats"),
    ('{"timestamp_s": 0, "input_tokens": 0, "output_tokens": 2}', "input_tokens must be a whole number of at least 1"),
    ('{"timestamp_s": 0, "input_tokens": 1.5, "output_tokens": 2}', "whole number"),
    ('{"timestamp_s": 1, "input_tokens": 1, "output_tokens": 2}\n{"timestamp_s": 0, "input_tokens": 1, '
     '"output_tokens": 2}', "line 2: its time is infinite or before"),
    ('{"timestamp_s": 1e999, "input_tokens": 1, "output_tokens": 2}', "line 1: its time is infinite"),
    ('{"timestamp_s": 1, "input_tokens": 1e999, "output_tokens": 2}', "line 1"),
    ('{"timestamp_s": "now", "input_tokens": 1, "output_tokens": 2}', "line 1"), ("{", "line 0"),
    ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2\n", "line 2"),
])
def test_wrong_trace_is_refused_with_its_line(tmp_path, text, reason):
    (sentence,) = load.check_inputs(PLAN, trace(tmp_path, text))
    assert sentence.startswith("benchmark_trace_path: ")
    assert reason in sentence


@pytest.mark.parametrize(("inputs", "reason"), [
    ({"benchmark_dataset": "trace"}, "benchmark_trace_path must not be empty"),
    ({"benchmark_trace_path": "/t"}, "benchmark_trace_path must be empty, because benchmark_dataset is random"),
    ({"benchmark_dataset": "trace", "benchmark_trace_path": "/nowhere/t"}, "/nowhere/t cannot be read"),
    ({"benchmark_random_input_len_tokens": 29900}, "29900 and generates 128 tokens, but max-model-len is 30000"),
])
def test_wrong_load_is_refused(inputs, reason):
    (sentence,) = load.check_inputs(PLAN, {**INPUTS, **inputs})
    assert reason in sentence


@pytest.mark.parametrize("dataset", ["random-mm", "trace"])
def test_pictures_for_a_text_model_are_refused(tmp_path, dataset):
    plan = {**PLAN, "model": {**PLAN["model"], "modality": "text"}}
    inputs = trace(tmp_path, TRACES["own"][0]) if dataset == "trace" else {**INPUTS, "benchmark_dataset": dataset}
    assert list(load.check_inputs(PLAN, inputs)) == []
    (sentence,) = load.check_inputs(plan, inputs)
    assert sentence.endswith("whose requests have pictures, but M is a text model; send text only.")
    assert list(load.check_inputs(plan, {**inputs, "benchmark_num_prompts": 1})) == ([] if dataset == "trace" else [
        sentence])


def test_longest_request_of_a_trace_must_fit(tmp_path):
    text = '{"timestamp_s": 0, "input_tokens": 29990, "output_tokens": %d}\n'
    assert list(load.check_inputs(PLAN, trace(tmp_path, text % 10))) == []
    (sentence,) = load.check_inputs(PLAN, trace(tmp_path, text % 9 + text % 11))
    assert "29990 and generates 11 tokens, but max-model-len is 30000" in sentence


def test_list_that_does_not_fit_into_an_environment_is_refused(tmp_path):
    draw = random.Random(1)
    rows = [{"timestamp": number, "input_length": 51200, "output_length": 1,
             "hash_ids": [draw.getrandbits(64) for _block in range(100)]} for number in range(2000)]
    inputs = trace(tmp_path, "\n".join(map(json.dumps, rows)), count=2000)
    assert "lower benchmark_num_prompts" in next(load.check_inputs(PLAN, inputs))


def test_short_trace_starts_again_with_other_prompts_and_the_same_rate(tmp_path):
    text = "".join('{"timestamp_s": %d, "input_tokens": 5, "output_tokens": 2}\n' % at for at in range(0, 8, 2))
    found = load.requests(trace(tmp_path, text, count=6, benchmark_trace_speed=2))
    assert [each.at_s for each in found] == [0, 1, 2, 3, 4, 5]
    assert len({each.blocks for each in found}) == 6
    assert load.pace(trace(tmp_path, text, count=4, benchmark_trace_speed=2)) == "1/s"


def test_balancer_receives_more_requests_of_the_trace_at_a_higher_rate(tmp_path):
    inputs = trace(tmp_path, TRACES["own"][0], count=2)
    found = load.requests(targets.multiply_load(inputs, 3))
    assert (len(found), found[1].at_s) == (6, 0.5)
    measured = {target: targets.measurement("m", target, "vllm", [], 3, [], inputs) for target in ("node", "balancer")}
    assert {each["output_tokens"] for each in measured.values()} == {15}


def test_points_of_a_sweep_change_the_speed_of_a_trace(tmp_path):
    inputs = trace(tmp_path, TRACES["own"][0], count=2, benchmark_sweep="request_rate")
    assert load.pace(vllm_bench.at_point(inputs, 8)) == "8/s"
    inputs["benchmark_sweep"] = "max_concurrency"
    assert load.requests(vllm_bench.at_point(inputs, 8))[1].at_s < 0.001


def test_prompts_of_a_session_and_with_the_same_blocks_have_a_prefix_in_common(tmp_path):
    def prompts(text, count):
        rows = json.loads(json.dumps([each.blocks for each in load.requests(trace(tmp_path, text, count=count))]))
        return [REPLAY.token_ids(blocks, range(1000), 7) for blocks in rows]

    turn = '{"timestamp_s": 0, "input_tokens": %d, "output_tokens": 1, "session": "%s"}\n'
    first, second, other = prompts(turn % (50, "a") + turn % (90, "a") + turn % (50, "b"), 3)
    assert (second[:50], len(second)) == (first, 90)
    assert other[:10] != first[:10]
    first, second = prompts(TRACES["mooncake"][0], 2)
    assert first[:512] == second[:512]
    assert first[512:520] != second[512:520]


def test_replay_unpacks_the_requests_that_the_launcher_passes(tmp_path):
    listed = load.requests(trace(tmp_path, TRACES["own"][0], count=2))
    words, variables = load.launcher(listed)
    assert words[:2] == ["python3", "-c"]
    assert REPLAY.unpack(variables) == [
        [each.at_s, each.output_tokens, each.images, [list(block) for block in each.blocks]] for each in listed]


def test_sample_trace_has_conversations_long_contexts_and_bursts():
    path = ROOT / "roles/benchmark/files/mixed.jsonl"
    assert subprocess.run([sys.executable, ROOT / "tests/benchmarks/mixed_trace.py"], capture_output=True, text=True,
                          check=True).stdout == path.read_text("utf-8")
    inputs = {**INPUTS, "benchmark_dataset": "trace", "benchmark_trace_path": str(path), "benchmark_num_prompts": 400}
    assert list(load.check_inputs(PLAN, inputs)) == []
    found = load.requests(inputs)
    gaps = [second.at_s - first.at_s for first, second in zip(found, found[1:])]
    assert statistics.stdev(gaps) > 1.5 * statistics.mean(gaps)
    assert load.trace_rate(inputs) == pytest.approx(1, rel=0.15)
    assert max(each.input_tokens for each in found) > 20000
    assert len({each.blocks[0][0] for each in found}) < 0.6 * len(found)


def test_reading_the_requests_of_a_trace_without_a_path_fails():
    with pytest.raises(BadInput):
        load.requests({**INPUTS, "benchmark_dataset": "trace"})
