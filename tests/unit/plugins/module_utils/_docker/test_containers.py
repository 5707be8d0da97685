# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers are read into one format. A label identifies the containers that this collection manages."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import holders
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import (
    FINISHED,
    STARTED,
    STARTED_S,
    inspected,
)

NAME = "vllm-ascend-qwen25-vl"
OURS = {labels.INSTANCE: "h1", labels.SECRETS: "1.5"}
COMMAND = ["/bin/bash", "-c", "exec \"$@\"", "/run/s", "vllm", "serve", "/data/m", "--host", "10.0.0.1", "--port",
           "9000", "--served-model-name", "old", "--tensor-parallel-size", "2", "--shutdown-timeout", "600"]


def test_options_and_labels_of_our_container_are_read():
    found = containers.read(inspected(
        NAME, labels=OURS, command=COMMAND, environment=["PATH=/bin", "GLOO_SOCKET_IFNAME=eth0"], ports=[9000],
        devices=["/dev/davinci3", "/dev/davinci2", "/dev/davinci_manager"]))
    assert found == {
        "id": inspected(NAME)["Id"], "name": NAME, "image": "sha256:i1", "image_name": "vllm:v1", "labels": OURS,
        "hash": "h1", "secrets": "1.5", "interface": "eth0", "status": "running", "running": True, "pid": 40,
        "exit_code": 0, "oom_killed": False, "error": None, "created_s": STARTED_S - 60, "started_at": STARTED,
        "started_s": STARTED_S, "finished_s": None, "restarts": 0, "health": None, "restart_policy": "always",
        "privileged": False, "devices": [2, 3], "ports": [9000], "bind": "10.0.0.1", "port": 9000, "tls": False,
        "served_name": "old", "shutdown_timeout_s": 600, "command": COMMAND}


def test_container_without_our_options_has_defaults():
    found = containers.read(dict(inspected("x", "exited", command=["sleep", "--port"], ExitCode=137, OOMKilled=True),
                                 HostConfig={}))
    assert (found["port"], found["hash"], found["restart_policy"], found["devices"], found["shutdown_timeout_s"]) == (
        None, None, "no", [], 0)
    assert (found["labels"], found["bind"], found["exit_code"], found["oom_killed"]) == ({}, "0.0.0.0", 137, True)
    assert (found["running"], found["finished_s"], found["command"]) == (False, containers.seconds(FINISHED), [])


@pytest.mark.parametrize(("runtime", "environment", "devices"), [
    ("ascend", ["ASCEND_VISIBLE_DEVICES=1,4-5"], [1, 4, 5]),
    ("runc", ["ASCEND_VISIBLE_DEVICES=1,4-5"], []),
    ("io.containerd.runc.v2", ["ASCEND_VISIBLE_DEVICES=1"], []),
    ("npu-runtime", ["ASCEND_VISIBLE_DEVICES=1 ,3"], [1, 3]),  # Ascend Docker Runtime under another name
    ("", ["ASCEND_VISIBLE_DEVICES=npu-0,npu-1"], [0, 1]),      # an engine that does not store its default runtime
    ("ascend", ["ASCEND_VISIBLE_DEVICES=void"], []),
    ("ascend", ["ASCEND_VISIBLE_DEVICES=100", "ASCEND_RUNTIME_OPTIONS=VIRTUAL"], []),  # /dev/vdavinci100
    ("ascend", [], []),
])
def test_npus_mapped_by_the_ascend_runtime_are_read(runtime, environment, devices):
    assert containers.read(inspected("x", runtime=runtime, environment=environment))["devices"] == devices


def test_npus_of_a_privileged_container_are_read():
    """`docker run --privileged -e ASCEND_VISIBLE_DEVICES=0`, from common_operations.md of Ascend/mind-cluster."""
    found = inspected("x", environment=["ASCEND_VISIBLE_DEVICES=0"])
    found["HostConfig"]["Privileged"] = True
    assert containers.read(found)["devices"] == [0]


def test_only_published_tcp_ports_are_read():
    found = inspected("x", ports=[8888, 80])
    found["NetworkSettings"]["Ports"].update({"53/udp": [{"HostPort": "53"}], "443/tcp": None})
    assert containers.read(found)["ports"] == [80, 8888]


@pytest.mark.parametrize(("status", "health"), [
    ("unhealthy", {"status": "unhealthy", "failures": 3, "output": "the engine is silent"}), ("none", None),
    (None, None)])
def test_health_is_none_without_a_health_check(status, health):
    assert containers.read(inspected("x", health=status, labels=OURS))["health"] == health


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01T00:00:01Z", 1.0), ("2026-11-25T19:05:22.5Z", 1795633522.5),
    ("2026-11-25T19:05:22.123456789Z", 1795633522.123456789), ("0001-01-01T00:00:00Z", None), ("never", None)])
def test_docker_times_are_converted_to_seconds(text, seconds):
    assert containers.seconds(text) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


@pytest.mark.parametrize(("code", "oom", "expected"), [
    (1, False, "with exit code 1"), (137, False, "exit code 137, killed by SIGKILL"),
    (137, True, "exit code 137, killed because memory ran out"), (143, False, "exit code 143, terminated by SIGTERM")])
def test_exit_reason_names_the_signal_or_lack_of_memory(code, oom, expected):
    assert containers.exit_reason({"exit_code": code, "oom_killed": oom}).endswith(expected)


