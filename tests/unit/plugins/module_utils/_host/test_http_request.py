# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deadline applies to every part of a response, and no part is read beyond the size limit."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
import time
import tracemalloc
from http.client import HTTPException

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import http_request
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.engine_case import hanging_server

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@contextlib.contextmanager
def server(parts, pause_s=0.0, family=socket.AF_INET):
    """Yield the URL of a server that sends these parts to each client, with a pause after each."""
    listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
    closed = threading.Event()

    def serve():
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.recv(65536)
                for part in parts() if callable(parts) else parts:
                    client.sendall(part)
                    if closed.wait(pause_s):
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        closed.set()
        listener.shutdown(socket.SHUT_RDWR)  # It ends accept(), which close() does not.
        thread.join()
        listener.close()


def read(url, timeout_s=5.0, max_bytes=1 << 20):
    with http_request.request(url, timeout_s, max_bytes) as response:
        return response.status, response.read()


def lines(url, timeout_s=5.0, max_bytes=1 << 20):
    with http_request.request(url, timeout_s, max_bytes) as response:
        return list(response.lines())


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", None), ("a.example", "a.example")])
def test_https_verifies_the_certificate_and_its_name(tmp_path, host, name):
    authority = Authority(tmp_path)
    ca, other = authority.path.read_text(), Authority(tmp_path, "other").path.read_text()
    with hanging_server(authority.issue("server", host, 10)) as running:
        url = f"https://127.0.0.1:{running.server_address[1]}/metrics"
        with http_request.request(url, 5, 1000, ca=ca, server_name=name) as response:
            assert (response.status, b"num_requests_running" in response.read()) == (200, True)
            assert 9.9 < response.certificate_days < 10.1
        for trusted, expected in ((other, name), (None, name), (ca, "b.example")):
            with pytest.raises(ssl.SSLCertVerificationError), http_request.request(
                    url, 5, 1000, ca=trusted, server_name=expected):
                pass


@pytest.mark.parametrize("parts", [
    [b""] * 1000, [b"\x16\x03\x03\x40\x00", *[b"x"] * 1000]], ids=["nothing", "drip feed"])
def test_deadline_includes_the_tls_handshake(parts):
    with server(parts, pause_s=0.05) as url:
        started = time.monotonic()
        with pytest.raises(socket.timeout), http_request.request(url.replace("http", "https"), 0.4, 1000):
            pass
        assert time.monotonic() - started < 20


def forever(part):
    while True:
        yield part


def chunked(part):
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from forever(b"%x\r\n%s\r\n" % (len(part), part))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_response_over_ipv4_or_ipv6_is_read(family):
    with server([HEAD + b"\r\nhello"], family=family) as url:
        assert read(url + "/x?y=1") == (200, b"hello")
        assert lines(url) == [b"hello"]


@pytest.mark.parametrize("parts", [
    [bytes([byte]) for byte in HEAD * 50],
    [HEAD, *[b"X-Y: z\r\n"] * 90],
    [HEAD + b"\r\n", *[b"x"] * 1000],
    [HEAD + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 1000],
    [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 1000],
    [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000,
    [b""] * 1000,
], ids=["status line", "headers", "body", "body with a length", "chunks", "interim responses", "nothing"])
@pytest.mark.parametrize("get", [read, lines])
def test_deadline_applies_to_a_slow_response(parts, get):
    with server(parts, pause_s=0.05) as url:
        started = time.monotonic()
        with pytest.raises(socket.timeout, match=r"timed out: no complete response within 0\.4 s"):
            get(url, timeout_s=0.4)
        assert time.monotonic() - started < 20


@pytest.mark.parametrize("parts", [
    lambda: iter([HEAD + b"\r\n", *[b"x" * 65536] * 2000]),
    lambda: chunked(b"x" * 65536),
    lambda: iter([HEAD + b"Content-Length: 1000000000000\r\n\r\n", *[b"x" * 65536] * 2000]),
], ids=["body", "chunks", "length"])
@pytest.mark.parametrize("get", [read, lines])
def test_no_more_than_the_size_limit_is_kept_in_memory(parts, get):
    with server(parts) as url:
        tracemalloc.start()
        try:
            with pytest.raises(http_request.TooLarge, match="has more than 1048576 bytes"):
                get(url)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_many_lines_are_not_read_beyond_the_limit():
    parts = [HEAD + b"\r\n", *[b"data: x\n" * 1000] * 100]
    with server(parts) as url, pytest.raises(http_request.TooLarge):
        lines(url, max_bytes=100000)


@pytest.mark.parametrize("response", [b"", b"\xff\xfe\n", b"HTTP/1.1 abc OK\r\n\r\n", HEAD + b"X: y\r\n" * 200,
                                      HEAD + b"x" * 100000])
def test_malformed_response_raises_an_http_or_os_error(response):
    with server([response]) as url, pytest.raises((HTTPException, OSError)):
        read(url)


def test_body_from_another_http_client_is_limited():
    assert http_request.read_limited(io.BytesIO(b"12345"), 5) == b"12345"
    with pytest.raises(http_request.TooLarge, match="more than 4 bytes"):
        http_request.read_limited(io.BytesIO(b"12345"), 4)


@pytest.mark.parametrize("url", ["", "x", "ftp://a", "http://", "http://a:b", "http://[::1", "http://a:99999"])
def test_invalid_url_is_refused(url):
    with pytest.raises((ValueError, OSError, OverflowError)):
        read(url, timeout_s=0.5)
