# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host facts are read from a folder that represents the root directory."""

from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import facts


@pytest.fixture
def root(tmp_path):
    """A folder that represents the root directory of a node."""
    for name in ("davinci0", "davinci2", "davinci10", "davinci_manager"):
        path = tmp_path / "dev" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for address, vendor, device, pci_class in (
            ("0000:c1:00.0", "0x19e5", "0xd802", "0x120000"), ("0000:05:00.0", "0x19e5", "0x0222", "0x020000"),
            ("0000:06:00.0", "0x8086", "0x1234", "0x120000")):
        folder = tmp_path / "sys/bus/pci/devices" / address
        folder.mkdir(parents=True)
        for name, value in (("vendor", vendor), ("device", device), ("class", pci_class)):
            (folder / name).write_text(value + "\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="openEuler"\nID="openEuler"\nVERSION_ID="22.03"\n'
                                             'PRETTY_NAME="openEuler 22.03 (LTS-SP4)"\n')
    for pid, name, cgroup, opened in (
            (41, "python3", "0::/docker/" + "a" * 64, ["dev/davinci2", "dev/davinci_manager"]),
            (42, "npu-smi", "0::/user.slice", ["dev/davinci0"]), (43, "bash", "", [])):
        folder = tmp_path / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        (folder / "cgroup").write_text(cgroup + "\n")
        for number, target in enumerate(opened):
            (folder / "fd" / str(number)).symlink_to(tmp_path / target)
    (tmp_path / "proc/meminfo").write_text("MemTotal:  1024 kB\nMemAvailable:   512 kB\n")
    (tmp_path / "proc/uptime").write_text("77.5 10.0\n")
    (tmp_path / "dev/shm").mkdir()
    return tmp_path


def test_device_nodes_are_sorted_and_have_their_type(root):
    nodes = facts.device_nodes(str(root))
    assert [os.path.basename(node["path"]) for node in nodes] == [
        "davinci0", "davinci2", "davinci10", "davinci_manager", "devmm_svm", "hisi_hdc"]
    assert [node["type"] for node in nodes] == ["file"] * 4 + [None] * 2


def test_path_is_described(tmp_path):
    (tmp_path / "file").write_text("x")
    os.chmod(tmp_path / "file", 0o640)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    described = {name: facts.describe_path(str(tmp_path / name)) for name in ("file", "link", "dangling", "nothing")}
    assert (described["file"]["type"], described["file"]["mode"]) == ("file", "0640")
    assert (described["link"]["type"], described["link"]["target"]) == ("directory", str(tmp_path))
    assert described["dangling"]["type"] is None
    assert described["nothing"] == {"path": str(tmp_path / "nothing"), "type": None}
    null = facts.describe_path("/dev/null")
    assert (null["type"], null["major"], null["minor"]) == ("character device", 1, 3)


def test_only_accelerators_of_the_vendor_are_returned(root):
    assert facts.accelerators(str(root)) == [
        {"address": "0000:c1:00.0", "device": "0xd802", "virtual": False, "ports": []}]


def test_pcie_ports_and_virtual_functions_of_an_accelerator_are_found(tmp_path):
    bus, tree = tmp_path / "sys/bus/pci/devices", tmp_path / "sys/devices/pci0000:88/0000:88:02.0/0000:89:00.0"
    bus.mkdir(parents=True)
    for name, device in (("0000:8a:00.0", "0xd802"), ("0000:8a:00.1", "0xd805"), ("0000:8a:00.2", "0xd802")):
        (tree / name).mkdir(parents=True)
        for file, value in (("vendor", "0x19e5"), ("device", device), ("class", "0x120000")):
            (tree / name / file).write_text(value + "\n")
        (bus / name).symlink_to(tree / name)
    (tree / "0000:8a:00.2/physfn").symlink_to(tree / "0000:8a:00.0")
    found = facts.accelerators(str(tmp_path))
    assert [each["virtual"] for each in found] == [False, True, True]
    assert {tuple(each["ports"]) for each in found} == {("0000:88:02.0", "0000:89:00.0")}


