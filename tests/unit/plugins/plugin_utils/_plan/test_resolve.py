# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans are resolved for every release and model, and unsuitable inputs are refused."""

from __future__ import annotations

import copy
import re

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import SWITCH, serve_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    BF16,
    CATALOGUE,
    COMMAND_BF16,
    COMMAND_W8A8,
    DEFAULTS,
    W8A8,
    options,
    plan_with,
    refusal,
    refusals,
    valid,
)

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
    "v0.19.1rc1": (JEMALLOC, False),
    "v0.20.2rc1": (JEMALLOC, False),
    "v0.21.0rc1": (JEMALLOC, False),
    "v0.22.1rc1": (JEMALLOC, False),
    "v0.23.0rc1": (JEMALLOC, False),
    "v0.23.0": (JEMALLOC, False),
    "v0.24.0rc1": (JEMALLOC, False),
    "v0.25.1rc1": (JEMALLOC, False),
    "v0.26.0rc1": (JEMALLOC, False),
    "v0.30.0": (JEMALLOC, False),
}


def test_table_contains_every_release():
    assert sorted(BY_RELEASE) == sorted(CATALOGUE["releases"])


@pytest.mark.parametrize("model", [W8A8, BF16])
@pytest.mark.parametrize("release", BY_RELEASE)
def test_plan_is_as_expected_for_every_release_and_model(release, model):
    environment, patched = BY_RELEASE[release]
    resolved = valid(plan_release=release, plan_model=model)
    (instance,) = resolved["instances"]
    command = list(COMMAND_W8A8 if model == W8A8 else COMMAND_BF16)
    if "shutdown-timeout" in serve_options(CATALOGUE, resolved["release"]["vllm"]):
        command += ["--shutdown-timeout", "600"]  # since vLLM 0.18
    assert instance["command"] == command
    assert instance["environment"] == environment
    assert resolved["image"]["reference"] == f"quay.io/ascend/vllm-ascend:{release}"
    assert bool(resolved["patch"]) is patched
    known = serve_options(CATALOGUE, resolved["release"]["vllm"])
    for option in options(resolved):
        name = option[2:]
        assert name in known or known[name.replace("no-", "", 1)] == SWITCH


def test_default_plan_contains_the_expected_container():
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
        ("/var/lib/ascend-vllm/plog/vllm-ascend-qwen25-vl", "/root/ascend/log", "directory", "plog"),
    ]
    assert all(mount["read_only"] or mount["origin"] == "plog" for mount in instance["mounts"])
    assert instance["labels"] == {"ascend.vllm.instance-hash": instance["hash"]}
    assert (instance["shm_size"], instance["privileged"]) == ("1g", False)


def test_resolve_does_not_change_the_catalogue_and_the_inputs():
    catalogue, inputs = copy.deepcopy(CATALOGUE), dict(DEFAULTS, serving_args={"additional-config": {"a": 1}})
    before = copy.deepcopy(inputs)
    resolve(catalogue, dict(inputs, plan_release="v0.23.0", serving_weight_nz=2))
    assert catalogue == CATALOGUE
    assert inputs == before


def test_ready_timeout_does_not_change_the_hash():
    assert valid(serving_ready_timeout_s=900)["hash"] == valid(serving_ready_timeout_s=3600)["hash"]


def test_server_on_the_loopback_interface_has_a_loopback_url():
    resolved = valid(serving_bind="127.0.0.1")
    assert resolved["instances"][0]["url"] == "http://127.0.0.1:8888"


def test_docker_socket_can_be_configured():
    assert valid()["docker_socket"] == "/var/run/docker.sock"
    assert valid(plan_docker_socket="/run/user/1000/docker.sock")["docker_socket"] == "/run/user/1000/docker.sock"
    assert "plan_docker_socket must be an absolute path" in refusals(plan_docker_socket="unix:///x")[0]


@pytest.mark.parametrize(("hardware", "devices"), [("atlas_800_a2", 8), ("atlas_800_a3", 16)])
def test_hardware_determines_the_devices(hardware, devices):
    found = valid(plan_release="v0.18.0", plan_hardware=hardware, serving_driver_path="/opt/driver/")["hardware"]
    assert found["npu_devices"] == list(range(devices))
    assert found["shared_devices"] == ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]
    assert (found["driver_path"], found["driver_version_file"]) == ("/opt/driver", "/opt/driver/version.info")


