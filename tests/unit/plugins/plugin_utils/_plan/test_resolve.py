# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: the default one word by word, every release with every model, and what changes it."""

from __future__ import annotations

import copy
import itertools

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import describe
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import resolve as plan
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    CATALOGUE,
    DEFAULTS,
    options,
    refusals,
    resolve,
    valid,
)

W8A8, BF16 = "qwen2_5_vl_32b_instruct_w8a8", "qwen2_5_vl_32b_instruct"
SHARED = ["--async-scheduling", "--max-model-len", "30000", "--max-num-batched-tokens", "50000",
          "--max-num-seqs", "30", "--no-enable-prefix-caching"]
COMMAND_W8A8 = [
    "vllm", "serve", "/data/Qwen2.5-VL-32B-Instruct-w8a8", "--host", "0.0.0.0", "--port", "8888",
    "--served-model-name", "qwen25_vl", "--tensor-parallel-size", "2", "--quantization", "ascend", *SHARED]
COMMAND_BF16 = [
    "vllm", "serve", "/data/Qwen2.5-VL-32B-Instruct", "--host", "0.0.0.0", "--port", "8888",
    "--served-model-name", "qwen25_vl", "--tensor-parallel-size", "2", "--dtype", "bfloat16", *SHARED]
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HCCL_OP_EXPANSION_MODE": "AIV"}
BARRIER, JEMALLOC = {**OFFLINE, "SHM_BARRIER": "true"}, {**OFFLINE, "LD_PRELOAD": "libjemalloc.so.2"}
# release: (environment, patched by default)
BY_RELEASE = {
    "v0.11.0rc1": (BARRIER, True),
    "v0.11.0rc2": (BARRIER, False),
    "v0.11.0rc3": (OFFLINE, False),
    "v0.11.0": (OFFLINE, False),
    "v0.12.0rc1": (OFFLINE, False),
    "v0.13.0rc1": (JEMALLOC, False),
    "v0.13.0rc2": (JEMALLOC, False),
    "v0.13.0": (JEMALLOC, False),
    "v0.13.0rc3": (JEMALLOC, False),
    "v0.14.0rc1": (JEMALLOC, False),
    "v0.15.0rc1": (JEMALLOC, False),
    "v0.16.0rc1": (JEMALLOC, False),
    "v0.17.0rc1": (JEMALLOC, False),
    "v0.18.0rc1": (JEMALLOC, False),
    "v0.18.0": (JEMALLOC, False),
    "v0.23.0": (JEMALLOC, False),
    "v0.26.0rc1": (JEMALLOC, False),
    "v0.30.0": (JEMALLOC, False),
}


def test_table_holds_every_release():
    assert sorted(BY_RELEASE) == sorted(CATALOGUE["releases"])


@pytest.mark.parametrize("model", [W8A8, BF16])
@pytest.mark.parametrize("release", BY_RELEASE)
def test_every_release_with_every_model(release, model):
    environment, patched = BY_RELEASE[release]
    resolved = valid(plan_release=release, plan_model=model)
    (instance,) = resolved["instances"]
    command = list(COMMAND_W8A8 if model == W8A8 else COMMAND_BF16)
    if "shutdown-timeout" in lookup.serve_options(CATALOGUE, resolved["release"]["vllm"]):
        command += ["--shutdown-timeout", "600"]  # from vLLM 0.18 on
    assert instance["command"] == command
    assert instance["environment"] == environment
    assert resolved["image"]["reference"] == f"quay.io/ascend/vllm-ascend:{release}"
    assert bool(resolved["patch"]) is patched
    known = lookup.serve_options(CATALOGUE, resolved["release"]["vllm"])
    for option in options(resolved):
        name = option[2:]
        assert name in known or known[name.replace("no-", "", 1)] == lookup.SWITCH


@pytest.mark.parametrize(("release", "inputs", "expected"), [
    ("v0.11.0rc1", {}, None),
    ("v0.18.0", {}, ["600"]),
    ("v0.18.0", {"serving_drain_timeout_s": 30}, ["30"]),
    ("v0.18.0", {"serving_args": {"shutdown_timeout": 5}}, ["5"]),
    ("v0.18.0", {"serving_args": {"shutdown-timeout": None}}, None),
])
def test_server_finishes_its_requests_where_the_release_can(release, inputs, expected):
    assert options(valid(plan_release=release, **inputs)).get("--shutdown-timeout") == expected


