# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan and inputs determine the container in which a node takes part in an all-reduce."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective_container
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

INPUTS = {
    "hccl_collective_tool": "probe", "hccl_collective_image": "", "hccl_collective_backend": "hccl",
    "hccl_collective_processes_per_node": 0, "hccl_collective_sizes_bytes": [268435456, 1048576],
    "hccl_collective_warmup": 5, "hccl_collective_iterations": 20, "hccl_collective_timeout_s": 300,
    "hccl_collective_port": 29511, "hccl_collective_toolkit_path": "/opt/toolkit",
}
PLAN = {
    "hardware": {"npu_devices": [0, 1], "shared_devices": ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]},
    "docker_socket": "/run/docker.sock",
    "image": {"reference": "registry.example/vllm-ascend:1"},
    "instances": [{"cap_drop": ["MKNOD"], "security_opts": ["no-new-privileges"], "mounts": [
        {"source": "/usr/local/dcmi", "target": "/usr/local/dcmi", "read_only": True, "origin": "host"},
        {"source": "/data/m", "target": "/data/m", "read_only": True, "origin": "weights"}]}],
}
SOURCES = {collective_container.PROBE: "SRC", collective_container.LAUNCHER: "LAUNCH"}
INTERFACES = {"n1": {"name": "eth0", "address": "192.0.2.1"}, "n2": {"name": "eth5", "address": "192.0.2.2"}}


def test_container_runs_the_probe():
    group = {"hosts": ["n1", "n2"], "rank": 1}
    arguments = collective_container.arguments(PLAN, INPUTS, group, INTERFACES, "n2", SOURCES)
    assert arguments["command"] == [
        "timeout", "--kill-after=10", "300", "torchrun", "--nnodes=2", "--nproc-per-node=2", "--node-rank=1",
        "--master-addr=192.0.2.1", "--master-port=29511", "--no-python", "python3", "-c", "SRC"]
    assert arguments["devices"] == [f"/dev/{name}:/dev/{name}:rwm" for name in (
        "davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc")]
    assert [mount["source"] for mount in arguments["mounts"]] == ["/usr/local/dcmi", "/etc/hccn.conf"]
    assert arguments["env"]["HCCL_IF_IP"] == "192.0.2.2"
    assert arguments["env"]["HCCL_SOCKET_IFNAME"] == "=eth5"
    assert arguments["env"]["PROBE_SIZES"] == "1048576,268435456"
    assert (arguments["network_mode"], arguments["detach"], arguments["cleanup"]) == ("host", False, True)
    assert "privileged" not in arguments
    assert PLAN["instances"][0]["mounts"][-1]["origin"] == "weights"
    assert (arguments["cap_drop"], arguments["security_opts"]) == (["MKNOD"], ["no-new-privileges"])


def test_container_has_every_device_of_the_node():
    plan = valid(plan_release="v0.18.0", plan_hardware="atlas_800_a3")
    group = {"hosts": ["n1", "n2"], "rank": 1}
    arguments = collective_container.arguments(plan, INPUTS, group, INTERFACES, "n2", SOURCES)
    assert arguments["devices"] == [f"/dev/{name}:/dev/{name}:rwm" for name in (
        *(f"davinci{number}" for number in range(16)), "davinci_manager", "devmm_svm", "hisi_hdc")]
    assert "--nproc-per-node=16" in arguments["command"]


@pytest.mark.parametrize(("change", "differences"), [
    ({"hccl_collective_image": "torch:1"}, {"image": "torch:1"}),
    ({"hccl_collective_port": 29999}, {"--master-port=29999"}),
    ({"hccl_collective_processes_per_node": 1}, {"--nproc-per-node=1"}),
    ({"hccl_collective_backend": "gloo"}, {"PROBE_BACKEND": "gloo"}),
    ({"hccl_collective_warmup": 1}, {"PROBE_WARMUP": "1"}),
    ({"hccl_collective_iterations": 3}, {"PROBE_ITERATIONS": "3"}),
    ({"hccl_collective_sizes_bytes": [8]}, {"PROBE_SIZES": "8"}),
    ({"hccl_collective_timeout_s": 90}, {"90", "HCCL_CONNECT_TIMEOUT", "PROBE_TIMEOUT_S"}),
])
def test_input_changes_only_its_part_of_the_container(change, differences):
    group = {"hosts": ["n1", "n2"], "rank": 1}
    default, found = (collective_container.arguments(PLAN, {**INPUTS, **each}, group, INTERFACES, "n2", SOURCES)
                      for each in ({}, change))
    words = {new for old, new in zip(default["command"], found["command"]) if old != new}
    others = {name: value for part in ("env",) for name, value in found[part].items() if value != default[part][name]}
    others.update({name: value for name, value in found.items()
                   if name not in ("env", "command") and value != default[name]})
    if isinstance(differences, dict):
        assert (words, others) == (set(), differences)
    else:
        assert words | set(others) == differences
        assert set(others.values()) <= words


@pytest.mark.parametrize(("tool", "required"), [("auto", False), ("hccl_test", True)])
def test_container_runs_the_launcher_of_hccl_test(tool, required):
    inputs = dict(INPUTS, hccl_collective_tool=tool, hccl_collective_sizes_bytes=[4194304, 1048576])
    group = {"hosts": ["n1", "n2"], "rank": 1}
    arguments = collective_container.arguments(PLAN, inputs, group, INTERFACES, "n2", SOURCES)
    command = arguments["command"]
    assert command[3:6] == ["python3", "-c", "LAUNCH"]
    job = json.loads(command[6])
    assert (job["required"], job["toolkit"], job["node"], job["processes"]) == (required, "/opt/toolkit", 1, 2)
    assert job["addresses"] == ["192.0.2.1", "192.0.2.2"]
    assert job["sizes"] == [1048576, 2097152, 4194304]
    assert " ".join(job["options"]) == "-b 1048576 -e 4194304 -f 2 -d fp32 -o sum -p 2 -n 20 -w 5 -c 1"
    assert command[7:] == collective_container.arguments(
        PLAN, dict(inputs, hccl_collective_tool="probe"), group, INTERFACES, "n2", SOURCES)["command"][3:]
    assert all(isinstance(word, str) for word in command)
