# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers are renamed once, and never to the name of an existing container."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.modules import container_rename

RENAMES = [{"from": "vllm", "to": "vllm-previous"}, {"from": "vllm-1", "to": "vllm-1-previous"}]


class Exit(Exception):
    """Raised by exit_json and fail_json, with the return values."""


@pytest.fixture
def run(docker, monkeypatch):
    """Return a function (renames, check_mode) that returns the return values of the module."""
    def call(renames=tuple(RENAMES), check_mode=False):
        class Module:
            params = {"renames": list(renames), "docker_socket": docker.path}

            def __init__(self, **_specification):
                self.check_mode = check_mode

            def exit_json(self, **result):
                raise Exit(result)

            def fail_json(self, msg):
                raise Exit({"failed": True, "msg": msg})

        monkeypatch.setattr(container_rename, "AnsibleModule", Module)
        with pytest.raises(Exit) as end:
            container_rename.main()
        return end.value.args[0]
    return call


def test_containers_are_renamed_once(docker, run):
    docker.add("vllm")
    docker.add("vllm-1", status="exited")
    docker.add("other")
    assert run() == {"changed": True, "renamed": ["vllm-previous", "vllm-1-previous"]}
    assert set(docker.containers) == {"vllm-previous", "vllm-1-previous", "other"}
    assert run() == {"changed": False, "renamed": []}


def test_interrupted_renames_are_completed(docker, run):
    docker.add("vllm-previous")
    docker.add("vllm-1")
    assert run() == {"changed": True, "renamed": ["vllm-1-previous"]}


def test_check_mode_changes_nothing(docker, run):
    docker.add("vllm")
    docker.add("vllm-1-previous")
    assert run(check_mode=True) == {"changed": True, "renamed": ["vllm-previous"]}
    assert set(docker.containers) == {"vllm", "vllm-1-previous"}
    assert {method for method, _target in docker.requests} == {"GET"}


def test_nothing_to_rename_needs_no_docker_engine(run):
    assert run(renames=[]) == {"changed": False, "renamed": []}


@pytest.mark.parametrize(("existing", "message"), [
    (["vllm", "vllm-previous"], "vllm cannot be renamed, because a container vllm-previous exists"),
    (["vllm-1"], "vllm cannot be renamed to vllm-previous, because there is no such container"),
])
def test_container_that_cannot_be_renamed_is_an_error(docker, run, existing, message):
    for name in existing:
        docker.add(name)
    assert run() == {"failed": True, "msg": message}
    assert set(docker.containers) == set(existing)


def test_docker_error_is_returned(docker, run):
    docker.add("vllm")
    docker.responses["/containers/vllm/rename"] = 409, {"message": "the name is reserved"}
    result = run()
    assert result["failed"]
    assert "the name is reserved" in result["msg"]


def test_names_are_quoted_in_requests(docker):
    docker.add("a b")
    container_rename.rename(DockerEngine(docker.path), [{"from": "a b", "to": "c&d"}])
    assert set(docker.containers) == {"c&d"}


def test_missing_docker_engine_is_an_error(tmp_path):
    with pytest.raises(DockerError, match="does not respond"):
        container_rename.rename(DockerEngine(str(tmp_path / "none.sock")), RENAMES)