def test_default_plan():
    resolved = valid()
    assert resolved["schema"] == "ascend.vllm/plan/v1"
    assert resolved["hardware"]["id"] == "atlas_800_a2"
    assert resolved["model"]["path"] == "/data/Qwen2.5-VL-32B-Instruct-w8a8"
    (instance,) = resolved["instances"]
    assert instance["name"] == "vllm-ascend-qwen25-vl"
    assert instance["url"] == "http://192.0.2.11:8888"
    assert instance["devices"] == ["/dev/davinci0", "/dev/davinci1", "/dev/davinci_manager", "/dev/devmm_svm",
                                   "/dev/hisi_hdc"]
    assert [(mount["source"], mount["target"], mount["type"], mount["origin"]) for mount in instance["mounts"]] == [
        ("/usr/local/dcmi", "/usr/local/dcmi", "directory", "host"),
        ("/usr/local/bin/npu-smi", "/usr/local/bin/npu-smi", "file", "host"),
        ("/usr/local/Ascend/driver/lib64", "/usr/local/Ascend/driver/lib64", "directory", "host"),
        ("/usr/local/Ascend/driver/version.info", "/usr/local/Ascend/driver/version.info", "file", "host"),
        ("/etc/ascend_install.info", "/etc/ascend_install.info", "file", "host"),
        ("/data/Qwen2.5-VL-32B-Instruct-w8a8", "/data/Qwen2.5-VL-32B-Instruct-w8a8", "directory", "weights"),
        ("/var/lib/ascend-vllm/patches/mrotary_embedding-c0424a220aae.py",
         "/vllm-workspace/vllm-ascend/vllm_ascend/utils.py", "file", "patch"),
        (resolved["health_check"]["host_path"], "/run/ascend-vllm/health.py", "file", "health"),
    ]
    assert all(mount["read_only"] for mount in instance["mounts"])
    assert instance["labels"] == {"ascend.vllm.instance-hash": instance["hash"]}
    assert (instance["shm_size"], instance["privileged"], instance["launcher"]) == ("1g", False, [])


def test_resolve_leaves_catalogue_and_inputs_alone():
    catalogue, inputs = copy.deepcopy(CATALOGUE), dict(DEFAULTS, serving_args={"additional-config": {"a": 1}})
    before = copy.deepcopy(inputs)
    plan.resolve(catalogue, dict(inputs, plan_release="v0.23.0", serving_weight_nz=2))
    assert catalogue == CATALOGUE
    assert inputs == before


@pytest.mark.parametrize(("hardware", "variant", "tag", "devices"), [
    ("atlas_800_a2", "", "v0.18.0", 8),
    ("atlas_800_a2", "openeuler", "v0.18.0-openeuler", 8),
    ("atlas_800i_a2", "", "v0.18.0", 8),
    ("atlas_800_a3", "", "v0.18.0-a3", 16),
    ("atlas_800_a3", "openeuler", "v0.18.0-a3-openeuler", 16),
])
def test_hardware_decides_tag_and_devices(hardware, variant, tag, devices):
    resolved = valid(plan_release="v0.18.0", plan_hardware=hardware, image_variant=variant, serving_replicas="auto")
    assert resolved["image"]["tag"] == tag
    assert resolved["hardware"]["npu_devices"] == list(range(devices))
    assert sorted(itertools.chain(*(instance["npus"] for instance in resolved["instances"]))) == list(range(devices))


def test_the_plan_tells_where_docker_and_the_driver_are():
    assert valid()["docker_socket"] == "/var/run/docker.sock"
    assert valid()["driver"] == {"path": "/usr/local/Ascend/driver",
                                 "version_file": "/usr/local/Ascend/driver/version.info"}
    moved = valid(plan_docker_socket="/run/user/1000/docker.sock", serving_driver_path="/opt/driver/")
    assert (moved["docker_socket"], moved["driver"]["path"]) == ("/run/user/1000/docker.sock", "/opt/driver")
    assert "plan_docker_socket must be an absolute path" in refusals(plan_docker_socket="unix:///x")[0]


