# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log, container and sockets of a service are read as they are."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts, network
from ansible_collections.ascend.vllm.plugins.module_utils._host import holders as holders_module
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import startup
from ansible_collections.ascend.vllm.plugins.module_utils._weights import files


@pytest.mark.parametrize(("log", "step"), [
    ("", None),
    ("INFO vLLM API server version 0.11.0", None),
    ("Loading safetensors checkpoint shards:  25% Completed | 1/4\n"
     "Loading safetensors checkpoint shards:  50% Completed | 2/4", "loading weights, 50 %"),
    ("Loading safetensors checkpoint shards: 100% Completed | 4/4\nINFO Loading weights took 12.3 seconds",
     "weights loaded"),
    ("Loading model weights took 21.1 GB\nAvailable memory: 30064771072, total memory: 65452113920", "KV cache sized"),
    ("Available KV cache memory: 30.12 GiB", "KV cache sized"),
    ("Loading safetensors using Fastsafetensor loader:  30% Completed | 3/10", "loading weights, 30 %"),
    ("Loading weights took 9 seconds\nDynamo bytecode transform time: 5.1 s", "compiling"),
    ("NPU KV cache size: 1,024 tokens\nCapturing ACL graphs (decode, FULL):  40%|####      | 4/10",
     "capturing graphs, 40 %"),
    ("GPU KV cache size: 458,752 tokens\nGraph capturing finished in 21 secs, took 0.61 GiB", "graphs captured"),
    ("init engine (profile, create kv cache, warmup model) took 33.21 seconds", "engine initialised"),
    ("Application startup complete.", "API server started"),
])
def test_progress(log, step):
    assert startup.progress(log) == step


INSPECTED = {
    "Id": "c1", "Image": "sha256:i1", "RestartCount": 2,
    "Config": {"Labels": {"ours": "h1", "ascend.vllm.secrets": "1.5"},
               "Env": ["PATH=/bin", "GLOO_SOCKET_IFNAME=eth0"]},
    "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Error": "", "StartedAt": "t"}}


