# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call observes the planned image in Docker and in the registry."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerError
from ansible_collections.ascend.vllm.plugins.modules import image_info

NAME = "quay.io/ascend/vllm-ascend:v1"
IMAGE = {"Id": "sha256:1", "RepoDigests": ["quay.io/ascend/vllm-ascend@sha256:2"], "Architecture": "arm64", "Size": 1,
         "Created": "now"}


@pytest.fixture
def observe(docker):
    """Return a function that takes options and returns what the module observes with them."""
    def run(**options):
        return image_info.observe({"reference": NAME, "digest": "", "mirror": "", "pull": "missing", "folder": None,
                                   "docker_socket": docker.path, **options})
    return run


def test_registry_is_not_queried_for_an_image_that_is_present(docker, observe):
    docker.images[NAME] = {key: value for key, value in IMAGE.items() if key != "Created"}  # as Docker 25 returns it
    found = observe(digest="sha256:2")
    assert (found["needed"], found["registry"], found["image"]["architecture"]) == (False, None, "aarch64")
    assert found["docker_engine"]["image_root"] == "/"
    assert found["docker_engine"]["free_bytes"] > 0
    assert not any("/distribution/" in target for _method, target in docker.requests)


@pytest.mark.parametrize(("options", "queried"), [
    ({}, True), ({"pull": "never"}, False), ({"digest": "sha256:3"}, True), ({"pull": "always"}, True)])
def test_registry_is_queried_for_a_needed_image(docker, observe, options, queried):
    if options:
        docker.images[NAME] = IMAGE
    found = observe(**options)
    assert found["needed"] is queried
    assert (found["registry"] is not None) is queried
    assert any("/distribution/" in target for _method, target in docker.requests) is queried


def test_archive_folder_does_not_need_to_exist(observe, tmp_path):
    folder = str(tmp_path / "not" / "there")
    found = observe(folder=folder, pull="never")["folder"]
    assert found["path"] == folder
    assert found["free_bytes"] > 0


def test_missing_docker_engine_is_an_error(tmp_path, observe):
    with pytest.raises(DockerError, match="does not respond"):
        observe(docker_socket=str(tmp_path / "none.sock"))
