# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of the Docker engine are read, and other engines are recognized."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine_facts
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError

PODMAN = json.loads((Path(__file__).parent / "responses" / "podman-4.3.1.json").read_text("utf-8"))
# The response of Docker 29 with its default image store and the host's containerd (moby, daemon/info.go).
CONTAINERD = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
              "Containerd": {"Address": "/run/containerd/containerd.sock"}}
OWN_CONTAINERD = {"Containerd": {"Address": "/var/run/docker/containerd/containerd.sock"}}


def query(docker, root="/", **info):
    docker.responses["/info"] = 200, {**docker.responses["/info"][1], **info}
    return engine_facts.query(DockerEngine(docker.path), str(root))


def test_engine_facts_are_read(docker):
    assert query(docker) == {
        "version": "20.10.24", "architecture": "x86_64", "image_root": "/", "security_options": []}
    found = query(docker, SecurityOptions=["name=seccomp,profile=builtin", "name=selinux", "name=userns"])
    assert found["security_options"] == ["seccomp", "selinux", "userns"]
    docker.responses["/info"] = 200, {"ServerVersion": "20.10.24"}
    with pytest.raises(DockerError, match="unknown format"):
        engine_facts.query(DockerEngine(docker.path))


@pytest.mark.parametrize(("info", "config", "folder"), [
    ({"DriverStatus": [["Backing Filesystem", "extfs"], ["Using metacopy", "false"]]}, None, "/data/docker"),
    (CONTAINERD, None, "/var/lib/containerd"),
    (CONTAINERD, "version = 2\nroot = '/data/containerd'\n[grpc]\n", "/data/containerd"),
    (CONTAINERD, "version = 2\n[plugins]\nroot = '/other'\n", "/var/lib/containerd"),
    ({**CONTAINERD, **OWN_CONTAINERD}, "root = '/data/containerd'\n", "/data/docker"),
])
def test_image_root_depends_on_the_image_store(docker, tmp_path, info, config, folder):
    if config:
        (tmp_path / "etc/containerd").mkdir(parents=True)
        (tmp_path / "etc/containerd/config.toml").write_text(config)
    assert query(docker, tmp_path, DockerRootDir="/data/docker", **info)["image_root"] == folder


@pytest.mark.parametrize(("version", "engine"), [
    (PODMAN["version"], "Podman 4.3.1"),
    ({"Components": [{"Name": "Podman Engine", "Version": "5.1.2"}], "Version": "5.1.2"}, "Podman 5.1.2"),
    ({"Components": [{"Name": "Engine", "Version": "27.1.1"}, {"Name": "containerd"}]}, None),
    ({"Version": "2.1.4", "Platform": {"Name": "iSulad"}}, "iSulad 2.1.4"),  # invented: no real response is published
    ({"Version": "18.09.0"}, None),
    (None, None),
])
def test_another_engine_is_recognized_by_its_version(version, engine):
    assert engine_facts.other_engine(version) == engine


def test_podman_is_refused(docker):
    docker.responses["/version"], docker.responses["/info"] = (200, PODMAN["version"]), (200, PODMAN["info"])
    with pytest.raises(DockerError, match=r"Podman 4\.3\.1 provides .*sock and is not supported"):
        engine_facts.query(DockerEngine(docker.path))
