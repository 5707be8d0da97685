# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send HTTP requests with a deadline for the whole response and a limit on its size.

The timeout of a socket restarts with every byte. If a server sent single bytes from time to time, a client with a fixed
timeout would wait forever. Therefore, the timeout is set to the remaining time before each read. Proxies are not used,
because all servers belong to the cluster. Redirects are not followed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, cast
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import Deadline, DeadlineSocket
from ansible_collections.ascend.vllm.plugins.module_utils._host import tls

MAX_LINE_BYTES = 1 << 20


class TooLarge(HTTPException):
    """The response is larger than the limit."""


class BoundedResponse:
    """A response. Its methods raise `socket.timeout` after the deadline and `TooLarge` if the body is too large."""

    def __init__(self, response: HTTPResponse, max_bytes: int, certificate_days: float | None) -> None:
        self.status: int = response.status
        #: The days until the certificate expires (see `tls.days_left`), or None without TLS.
        self.certificate_days = certificate_days
        self._response, self._max_bytes = response, max_bytes

    def read(self) -> bytes:
        """Return the body."""
        return read_limited(self._response, self._max_bytes)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body."""
        size = 0
        while True:
            line = self._response.readline(MAX_LINE_BYTES + 1)
            size += len(line)
            if len(line) > MAX_LINE_BYTES:
                raise TooLarge("a line of the response has more than %d bytes" % MAX_LINE_BYTES)
            if size > self._max_bytes:
                raise TooLarge("the response has more than %d bytes" % self._max_bytes)
            if not line:
                return
            yield line


def read_limited(response: Any, max_bytes: int) -> bytes:
    """Return the body of a response of any HTTP client. Raise `TooLarge` if it has more than ``max_bytes``."""
    body: bytes = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise TooLarge("the response has more than %d bytes" % max_bytes)
    return body


class _TlsSocket(Deadline, ssl.SSLSocket):
    pass


@contextlib.contextmanager
def request(url: str, timeout_s: float, max_bytes: int, method: str | None = None, body: bytes | None = None,
            headers: Mapping[str, str] | None = None, ca: str | None = None,
            server_name: str | None = None) -> Iterator[BoundedResponse]:
    """Send a request and yield the response. An HTTP error status does not raise an exception.

    :param timeout_s: the maximum number of seconds until the last byte of the response.
    :param max_bytes: the maximum size of the body.
    :param method: by default, GET without a body and POST with a body.
    :param ca: see `tls.client_context`.
    :param server_name: the name in the certificate, if it is not the host in the URL.
    :raises ssl.SSLCertVerificationError: if the certificate is not accepted, see `tls.rejection`.
    :raises OSError: if the connection fails or the response is not complete in time.
    :raises HTTPException: if the response is not HTTP, or is too large.
    :raises ValueError: if the URL or a header is invalid. The message can contain the header.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("%s is not the URL of a server" % url)
    deadline, context = time.monotonic() + timeout_s, tls.client_context(ca) if parts.scheme == "https" else None
    connection = HTTPConnection(parts.hostname, parts.port or (443 if context else 80), timeout=timeout_s)
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    certificate_days = None
    try:
        connection.connect()
        connection.sock = plain = DeadlineSocket(fileno=connection.sock.detach())
        plain.set_deadline(deadline)
        if context:
            context.sslsocket_class = _TlsSocket
            connection.sock = secured = cast("_TlsSocket", context.wrap_socket(
                plain, server_hostname=server_name or parts.hostname))
            secured.set_deadline(deadline)
            certificate_days = tls.days_left(secured)
        connection.request(method or ("GET" if body is None else "POST"), target, body, dict(headers or {}))
        yield BoundedResponse(connection.getresponse(), max_bytes, certificate_days)
    except socket.timeout as error:
        raise socket.timeout("timed out: no complete response within %g s" % timeout_s) from error
    finally:
        connection.close()
