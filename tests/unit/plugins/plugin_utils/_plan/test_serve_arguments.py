# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``vllm serve`` are merged and rendered, and wrong options are refused."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    COMMAND_W8A8,
    options,
    refusal,
    valid,
)


@pytest.mark.parametrize(("arguments", "expected"), [
    ({"max-num-seqs": 60}, {"--max-num-seqs": ["60"]}),
    ({"max_num_seqs": "60"}, {"--max-num-seqs": ["60"]}),
    ({"--max-num-seqs": 60}, {"--max-num-seqs": ["60"]}),
    ({"enable-prefix-caching": True}, {"--enable-prefix-caching": []}),
    ({"enable-prefix-caching": "true"}, {"--enable-prefix-caching": []}),
    ({"enforce-eager": True}, {"--enforce-eager": []}),
    ({"disable-log-stats": True}, {"--disable-log-stats": []}),
    ({"compilation-config": {"cudagraph_mode": "FULL_DECODE_ONLY"}},
     {"--compilation-config": ['{"cudagraph_mode":"FULL_DECODE_ONLY"}']}),
    ({"additional-config": '{"a": 1}'}, {"--additional-config": ['{"a":1}']}),
    ({"logits-processors": ["a:B", "c:D"]}, {"--logits-processors": ["a:B", "c:D"]}),
    ({"seed": 0}, {"--seed": ["0"]}),
])
def test_arguments_are_merged_by_name(arguments, expected):
    found = options(valid(serving_args=arguments))
    assert expected.items() <= found.items()
    # No other option is added. --enable-prefix-caching replaces --no-enable-prefix-caching.
    assert len(found) == len(options(valid())) + len(expected.keys() - options(valid()).keys()) - (
        "--enable-prefix-caching" in expected)


@pytest.mark.parametrize(("arguments", "removed"), [
    ({"async-scheduling": None}, "--async-scheduling"),
    ({"enable-prefix-caching": None}, "--no-enable-prefix-caching"),
    ({"max-num-seqs": None}, "--max-num-seqs"),
])
def test_argument_that_is_null_is_removed(arguments, removed):
    before, after = options(valid()), options(valid(serving_args=arguments))
    assert set(before) - set(after) == {removed}


def test_flag_that_is_false_is_omitted():
    command = valid(serving_args={"disable-log-stats": False})["instances"][0]["command"]
    assert command == COMMAND_W8A8


@pytest.mark.parametrize(("arguments", "domains", "warned"), [
    ({}, ["none.invalid"], False),
    ({"allowed-media-domains": ["a.example.com", "b.example.com"]}, ["a.example.com", "b.example.com"], False),
    ({"allowed_media_domains": None}, None, True),
    ({"allowed-media-domains": []}, None, True),
])
def test_media_is_loaded_only_from_allowed_domains(arguments, domains, warned):
    found = valid(serving_args=arguments)
    assert options(found).get("--allowed-media-domains") == domains
    assert ("serving_args.media" in {warning["id"] for warning in found["warnings"]}) == warned


def test_order_of_arguments_does_not_matter():
    one = valid(serving_args={"seed": 1, "block-size": 128})
    two = valid(serving_args={"block-size": 128, "seed": 1})
    assert one["hash"] == two["hash"]


@pytest.mark.parametrize(("release", "inputs", "expected"), [
    ("v0.11.0rc1", {}, None),
    ("v0.18.0", {}, ["600"]),
    ("v0.18.0", {"serving_drain_timeout_s": 30}, ["30"]),
    ("v0.18.0", {"serving_args": {"shutdown_timeout": 5}}, ["5"]),
    ("v0.18.0", {"serving_args": {"shutdown-timeout": None}}, None),
])
def test_shutdown_timeout_is_set_if_the_release_has_it(release, inputs, expected):
    assert options(valid(plan_release=release, **inputs)).get("--shutdown-timeout") == expected


@pytest.mark.parametrize(("release", "mode", "environment", "config"), [
    ("v0.11.0rc1", "", None, None),
    ("v0.11.0rc1", 0, "0", None),
    ("v0.13.0", "2", "2", None),
    ("v0.23.0", 0, None, ['{"weight_nz_mode":0}']),
])
def test_weight_nz_is_set_in_the_way_that_the_release_supports(release, mode, environment, config):
    resolved = valid(plan_release=release, serving_weight_nz=mode)
    assert resolved["instances"][0]["environment"].get("VLLM_ASCEND_ENABLE_NZ") == environment
    assert options(resolved).get("--additional-config") == config


