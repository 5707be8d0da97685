# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A benchmark client and the service that it measures are observed."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import benchmark
from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import model_paths
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import STARTED


@pytest.fixture
def observe(docker):
    """Return a function (**options) that observes a running service named vllm."""
    docker.add("vllm", labels={labels.INSTANCE: "h1"})

    def run(**options):
        return benchmark.observe({
            "service": "vllm", "model_path": None, "driver_version_file": None, "client": None, "wait_s": 0,
            "result": None, "docker_socket": docker.path, **options})
    return run


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_service_is_observed_or_none(observe, docker):
    service = observe()["service"]
    assert service == {
        "id": docker.containers["vllm"]["Id"], "image": "sha256:i1", "running": True, "started_at": STARTED,
        "restarts": 0, "labels": {labels.INSTANCE: "h1"}, "weights": None, "driver": None}
    assert observe(service="none")["service"] is None


def test_link_to_the_model_is_resolved(observe, tmp_path, monkeypatch):
    """The manifest's path depends on the folder to which the link points."""
    monkeypatch.setattr(files, "STATE_FOLDER", str(tmp_path / "state"))
    model = tmp_path / "store" / "model"
    model.mkdir(parents=True)
    manifest = Path(model_paths(str(model)).manifest)
    assert tmp_path / "state" in manifest.parents
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    (tmp_path / "linked").symlink_to(model)
    for path in (model, tmp_path / "linked"):
        assert observe(model_path=str(path))["service"]["weights"] == sha256("{}")
    assert observe(model_path=str(tmp_path / "none"))["service"]["weights"] is None


def test_driver_is_the_digest_of_its_version_file(observe, tmp_path):
    (tmp_path / "version.info").write_text("Version=25.3.rc1")
    path = str(tmp_path / "version.info")
    assert observe(driver_version_file=path)["service"]["driver"] == sha256("Version=25.3.rc1")
    assert observe(driver_version_file=path + "x")["service"]["driver"] is None


def test_result_of_an_exited_client_is_read(observe, docker):
    docker.add("client", status="exited", ExitCode=3, log="50%|##\r100%|####\ntwo")
    docker.files[("client", "/tmp/result.json")] = b'{"completed": 1}'
    found = observe(client="client", result="/tmp/result.json")
    assert found["result"] == '{"completed": 1}'
    assert found["client"] == {"running": False, "exit_code": 3, "ended_at": 1764097500.25, "error": None,
                               "log": ["50%|##", "100%|####", "two"]}
    assert observe(client="client", result="/tmp/none.json")["result"] is None


def test_observation_waits_for_a_running_client(observe, docker, monkeypatch):
    docker.add("client", log="10/20 [")
    started = time.monotonic()
    found = observe(client="client", result="/tmp/result.json", wait_s=0.2)
    assert time.monotonic() - started >= 0.2
    assert (found["result"], found["client"]["running"], found["client"]["exit_code"]) == (None, True, None)

    def client_exits(_seconds):
        docker.add("client", status="exited")

    monkeypatch.setattr(benchmark.time, "sleep", client_exits)
    assert observe(client="client", wait_s=60)["client"]["exit_code"] == 0
    assert observe(client="none", wait_s=60)["client"] is None


def test_result_above_the_maximum_size_is_an_error(observe, docker, monkeypatch):
    monkeypatch.setattr(benchmark, "MAX_RESULT_BYTES", 100)
    docker.add("client", status="exited")
    docker.files[("client", "/tmp/result.json")] = b"x" * 101
    with pytest.raises(DockerError, match="101 bytes, more than the 100"):
        observe(client="client", result="/tmp/result.json")


def test_secrets_of_a_client_are_masked(observe, docker):
    docker.add("client", status="exited", environment=["MY_KEY=hunter22"], log="key hunter22\nHF_TOKEN=s3cret\n")
    docker.files["client", "/result.json"] = b'{"completed": 1, "api_key": "s3cret"}'
    found = observe(client="client", result="/result.json")
    assert found["client"]["log"] == ["key (redacted)", "HF_TOKEN=(redacted)"]
    assert found["result"] == '{"completed": 1, "api_key": "(redacted)"}'
