# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of planned containers, which are found by their label, and the causes of their failures."""

from __future__ import annotations

import json
import stat
import tarfile

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.modules import diagnostics_bundle
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

OUT_OF_MEMORY = "RuntimeError: NPU out of memory. Tried to allocate 260.00 MiB (NPU 0)"
NAME = "vllm-ascend-qwen25-vl"


class Stop(Exception):
    """Raised by exit_json."""


@pytest.fixture
def bundle(docker, tmp_path, monkeypatch):
    """Return a function (**options) that returns the values of the module, and {file in the archive: text}."""
    path = tmp_path / "diagnostics.tar.gz"
    monkeypatch.setattr(diagnostics_bundle, "COMMANDS", {"memory.txt": ["echo", "memory"]})

    class Module:
        check_mode = False

        def __init__(self, **_specification):
            self.params = {"path": str(path), "log_lines": 100, "timeout_s": 60, "npus": [],
                           "controller_time_s": 0.0, "driver_path": str(tmp_path / "driver"),
                           "docker_socket": docker.path, **run.options}

        def exit_json(self, **result):
            run.result = result
            raise Stop

    monkeypatch.setattr(diagnostics_bundle, "AnsibleModule", Module)

    def run(**options):
        run.options = options
        with pytest.raises(Stop):
            diagnostics_bundle.main()
        with tarfile.open(path) as archive:
            texts = {member.name.partition("/")[2]: archive.extractfile(member).read().decode() for member in archive}
        return run.result, texts
    return run


def add(docker, instance, name=None, **changes):
    """Start a planned instance, as the role does."""
    docker.add(name or instance["name"], labels={**instance["labels"], labels.SECRETS: "1.5"},
               command=instance["command"], **changes)


def test_log_of_a_planned_container_leads_to_a_diagnosis(docker, bundle):
    (instance,) = valid()["instances"]
    add(docker, instance, status="exited", ExitCode=1, log="line\n" + OUT_OF_MEMORY)
    docker.add("other", log=OUT_OF_MEMORY, labels={"ascend.vllm.instance": "x"})
    result, texts = bundle()
    (found,) = result["diagnosis"]
    assert (found["cause"], found["source"], found["evidence"]) == (
        "out_of_memory", f"container-{NAME}.log", OUT_OF_MEMORY)
    assert found["remedy"]
    assert OUT_OF_MEMORY in texts[f"container-{NAME}.log"]
    assert json.loads(texts[f"container-{NAME}.json"])["Name"] == f"/{NAME}"
    assert "container-other.log" not in texts
    assert json.loads(texts["diagnosis.json"]) == result["diagnosis"]


def test_containers_in_any_state_are_included(docker, bundle):
    first, second = valid(serving_replicas=2)["instances"]
    add(docker, first, log="Application startup complete.")
    add(docker, second, status="exited", log="ModuleNotFoundError: No module named 'x'")
    add(docker, first, f"{NAME}-previous", status="exited", log=OUT_OF_MEMORY)
    result, texts = bundle()
    names = [NAME, NAME + "-1", NAME + "-previous"]
    assert {f"container-{name}.log" for name in names} <= set(texts)
    assert [(each["source"], each["cause"]) for each in result["diagnosis"]] == [
        (f"container-{NAME}-1.log", "module_missing"), (f"container-{NAME}-previous.log", "out_of_memory")]
    assert {result["files"][f"container-{name}.log"] for name in names} == {0}


def test_secrets_are_masked(docker, bundle, tmp_path):
    secrets = tmp_path / "secrets.env"
    secrets.write_text("VLLM_API_KEY='sesame open'\n")
    (instance,) = valid()["instances"]
    add(docker, instance, environment=["HF_TOKEN=t0k3n", "TOKENIZERS_PARALLELISM=false"],
        log="key is sesame open\ntoken t0k3n\nBearer abcdef")
    docker.containers[NAME]["Mounts"] = [{"Destination": labels.SECRETS_TARGET, "Source": str(secrets)}]
    _result, texts = bundle()
    assert "key is (redacted)" in texts[f"container-{NAME}.log"]
    for secret in ("sesame", "t0k3n", "abcdef"):
        assert not [name for name, text in texts.items() if secret in text]
    assert json.loads(texts[f"container-{NAME}.json"])["State"]["OOMKilled"] is False


def test_secrets_of_other_containers_are_not_included(docker, bundle):
    docker.responses["/containers/json?all=1"] = docker.responses["/containers/json"] = 200, [
        {"Id": "1", "Names": ["/theirs"], "Image": "app:1", "Command": "app hunter22", "State": "running",
         "Labels": {"password": "hunter22", labels.INSTANCE: "h1"}, "Ports": []}]
    _result, texts = bundle()
    assert json.loads(texts["containers.json"]) == [
        {"Id": "1", "Names": ["/theirs"], "Image": "app:1", "State": "running", "Ports": [],
         "Labels": {labels.INSTANCE: "h1"}}]
    assert not [name for name, text in texts.items() if "hunter22" in text]


def test_bundle_is_private_and_replaces_another(bundle, tmp_path):
    path = tmp_path / "diagnostics.tar.gz"
    path.write_text("of another run")
    path.chmod(0o644)
    bundle()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_end_of_a_log_is_included(docker, bundle):
    (instance,) = valid()["instances"]
    add(docker, instance, log="\n".join("line %d" % number for number in range(10)))
    _result, texts = bundle(log_lines=2)
    assert texts[f"container-{NAME}.log"] == "line 8\nline 9\n"


def test_rest_is_collected_without_docker(bundle, tmp_path):
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "version.info").write_text("Version=25.3.rc1\n")
    result, texts = bundle(docker_socket=str(tmp_path / "none.sock"))
    assert texts["memory.txt"] == "memory\n"
    assert texts["driver-version.txt"] == "Version=25.3.rc1\n"
    assert "does not respond" in texts["docker-engine.json"]
    assert "does not respond" in texts["containers.json"]
    assert (result["diagnosis"], result["files"]["docker-engine.json"], result["files"]["memory.txt"]) == ([], None, 0)


def test_network_ports_are_queried_per_npu(bundle):
    result, _texts = bundle(npus=[0, 15])
    assert {name for name in result["files"] if name.startswith("hccn/")} == {
        f"hccn/{npu}-{query}.txt" for npu in (0, 15) for query in diagnostics_bundle.FABRIC}


def test_check_mode_writes_nothing(docker, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics_bundle, "COMMANDS", {})

    class Module:
        check_mode = True
        params = {"path": str(tmp_path / "x.tar.gz"), "log_lines": 1, "timeout_s": 60, "npus": [],
                  "controller_time_s": 0.0, "driver_path": str(tmp_path), "docker_socket": docker.path}

        def __init__(self, **_specification):
            pass

        def exit_json(self, **result):
            assert result["changed"] is False
            raise Stop

    monkeypatch.setattr(diagnostics_bundle, "AnsibleModule", Module)
    with pytest.raises(Stop):
        diagnostics_bundle.main()
    assert not (tmp_path / "x.tar.gz").exists()