@pytest.mark.parametrize(("release", "key", "reason"), [
    ("v0.18.0", "weight_prefetch_config", None),
    ("v0.24.0rc1", "weight_prefetch_config", "other releases have it."),
    ("v0.18.0", "enable_mlapo", "other releases have it."),
    ("v0.23.0", "enable_mlapoo", "no release has it, and the nearest key is enable_mlapo."),
    ("v0.18.0", "enable_mlapoo", "no release has it."),
    ("v0.23.0", "zzz", "no release has it."),
    ("v0.23.0", "enable_sparse_c8", "the key was split into enable_sparse_sfa_c8 and enable_sparse_li_c8."),
    ("v0.26.0rc1", "enable_flashcomm1", None),
    ("v0.30.0", "enable_flashcomm1", "upstream removed FlashComm1 after v0.26 (pull request 13946)."),
    ("v0.18.0.post1", "weight_prefetch_config", None),
])
def test_key_of_additional_config_that_the_release_ignores_causes_a_warning(release, key, reason):
    resolved = valid(plan_release=release, serving_args={"additional-config": {key: True}})
    found = [each["message"] for each in resolved["warnings"] if each["id"] == "serving_args.ignored"]
    start = f"serving_args: release {release} ignores the key {key} of additional-config: "
    assert found == ([start + reason] if reason else [])


def test_weight_nz_is_added_to_the_additional_config_of_the_site():
    resolved = valid(plan_release="v0.23.0", serving_weight_nz=2, serving_args={"additional-config": '{"x": 1}'})
    assert options(resolved)["--additional-config"] == ['{"weight_nz_mode":2,"x":1}']


# (inputs, parts of the message)
REFUSED = [
    ({"serving_args": "--max-num-seqs 3"}, ["serving_args must be a mapping"]),
    ({"serving_args": {"max-num-seq": 3}}, ["no option max-num-seq;", "nearest is max-num-seqs"]),
    ({"serving_args": {"zzz": 3}}, ["no option zzz; remove it"]),
    ({"serving_args": {"max-num-seqs": 3, "max_num_seqs": 4}}, ["twice", "max-num-seqs", "max_num_seqs"]),
    ({"serving_args": {"no-enable-prefix-caching": True}}, ["write enable-prefix-caching: false"]),
    ({"serving_args": {"nnodes": 2}, "plan_release": "v0.18.0"}, ["sets nnodes, which serving_topology controls"]),
    ({"serving_args": {"shutdown-timeout": 5}}, ["no option shutdown-timeout", "added in vLLM 0.18.0"]),
    ({"serving_args": {"swap-space": 5}, "plan_release": "v0.18.0"},
     ["no option swap-space", "dropped in vLLM 0.18.0"]),
    ({"serving_args": {"port": 9}}, ["serving_args sets port, which serving_port controls"]),
    ({"serving_args": {"enforce-eager": "maybe"}}, ["enforce-eager is a switch", "'maybe'"]),
    ({"serving_args": {"max-num-seqs": True}}, ["max-num-seqs must have a value, but is true"]),
    ({"serving_args": {"max-num-seqs": "many"}}, ["max-num-seqs must be an integer", "'many'"]),
    ({"serving_args": {"max-num-seqs": 60000}}, ["max-num-batched-tokens (50000)", "max-num-seqs (60000)"]),
    ({"serving_args": {"max-num-batched-tokens": 20000, "enable-chunked-prefill": False}},
     ["without chunked prefill", "(20000)", "(30000)"]),
    ({"serving_args": {"max-model-len": 200000}}, ["max-model-len is 200000", "128000"]),
    ({"serving_args": {"additional-config": "x=1"}}, ["additional-config must be a mapping"]),
    ({"serving_weight_nz": 2}, ["serving_weight_nz must be one of 0, 1 with release v0.11.0rc1"]),
]


@pytest.mark.parametrize(("inputs", "parts"), REFUSED)
def test_unsuitable_input_is_refused(inputs, parts):
    message = refusal(**inputs)
    assert [part for part in parts if part not in message] == []
