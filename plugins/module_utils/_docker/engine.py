# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client for the Docker engine's API (over its unix socket) that all modules of this collection use.

The client needs neither the docker command nor the requests library. community.docker needs that library, which nodes
can lack. This file imports only the standard library, because the module benchmark_pause also runs a copy of it without
the other files of the collection.
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
from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import quote, urlencode

SOCKET = "/var/run/docker.sock"
MAX_RESPONSE_BYTES = 64 << 20
MAX_LOG_BYTES = 64 << 20
_BLOCK_BYTES = 64 << 10

# Docker's names for processor architectures that have a different name in the kernel.
KERNEL_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}

# The values are the other engine, and the command or socket that it provides. Podman and iSulad can be installed with a
# docker command, and Podman has the same API as Docker, but their containers differ in features that this collection
# needs (restart policies, health checks, logs).
OTHER_ENGINE = "%s provides %s and is not supported; install the Docker engine, or set plan_docker_socket to its socket"
# The Server header in each Podman response.
_PODMAN = re.compile(r"Libpod/(\S+)")


class DockerError(Exception):
    """The Docker engine did not respond, returned an error, or used an unknown format. The message is one sentence."""


class _NotFound(DockerError):
    """The resource does not exist."""


class Deadline:
    """A deadline for everything that a socket receives. The timeout of a plain socket restarts with every byte."""

    _deadline = 0.0

    def set_deadline(self, deadline: float) -> None:
        """Set the time (`time.monotonic`) after which the socket raises `socket.timeout`."""
        self._deadline = deadline
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise socket.timeout("timed out")
        self.settimeout(remaining_s)  # type: ignore[attr-defined]

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.set_deadline(self._deadline)
        return super().recv_into(*arguments, **options)  # type: ignore[misc]


class DeadlineSocket(Deadline, socket.socket):
    pass


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = connected = DeadlineSocket(socket.AF_UNIX)
        connected.set_deadline(time.monotonic() + self._timeout_s)
        connected.connect(self._path)


