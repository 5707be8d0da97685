# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The head of the plan has one text per title, and at most 25 lines for any number of nodes."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.plan_head import TITLES, head, rows
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid, valid_group
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import defaults

DIGEST = "sha256:" + 64 * "a"


def texts(plan=None, stages=contract.STAGES, balancers=(), hosts=("node1", "node2"), **inputs):
    values = {"balancer_enabled": False, "balancer_nodes": ["node1", "node2"]}
    for role in ("image", "weights", "accuracy", "benchmark"):
        values.update(defaults(role))
    found = rows(plan or valid(), {**values, **inputs}, stages, balancers, hosts)
    return dict(zip(TITLES, found, strict=True))


def test_default_plan_has_the_expected_texts():
    assert texts() == {
        "URL": "http://192.0.2.11:8888",
        "balancer": "none",
        "deployment": "Qwen2.5-VL-32B-Instruct-w8a8 as qwen25_vl, 1 instance per node with 2 NPUs",
        "image": "quay.io/ascend/vllm-ascend:v0.11.0rc1",
        "weights": "weights_source local, weights_distribution each",
        "topology": "each node serves independently",
        "measured": "200 requests per instance at 1/s (200 random tokens, 128 generated tokens), 5 x instance, "
                    "about 20 min",
        "warnings": "1 image_digest, 3 known_bug, 1 serving_api_key",
    }


@pytest.mark.parametrize(("title", "inputs", "text"), [
    ("balancer", {"balancers": ["http://192.0.2.9:8080"]}, "http://192.0.2.9:8080"),
    ("deployment", {"plan": valid(serving_replicas=2)},
     "Qwen2.5-VL-32B-Instruct-w8a8 as qwen25_vl, 2 instances per node with 2 NPUs"),
    ("URL", {"plan": valid(serving_replicas=2)}, "http://192.0.2.11:8888, http://192.0.2.11:8889"),
    ("URL", {"plan": valid_group("data_parallel")["node2"]}, "none, another node serves the API"),
    ("topology", {"plan": valid_group("data_parallel")["node2"]}, "data_parallel of node1, node2"),
    ("image", {"image_registry_mirror": "mirror:5000"}, "mirror:5000/ascend/vllm-ascend:v0.11.0rc1"),
    ("image", {"plan": valid(image_digest=DIGEST)}, f"quay.io/ascend/vllm-ascend@{DIGEST}"),
    ("image", {"plan": valid(image_archive="/a.tar")}, "quay.io/ascend/vllm-ascend:v0.11.0rc1 from /a.tar"),
    ("weights", {"weights_source": "http", "weights_distribution": "fanout"},
     "weights_source http, weights_distribution fanout"),
    ("measured", {"stages": ["serving"]}, "nothing"),
    ("measured", {"stages": ["accuracy"], "accuracy_enabled": True, "accuracy_datasets": [{"name": "gsm8k"}]},
     "accuracy of gsm8k, which may take hours"),
    # 20 s until the first request, 5 * 0.64 s for the warm-up requests and the last request, and 3 s for 12 requests.
    ("measured", {"benchmark_num_prompts": 12, "benchmark_request_rate": 4, "benchmark_random_output_len_tokens": 16,
                  "benchmark_repeats": 1},
     "12 requests per instance at 4/s (200 random tokens, 16 generated tokens), 1 x instance, about 38 s"),
    ("measured", {"benchmark_repeats": 1, "benchmark_dataset": "random-mm", "benchmark_images_per_request": 2},
     "200 requests per instance at 1/s (200 random tokens and 2 images, 128 generated tokens), 1 x instance, about "
     "4 min"),
    ("measured", {"benchmark_repeats": 1, "benchmark_dataset": "custom", "benchmark_dataset_path": "/p.jsonl"},
     "200 requests per instance at 1/s (prompts of /p.jsonl, 128 generated tokens), 1 x instance, about 4 min"),
    ("measured", {"benchmark_repeats": 1, "balancer_enabled": True, "hosts": ["node2"]},
     "200 requests per instance at 1/s (200 random tokens, 128 generated tokens), 1 x instance, about 4 min; not "
     "through the balancer, because this run does not include node1"),
    # 100 rounds of 2 requests take 100 * 5.12 s.
    ("measured", {"benchmark_request_rate": "inf", "benchmark_max_concurrency": 2, "benchmark_repeats": 1},
     "200 requests per instance at inf/s (200 random tokens, 128 generated tokens), 1 x instance, about 9 min"),
    # Two runs for each of two instances, for the node, and for the balancer.
    ("measured", {"plan": valid(serving_replicas=2), "balancer_enabled": True, "benchmark_balancer_url": "auto",
                  "benchmark_repeats": 2, "benchmark_offline": ["latency"]},
     "200 requests per instance at 1/s (200 random tokens, 128 generated tokens), 2 x instance, node, balancer, about "
     "32 min, and longer for latency"),
    ("warnings", {"plan": {**valid(), "warnings": []}}, "none"),
])
def test_input_determines_the_text(title, inputs, text):
    assert texts(**inputs)[title] == text


def test_equal_texts_are_one_line():
    node = [f"{title} of all" for title in TITLES]
    assert head({f"n{number}": node for number in range(16)}) == [
        "Plan of 16 nodes", *(f"  {title:12} {text}" for title, text in zip(TITLES, node, strict=True))]


def test_head_is_short_for_any_number_of_nodes():
    lines = head({f"n{number}": [f"{title} {number}" for title in TITLES] for number in range(100)})
    assert len(lines) == 25
    assert lines[1:4] == [
        "  URL          URL 0 (on n0)", "               URL 1 (on n1)", "               and 98 others"]


def test_duration_is_within_a_factor_of_two_of_a_run_on_the_bed():
    run = json.loads((ROOT / "tests/data/results/benchmark.json").read_text("utf-8"))
    inputs = yaml.safe_load((ROOT / "inventories/simulated/group_vars/npu_nodes/testbed.yml").read_text("utf-8"))
    measured = texts(**{name: value for name, value in inputs.items() if name.startswith("benchmark_")})["measured"]
    planned_s = int(re.search(r"about (\d+) s", measured)[1])
    assert planned_s / 2 <= run["duration_s"] <= planned_s * 2