@pytest.mark.parametrize(("inputs", "path"), [
    ({}, "/data/Qwen2.5-VL-32B-Instruct"),
    ({"weights_path": "/srv/models/"}, "/srv/models/Qwen2.5-VL-32B-Instruct"),
    ({"weights_quantize_from": "/bf16"}, "/bf16"),
    ({"plan_model": BF16}, None),
])
def test_original_of_a_quantized_model_is_in_the_same_folder_by_default(inputs, path):
    assert valid(**inputs)["model"]["quantize_from_path"] == path


CHANGES_THE_HASH = {
    "serving_port": 8889, "serving_env": {"A": "1"}, "serving_args": {"seed": 1}, "serving_shm_size": "2g",
    "serving_api_key": "set", "serving_health_retries": 3, "serving_restart_hung": True, "image_tag": "site-7",
    "weights_digest": "ab", "serving_patches": [], "serving_npus": [2, 3], "serving_privileged": True,
    "plan_model": BF16, "serving_cap_drop": [], "serving_security_opts": ["seccomp=unconfined"]}
KEEPS_THE_HASH = {
    "serving_address": "198.51.100.7", "image_digest": "sha256:" + 64 * "a", "serving_ready_timeout_s": 60,
    "serving_replicas": 3, "plan_architecture": "aarch64"}


@pytest.mark.parametrize("name", CHANGES_THE_HASH)
def test_hash_of_an_instance_changes_with_what_is_deployed(name):
    changed = valid(**{name: CHANGES_THE_HASH[name]})
    assert changed["instances"][0]["hash"] != valid()["instances"][0]["hash"]
    assert changed["hash"] != valid()["hash"]


@pytest.mark.parametrize("name", KEEPS_THE_HASH)
def test_hash_of_an_instance_does_not_change_with_other_inputs(name):
    assert valid(**{name: KEEPS_THE_HASH[name]})["instances"][0]["hash"] == valid()["instances"][0]["hash"]


def test_overlay_can_add_a_model():
    entry = dict(CATALOGUE["models"][BF16], name="Tiny", directory="tiny", weights_bytes=2000000, npus=1)
    resolved = valid({"models": {"tiny": entry}}, plan_model="tiny")
    assert resolved["model"]["path"] == "/data/tiny"
    assert resolved["instances"][0]["npus"] == [0]


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
def test_input_causes_a_warning(inputs, warning):
    assert warning in [found["id"] for found in valid(**inputs)["warnings"]]


@pytest.mark.parametrize(("inputs", "warning"), [
    ({}, "known_bug.qwen2_5_vl_accuracy"),
    ({}, "plan_release"),
    ({"image_digest": "sha256:" + 64 * "0"}, "image_digest"),
    ({"serving_api_key": "set"}, "serving_api_key"),
    ({"serving_bind": "127.0.0.1"}, "serving_api_key"),
    ({"plan_release": "v0.18.0", "plan_architecture": "aarch64"}, "known_bug.cann_8_5_1_x86"),
])
def test_input_does_not_cause_a_warning(inputs, warning):
    assert warning not in [found["id"] for found in valid(**inputs)["warnings"]]


# (inputs, parts of the message)
REFUSED = [
    ({"plan_release": "v0.11.0rc9"}, ["plan_release is v0.11.0rc9", "nearest is v0.11.0rc3."]),
    ({"plan_release": "v0.14.0.post1"}, ["plan_release is v0.14.0.post1", "nearest is v0.14.0rc1."]),
    ({"plan_release": "nightly-main"}, ["plan_release is nightly-main", "choose one of v0.11.0rc1"]),
    ({"plan_release": "v0.18.0", "image_tag": "v0.23.0.post1"},
     ["an image of release v0.23.0.post1", "set plan_release to v0.23.0, or image_tag to v0.18.0."]),
    ({"image_tag": "v0.10.0rc1"}, ["an image of release v0.10.0rc1", "; set image_tag to v0.11.0rc1."]),
    ({"plan_release": ""}, ["plan_release is empty", "choose one of"]),
    ({"plan_hardware": "atlas_800_a1"}, ["plan_hardware is atlas_800_a1", "nearest is atlas_800_a"]),
    ({"plan_model": "llama"}, ["plan_model is llama", "choose one of qwen2_5_vl_32b_instruct, "]),
    ({"plan_architecture": "riscv64"}, ["plan_architecture is riscv64", "aarch64, x86_64"]),
    ({"serving_topology": "prefill_decode"}, ["not supported for Qwen2.5-VL-32B-Instruct-w8a8",
                                              "models.qwen2_5_vl_32b_instruct_w8a8.unsupported.prefill_decode"]),
    ({"serving_topology": "ray"}, ["serving_hosts must name two or more", "ray", "names none"]),
    ({"serving_topology": "rings"}, ["serving_topology must be one of replicas", "'rings'"]),
    ({"serving_port": "http"}, ["serving_port must be an integer from 1 to 65535", "'http'"]),
    ({"serving_port": 70000}, ["serving_port", "65535", "70000"]),
    ({"serving_port": True}, ["serving_port", "True"]),
    ({"serving_port": 65534, "serving_replicas": 3}, ["serving_port", "65536", "set a lower serving_port"]),
    ({"serving_port": 60000}, ["serving_hccl_port_base", "60000-60015", "serving_port", "change one"]),
    ({"serving_port": 61020, "serving_replicas": 2},
     ["serving_hccl_port_base assigns ports 61016-61031 to instance 1"]),
    ({"serving_bind": ""}, ["serving_bind is empty"]),
    ({"weights_path": "models"}, ["weights_path must be an absolute path", "'models'"]),
    ({"serving_shm_size": "lots"}, ["serving_shm_size", "'lots'"]),
    ({"serving_container_name": "a b"}, ["serving_container_name", "'a b'"]),
    ({"serving_restart_policy": "maybe"}, ["serving_restart_policy must be one of always", "'maybe'"]),
]