class DockerEngine:
    """A client for the Docker engine.

    Every method raises `DockerError` if the engine does not respond in time or returns an error.

    :param path: the path of the unix socket.
    :param timeout_s: the timeout of a whole response in seconds.
    """

    def __init__(self, path: str = SOCKET, timeout_s: float = 20.0) -> None:
        self.path = path
        self.timeout_s = timeout_s

    def get(self, resource: str, headers: Mapping[str, str] | None = None) -> Any:
        """Return the decoded JSON of a resource, or None if the resource does not exist (404)."""
        with contextlib.suppress(_NotFound), self._request("GET", resource, headers) as response:
            return self._json(resource, _read(response))
        return None

    def get_lines(self, resource: str) -> list[Any]:
        """Return the JSON of each line of a resource, such as the events in a past period."""
        with self._request("GET", resource) as response:
            return [self._json(resource, line) for line in _read(response).splitlines() if line.strip()]

    def post(self, resource: str, extra_s: float = 0, body: Mapping[str, Any] | None = None) -> None:
        """Request a change, such as ``/containers/x/start``. The response 304 (nothing to change) is a success.

        :param extra_s: the number of seconds that the change can take, in addition to the timeout of a response.
        """
        with self._request("POST", resource, None, extra_s, body) as response:
            _read(response)

    def remove(self, container: str, extra_s: float = 0) -> None:
        """Remove a container, even a running one. It does not have to exist. For ``extra_s``, see `post`."""
        resource = "/containers/%s?force=1" % quote(container, safe="")
        with contextlib.suppress(_NotFound), self._request("DELETE", resource, None, extra_s) as response:
            _read(response)

    def log(self, container: str, lines: int, since_s: float | None = None) -> str:
        """Return the end of the log of a container, with both streams in chronological order.

        The text is empty if the container does not exist.

        :param lines: the maximum number of lines.
        :param since_s: the time from which lines are returned, in seconds since the epoch.
        """
        parameters = {"stdout": 1, "stderr": 1, "tail": lines}
        if since_s is not None:
            parameters["since"] = int(since_s)
        resource = "/containers/%s/logs?%s" % (quote(container, safe=""), urlencode(parameters))
        with contextlib.suppress(_NotFound), self._request("GET", resource) as response:
            parts: deque[bytes] = deque()
            size = 0
            for part in _log_parts(response):
                parts.append(part)
                size += len(part)
                while size > MAX_LOG_BYTES and len(parts) > 1:
                    size -= len(parts.popleft())
            return b"".join(parts)[-MAX_LOG_BYTES:].decode("utf-8", "replace")
        return ""

    def read_file(self, container: str, path: str, max_bytes: int) -> bytes | None:
        """Return a file from the file system of a container, or None if the file does not exist.

        The container does not have to be running.

        :raises DockerError: also if the file has more than ``max_bytes``.
        """
        for _name, member, content in self.files(container, path):
            if member.size > max_bytes:
                raise DockerError("%s in the container %s has %d bytes, more than the %d allowed" % (
                    path, container, member.size, max_bytes))
            return content.read(max_bytes)
        return None

    def files(self, container: str, path: str) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
        """Yield (path, entry, content) of a file in a container in any state, or of every file in a folder.

        The yielded paths are relative to the folder that contains ``path``. If ``path`` does not exist, there are none.
        """
        resource = "/containers/%s/archive?%s" % (quote(container, safe=""), urlencode({"path": path}))
        with contextlib.suppress(_NotFound), self._request("GET", resource) as response:
            try:
                with tarfile.open(fileobj=response, mode="r|") as archive:
                    for member in archive:
                        content = archive.extractfile(member) if member.isfile() else None
                        if content is not None:
                            yield member.name, member, content
            except tarfile.TarError as error:
                raise DockerError("the Docker engine at %s did not return an archive for %s (%s)" % (
                    self.path, resource, error)) from error

    @contextlib.contextmanager
    def _request(self, method: str, resource: str, headers: Mapping[str, str] | None = None,
                 extra_s: float = 0, body: Mapping[str, Any] | None = None) -> Iterator[http.client.HTTPResponse]:
        """Send a request and yield the response. Raise DockerError with the message of the engine for an error."""
        connection = _Connection(self.path, self.timeout_s + extra_s)
        content = {"Content-Type": "application/json"} if body else {}
        try:
            connection.request(method, resource, json.dumps(body) if body else None, {**content, **(headers or {})})
            response = connection.getresponse()
            podman = _PODMAN.match(response.headers.get("Server") or "")
            if podman:
                raise DockerError(OTHER_ENGINE % ("Podman " + podman.group(1), self.path))
            if response.status not in (200, 204, 304):
                kind, message = _NotFound if response.status == 404 else DockerError, _error_message(_read(response))
                raise kind("the Docker engine at %s returned %d for %s: %s" % (
                    self.path, response.status, resource, message))
            yield response
        except (OSError, http.client.HTTPException) as error:
            other_engine = installed_instead()
            raise DockerError("the Docker engine at %s does not respond: %s%s" % (
                self.path, str(error) or type(error).__name__,
                "; " + OTHER_ENGINE % (other_engine, "the docker command") if other_engine else "")) from error
        finally:
            connection.close()

    def _json(self, resource: str, body: bytes) -> Any:
        try:
            return json.loads(body.decode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise DockerError("the Docker engine at %s did not return JSON for %s" % (self.path, resource)) from error


def installed_instead(root: str = "/") -> str | None:
    """Return the name of another engine that provides the docker command on this host.

    Return None if Docker itself provides the command, or if there is no such command.

    :param root: the folder to use as ``/``.
    """
    for folder in ("usr/bin", "usr/local/bin", "bin"):
        path = os.path.join(root, folder, "docker")
        # The podman-docker package installs a script, and iSulad installs a link.
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
    body = response.read(MAX_RESPONSE_BYTES + 1)
    if len(body) > MAX_RESPONSE_BYTES:
        raise DockerError("the Docker engine returned more than %d MiB" % (MAX_RESPONSE_BYTES >> 20))
    return body


def _error_message(body: bytes) -> str:
    try:
        return str(json.loads(body.decode("utf-8", "replace"))["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return body[:200].decode("utf-8", "replace")


def _log_parts(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the payload of each frame of a log.

    A frame consists of the stream number (1 or 2), three zero bytes, four bytes with the length, and the
    payload. The log of a container with a terminal has no frames.
    """
    header = response.read(8)
    while len(header) == 8 and header[0] in (1, 2) and not any(header[1:4]):
        remaining_bytes = int.from_bytes(header[4:], "big")
        while remaining_bytes:
            part = response.read(min(remaining_bytes, _BLOCK_BYTES))
            if not part:
                return
            yield part
            remaining_bytes -= len(part)
        header = response.read(8)
    while header:
        yield header
        header = response.read(_BLOCK_BYTES)
