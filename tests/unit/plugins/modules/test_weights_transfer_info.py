# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module returns the state of a container and the end of its output."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerError
from ansible_collections.ascend.vllm.plugins.modules import weights_transfer_info


@pytest.fixture
def observe(docker, tmp_path):
    """Return a function (done=) that returns the observation of the module."""
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "a").write_bytes(b"x" * 5000)

    def run(done=""):
        return weights_transfer_info.observe({"container": "fetch", "folder": str(tmp_path / "staging"), "done": done,
                                              "docker_socket": docker.path})
    return run


def test_running_container_is_observed(docker, observe, tmp_path):
    docker.add("fetch", log="10 %")
    assert observe(done=str(tmp_path / "done")) == {"running": True, "exit_code": 0, "done": False, "bytes": 5000}
    (tmp_path / "done").touch()
    assert observe(done=str(tmp_path / "done"))["done"]


def test_exited_container_is_observed_with_the_end_of_its_output(docker, observe):
    docker.add("fetch", status="exited", ExitCode=1, log="\n".join("line %d" % number for number in range(30)))
    found = observe()
    assert (found["running"], found["exit_code"]) == (False, 1)
    assert found["output"].splitlines() == ["line %d" % number for number in range(10, 30)]


def test_missing_container_is_an_error(observe):
    with pytest.raises(DockerError, match="the container fetch does not exist"):
        observe()


def test_secrets_in_the_output_are_masked(docker, observe):
    docker.add("fetch", status="exited", ExitCode=1, environment=["MY_KEY=hunter22"],
               log="GET https://someone:s3cret@hub/x?token=s3cret\nhunter22")
    assert observe()["output"] == "GET https://(redacted)@hub/x?token=(redacted)\n(redacted)"