@pytest.mark.parametrize(("inputs", "parts"), REFUSED)
def test_unsuitable_input_is_refused(inputs, parts):
    message = refusal(**inputs)
    assert [part for part in parts if part not in message] == []


def test_all_mistakes_are_reported_at_once():
    assert len(refusals(serving_port=0, serving_bind="", image_variant="x", serving_args={"a": 1, "b": 2})) == 5


def test_refused_plan_of_an_unknown_release_has_no_hash():
    resolved = plan_with(plan_release="v9.9.9")
    assert resolved["hash"] is None
    assert resolved["instances"] == []


def test_release_with_unknown_vllm_has_the_options_of_the_preceding_version():
    overlay = {"releases": {"v0.18.0": {"vllm": "0.18.9"}}}
    resolved = valid(overlay, plan_release="v0.18.0", serving_args={"shutdown-timeout": 5})
    assert "contains vLLM 0.18.9, whose options the catalogue does not list" in {
        found["id"]: found["message"] for found in resolved["warnings"]}["plan_release"]
    assert "no option swap-space" in refusal(overlay, plan_release="v0.18.0", serving_args={"swap-space": 4})


def test_release_that_the_model_does_not_support_is_refused():
    models = {W8A8: {"releases": {"documented": {"since": "v0.18.0", "until": "v0.19.0"}, "undocumented": {
        "since": "v0.26.0"}}}}
    assert refusal({"models": models}).endswith("choose one of v0.18.0, v0.30.0.")
    assert refusal({"models": models}, plan_release="v0.23.1").endswith("the nearest is v0.18.0.")
    assert valid({"models": models}, plan_release="v0.18.0.post1")["image"]["tag"] == "v0.18.0.post1"


def test_model_that_states_no_releases_causes_a_warning():
    overlay = {"models": {"mine": {**CATALOGUE["models"][BF16], "releases": {}}}}
    found = {found["id"]: found["message"] for found in valid(overlay, plan_model="mine")["warnings"]}
    assert "does not state which releases support" in found["release.undocumented"]


@pytest.mark.parametrize(("inputs", "tag"), [
    ({"plan_release": "v0.23.0.post1"}, "v0.23.0.post1"),
    ({"plan_release": "v0.23.0.post1", "plan_hardware": "atlas_800_a3"}, "v0.23.0.post1-a3"),
    ({"plan_release": "v0.23.0", "image_tag": "v0.23.0.post1"}, "v0.23.0.post1"),
    ({"plan_release": "v0.18.0", "image_tag": "nightly-releases-v0.18.0"}, "nightly-releases-v0.18.0"),
    ({"plan_release": "nightly-releases-v0.18.0"}, "nightly-releases-v0.18.0")])
def test_post_release_is_planned_as_its_base_release(inputs, tag):
    resolved = valid(**inputs)
    base = inputs["plan_release"].replace(".post1", "").replace("nightly-releases-", "")
    assert resolved["image"]["tag"] == tag
    assert resolved["release"]["vllm"] == CATALOGUE["releases"][base]["vllm"]
    assert resolved["instances"][0]["command"] == valid(plan_release=base)["instances"][0]["command"]
    assert {"plan_release", "image_tag"} & {found["id"] for found in resolved["warnings"]}