@pytest.mark.parametrize(("enforce", "selinux"), [("1", "enforcing"), ("0", "permissive"), (None, None)])
def test_selinux_mode_is_read(root, enforce, selinux):
    if enforce:
        (root / "sys/fs/selinux").mkdir(parents=True)
        (root / "sys/fs/selinux/enforce").write_text(enforce)
    assert facts.system(str(root))["selinux"] == selinux


def test_os_release_in_another_encoding_and_with_single_quotes_is_read(root):
    (root / "etc/os-release").write_bytes(b"ID='kylin'\nVERSION_ID=V10\nPRETTY_NAME=\"\xd2\xf8\xba\xd3 V10\"\n")
    found = facts.system(str(root))["os"]
    assert (found["id"], found["version"]) == ("kylin", "V10")
    assert found["name"].endswith(" V10")


def test_system_facts_are_read(root):
    system = facts.system(str(root))
    assert system["os"] == {"id": "openEuler", "version": "22.03", "name": "openEuler 22.03 (LTS-SP4)"}
    assert (system["memory_bytes"], system["memory_available_bytes"]) == (1048576, 524288)
    assert system["uptime_s"] == 77.5
    assert system["shm"]["existing"] == str(root / "dev/shm")
    assert system["architecture"] == os.uname().machine


def test_disk_space_of_a_missing_path_is_read_at_its_nearest_existing_parent(tmp_path):
    space = facts.disk(str(tmp_path / "not" / "there"))
    assert space["existing"] == str(tmp_path)
    assert 0 < space["free_bytes"] <= space["total_bytes"]


def library(folder, requests="from requests import adapters", urllib3=True):
    """Create a fake requests library that has only the names that community.docker imports."""
    for name in ("requests", "urllib3") if urllib3 else ("requests",):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    (folder / "requests/__init__.py").write_text("__version__ = '2.28.1'\nclass Session: pass\n" + requests)
    (folder / "requests/adapters.py").write_text("class HTTPAdapter: pass\n")
    (folder / "requests/exceptions.py").write_text(
        "HTTPError = InvalidSchema = RequestException = SSLError = OSError\n")
    if urllib3:
        (folder / "urllib3/connection.py").write_text("")


@pytest.mark.parametrize(("changes", "version", "error"), [
    ({}, "2.28.1", None),  # as patched by Red Hat: without certifi
    ({"requests": "import sys; print('a warning', file=sys.stderr)"}, "2.28.1", None),
    ({"requests": "import certifi_missing"}, None, "No module named 'certifi_missing'"),
    ({"urllib3": False}, None, "No module named 'urllib3'"),
    ({"requests": "raise AttributeError('incompatible')"}, None, "AttributeError: incompatible"),
])
def test_python_must_be_able_to_import_what_community_docker_imports(tmp_path, changes, version, error):
    library(tmp_path, **changes)
    # An interpreter without packages, because the one that runs this test has requests.
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    found = facts.python(str(bare))
    assert (found["executable"], found["requests"]) == (str(bare), version)
    assert found["error"] is None if error is None else error in found["error"]


def test_python_that_does_not_finish_is_reported(monkeypatch, tmp_path):
    library(tmp_path, requests="import time; time.sleep(60)")
    monkeypatch.setattr(facts, "_IMPORT_TIMEOUT_S", 0.5)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = facts.python()
    assert (found["executable"], found["requests"]) == (sys.executable, "unknown")
    assert "0.5 s" in found["error"]


def test_mount_sources_of_the_wrong_type_are_returned(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    mounts = [{"source": str(tmp_path / name), "type": kind} for name, kind in (
        ("file", "file"), ("folder", "directory"), ("file", "directory"), ("gone", "file"), ("folder", "file"))]
    assert [(wrong["expected"], wrong["found"]) for wrong in facts.wrong_sources(mounts)] == [
        ("directory", "file"), ("file", "nothing"), ("file", "directory")]


def test_files_of_the_kernel_are_read():
    """The kernel refuses to read more than 4 MiB of a file in /proc/sys at once, although the file is small."""
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/sys/vm/max_map_count", "/proc/self/status"):
        with open(path, encoding="ascii") as stream:
            assert facts.read_file(path).splitlines()[0] == stream.readline().rstrip("\n")
