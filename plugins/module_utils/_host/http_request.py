# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send HTTP requests with a deadline for the whole response and a limit on its size.

The timeout of a socket restarts with every byte. If a server sent single bytes from time to time, a client with only
this timeout would wait forever. Therefore, a timer shuts the connection down. Proxies are not used, because all servers
belong to the cluster. Redirects are not followed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils._host import tls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from http.client import HTTPResponse
    from typing import Any, Callable, TypeVar

    Result = TypeVar("Result")

MAX_LINE_BYTES = 1 << 20


class TooLarge(HTTPException):
    """The response is larger than the limit."""


class BoundedResponse:
    """A response. Its methods raise `socket.timeout` after the deadline and `TooLarge` if the body is too large."""

    def __init__(self, response: HTTPResponse, guard: _Guard, max_bytes: int) -> None:
        self.status: int = response.status
        #: The days until the certificate expires (see `tls.days_left`), or None without TLS.
        self.certificate_days: float | None = guard.certificate_days
        self._response, self._guard, self._max_bytes = response, guard, max_bytes

    def read(self) -> bytes:
        """Return the body."""
        return self._guard.run(lambda: read_limited(self._response, self._max_bytes))

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body."""
        size = 0
        while True:
            line = self._guard.run(lambda: self._response.readline(MAX_LINE_BYTES + 1))
            size += len(line)
            if len(line) > MAX_LINE_BYTES:
                raise TooLarge("a line of the response has more than %d bytes" % MAX_LINE_BYTES)
            if size > self._max_bytes:
                raise TooLarge("the response has more than %d bytes" % self._max_bytes)
            if not line:
                return
            yield line


def read_limited(response: Any, max_bytes: int) -> bytes:
    """Return the body of a response from another HTTP client. Raise `TooLarge` if it has more than ``max_bytes``."""
    body: bytes = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise TooLarge("the response has more than %d bytes" % max_bytes)
    return body


def within(timeout_s: float, call: Callable[[], Result]) -> Result:
    """Return the result of a call, such as one to another HTTP client. Raise `socket.timeout` if it takes too long."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise socket.timeout("timed out: no complete response within %g s" % timeout_s)
    return results[0]


class _Guard:
    """A timer that shuts a connection down after the deadline."""

    def __init__(self, connection: HTTPConnection, timeout_s: float) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self.certificate_days: float | None = None
        self._socket: socket.socket | None = None
        self._expired = threading.Event()
        self._deadline = time.monotonic() + timeout_s
        self._timer = threading.Timer(timeout_s, self._shut_down)
        self._timer.daemon = True

    def __enter__(self) -> _Guard:
        self.run(self._connection.connect)
        # The connection sets its socket to None if the server closes the connection after the response.
        self._socket = self._connection.sock
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()
        self._connection.close()

    def run(self, step: Callable[[], Result]) -> Result:
        """Return the result of a step, and raise `socket.timeout` after the deadline.

        The deadline is also checked after a success, because a connection that was shut down looks like the end of the
        response.
        """
        try:
            result = step()
        except (OSError, HTTPException, ValueError, AttributeError):
            self._check()
            raise
        self._check()
        return result

    def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Start TLS with the server, whose certificate has to be valid for the name."""
        self._connection.sock = self._socket = secured = context.wrap_socket(
            self._connection.sock, do_handshake_on_connect=False, server_hostname=name)
        self.run(secured.do_handshake)
        self.certificate_days = tls.days_left(secured)

    def _check(self) -> None:
        if self._expired.is_set() or time.monotonic() > self._deadline:
            raise socket.timeout("timed out: no complete response within %g s" % self._timeout_s)

    def _shut_down(self) -> None:
        self._expired.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The shutdown method of a TLS socket would wait for the server.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


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
    context = tls.client_context(ca) if parts.scheme == "https" else None
    connection = HTTPConnection(parts.hostname, parts.port or (443 if context else 80), timeout=timeout_s)
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    with _Guard(connection, timeout_s) as guard:
        if context:
            guard.start_tls(context, server_name or parts.hostname)
        guard.run(lambda: connection.request(method or ("GET" if body is None else "POST"), target, body,
                                             dict(headers or {})))
        yield BoundedResponse(guard.run(connection.getresponse), guard, max_bytes)
