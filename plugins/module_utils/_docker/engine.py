# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of the Docker engine over its unix socket: the only way for modules of this collection to reach Docker.

PRIVATE to the collection. It needs neither the docker command nor the requests library, which community.docker needs
and which may be missing on a node that is observed. Only the standard library is imported here, because a copy of this
file also runs on its own (see the module benchmark_pause).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import tarfile
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

SOCKET = "/var/run/docker.sock"
MAX_RESPONSE_BYTES = 64 << 20
MAX_LOG_BYTES = 64 << 20
_BLOCK_BYTES = 64 << 10

# Docker's names for processor architectures that have a different name in the kernel.
KERNEL_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


# The engine, and where it is found. Podman and iSulad come with a command docker, and Podman with an API like that of
# Docker, but containers differ in ways that this collection relies on (restart policies, health checks, logs).
OTHER_ENGINE = "%s takes the place of Docker at %s and is not supported; install the Docker engine, or set " \
    "plan_docker_socket to its socket"
# The header Server of each response of Podman.
_PODMAN = re.compile(r"Libpod/(\S+)")


class DockerError(Exception):
    """The Docker engine did not respond, refused, or responded in an unknown format; the message is one sentence."""


class _Socket(socket.socket):
    """A unix socket with a deadline for the whole response; a plain timeout restarts with every byte."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._deadline = time.monotonic() + timeout_s
        self.settimeout(timeout_s)

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self.settimeout(left)
        return super().recv_into(*arguments, **options)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = _Socket(self._timeout_s)
        self.sock.connect(self._path)


class DockerEngine:
    """The Docker engine behind one unix socket.

    Every method raises `DockerError` if the engine does not respond in time or responds with an error.

    :param path: path of the socket. :param timeout_s: timeout of a whole response.
    """

    def __init__(self, path: str = SOCKET, timeout_s: float = 20.0) -> None:
        self.path = path
        self.timeout_s = timeout_s

    def get(self, resource: str, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON of a resource, or None if it does not exist (404)."""
        with self._request("GET", resource, headers) as response:
            body = _read(response)
            if response.status == 404:
                return None
            self._expect(response, resource, body)
            return self._json(resource, body)

    def post(self, resource: str, extra_s: float = 0, body: Mapping[str, Any] | None = None) -> None:
        """Request a change, such as ``/containers/x/start``; no error if there is nothing to change (304).

        :param extra_s: timeout of the change itself, in addition to that of a response.
        """
        with self._request("POST", resource, None, extra_s, body) as response:
            self._expect(response, resource, _read(response))

    def set_restart_policy(self, container: str, policy: str) -> None:
        """Change the restart policy of a container."""
        self.post("/containers/%s/update" % quote(container, safe=""), body={"RestartPolicy": {"Name": policy}})

    def remove(self, container: str, extra_s: float = 0) -> None:
        """Remove a container, also a running one; no error if it does not exist. See `post`."""
        resource = "/containers/%s?force=1" % quote(container, safe="")
        with self._request("DELETE", resource, None, extra_s) as response:
            if response.status != 404:
                self._expect(response, resource, _read(response))

    def log(self, container: str, lines: int, since_s: float | None = None) -> str:
        """Return the end of a container's log, both streams in chronological order.

        It is empty if the container does not exist.

        :param lines: maximum number of lines. :param since_s: the earliest time, in seconds since the epoch.
        """
        parameters = {"stdout": 1, "stderr": 1, "tail": lines}
        if since_s is not None:
            parameters["since"] = int(since_s)
        resource = "/containers/%s/logs?%s" % (quote(container, safe=""), urlencode(parameters))
        with self._request("GET", resource) as response:
            if response.status == 404:
                return ""
            if response.status != 200:
                self._expect(response, resource, _read(response))
            parts: deque[bytes] = deque()
            size = 0
            for part in _log_parts(response):
                parts.append(part)
                size += len(part)
                while size > MAX_LOG_BYTES and len(parts) > 1:
                    size -= len(parts.popleft())
            return b"".join(parts)[-MAX_LOG_BYTES:].decode("utf-8", "replace")

    def read_file(self, container: str, path: str, max_bytes: int) -> bytes | None:
        """Return a file from the file system of a container, running or not; None if it does not exist.

        :raises DockerError: also for a file of more than ``max_bytes``.
        """
        resource = "/containers/%s/archive?%s" % (quote(container, safe=""), urlencode({"path": path}))
        with self._request("GET", resource) as response:
            if response.status == 404:
                return None
            if response.status != 200:
                self._expect(response, resource, _read(response))
            try:
                with tarfile.open(fileobj=response, mode="r|") as archive:
                    member = archive.next()
                    content = archive.extractfile(member) if member and member.isfile() else None
                    if member is None or content is None:
                        return None
                    if member.size > max_bytes:
                        raise DockerError("%s in the container %s has %d bytes, more than the %d allowed" % (
                            path, container, member.size, max_bytes))
                    return content.read(max_bytes)
            except tarfile.TarError as error:
                raise DockerError("the Docker engine at %s did not return an archive for %s (%s)" % (
                    self.path, resource, error)) from error

    @contextlib.contextmanager
    def _request(self, method: str, resource: str, headers: Mapping[str, str] | None = None,
                 extra_s: float = 0, body: Mapping[str, Any] | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self.path, self.timeout_s + extra_s)
        content = {"Content-Type": "application/json"} if body else {}
        try:
            connection.request(method, resource, json.dumps(body) if body else None, {**content, **(headers or {})})
            response = connection.getresponse()
            podman = _PODMAN.match(response.headers.get("Server") or "")
            if podman:
                raise DockerError(OTHER_ENGINE % ("Podman " + podman.group(1), self.path))
            yield response
        except (OSError, http.client.HTTPException) as error:
            other_engine = installed_instead()
            raise DockerError("the Docker engine at %s does not respond: %s%s" % (
                self.path, str(error) or type(error).__name__,
                "; " + OTHER_ENGINE % (other_engine, "the command docker") if other_engine else "")) from error
        finally:
            connection.close()

    def _expect(self, response: http.client.HTTPResponse, resource: str, body: bytes) -> None:
        """Raise DockerError with the engine's message if the response is an error."""
        if response.status in (200, 204, 304):
            return
        try:
            message = json.loads(body.decode("utf-8", "replace"))["message"]
        except (ValueError, LookupError, TypeError, RecursionError):
            message = body[:200].decode("utf-8", "replace")
        raise DockerError("the Docker engine at %s returned %d for %s: %s" % (
            self.path, response.status, resource, message))

    def _json(self, resource: str, body: bytes) -> Any:
        try:
            return json.loads(body.decode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise DockerError("the Docker engine at %s did not return JSON for %s" % (self.path, resource)) from error


def installed_instead(root: str = "/") -> str | None:
    """Return the engine whose command is named docker on this host; None for Docker itself, or if there is none.

    :param root: the folder that stands for ``/``.
    """
    for folder in ("usr/bin", "usr/local/bin", "bin"):
        path = os.path.join(root, folder, "docker")
        # podman-docker installs a script, iSulad a link.
        target = os.path.basename(os.path.realpath(path))
        try:
            with open(path, "rb") as stream:
                start = stream.read(2048)
        except OSError:
            continue
        script = start if start.startswith(b"#!") else b""
        for name, program in (("Podman", "podman"), ("iSulad", "isula")):
            if target.startswith(program) or re.search(rb"\bexec\b.*/%s\b" % program.encode(), script):
                return name
        return None
    return None


def _read(response: http.client.HTTPResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= MAX_RESPONSE_BYTES:
        part = response.read(_BLOCK_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise DockerError("the Docker engine returned more than %d MiB" % (MAX_RESPONSE_BYTES >> 20))


def _log_parts(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the payload of each frame of a log: stream (1 or 2), three zeros, four bytes of length, payload.

    The log of a container with a terminal has no frames.
    """
    header = response.read(8)
    while len(header) == 8 and header[0] in (1, 2) and not any(header[1:4]):
        left = int.from_bytes(header[4:], "big")
        while left:
            part = response.read(min(left, _BLOCK_BYTES))
            if not part:
                return
            yield part
            left -= len(part)
        header = response.read(8)
    while header:
        yield header
        header = response.read(_BLOCK_BYTES)
