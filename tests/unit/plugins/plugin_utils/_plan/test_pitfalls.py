# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan avoids the pitfalls of the tutorial. The number in a test name is the row number in docs/pitfalls.md."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import offline
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.functional import judge
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    CATALOGUE,
    options,
    refusals,
    valid,
    valid_group,
)
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context

WITHOUT_JEMALLOC = ["v0.11.0rc1", "v0.11.0rc2", "v0.11.0rc3", "v0.11.0", "v0.12.0rc1"]


def instance(**inputs):
    return valid(**inputs)["instances"][0]


def test_01_tags_start_with_v():
    assert valid(plan_release="0.11.0rc1")["image"]["tag"] == "v0.11.0rc1"


def test_02_server_and_clients_use_the_same_port():
    resolved = valid(serving_port=9001)
    assert options(resolved)["--port"] == ["9001"]
    assert resolved["instances"][0]["url"].endswith(":9001")


def test_03_the_served_name_is_part_of_the_plan():
    resolved = valid(serving_served_model_name="vision")
    assert options(resolved)["--served-model-name"] == [resolved["model"]["served_name"]] == ["vision"]


def test_04_abbreviated_options_are_refused():
    assert "the nearest is max-num-seqs" in refusals(serving_args={"max-num-seq": 3})[0]


def test_05_no_option_is_set_twice():
    command = instance()["command"]
    assert command.count("--max-num-batched-tokens") == 1
    assert command[command.index("--max-num-batched-tokens") + 1] == "50000"
    assert "twice" in refusals(serving_args={"max_num_seqs": 3, "max-num-seqs": 3})[0]


def test_06_options_are_written_with_dashes():
    command = instance(serving_args={"max_model_len": 20000})["command"]
    assert command[command.index("--max-model-len") + 1] == "20000"
    assert not [word for word in command if word.startswith("--") and "_" in word]


def test_07_batched_tokens_suit_the_other_limits():
    assert valid(serving_args={"max-num-batched-tokens": 50000, "max-model-len": 30000})
    assert "at least max-num-seqs" in refusals(serving_args={"max-num-batched-tokens": 10})[0]


def test_08_the_patch_is_mounted_where_the_release_needs_it():
    resolved = valid()
    assert resolved["patch"]["id"] == "mrotary_embedding"
    mounted = [mount for mount in resolved["instances"][0]["mounts"] if mount["origin"] == "patch"]
    assert [(mount["source"], mount["target"], mount["read_only"]) for mount in mounted] == [
        (resolved["patch"]["host_path"], resolved["patch"]["target"], True)]
    assert valid(plan_release="v0.11.0")["patch"] is None


def test_09_container_is_detached_with_the_entrypoint_of_the_image():
    planned = instance()
    assert planned["command"][:2] == ["vllm", "serve"]
    assert planned["restart_policy"] == "always"
    assert "entrypoint" not in planned


@pytest.mark.parametrize("release", CATALOGUE["releases"])
def test_10_jemalloc_is_preloaded_only_if_the_image_has_it(release):
    assert ("LD_PRELOAD" in instance(plan_release=release)["environment"]) is (release not in WITHOUT_JEMALLOC)


def test_11_shared_memory_is_sufficient_and_can_be_set():
    assert instance()["shm_size"] == "1g"
    assert valid_group("data_parallel")["node2"]["instances"][0]["shm_size"] == "16g"
    assert instance(serving_shm_size="16g")["shm_size"] == "16g"


def test_12_only_the_npus_of_the_instance_are_devices():
    davinci = [device for device in instance(serving_npus=[4, 6])["devices"] if device[-1].isdigit()]
    assert davinci == ["/dev/davinci4", "/dev/davinci6"]


def test_13_hccn_tool_is_mounted_on_request():
    sources = [mount["source"] for mount in instance(serving_mount_hccn_tool=True)["mounts"]]
    assert {"/usr/local/Ascend/driver/tools/hccn_tool", "/etc/hccn.conf"} <= set(sources)
    assert "/etc/hccn.conf" not in [mount["source"] for mount in instance()["mounts"]]
    member = valid_group("data_parallel")["node2"]["instances"][0]
    assert "/etc/hccn.conf" in [mount["source"] for mount in member["mounts"]]


def test_14_every_mount_has_the_type_that_its_source_must_have():
    planned = instance(serving_npu_smi_path="/usr/local/sbin/npu-smi")
    types = {mount["source"]: mount["type"] for mount in planned["mounts"]}
    assert types["/usr/local/sbin/npu-smi"] == "file"
    assert types["/usr/local/Ascend/driver/lib64"] == "directory"


def test_15_no_hub_is_used():
    environment = instance()["environment"]
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert "VLLM_USE_MODELSCOPE" not in environment


@pytest.mark.parametrize("release", CATALOGUE["releases"])
def test_16_ignored_additional_config_is_not_set(release):
    assert "--additional-config" not in options(valid(plan_release=release))


@pytest.mark.parametrize("release", CATALOGUE["releases"])
def test_17_vllm_use_v1_is_not_set(release):
    assert "VLLM_USE_V1" not in instance(plan_release=release)["environment"]
    warned = valid(plan_release=release, serving_env={"VLLM_USE_V1": 1})["warnings"]
    assert "serving_env.unwanted" in [warning["id"] for warning in warned]


@pytest.mark.parametrize("release", CATALOGUE["releases"])
def test_18_remote_code_is_not_trusted(release):
    assert "--trust-remote-code" not in options(valid(plan_release=release))


def test_19_the_image_is_part_of_the_request(tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"PNG")
    inputs = {"functional_image": str(picture), "functional_api_key": "", "functional_timeout_s": 9,
              "functional_max_tokens": 9, "functional_question": "?", "functional_text_question": "?"}
    sent = json.dumps(judge.request(context(valid(), inputs=inputs)).arguments["requests"])
    assert '"url": "data:image/png;base64,UE5H"' in sent
    assert "http" not in sent


def test_20_a_server_without_a_key_causes_a_warning():
    assert "serving_api_key" in [warning["id"] for warning in valid()["warnings"]]
    assert instance(serving_api_key="set")["secrets_path"]
    assert instance(serving_bind="192.0.2.11")["command"][4] == "192.0.2.11"


def test_21_disaggregation_is_refused():
    assert "models.qwen2_5_vl_32b_instruct_w8a8.unsupported.prefill_decode" in refusals(
        serving_topology="prefill_decode")[0]


def test_22_weights_have_no_public_source():
    sources = valid()["model"]["sources"]
    assert sources["quantize"]["from"] == "qwen2_5_vl_32b_instruct"
    assert not {"modelscope", "huggingface"} & set(sources)


def test_23_offline_runs_use_free_npus_or_are_refused():
    resolved = valid(serving_replicas=2)
    paths, stopped = offline.devices(resolved, resolved["instances"][0], {"benchmark_offline_stop_service": False})
    assert (paths[:2], stopped) == (["/dev/davinci4", "/dev/davinci5"], False)
    full = valid(serving_replicas="auto")
    with pytest.raises(BadInput, match="offline_stop_service to true"):
        offline.devices(full, full["instances"][0], {"benchmark_offline_stop_service": False})
    group = valid_group("data_parallel")["node1"]
    with pytest.raises(BadInput, match="serving_topology is data_parallel"):
        offline.devices(group, group["instances"][0], {"benchmark_offline_stop_service": True})


def test_every_pitfall_has_a_test():
    numbers = {name[5:7] for name in globals() if name.startswith("test_") and name[5:7].isdigit()}
    assert sorted(numbers) == [f"{number:02}" for number in range(1, 24)]