# Inputs whose refusals recommend values.
RECOMMENDING = [
    {"plan_release": "v0.9.1"}, {"plan_release": "latest"}, {"plan_release": "v0.23.7"}, {"plan_release": "v0.99.0"},
    {"plan_release": "v0.18.0", "image_tag": "v0.23.0.post1"}, {"plan_release": "v0.18.0", "image_tag": "v0.23.0"},
    {"plan_release": "v0.18.0", "image_tag": "v0.10.0"}, {"plan_release": "v0.18.0", "image_tag": "v0.18.0-a3"},
    {"plan_release": "v0.11.0", "serving_topology": "pipeline", "serving_hosts": ["a", "b"]},
    {"plan_model": "qwen2_5_vl_32b"}, {"plan_hardware": "atlas_800_a4", "plan_release": "v0.18.0"}]


@pytest.mark.parametrize("model", [W8A8, "narrow"])
@pytest.mark.parametrize("inputs", RECOMMENDING, ids=str)
def test_no_refusal_recommends_a_value_that_another_check_refuses(inputs, model):
    overlay = {"models": {"narrow": {**CATALOGUE["models"][W8A8], "releases": {"documented": {
        "since": "v0.13.0", "until": "v0.19.0"}}}}}
    inputs = {"plan_model": model, **inputs}
    recommended = []
    for found in plan_with(overlay, **inputs)["refusals"]:
        message, one_of = found["message"], r"(?:nearest is|choose one of) ([^;]*)\.$"
        named = re.findall(r"(plan_\w+|image_tag|serving_\w+) to (?:one of )?([^;]*?)(?:, or |\.$)", message)
        named += [(found["id"], text) for text in re.findall(one_of, message)]
        recommended += [(name, value) for name, text in named for value in text.split(", ")]
    assert recommended
    for name, value in recommended:
        changed = {**inputs, name: value}
        if name == "plan_release":
            changed.pop("image_tag", None)
        remaining = [found["message"] for found in plan_with(overlay, **changed)["refusals"]
                     if not found["id"].startswith("serving_hosts") and found["id"] != "serving_topology"]
        assert remaining == [], (name, value)


@pytest.mark.parametrize(("bind", "address", "url", "listens", "checked"), [
    ("0.0.0.0", "10.0.0.1", "http://10.0.0.1:8888", "0.0.0.0", "127.0.0.1"),
    ("0.0.0.0", "node-1.example.org", "http://node-1.example.org:8888", "0.0.0.0", "127.0.0.1"),
    ("::", "fd00::1", "http://[fd00::1]:8888", "::", "::1"),
    ("::", "10.0.0.1", "http://10.0.0.1:8888", "::", "::1"),
    ("fd00::1", "fd00::1", "http://[fd00::1]:8888", "fd00::1", "fd00::1"),
    ("::1", "fd00::1", "http://[::1]:8888", "::1", "::1"),
    ("127.0.0.1", "fd00::1", "http://127.0.0.1:8888", "127.0.0.1", "127.0.0.1"),
])
def test_url_command_and_health_check_use_addresses_of_either_family(bind, address, url, listens, checked):
    (instance,) = valid(serving_bind=bind, serving_address=address)["instances"]
    command, check = instance["command"], instance["health"]["test"]
    assert instance["url"] == url
    assert command[command.index("--host") + 1] == listens
    assert check[check.index("--host") + 1] == checked


@pytest.mark.parametrize(("variable", "value"), [
    ("serving_address", "[fd00::1]"), ("serving_address", "10.0.0.1:80"), ("serving_address", "fe80::1%eth0"),
    ("serving_address", "http://x"), ("serving_address", "a b"), ("serving_address", "-x"),
    ("serving_bind", "[::]"), ("serving_bind", "::%1"), ("serving_bind", "*")])
def test_address_with_brackets_port_scheme_or_zone_is_refused(variable, value):
    message = refusal(**{variable: value})
    assert message.startswith(f"{variable} must be a host name, an IPv4 address or an IPv6 address, without brackets")


def test_ipv6_address_needs_a_server_that_listens_on_it():
    message = refusal(serving_address="fd00::1", serving_bind="0.0.0.0")
    assert "serving_address is the IPv6 address fd00::1, but serving_bind is 0.0.0.0" in message
    assert "set serving_bind to ::" in message
