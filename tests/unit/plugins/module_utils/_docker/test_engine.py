# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request to Docker has a timeout for the whole response, and an response a size limit."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError


@pytest.fixture
def serve(tmp_path):
    """Return a function (parts, pause_s) -> path of a socket that sends these bytes part by part."""
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


def test_get(docker):
    docker.responses["/x"] = 200, {"a": [1]}
    assert DockerEngine(docker.path).get("/x") == {"a": [1]}
    assert DockerEngine(docker.path).get("/y") is None


@pytest.mark.parametrize("response", [
    [b"H"] * 50,                                                                  # a slow header
    [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", *[b"1"] * 50],             # a slow body
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\n1\r\n"] * 50],
])
def test_timeout_applies_to_the_whole_response(serve, response):
    started = time.monotonic()
    with pytest.raises(DockerError, match="does not respond: timed out"):
        DockerEngine(serve(response, 0.05), timeout_s=0.3).get("/x")
    assert time.monotonic() - started < 1.5


def test_timeout_applies_to_the_whole_log(serve):
    frame = b"\x01\0\0\0\0\0\0\1x"
    log = [b"HTTP/1.1 200 OK\r\n\r\n", *[frame] * 50]
    with pytest.raises(DockerError, match="timed out"):
        DockerEngine(serve(log, 0.05), timeout_s=0.3).log("c", 10)


@pytest.mark.parametrize(("response", "message"), [
    (http(b"<html>"), "does not respond to /x with JSON"),
    (http(b'{"message": "no such filter"}', "400 Bad Request"), "responded to /x with 400: no such filter"),
    (http(b"<html>", "500 Error"), "responded to /x with 500: <html>"),
    (b"", "does not respond"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1", "does not respond"),
])
def test_malformed_response_is_an_error(serve, response, message):
    with pytest.raises(DockerError, match=message):
        DockerEngine(serve([response])).get("/x")


def test_missing_socket(tmp_path):
    with pytest.raises(DockerError, match=r"the Docker engine at .*none.sock does not respond: .*No such file"):
        DockerEngine(str(tmp_path / "none.sock")).get("/x")


def test_response_above_the_size_limit_is_an_error(serve, monkeypatch):
    monkeypatch.setattr(engine, "MAX_RESPONSE_BYTES", 3 << 20)
    with pytest.raises(DockerError, match="more than 3 MiB"):
        DockerEngine(serve([http(b" " * (3 << 20) + b"1")])).get("/x")
    assert DockerEngine(serve([http(b" " * ((3 << 20) - 1) + b"1")])).get("/x") == 1


def test_facts(docker):
    assert DockerEngine(docker.path).facts() == {
        "version": "20.10.24", "architecture": "x86_64", "data_root": "/", "storage_driver": "overlay2",
        "default_runtime": "runc", "runtimes": ["ascend", "runc"]}
    docker.responses["/info"] = 200, {"ServerVersion": "20.10.24"}
    with pytest.raises(DockerError, match="unknown format"):
        DockerEngine(docker.path).facts()


def test_start_and_stop(docker):
    docker.add("c")
    docker.add("broken", status="exited")
    docker.broken.add("broken")
    client = DockerEngine(docker.path)
    client.post("/containers/c/stop?t=7")
    client.post("/containers/c/stop?t=7")  # already stopped
    assert docker.containers["c"]["State"]["Status"] == "exited"
    client.post("/containers/c/start")
    assert docker.containers["c"]["State"]["Status"] == "running"
    with pytest.raises(DockerError, match="with 500: OCI runtime create failed"):
        client.post("/containers/broken/start")
    with pytest.raises(DockerError, match="with 404"):
        client.post("/containers/none/start")


def test_log_has_both_streams_in_chronological_order(docker):
    docker.add("c", log="one\ntwo\nthree")
    docker.logs["c"].append((2e9, "four"))
    client = DockerEngine(docker.path)
    assert client.log("c", 100) == "one\ntwo\nthree\nfour\n"
    assert client.log("c", 2) == "three\nfour\n"
    assert client.log("c", 100, since_s=1.9e9) == "four\n"
    assert client.log("none", 100) == ""


def test_log_of_a_terminal_has_no_frames(serve):
    assert DockerEngine(serve([http(b"plain text\n")])).log("c", 10) == "plain text\n"


def test_end_of_a_huge_log_is_kept(docker, serve, monkeypatch):
    monkeypatch.setattr(engine, "MAX_LOG_BYTES", 20)
    docker.add("c", log="\n".join("line %d" % number for number in range(100)))
    assert DockerEngine(docker.path).log("c", 100) == "line 98\nline 99\n"
    assert DockerEngine(serve([http(b"x" * 100000 + b"the end")])).log("c", 100) == "x" * 13 + "the end"


def test_file_in_a_container(docker):
    docker.add("c", status="exited")
    docker.files[("c", "/tmp/result.json")] = b"{}" * 10
    client = DockerEngine(docker.path)
    assert client.read_file("c", "/tmp/result.json", 20) == b"{}" * 10
    assert client.read_file("c", "/tmp/none.json", 20) is None
    assert client.read_file("none", "/tmp/result.json", 20) is None
    with pytest.raises(DockerError, match=r"/tmp/result.json in the container c has 20 bytes, more than the 19"):
        client.read_file("c", "/tmp/result.json", 19)


def test_response_that_is_not_an_archive_is_an_error(serve):
    with pytest.raises(DockerError, match="with an archive"):
        DockerEngine(serve([http(b"gibberish" * 100)])).read_file("c", "/x", 10)
