# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prerequisites and the state of the planned containers are observed in one call."""

from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import prerequisites

PARAMS = {"instances": [], "image": "vllm:v1", "served_name": "q", "api_key": "", "mounts": [], "devices": [],
          "ports": [], "weights": None, "ca": None, "server_name": None, "certificate_files": []}


@pytest.fixture
def observe(docker):
    """Return a function (interfaces=, **options) that returns the return values of the module."""
    def run(interfaces=(), **options):
        return prerequisites.observe(DockerEngine(docker.path), dict(PARAMS, **options), interfaces)
    return run


def test_missing_prerequisites_are_returned(observe, tmp_path):
    found = observe(weights=str(tmp_path / "none"), devices=["/dev/null", "/dev/davinci99"], mounts=[
        {"source": str(tmp_path), "type": "file"}, {"source": str(tmp_path), "type": "directory"}])
    assert found["missing_devices"] == ["/dev/davinci99"]
    assert found["wrong_sources"] == [{"source": str(tmp_path), "expected": "file", "found": "directory"}]
    assert found["weights"] == {"folder": False, "config": False, "shards": 0}
    assert (found["image"], found["image_architecture"], found["architecture"]) == (None, None, os.uname().machine)
    assert (found["port_holders"], found["device_holders"], found["addresses"]) == ([], [], [])


def test_architecture_of_the_image_is_returned(docker, observe):
    docker.images["vllm:v1"] = {"Id": "sha256:i1", "Architecture": "arm64", "Size": 1, "Created": "now"}
    found = observe()
    assert (found["image"], found["image_architecture"]) == ("sha256:i1", "aarch64")


def test_holders_of_ports_and_npus_are_returned(docker, observe):
    docker.add("other", devices=["/dev/davinci1"], ports=[8888])
    docker.add("exited", status="exited", devices=["/dev/davinci1"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = observe(ports=[8888, port], devices=["/dev/davinci0", "/dev/davinci1", "/dev/davinci_manager"])
    assert [(each["port"], each["pid"], each["container"] and each["container"]["name"])
            for each in found["port_holders"]] == [(8888, None, "other"), (port, os.getpid(), None)]
    # Processes of a test bed on this machine can have NPUs open.
    assert [(each["device"], each["container"]["name"])
            for each in found["device_holders"] if each["container"]] == [(1, "other")]


def test_only_holders_of_planned_npus_are_returned_and_one_per_container(docker, observe, monkeypatch):
    trainer = docker.add("trainer", devices=["/dev/davinci0", "/dev/davinci1"])
    processes = [{"pid": pid, "process": "python3", "cgroup": cgroup}
                 for pid, cgroup in ((1, trainer["Id"]), (2, trainer["Id"]), (3, "user"), (4, "user"))]
    monkeypatch.setattr(prerequisites.holders, "open_files", lambda ports, npus: ({}, {0: processes, 5: processes}))
    found = observe(devices=["/dev/davinci0"])
    assert [(each["device"], each["pid"], each["container"] and each["container"]["name"])
            for each in found["device_holders"]] == [(0, 1, "trainer"), (0, 3, None), (0, 4, None)]


def test_other_npus_of_containers_of_this_collection(docker, observe, monkeypatch):
    ours = docker.add("vllm", labels={"ascend.vllm.instance-hash": "h"})
    process = {"pid": 1, "process": "VLLMWorker", "cgroup": ours["Id"]}
    monkeypatch.setattr(prerequisites.holders, "open_files", lambda ports, npus: ({}, {0: [process], 5: [process]}))
    assert [(each["device"], each["process"]) for each in observe(devices=["/dev/davinci0"])["device_holders"]] == [
        (0, "VLLMWorker"), (5, "VLLMWorker")]


def test_addresses_of_the_host_are_returned(observe):
    interfaces = [{"name": "eth0", "addresses": [{"address": "10.0.0.1", "prefix": 24}]},
                  {"name": "eth1", "addresses": []}]
    assert observe(interfaces)["addresses"] == [{"interface": "eth0", "address": "10.0.0.1"}]


def test_host_facts_are_returned_even_without_docker(tmp_path):
    docker = DockerEngine(str(tmp_path / "none.sock"))
    found = prerequisites.observe(docker, dict(PARAMS, devices=["/dev/davinci99"]))
    assert "does not respond" in found["docker_engine_error"]
    assert found["missing_devices"] == ["/dev/davinci99"]
