# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeout of a Docker request applies to the whole response, whose size is limited."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError


@pytest.fixture
def serve(tmp_path):
    """Return a function (parts, pause_s) that creates a socket that sends these parts, and returns its path."""
    listeners = []

    def run(parts, pause_s=0.0):
        path = str(tmp_path / f"{len(listeners)}.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)

        def response():
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                for part in parts:
                    try:
                        connection.sendall(part)
                    except OSError:
                        return
                    time.sleep(pause_s)
        threading.Thread(target=response, daemon=True).start()
        return path
    yield run
    for listener in listeners:
        listener.close()


def http(body, status="200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def test_get_returns_json_or_none_for_a_missing_resource(docker):
    docker.responses["/x"] = 200, {"a": [1]}
    assert DockerEngine(docker.path).get("/x") == {"a": [1]}
    assert DockerEngine(docker.path).get("/y") is None


@pytest.mark.parametrize("response", [
    [b"H"] * 500,                                                                 # a slow header
    [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", *[b"1"] * 500],            # a slow body
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\n1\r\n"] * 500],
])
def test_timeout_applies_to_the_whole_response(serve, response):
    started = time.monotonic()
    with pytest.raises(DockerError, match="does not respond: timed out"):
        DockerEngine(serve(response, 0.05), timeout_s=0.3).get("/x")
    assert time.monotonic() - started < 15


def test_timeout_applies_to_the_whole_log(serve):
    frame = b"\x01\0\0\0\0\0\0\1x"
    log = [b"HTTP/1.1 200 OK\r\n\r\n", *[frame] * 50]
    with pytest.raises(DockerError, match="timed out"):
        DockerEngine(serve(log, 0.05), timeout_s=0.3).log("c", 10)


@pytest.mark.parametrize(("response", "message"), [
    (http(b"<html>"), "did not return JSON for /x"),
    (http(b'{"message": "no such filter"}', "400 Bad Request"), "returned 400 for /x: no such filter"),
    (http(b"<html>", "500 Error"), "returned 500 for /x: <html>"),
    (b"", "does not respond"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1", "does not respond"),
])
def test_malformed_response_is_an_error(serve, response, message):
    with pytest.raises(DockerError, match=message):
        DockerEngine(serve([response])).get("/x")


def test_missing_socket_is_reported(tmp_path):
    with pytest.raises(DockerError, match=r"the Docker engine at .*none.sock does not respond: .*No such file"):
        DockerEngine(str(tmp_path / "none.sock")).get("/x")


def test_response_above_the_size_limit_is_an_error(serve, monkeypatch):
    monkeypatch.setattr(engine, "MAX_RESPONSE_BYTES", 3 << 20)
    with pytest.raises(DockerError, match="more than 3 MiB"):
        DockerEngine(serve([http(b" " * (3 << 20) + b"1")])).get("/x")
    assert DockerEngine(serve([http(b" " * ((3 << 20) - 1) + b"1")])).get("/x") == 1


@pytest.mark.parametrize(("files", "links", "name"), [
    ({}, {}, None),
    ({"usr/bin/docker": b"\x7fELF"}, {}, None),
    # From the package podman-docker 4.3.1 in Debian 12.
    ({"usr/bin/docker": b"#!/bin/sh\n[ -e /etc/containers/nodocker ] || echo >&2\nexec /usr/bin/podman \"$@\"\n"}, {},
     "Podman"),
    ({"usr/bin/isula": b"\x7fELF"}, {"usr/bin/docker": "isula"}, "iSulad"),
    ({"usr/local/bin/docker": b"#!/bin/sh\n# podman is not used\nexec /opt/docker \"$@\"\n"}, {}, None),
])
def test_another_engine_is_recognized_by_its_docker_command(tmp_path, files, links, name):
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    for path, target in links.items():
        (tmp_path / path).symlink_to(target)
    assert engine.installed_instead(str(tmp_path)) == name


def test_error_names_the_other_engine_if_nothing_responds(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "installed_instead", lambda: "iSulad")
    with pytest.raises(DockerError, match=r"not respond: .*; iSulad provides the docker command"):
        DockerEngine(str(tmp_path / "none.sock")).get("/x")


def test_podman_is_refused_at_every_request(serve):
    """The response has the Server header of podman 4.3.1 from Debian 12."""
    response = b"HTTP/1.1 200 OK\r\nServer: Libpod/4.3.1 (linux)\r\nContent-Length: 2\r\n\r\n{}"
    with pytest.raises(DockerError, match=r"Podman 4\.3\.1 provides .*; install the Docker engine"):
        DockerEngine(serve([response])).get("/containers/json")


def test_containers_are_started_and_stopped(docker):
    docker.add("c")
    docker.add("broken", status="exited")
    docker.broken.add("broken")
    client = DockerEngine(docker.path)
    client.post("/containers/c/stop?t=7")
    client.post("/containers/c/stop?t=7")  # already stopped
    assert docker.containers["c"]["State"]["Status"] == "exited"
    client.post("/containers/c/start")
    assert docker.containers["c"]["State"]["Status"] == "running"
    with pytest.raises(DockerError, match=r"returned 500 for .*: OCI runtime create failed"):
        client.post("/containers/broken/start")
    with pytest.raises(DockerError, match="returned 404 for"):
        client.post("/containers/none/start")


def test_body_is_sent_and_container_is_removed(docker):
    docker.add("c")
    client = DockerEngine(docker.path)
    client.post("/containers/c/update", body={"RestartPolicy": {"Name": "no"}})
    assert docker.containers["c"]["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    client.remove("c")
    client.remove("c")
    assert docker.containers == {}
    docker.responses["/containers/d"] = 409, {"message": "removal is already in progress"}
    with pytest.raises(DockerError, match="removal is already in progress"):
        client.remove("d")


def test_log_has_both_streams_in_chronological_order(docker):
    docker.add("c", log="one\ntwo\nthree")
    docker.logs["c"].append((2e9, "four"))
    client = DockerEngine(docker.path)
    assert client.log("c", 100) == "one\ntwo\nthree\nfour\n"
    assert client.log("c", 2) == "three\nfour\n"
    assert client.log("c", 100, since_s=1.9e9) == "four\n"
    assert client.log("none", 100) == ""


def test_log_of_a_container_with_a_terminal_is_read_without_frames(serve):
    assert DockerEngine(serve([http(b"plain text\n")])).log("c", 10) == "plain text\n"


def test_end_of_a_huge_log_is_kept(docker, serve, monkeypatch):
    monkeypatch.setattr(engine, "MAX_LOG_BYTES", 20)
    docker.add("c", log="\n".join("line %d" % number for number in range(100)))
    assert DockerEngine(docker.path).log("c", 100) == "line 98\nline 99\n"
    assert DockerEngine(serve([http(b"x" * 100000 + b"the end")])).log("c", 100) == "x" * 13 + "the end"


def test_file_in_a_container_is_read(docker):
    docker.add("c", status="exited")
    docker.files[("c", "/tmp/result.json")] = b"{}" * 10
    client = DockerEngine(docker.path)
    assert client.read_file("c", "/tmp/result.json", 20) == b"{}" * 10
    assert client.read_file("c", "/tmp/none.json", 20) is None
    assert client.read_file("none", "/tmp/result.json", 20) is None
    with pytest.raises(DockerError, match=r"/tmp/result.json in the container c has 20 bytes, more than the 19"):
        client.read_file("c", "/tmp/result.json", 19)


def test_response_that_is_not_an_archive_is_an_error(serve):
    with pytest.raises(DockerError, match="did not return an archive"):
        DockerEngine(serve([http(b"gibberish" * 100)])).read_file("c", "/x", 10)
