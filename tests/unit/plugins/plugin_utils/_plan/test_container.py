# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container of an instance has the planned NPUs, mounts, environment, health check and ports."""

from __future__ import annotations

import itertools
import json
import os
import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.api_key import MIDDLEWARE_VERSION
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import OWNED_ENVIRONMENT
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import digest
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    BF16,
    CATALOGUE,
    COMMAND_W8A8,
    DEFAULTS,
    options,
    refusal,
    refusals,
    valid,
)


@pytest.mark.parametrize(("hardware", "devices"), [
    ("atlas_800_a2", 8), ("atlas_800i_a2_32g", 8), ("atlas_800_a3", 16), ("a2_16_npus", 16)])
def test_replicas_auto_uses_every_device_of_the_hardware(hardware, devices):
    resolved = valid(plan_release="v0.18.0", plan_hardware=hardware, serving_replicas="auto")
    assert sorted(itertools.chain(*(instance["npus"] for instance in resolved["instances"]))) == list(range(devices))
    assert resolved["npus"] == list(range(devices))


@pytest.mark.parametrize(("inputs", "npus"), [
    ({"serving_npus": [2, 3]}, [[2, 3]]),
    ({"serving_npus": ["5", 1, 7], "serving_replicas": "auto"}, [[5, 1]]),
    ({"serving_tensor_parallel_size": 4}, [[0, 1, 2, 3]]),
    ({"serving_tensor_parallel_size": "1"}, [[0]]),
    ({"serving_tensor_parallel_size": 4, "serving_replicas": "2"}, [[0, 1, 2, 3], [4, 5, 6, 7]]),
])
def test_instances_are_placed_on_the_npus(inputs, npus):
    resolved = valid(**inputs)
    assert [instance["npus"] for instance in resolved["instances"]] == npus
    assert options(resolved)["--tensor-parallel-size"] == [str(len(npus[0]))]


def test_replicas_share_no_npu_name_or_port():
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


def test_more_replicas_do_not_change_the_first_instance():
    assert valid(serving_replicas=4)["instances"][0] == valid()["instances"][0]


@pytest.mark.parametrize(("env", "expected"), [
    ({"OMP_NUM_THREADS": 10}, {"OMP_NUM_THREADS": "10"}),
    ({"HCCL_OP_EXPANSION_MODE": "HOST"}, {"HCCL_OP_EXPANSION_MODE": "HOST"}),
    ({"SHM_BARRIER": None}, {}),
])
def test_environment_is_merged_by_name(env, expected):
    environment = valid(serving_env=env)["instances"][0]["environment"]
    for name in env:
        assert environment.get(name) == expected.get(name)


def test_mounts_of_the_site_are_added():
    resolved = valid(serving_mounts=[{"source": "/srv/cache", "target": "/root/.cache", "read_only": False},
                                     {"source": "/etc/ssl/ca.pem", "type": "file"}])
    assert resolved["instances"][0]["mounts"][6:8] == [
        {"source": "/srv/cache", "target": "/root/.cache", "type": "directory", "read_only": False, "origin": "site"},
        {"source": "/etc/ssl/ca.pem", "target": "/etc/ssl/ca.pem", "type": "file", "read_only": True, "origin": "site"},
    ]


def plog_mounts(instance):
    return [mount for mount in instance["mounts"] if mount["origin"] == "plog"]


def test_plog_of_every_container_is_kept_in_a_separate_folder():
    for instance in valid(serving_replicas=2, serving_state_path="/srv/state")["instances"]:
        assert plog_mounts(instance) == [
            {"source": f"/srv/state/plog/{instance['name']}", "target": "/root/ascend/log", "type": "directory",
             "read_only": False, "origin": "plog"}]
        assert instance["plog_path"] == plog_mounts(instance)[0]["source"]
        assert instance["launcher"][-2:] == ["/root/ascend/log", str(1024 << 20)]


def test_plog_folder_is_mounted_where_cann_writes():
    (instance,) = valid(serving_env={"ASCEND_PROCESS_LOG_PATH": "/logs"})["instances"]
    assert (plog_mounts(instance)[0]["target"], instance["launcher"][-2]) == ("/logs", "/logs")


@pytest.mark.parametrize("inputs", [
    {"serving_plog_max_mb": 0}, {"serving_mounts": [{"source": "/srv/plog", "target": "/root/ascend/log"}]}])
def test_plog_folder_is_not_mounted_if_it_is_disabled_or_mounted_by_the_site(inputs):
    (instance,) = valid(**inputs)["instances"]
    assert (plog_mounts(instance), instance["plog_path"], instance["launcher"]) == ([], None, [])