@pytest.mark.parametrize(("inputs", "reference"), [
    ({}, "quay.io/ascend/vllm-ascend:v0.11.0rc1"),
    ({"image_repository": "registry.example:5000/mirror/vllm-ascend"},
     "registry.example:5000/mirror/vllm-ascend:v0.11.0rc1"),
    ({"image_tag": "0.11.0rc1"}, "quay.io/ascend/vllm-ascend:v0.11.0rc1"),
    ({"image_tag": "site-7"}, "quay.io/ascend/vllm-ascend:site-7"),
    ({"image_tag": "7-site"}, "quay.io/ascend/vllm-ascend:7-site"),
    ({"image_tag": "0.11.0rc1-openeuler"}, "quay.io/ascend/vllm-ascend:v0.11.0rc1-openeuler"),
    ({"image_tag": "v0.11.0rc1-site7", "plan_hardware": "atlas_800_a3"}, "quay.io/ascend/vllm-ascend:v0.11.0rc1-site7"),
])
def test_image_reference(inputs, reference):
    assert valid(**inputs)["image"]["reference"] == reference


def test_replicas_share_nothing():
    resolved = valid(serving_replicas="auto")
    instances = resolved["instances"]
    assert [instance["npus"] for instance in instances] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [instance["port"] for instance in instances] == [8888, 8889, 8890, 8891]
    assert [instance["name"] for instance in instances] == [
        "vllm-ascend-qwen25-vl", "vllm-ascend-qwen25-vl-1", "vllm-ascend-qwen25-vl-2", "vllm-ascend-qwen25-vl-3"]
    assert options(resolved, 2)["--port"] == ["8890"]
    assert [instance["environment"].get("HCCL_HOST_SOCKET_PORT_RANGE") for instance in instances] == [
        None, "61016-61031", "61032-61047", "61048-61063"]
    assert [instance["environment"].get("HCCL_NPU_SOCKET_PORT_RANGE") for instance in instances] == [
        None, "17016-17031", "17032-17047", "17048-17063"]
    assert instances[1]["environment"]["HCCL_IF_BASE_PORT"] == "61016"


def test_more_replicas_leave_the_first_alone():
    assert valid(serving_replicas=4)["instances"][0] == valid()["instances"][0]


@pytest.mark.parametrize(("inputs", "npus"), [
    ({"serving_npus": [2, 3]}, [[2, 3]]),
    ({"serving_npus": ["5", 1, 7], "serving_replicas": "auto"}, [[5, 1]]),
    ({"serving_tensor_parallel_size": 4}, [[0, 1, 2, 3]]),
    ({"serving_tensor_parallel_size": "1"}, [[0]]),
    ({"serving_tensor_parallel_size": 4, "serving_replicas": "2"}, [[0, 1, 2, 3], [4, 5, 6, 7]]),
])
def test_placement(inputs, npus):
    resolved = valid(**inputs)
    assert [instance["npus"] for instance in resolved["instances"]] == npus
    assert options(resolved)["--tensor-parallel-size"] == [str(len(npus[0]))]