def test_container():
    assert containers.container(INSPECTED, "ours") == {
        "id": "c1", "image": "sha256:i1", "hash": "h1", "status": "exited", "exit_code": 137, "oom_killed": True,
        "error": None, "started_at": "t", "restarts": 2, "health": None, "secrets": "1.5", "interface": "eth0"}
    assert containers.container(dict(INSPECTED, Config={"Labels": None}), "ours")["hash"] is None
    assert containers.container(None, "ours") is None


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:22B9 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 00000000 0 0 4713 1 0
"""


def test_listening_sockets_only():
    assert network.listening([TCP, TCP6, ""]) == {8888: "4711", 80: "4713"}


def test_holder_of_a_real_port_and_device():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        at_ports, at_devices = holders_module.holders({port})
        assert at_devices == {}
    assert at_ports[port]["pid"] == os.getpid()
    assert at_ports[port]["process"]
    assert holders_module.holders({port}) == ({}, {})


def test_holder_of_an_npu_in_a_container(tmp_path):
    """A process is told by the number of the device, whatever its name is in the container."""
    node = tmp_path / "davinci3"
    try:
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs the right to make a device node")
    proc = tmp_path / "proc"
    (proc / "17" / "fd").mkdir(parents=True)
    (proc / "18" / "fd").mkdir(parents=True)
    (proc / "17" / "comm").write_text("python3\n")
    (proc / "17" / "cgroup").write_text("0::/docker/c1\n")
    inside = tmp_path / "container" / "davinci0"
    inside.parent.mkdir()
    os.mknod(inside, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    (proc / "17" / "fd" / "3").symlink_to(inside)
    (proc / "18" / "fd" / "3").symlink_to("/dev/zero")
    assert holders_module.holders(set(), [str(node), "/dev/no-such-davinci"], str(proc)) == (
        {}, {str(node): [{"pid": 17, "process": "python3", "cgroup": "0::/docker/c1\n"}]})


RUNNING = [{"id": "c1", "name": "other", "devices": ["/dev/davinci0"], "ports": []},
           {"id": "c2", "name": "web", "devices": [], "ports": [8888]}]


def test_containers_of_others():
    inspected = {"c1": {"Name": "/other", "HostConfig": {"Devices": [{"PathOnHost": "/dev/davinci0"}]}}, "c2": {
        "Name": "/web", "HostConfig": {"Devices": None}}, "c3": None}
    listed = [{"Id": "c1"}, {"Id": "c2", "Ports": [{"PublicPort": 8888}, {"PrivatePort": 1}]}, {"Id": "c3"}]
    assert containers.containers(listed, inspected.get) == RUNNING


def test_holders_have_the_name_of_their_container():
    at_ports = {8889: {"pid": 7, "process": "vllm", "cgroup": "0::/system.slice/docker-c1.scope"},
                60000: {"pid": 8, "process": "nginx", "cgroup": "0::/system.slice/nginx.service"}}
    assert holders_module.named_ports(at_ports, RUNNING, [8888, 8889, 8890, 60000]) == [
        {"port": 8888, "pid": None, "process": None, "container": "web"},
        {"port": 8889, "pid": 7, "process": "vllm", "container": "other"},
        {"port": 60000, "pid": 8, "process": "nginx", "container": None}]
    holders = [{"pid": pid, "process": "python3", "cgroup": cgroup} for pid, cgroup in (
        (1, "docker-c1"), (2, "docker-c1"), (3, "user"), (4, "user"))]
    assert holders_module.named_devices({"/dev/davinci0": holders}, RUNNING, ["/dev/davinci0", "/dev/davinci1"]) == [
        {"device": "/dev/davinci0", "pid": pid, "process": "python3", "container": container}
        for pid, container in ((1, "other"), (3, None), (4, None))]
    assert holders_module.named_devices({}, RUNNING, ["/dev/davinci0"]) == [
        {"device": "/dev/davinci0", "pid": None, "process": None, "container": "other"}]


@pytest.mark.parametrize(("limits", "reserved", "expected"), [
    ("32768\t60999\n", "", {"first": 32768, "last": 60999, "reserved": []}),
    ("32768\t60999\n", "60000-60015,61016\n",
     {"first": 32768, "last": 60999, "reserved": [[60000, 60015], [61016, 61016]]}),
    ("", "", None),
])
def test_ports_of_outgoing_connections(tmp_path, limits, reserved, expected):
    folder = tmp_path / "sys/net/ipv4"
    folder.mkdir(parents=True)
    (folder / "ip_local_port_range").write_text(limits)
    (folder / "ip_local_reserved_ports").write_text(reserved)
    assert network.outgoing_ports(str(tmp_path)) == expected


def test_model_folder(tmp_path):
    assert files.folder_summary(str(tmp_path / "none")) == {"folder": False, "config": False, "shards": 0}
    for name in ("config.json", "a-1.safetensors", "a-2.safetensors", "a.safetensors.index.json"):
        (tmp_path / name).touch()
    assert files.folder_summary(str(tmp_path)) == {"folder": True, "config": True, "shards": 2}


@pytest.mark.parametrize(("code", "oom", "said"), [
    (1, False, "with exit code 1"), (137, False, "exit code 137, killed by SIGKILL"),
    (137, True, "exit code 137, killed for want of memory"), (143, False, "exit code 143, ended by SIGTERM")])
def test_ending_in_words(code, oom, said):
    assert containers.ending({"exit_code": code, "oom_killed": oom}).endswith(said)


def test_start_of_a_life():
    assert containers.started({"started_at": "2025-11-25T19:00:00.123456789Z"}) == 1764097200
    assert containers.started({"started_at": "0001-01-01T00:00:00Z"}) < 0
    assert containers.started({"started_at": "never"}) is None


def test_health_of_a_container():
    state = dict(INSPECTED["State"], Health={"Status": "unhealthy", "FailingStreak": 4, "Log": [
        {"Output": "first"}, {"Output": "an idle engine is silent\n"}]})
    assert containers.container(dict(INSPECTED, State=state), "ours")["health"] == {
        "status": "unhealthy", "failures": 4, "said": "an idle engine is silent"}
    assert containers.container(dict(INSPECTED, State=dict(state, Health={"Status": "none"})), "ours")[
        "health"] is None


def test_mount_sources(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    mounts = [{"source": str(tmp_path / name), "type": kind} for name, kind in (
        ("file", "file"), ("folder", "directory"), ("file", "directory"), ("gone", "file"), ("folder", "file"))]
    assert [(wrong["expected"], wrong["found"]) for wrong in facts.wrong_sources(mounts)] == [
        ("directory", "file"), ("file", "nothing"), ("file", "directory")]