@pytest.fixture
def engine(docker):
    """A client of a Docker engine that has containers with our label and others."""
    docker.add("vllm", labels=OURS)
    docker.add("vllm-previous", status="exited", labels=OURS)
    docker.add("label-prefix", labels={"ascend.vllm.instance": "h1"})
    docker.add("other", status="created")
    return DockerEngine(docker.path)


@pytest.mark.parametrize(("label", "every_state", "names"), [
    (None, False, ["label-prefix", "vllm"]),
    (None, True, ["label-prefix", "other", "vllm", "vllm-previous"]),
    (labels.INSTANCE, True, ["vllm", "vllm-previous"]),
    (labels.INSTANCE, False, ["vllm"]),
    ("ascend.vllm.instance", True, ["label-prefix"]),  # Docker compares whole keys
])
def test_find_filters_by_label_and_state(engine, label, every_state, names):
    assert [each["name"] for each in containers.find(engine, label, every_state)] == names


def test_container_that_is_removed_after_it_was_listed_is_ignored(docker, engine):
    docker.responses["/containers/json"] = 200, [{"Id": "removed"}, {"Id": "vllm"}]
    assert [each["name"] for each in containers.find(engine)] == ["vllm"]


def test_inspect_returns_none_for_a_missing_container(engine):
    assert containers.inspect(engine, "vllm")["hash"] == "h1"
    assert containers.inspect(engine, "none") is None


# These names resemble the names of secrets, but masking "false" would damage every JSON text.
NO_SECRETS = ["TOKENIZERS_PARALLELISM=false", "MAX_BATCHED_TOKENS=50000", "HF_TOKEN_FILE="]


def test_secret_values_are_read_from_environment_and_secrets_file(tmp_path):
    (tmp_path / "secrets.env").write_text("VLLM_API_KEY='sesame with \"quotes\"'\n")
    found = inspected("x", environment=["PATH=/bin", "HF_TOKEN=t0k3n", *NO_SECRETS])
    assert containers.secret_values(found) == ["t0k3n"]
    found["Mounts"] = [{"Destination": labels.SECRETS_TARGET, "Source": str(tmp_path / "secrets.env")},
                       {"Destination": "/data", "Source": "/data"}]
    assert containers.secret_values(found) == ["t0k3n", 'sesame with "quotes"']


SECRET = "s3cret-of-others"


def add_foreign_container(docker, name="theirs", **changes):
    """Add a container that is not ours, with a secret in every field that can contain one."""
    found = docker.add(name, labels={"password": SECRET, SECRET: "x", "com.example.token": SECRET},
                       command=["app", "--password", SECRET, SECRET],
                       environment=["DB_PASSWORD=" + SECRET, "A=" + SECRET],
                       devices=["/dev/davinci0"], ports=[9000], health="unhealthy", Error="exec: " + SECRET,
                       log="said " + SECRET, **changes)
    found["Config"].update(Entrypoint=[SECRET], Hostname=SECRET, User=SECRET, WorkingDir="/" + SECRET)
    found["State"]["Health"]["Log"][-1]["Output"] = "Authorization " + SECRET
    found["Mounts"] = [{"Source": "/" + SECRET, "Destination": "/x"}]
    found.update(Path=SECRET, Args=[SECRET])
    return found


def test_secrets_of_other_containers_are_not_read(docker):
    add_foreign_container(docker)
    engine = DockerEngine(docker.path)
    (found,) = containers.find(engine)
    assert SECRET not in json.dumps(found)
    assert (found["name"], found["labels"], found["error"], found["devices"]) == ("theirs", {}, None, [0])
    found_holders = [*holders.npu_holders({}, [found]), *holders.port_holders({}, [found], [9000])]
    assert [each["container"]["name"] for each in found_holders] == ["theirs", "theirs"]
    assert SECRET not in json.dumps(found_holders)


def test_secrets_of_our_container_are_masked_in_its_state_and_log(docker, tmp_path):
    (tmp_path / "secrets.env").write_text("VLLM_API_KEY='sesame open'\n")
    found = docker.add(NAME, labels=OURS, environment=["MY_SERVICE_KEY=hunter22", "TOKENIZERS_PARALLELISM=false"],
                       health="unhealthy", Error="no hunter22", log="key hunter22, sesame open and given1, false")
    found["Mounts"] = [{"Source": str(tmp_path / "secrets.env"), "Destination": labels.SECRETS_TARGET}]
    found["State"]["Health"]["Log"][-1]["Output"] = "sent hunter22"
    read = containers.read(found)
    assert (read["error"], read["health"]["output"]) == ("no (redacted)", "sent (redacted)")
    assert containers.log(DockerEngine(docker.path), NAME, 10, secrets=["given1"]) == (
        "key (redacted), (redacted) and (redacted), false\n")


def test_log_is_read_and_masked_even_if_the_secrets_file_is_damaged(docker, tmp_path):
    (tmp_path / "secrets.env").write_text("VLLM_API_KEY='sesame\n")
    found = docker.add(NAME, labels=OURS, log="key 'sesame")
    found["Mounts"] = [{"Source": str(tmp_path / "secrets.env"), "Destination": labels.SECRETS_TARGET}]
    assert containers.log(DockerEngine(docker.path), NAME, 10) == "key (redacted)\n"


def test_error_names_the_container_in_an_unknown_format(docker, engine):
    docker.responses["/containers/vllm/json"] = 200, {"Id": "vllm", "State": "running"}
    with pytest.raises(DockerError, match="the Docker engine returns the container vllm in an unknown format"):
        containers.inspect(engine, "vllm")