@pytest.mark.parametrize(("given", "expected"), [
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
def test_arguments_are_merged_by_name(given, expected):
    found = options(valid(serving_args=given))
    assert expected.items() <= found.items()
    assert len(found) == len(options(valid())) + len(expected.keys() - options(valid()).keys()) - (
        "--enable-prefix-caching" in expected)


@pytest.mark.parametrize(("given", "gone"), [
    ({"async-scheduling": None}, "--async-scheduling"),
    ({"enable-prefix-caching": None}, "--no-enable-prefix-caching"),
    ({"max-num-seqs": None}, "--max-num-seqs"),
])
def test_null_takes_an_argument_out(given, gone):
    before, after = options(valid()), options(valid(serving_args=given))
    assert set(before) - set(after) == {gone}


def test_false_flag_is_silent():
    command = valid(serving_args={"disable-log-stats": False})["instances"][0]["command"]
    assert command == COMMAND_W8A8


def test_order_of_overrides_does_not_matter():
    one = valid(serving_args={"seed": 1, "block-size": 128})
    two = valid(serving_args={"block-size": 128, "seed": 1})
    assert one["hash"] == two["hash"]


@pytest.mark.parametrize(("given", "expected"), [
    ({"OMP_NUM_THREADS": 10}, {"OMP_NUM_THREADS": "10"}),
    ({"HCCL_OP_EXPANSION_MODE": "HOST"}, {"HCCL_OP_EXPANSION_MODE": "HOST"}),
    ({"SHM_BARRIER": None}, {}),
])
def test_environment_is_merged_by_name(given, expected):
    environment = valid(serving_env=given)["instances"][0]["environment"]
    for name in given:
        assert environment.get(name) == expected.get(name)


@pytest.mark.parametrize(("release", "mode", "environment", "config"), [
    ("v0.11.0rc1", "", None, None),
    ("v0.11.0rc1", 0, "0", None),
    ("v0.13.0", "2", "2", None),
    ("v0.23.0", 0, None, ['{"weight_nz_mode":0}']),
])
def test_weight_nz_goes_where_the_release_reads_it(release, mode, environment, config):
    resolved = valid(plan_release=release, serving_weight_nz=mode)
    assert resolved["instances"][0]["environment"].get("VLLM_ASCEND_ENABLE_NZ") == environment
    assert options(resolved).get("--additional-config") == config


def test_weight_nz_joins_the_site_s_config():
    resolved = valid(plan_release="v0.23.0", serving_weight_nz=2, serving_args={"additional-config": '{"x": 1}'})
    assert options(resolved)["--additional-config"] == ['{"weight_nz_mode":2,"x":1}']


def test_site_mounts():
    resolved = valid(serving_mounts=[{"source": "/srv/cache", "target": "/root/.cache", "read_only": False},
                                     {"source": "/etc/ssl/ca.pem", "type": "file"}])
    assert resolved["instances"][0]["mounts"][6:8] == [
        {"source": "/srv/cache", "target": "/root/.cache", "type": "directory", "read_only": False, "origin": "site"},
        {"source": "/etc/ssl/ca.pem", "target": "/etc/ssl/ca.pem", "type": "file", "read_only": True, "origin": "site"},
    ]


def test_api_key_is_read_from_a_file_that_is_mounted():
    (instance,) = valid(serving_api_key="set")["instances"]
    path = "/var/lib/ascend-vllm/secrets.env"
    assert instance["secrets_path"] == path
    assert instance["launcher"][-1] == "/run/ascend-vllm/secrets.env"
    assert instance["mounts"][-1] == {"source": path, "target": "/run/ascend-vllm/secrets.env", "type": "file",
                                      "read_only": True, "origin": "secrets"}
    assert instance["command"] == COMMAND_W8A8


def test_health_check_of_every_instance():
    resolved = valid(serving_replicas=2, serving_bind="0.0.0.0", serving_ready_timeout_s=900)
    assert resolved["health_check"]["host_path"].startswith("/var/lib/ascend-vllm/health/")
    first, second = (instance["health"] for instance in resolved["instances"])
    assert first == {
        "test": ["CMD", "python3", "-IS", "/run/ascend-vllm/health.py", "--host", "127.0.0.1", "--port", "8888",
                 "--model", "qwen25_vl", "--timeout", "20"],
        "interval": "30s", "timeout": "65s", "retries": 10, "start_period": "900s"}
    assert second["test"][second["test"].index("--port") + 1] == "8889"
    assert valid(serving_restart_hung=True)["instances"][0]["health"]["test"][-2:] == ["--restart-after", "10"]


def test_no_health_check():
    resolved = valid(serving_health_interval_s=0)
    assert "no health check" in describe.describe(resolved, "node1")
    assert "every 30 s, unhealthy after 10 failures" in describe.describe(valid(), "node1")
    assert (resolved["health_check"], resolved["instances"][0]["health"]) == (None, None)
    assert "health" not in {mount["origin"] for mount in resolved["instances"][0]["mounts"]}


def test_patience_with_a_start_restarts_nothing():
    assert valid(serving_ready_timeout_s=900)["hash"] == valid(serving_ready_timeout_s=3600)["hash"]


def test_loopback_is_addressed_as_loopback():
    resolved = valid(serving_bind="127.0.0.1")
    assert resolved["instances"][0]["url"] == "http://127.0.0.1:8888"


OUT_OF_DATE = {"serving_port": 8889, "serving_env": {"A": "1"}, "serving_args": {"seed": 1}, "serving_shm_size": "2g",
               "serving_api_key": "set", "serving_health_retries": 3, "serving_restart_hung": True,
               "image_tag": "site-7", "weights_digest": "ab", "serving_patches": [],
               "serving_npus": [2, 3], "serving_privileged": True, "plan_model": BF16, "serving_cap_drop": []}
STILL_TRUE = {"serving_address": "198.51.100.7", "image_digest": "sha256:" + 64 * "a", "serving_ready_timeout_s": 60,
              "serving_replicas": 3, "plan_architecture": "aarch64"}


@pytest.mark.parametrize("name", OUT_OF_DATE)
def test_hash_of_an_instance_changes_with_what_is_deployed(name):
    changed = valid(**{name: OUT_OF_DATE[name]})
    assert changed["instances"][0]["hash"] != valid()["instances"][0]["hash"]
    assert changed["hash"] != valid()["hash"]


@pytest.mark.parametrize("name", STILL_TRUE)
def test_hash_of_an_instance_stays_otherwise(name):
    assert valid(**{name: STILL_TRUE[name]})["instances"][0]["hash"] == valid()["instances"][0]["hash"]


def test_overlay_adds_a_model_as_data():
    entry = dict(CATALOGUE["models"][BF16], name="Tiny", directory="tiny", weights_bytes=2000000, npus=1)
    resolved = valid({"models": {"tiny": entry}}, plan_model="tiny")
    assert resolved["model"]["path"] == "/data/tiny"
    assert resolved["instances"][0]["npus"] == [0]


def test_description_tells_the_whole_plan():
    resolved = valid(serving_replicas=2, serving_api_key="set", serving_args={"seed": 7})
    text = describe.describe(resolved, "node1")
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == f"node1: plan {resolved['hash']}"
    assert "--seed 7" in lines
    assert "--max-num-batched-tokens 50000" in lines
    for instance in resolved["instances"]:
        for said in [*instance["devices"], instance["url"], instance["name"], instance["secrets_path"]]:
            assert said in text
        for name, value in instance["environment"].items():
            assert f"{name}={value}" in text
    for warning in resolved["warnings"]:
        assert warning["message"] in text


@pytest.mark.parametrize(("inputs", "warning"), [
    ({}, "known_bug.memory_leak"),
    ({}, "image_digest"),
    ({}, "serving_api_key"),
    ({"plan_release": "0.11.0rc1"}, "plan_release"),
    ({"plan_release": "v0.23.0"}, "release.undocumented"),
    ({"plan_release": "v0.15.0rc1"}, "known_bug.vit_seq_lens_cache"),
    ({"plan_release": "v0.18.0", "plan_architecture": "x86_64"}, "known_bug.cann_8_5_1_x86"),
    ({"serving_patches": []}, "serving_patches"),
    ({"serving_privileged": True}, "serving_privileged"),
    ({"image_tag": "site-7"}, "image_tag"),
    ({"serving_env": {"VLLM_USE_MODELSCOPE": "true"}}, "serving_env.unwanted"),
    ({"serving_args": {"additional-config": {"enable_weight_nz_layout": True}}}, "serving_args.ignored"),
])
def test_warnings(inputs, warning):
    assert warning in [found["id"] for found in valid(**inputs)["warnings"]]


@pytest.mark.parametrize(("inputs", "warning"), [
    ({}, "known_bug.qwen2_5_vl_accuracy"),
    ({}, "plan_release"),
    ({"image_digest": "sha256:" + 64 * "0"}, "image_digest"),
    ({"serving_api_key": "set"}, "serving_api_key"),
    ({"serving_bind": "127.0.0.1"}, "serving_api_key"),
    ({"plan_release": "v0.18.0", "plan_architecture": "aarch64"}, "known_bug.cann_8_5_1_x86"),
])
def test_no_warning_without_cause(inputs, warning):
    assert warning not in [found["id"] for found in valid(**inputs)["warnings"]]


# (inputs, every part that the one sentence has to hold)
REFUSED = [
    ({"plan_release": "v0.11.0rc9"}, ["plan_release is v0.11.0rc9", "nearest is v0.11.0rc"]),
    ({"plan_release": ""}, ["plan_release is empty", "choose one of"]),
    ({"plan_hardware": "atlas_800_a1"}, ["plan_hardware is atlas_800_a1", "nearest is atlas_800_a"]),
    ({"plan_model": "llama"}, ["plan_model is llama", "choose one of qwen2_5_vl_32b_instruct"]),
    ({"plan_architecture": "riscv64"}, ["plan_architecture is riscv64", "aarch64, x86_64"]),
    ({"serving_topology": "prefill_decode"}, ["not supported for Qwen2.5-VL-32B-Instruct-w8a8",
                                              "models.qwen2_5_vl_32b_instruct_w8a8.unsupported.prefill_decode"]),
    ({"serving_topology": "ray"}, ["serving_hosts must name two or more", "ray", "names none"]),
    ({"serving_topology": "rings"}, ["serving_topology must be one of replicas", "'rings'"]),
    ({"serving_port": "http"}, ["serving_port must be a whole number from 1 to 65535", "'http'"]),
    ({"serving_port": 70000}, ["serving_port", "65535", "70000"]),
    ({"serving_port": True}, ["serving_port", "True"]),
    ({"serving_port": 65534, "serving_replicas": 3}, ["serving_port", "65536", "lower it"]),
    ({"serving_port": 60000}, ["serving_hccl_port_base", "60000-60015", "serving_port", "move one"]),
    ({"serving_port": 61020, "serving_replicas": 2}, ["serving_hccl_port_base gives instance 1", "61016-61031"]),
    ({"serving_hccl_port_base": 65530}, ["serving_hccl_port_base", "above 65535"]),
    ({"serving_bind": ""}, ["serving_bind is empty"]),
    ({"serving_replicas": 5}, ["serving_replicas: 5 x 2 NPUs are needed, but 8"]),
    ({"serving_replicas": 0}, ["serving_replicas must be a whole number from 1"]),
    ({"serving_npus": [0, 8]}, ["serving_npus", "0 to 7", "0, 8"]),
    ({"serving_npus": [1, 1]}, ["serving_npus", "different devices"]),
    ({"serving_npus": []}, ["serving_npus", "is empty"]),
    ({"serving_tensor_parallel_size": 3}, ["serving_tensor_parallel_size is 3", "40 attention heads"]),
    ({"plan_model": BF16, "serving_tensor_parallel_size": 1}, ["62.3 GiB", "57.6 GiB", "raise"]),
    ({"plan_hardware": "atlas_800i_a2_32g", "plan_model": BF16}, ["31.2 GiB", "28.8 GiB"]),
    ({"weights_path": "models"}, ["weights_path must be an absolute path", "'models'"]),
    ({"serving_shm_size": "lots"}, ["serving_shm_size", "'lots'"]),
    ({"serving_container_name": "a b"}, ["serving_container_name", "'a b'"]),
    ({"serving_restart_policy": "maybe"}, ["serving_restart_policy must be one of always", "'maybe'"]),
    ({"serving_args": "--max-num-seqs 3"}, ["serving_args must be a mapping"]),
    ({"serving_args": {"max-num-seq": 3}}, ["no option max-num-seq;", "nearest is max-num-seqs"]),
    ({"serving_args": {"zzz": 3}}, ["no option zzz; take it out"]),
    ({"serving_args": {"max-num-seqs": 3, "max_num_seqs": 4}}, ["twice", "max-num-seqs", "max_num_seqs"]),
    ({"serving_args": {"no-enable-prefix-caching": True}}, ["write enable-prefix-caching: false"]),
    ({"serving_args": {"nnodes": 2}, "plan_release": "v0.18.0"}, ["sets nnodes, which serving_topology decides"]),
    ({"serving_args": {"shutdown-timeout": 5}}, ["no option shutdown-timeout", "came with vLLM 0.18.0"]),
    ({"serving_args": {"swap-space": 5}, "plan_release": "v0.18.0"}, ["no option swap-space", "went with vLLM 0.18.0"]),
    ({"serving_args": {"port": 9}}, ["serving_args sets port, which serving_port decides"]),
    ({"serving_args": {"enforce-eager": "maybe"}}, ["enforce-eager is a switch", "'maybe'"]),
    ({"serving_args": {"max-num-seqs": True}}, ["max-num-seqs takes a value, but is true"]),
    ({"serving_args": {"max-num-seqs": "many"}}, ["max-num-seqs must be a whole number", "'many'"]),
    ({"serving_args": {"max-num-seqs": 60000}}, ["max-num-batched-tokens (50000)", "max-num-seqs (60000)"]),
    ({"serving_args": {"max-num-batched-tokens": 20000, "enable-chunked-prefill": False}},
     ["without chunked prefill", "(20000)", "(30000)"]),
    ({"serving_args": {"max-model-len": 200000}}, ["max-model-len is 200000", "128000"]),
    ({"serving_args": {"gpu-memory-utilization": 1.5}}, ["gpu-memory-utilization", "1.5"]),
    ({"serving_args": {"gpu-memory-utilization": 0.3}}, ["raise serving_tensor_parallel_size", "19.2 GiB"]),
    ({"serving_args": {"additional-config": "x=1"}}, ["additional-config must be a mapping"]),
    ({"serving_weight_nz": 2}, ["serving_weight_nz must be one of 0, 1 with release v0.11.0rc1"]),
    ({"serving_env": {"VLLM_API_KEY": "k"}}, ["VLLM_API_KEY, which serving_api_key decides"]),
    ({"serving_env": {"ASCEND_RT_VISIBLE_DEVICES": "0"}}, ["which serving_npus decides"]),
    ({"serving_env": {"A B": "1"}}, ["serving_env", "A B"]),
    ({"serving_env": {"A": True}}, ["serving_env", "quote true and false"]),
    ({"serving_restart_hung": True, "serving_health_interval_s": 0}, ["serving_restart_hung", "health check"]),
    ({"serving_restart_hung": True, "serving_restart_policy": "on-failure"}, ["serving_restart_hung", "always"]),
    ({"serving_health_timeout_s": 0}, ["serving_health_timeout_s"]),
    ({"serving_mounts": [{"target": "/x"}]}, ["serving_mounts", "absolute source"]),
    ({"serving_mounts": [{"source": "x"}]}, ["serving_mounts"]),
    ({"serving_mounts": [{"source": "/x", "mode": "ro"}]}, ["serving_mounts"]),
    ({"serving_patches": ["mrotary_embedding"], "plan_release": "v0.18.0"}, ["must not get", "4811"]),
    ({"serving_patches": ["mrotary_embedding"], "plan_release": "v0.11.0rc2", "plan_architecture": "x86_64"},
     ["needs on aarch64 only"]),
    ({"serving_patches": ["x"]}, ["serving_patches names x, which release v0.11.0rc1 does not have"]),
    ({"image_repository": "quay.io/ascend/vllm-ascend:v1"}, ["image_repository", "image_tag"]),
    ({"image_variant": "alpine"}, ["image_variant is alpine", "openeuler"]),
    ({"image_digest": "abc"}, ["image_digest", "abc"]),
    ({"image_tag": "v0.11.0rc1-a3"}, ["an image for the chips a3", "atlas_800_a2", "set image_tag to v0.11.0rc1."]),
    ({"image_tag": "v0.11.0rc1-310p-openeuler"}, ["an image for the chips 310p"]),
    ({"image_tag": "v0.11.0rc1", "plan_hardware": "atlas_800_a3"}, ["an image for the 910B", "suffix -a3"]),
    ({"image_tag": "v0.11.0rc1-openeuler", "plan_hardware": "atlas_800_a3"}, ["an image for the 910B"]),
    ({"image_tag": "0.13.0"}, ["an image of release v0.13.0", "plan_release to v0.13.0, or image_tag to v0.11.0rc1"]),
]


@pytest.mark.parametrize(("inputs", "parts"), REFUSED)
def test_refusals(inputs, parts):
    messages = refusals(**inputs)
    assert len(messages) == 1
    assert [part for part in parts if part not in messages[0]] == []
    assert messages[0].endswith(".")


def test_every_mistake_is_named_at_once():
    assert len(refusals(serving_port=0, serving_bind="", image_variant="x", serving_args={"a": 1, "b": 2})) == 5


def test_refused_plan_of_an_unknown_release_has_no_hash():
    resolved = resolve(plan_release="v9.9.9")
    assert resolved["hash"] is None
    assert resolved["instances"] == []


def test_release_with_unknown_vllm_is_refused():
    overlay = {"releases": {"v0.11.0rc1": {"vllm": "0.99.0"}}}
    assert "vLLM 0.99.0" in refusals(overlay)[0]


def test_release_outside_the_model_s_list_is_refused():
    overlay = {"models": {W8A8: {"releases": {"documented": ["v0.18.0"], "undocumented": []}}}}
    assert "choose one of v0.18.0" in refusals(overlay)[0]
