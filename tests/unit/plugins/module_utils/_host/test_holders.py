# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port or NPU is held by the processes that use it and by the containers to which it is assigned."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import OWN_TOOLS
from ansible_collections.ascend.vllm.plugins.module_utils._host import holders


def test_process_that_listens_on_a_real_port_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        at_ports, at_npus = holders.open_files({port})
        assert at_npus == {}
    assert at_ports[port]["pid"] == os.getpid()
    assert at_ports[port]["process"]
    assert holders.open_files({port}) == ({}, {})


@pytest.fixture
def root(tmp_path):
    """A folder that represents the root directory of a node, with plain files as device nodes."""
    for name in ("davinci0", "davinci2", "davinci10", "davinci_manager"):
        (tmp_path / "dev" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "dev" / name).touch()
    for pid, name, group, opened in ((41, "python3", "0::/docker/" + "a" * 64, ["dev/davinci2", "dev/davinci_manager"]),
                                     (42, "npu-smi", "0::/user.slice", ["dev/davinci0"]), (43, "bash", "", [])):
        folder = tmp_path / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        (folder / "cgroup").write_text(group + "\n")
        for number, target in enumerate(opened):
            (folder / "fd" / str(number)).symlink_to(tmp_path / target)
    return tmp_path


def test_processes_that_have_an_npu_open_are_found(root):
    process = {"pid": 41, "process": "python3", "cgroup": "0::/docker/" + "a" * 64 + "\n"}
    assert holders.open_files(npus=True, skip=["npu-smi"], root=str(root)) == ({}, {2: [process]})
    assert sorted(holders.open_files(npus=True, root=str(root))[1]) == [0, 2]
    assert holders.open_files(root=str(root)) == ({}, {})


def test_npu_in_a_container_is_identified_by_its_device_number(tmp_path):
    """The name of the device in the container does not matter."""
    (tmp_path / "dev").mkdir()
    try:
        os.mknod(tmp_path / "dev" / "davinci3", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs the permission to create a device node")
    for pid in ("17", "18"):
        (tmp_path / "proc" / pid / "fd").mkdir(parents=True)
    (tmp_path / "proc" / "17" / "comm").write_text("python3\n")
    (tmp_path / "proc" / "17" / "cgroup").write_text("0::/docker/c1\n")
    inside = tmp_path / "container" / "davinci0"
    inside.parent.mkdir()
    os.mknod(inside, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    (tmp_path / "proc" / "17" / "fd" / "3").symlink_to(inside)
    (tmp_path / "proc" / "18" / "fd" / "3").symlink_to("/dev/zero")
    assert holders.open_files(npus=True, root=str(tmp_path)) == (
        {}, {3: [{"pid": 17, "process": "python3", "cgroup": "0::/docker/c1\n"}]})


def container(identifier, name, devices=(), ports=()):
    return {"id": identifier, "name": name, "image_name": "vllm:v1", "labels": {"l": "1"}, "pid": 40,
            "devices": list(devices), "ports": list(ports)}


RUNNING = [container("c1", "other", devices=[0]), container("c2", "web", ports=[8888])]
OTHER, WEB = ({"id": each["id"], "name": each["name"], "image_name": "vllm:v1", "labels": {"l": "1"}}
              for each in RUNNING)


def test_port_holders_include_the_container():
    at_ports = {8889: {"pid": 7, "process": "vllm", "cgroup": "0::/system.slice/docker-c1.scope"},
                60000: {"pid": 8, "process": "nginx", "cgroup": "0::/system.slice/nginx.service"}}
    assert holders.port_holders(at_ports, RUNNING, [8888, 8889, 8890, 60000]) == [
        {"port": 8888, "pid": None, "process": None, "container": WEB},
        {"port": 8889, "pid": 7, "process": "vllm", "container": OTHER},
        {"port": 60000, "pid": 8, "process": "nginx", "container": None}]


def test_npu_holders_are_processes_and_containers(root):
    chips = [{"npu": npu, "chip": chip, "device": device} for npu, chip, device in ((6, 0, 12), (6, 1, 13), (1, 0, 2))]
    processes = [{"npu": 6, "chip": 1, "pid": 43, "name": "bash", "memory_mb": 7},
                 {"npu": 1, "chip": 0, "pid": 41, "name": "python3", "memory_mb": 9}]
    running = [container("a" * 64, "ours", devices=[2, 5])]
    at_npus = holders.open_files(npus=True, skip=OWN_TOOLS, root=str(root))[1]
    ours = {"id": "a" * 64, "name": "ours", "image_name": "vllm:v1", "labels": {"l": "1"}}
    assert holders.npu_holders(at_npus, running, chips, processes, root=str(root)) == [
        {"device": 2, "pid": 41, "process": "python3", "memory_mb": 9, "container": ours},
        {"device": 5, "pid": 40, "process": None, "memory_mb": None, "container": ours},
        {"device": 13, "pid": 43, "process": "bash", "memory_mb": 7, "container": None},
    ]
    assert holders.npu_holders({}, RUNNING) == [
        {"device": 0, "pid": 40, "process": None, "memory_mb": None, "container": OTHER}]


@pytest.mark.parametrize(("changes", "description"), [
    ({}, "process 7 (python3)"),
    ({"memory_mb": 9}, "process 7 (python3, 9 MB)"),
    ({"process": ""}, "process 7 (unknown)"),
    ({"container": WEB}, "process 7 (python3) in container web (vllm:v1)"),
    ({"container": WEB, "process": None}, "container web (vllm:v1)"),
    ({"pid": None, "process": None}, "a process that is not visible on this host"),
])
def test_holder_is_described(changes, description):
    assert holders.describe_holder(dict({"pid": 7, "process": "python3", "container": None}, **changes)) == description


ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(("cgroup", "name"), [
    ("12:devices:/docker/%s\n1:name=systemd:/docker/%s\n" % (ID, ID), "train"),                  # v1, cgroupfs
    ("11:memory:/system.slice/docker-%s.scope\n" % ID, "train"),                                  # v1, systemd
    ("0::/system.slice/docker-%s.scope\n" % ID, "train"),                                         # v2, systemd
    ("0::/docker/%s\n" % ID, "train"),                                                            # v2, cgroupfs
    ("0::/../docker-%s.scope/init\n" % ID, "train"),                                              # v2, own namespace
    ("0::/user.slice/user-0.slice/session-4.scope\n", None),
    ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-%s.scope\n" % ID[::-1], None),
])
def test_container_of_a_process_is_found_by_its_control_group(tmp_path, cgroup, name):
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text(cgroup)
    container = {"id": ID, "name": "train", "image_name": "i", "labels": {}, "devices": [], "ports": [], "pid": 7}
    found, = holders.npu_holders({}, [container], [{"npu": 0, "chip": 0, "device": 0}],
                                 [{"npu": 0, "chip": 0, "pid": 7, "name": "python", "memory_mb": 1}], str(tmp_path))
    assert (found["container"] and found["container"]["name"]) == name