def test_hash_without_a_plog_folder_is_the_same_as_in_earlier_versions():
    """If serving_plog_max_mb is 0, an upgrade of the collection does not replace the containers of a cluster."""
    (instance,) = valid(serving_plog_max_mb=0, serving_health_interval_s=0)["instances"]
    hashed = {key: instance[key] for key in instance if key not in {
        "index", "npus", "serves", "url", "hash", "labels", "middleware_path", "tls", "plog_path"}}
    assert "plog" not in json.dumps(hashed)
    assert instance["hash"] == digest([valid()["image"]["reference"], "", hashed])


def test_launcher_keeps_the_newest_plog_files_and_starts_the_server(tmp_path):
    (instance,) = valid(serving_plog_max_mb=1)["instances"]
    for age, name in enumerate(("run/plog/plog-9_3.log", "plog-9 2.log", "debug/plog/plog-9_1.log", "plog-9_0.log")):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(400 << 10))
        os.utime(file, (1000 - age, 1000 - age))
    launcher = [str(tmp_path) if word == "/root/ascend/log" else word for word in instance["launcher"]]
    done = subprocess.run([*launcher, "printf", "%s|", "vllm serve", "--port"], capture_output=True, text=True,
                          check=True)
    assert done.stdout == "vllm serve|--port|"
    assert sorted(file.name for file in tmp_path.rglob("*.log")) == ["plog-9 2.log", "plog-9_3.log"]


def test_server_starts_without_a_plog_folder():
    (instance,) = valid()["instances"]
    launcher = ["/none" if word == "/root/ascend/log" else word for word in instance["launcher"]]
    assert subprocess.run([*launcher, "echo", "started"], capture_output=True, text=True,
                          check=True).stdout == "started\n"


def test_api_key_is_read_from_a_mounted_file():
    (instance,) = valid(serving_api_key="set", serving_plog_max_mb=0)["instances"]
    path = "/var/lib/ascend-vllm/secrets.env"
    assert instance["secrets_path"] == path
    assert instance["launcher"][-1] == "/run/ascend-vllm/secrets.env"
    assert instance["mounts"][-1] == {"source": path, "target": "/run/ascend-vllm/secrets.env", "type": "file",
                                      "read_only": True, "origin": "secrets"}
    assert instance["mounts"][-2] == {
        "source": f"/var/lib/ascend-vllm/middleware/{MIDDLEWARE_VERSION}/ascend_vllm_api_key.py",
        "target": "/run/ascend-vllm/python/ascend_vllm_api_key.py", "type": "file", "read_only": True,
        "origin": "middleware"}
    assert instance["middleware_path"] == instance["mounts"][-2]["source"]
    assert instance["command"] == [*COMMAND_W8A8, "--middleware", "ascend_vllm_api_key.ApiKey"]


def test_our_middleware_is_the_last_one_and_can_leave_metrics_open():
    resolved = valid(serving_api_key="set", serving_args={"middleware": ["site.A", "site.B"]},
                     serving_metrics_key_required=False)
    command = resolved["instances"][0]["command"]
    assert [value for option, value in zip(command, command[1:]) if option == "--middleware"] == [
        "site.A", "site.B", "ascend_vllm_api_key.ApiKeyExceptMetrics"]


def test_hash_without_a_key_does_not_depend_on_the_middleware():
    assert valid(serving_metrics_key_required=False)["hash"] == valid()["hash"]


def test_every_instance_has_a_health_check():
    resolved = valid(serving_replicas=2, serving_bind="0.0.0.0", serving_ready_timeout_s=900)
    assert resolved["health_check"]["host_path"].startswith("/var/lib/ascend-vllm/health/")
    first, second = (instance["health"] for instance in resolved["instances"])
    assert first == {
        "test": ["CMD", "python3", "-IS", "/run/ascend-vllm/health.py", "--host", "127.0.0.1", "--port", "8888",
                 "--model", "qwen25_vl", "--timeout", "20"],
        "interval": "30s", "timeout": "65s", "retries": 10, "start_period": "900s"}
    assert second["test"][second["test"].index("--port") + 1] == "8889"
    assert valid(serving_restart_hung=True)["instances"][0]["health"]["test"][-2:] == ["--restart-after", "10"]


def test_health_check_can_be_disabled():
    resolved = valid(serving_health_interval_s=0)
    assert (resolved["health_check"], resolved["instances"][0]["health"]) == (None, None)
    assert "health" not in {mount["origin"] for mount in resolved["instances"][0]["mounts"]}


def test_environment_selects_the_npus_of_privileged_instances():
    instances = valid(serving_privileged=True, serving_npus=[4, 5, 6, 7], serving_replicas=2)["instances"]
    for name in ("ASCEND_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"):
        assert [instance["environment"][name] for instance in instances] == ["4,5", "6,7"]
        assert name not in valid(serving_npus=[4, 5])["instances"][0]["environment"]


# (inputs, parts of the message)
REFUSED = [
    ({"serving_hccl_port_base": 65530}, ["serving_hccl_port_base", "above 65535"]),
    ({"serving_replicas": 5}, ["serving_replicas: 5 x 2 NPUs are needed, but only 8"]),
    ({"serving_replicas": 0}, ["serving_replicas must be an integer from 1"]),
    ({"serving_npus": [0, 8]}, ["serving_npus", "0 to 7", "0, 8"]),
    ({"serving_npus": [1, 1]}, ["serving_npus", "different NPU numbers"]),
    ({"serving_npus": []}, ["serving_npus", "is empty"]),
    ({"serving_tensor_parallel_size": 3}, ["must divide the 40 attention heads of Qwen2.5-VL", "but is 3."]),
    ({"plan_model": BF16, "serving_tensor_parallel_size": 1}, ["62.3 GiB", "54.9 GiB", "set it to 2"]),
    ({"plan_hardware": "atlas_800i_a2_32g", "plan_model": BF16}, ["31.2 GiB", "27.4 GiB"]),
    ({"serving_args": {"gpu-memory-utilization": 1.5}}, ["gpu-memory-utilization", "1.5"]),
    ({"serving_args": {"gpu-memory-utilization": 0.3}}, ["serving_tensor_parallel_size: ", "set it to 4", "18.3 GiB"]),
    ({"serving_env": {"VLLM_API_KEY": "k"}}, ["VLLM_API_KEY, which serving_api_key controls"]),
    ({"serving_env": {"ASCEND_VLLM_API_KEY_2": "k"}}, ["ASCEND_VLLM_API_KEY_2, which serving_api_key controls"]),
    ({"serving_env": {"ASCEND_RT_VISIBLE_DEVICES": "0"}}, ["which serving_npus controls"]),
    ({"serving_env": {"A B": "1"}}, ["serving_env", "A B"]),
    ({"serving_env": {"A": True}}, ["serving_env", "quote true and false"]),
    ({"serving_restart_hung": True, "serving_health_interval_s": 0}, ["serving_restart_hung", "health check"]),
    ({"serving_restart_hung": True, "serving_restart_policy": "on-failure"}, ["serving_restart_hung", "always"]),
    ({"serving_health_timeout_s": 0}, ["serving_health_timeout_s"]),
    ({"serving_mounts": [{"target": "/x"}]}, ["serving_mounts", "absolute source"]),
    ({"serving_mounts": [{"source": "x"}]}, ["serving_mounts"]),
    ({"serving_mounts": [{"source": "/x", "mode": "ro"}]}, ["serving_mounts"]),
]


@pytest.mark.parametrize(("inputs", "parts"), REFUSED)
def test_unsuitable_input_is_refused(inputs, parts):
    message = refusal(**inputs)
    assert [part for part in parts if part not in message] == []


def test_every_unsuitable_mount_is_refused():
    messages = refusals(serving_mounts=[{"source": "x"}, {"source": "y"}])
    assert [message[-16:] for message in messages] == ["{'source': 'x'}.", "{'source': 'y'}."]


@pytest.mark.parametrize(("name", "variable"), sorted(OWNED_ENVIRONMENT.items()))
def test_environment_that_an_input_controls_is_refused(name, variable):
    assert DEFAULTS.keys() >= {variable}
    sentence = refusal(serving_env={name: "1"})
    assert sentence == f"serving_env sets {name}, which {variable} controls; set that variable instead."


def test_log_rotation_can_be_configured():
    (default,) = valid()["instances"]
    (changed,) = valid(serving_log_max_size="5m", serving_log_max_files=2)["instances"]
    assert (changed["log_max_size"], changed["log_max_files"]) == ("5m", 2)
    assert default["hash"] != changed["hash"]


def test_files_of_the_service_are_in_its_state_folder():
    resolved = valid(serving_state_path="/srv/state", serving_api_key="k")
    assert resolved["health_check"]["host_path"].startswith("/srv/state/health/")
    assert resolved["instances"][0]["secrets_path"] == "/srv/state/secrets.env"


def test_hccl_port_ranges_on_the_npus_start_at_their_base():
    def ranges(**inputs):
        instances = valid(serving_replicas=2, serving_hccl_npu_port_base=20000, **inputs)["instances"]
        return [instance["environment"].get("HCCL_NPU_SOCKET_PORT_RANGE") for instance in instances]

    assert ranges() == [None, "20016-20031"]
    assert ranges(serving_hccl_port_base=30000) == ["20000-20015", "20016-20031"]


def test_npus_have_the_numbers_of_their_device_files():
    overlay = {"hardware": {"site": {**CATALOGUE["hardware"]["atlas_800_a2"], "npus": 4,
                                     "device_numbers": [10, 12, 14, 16]}}}
    (instance,) = valid(overlay, plan_hardware="site")["instances"]
    assert instance["npus"] == [10, 12]
    assert "/dev/davinci12" in instance["devices"]
    assert valid(overlay, plan_hardware="site", serving_npus=[14, 16])["instances"][0]["npus"] == [14, 16]
    assert "numbers from 10 to 16, but is 0." in refusal(overlay, plan_hardware="site", serving_npus=[0])
