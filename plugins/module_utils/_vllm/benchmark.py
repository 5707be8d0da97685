# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe the container of a benchmark client and the service that the client measures."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_bytes
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact
from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import model_paths

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class ServiceContainer(TypedDict):
        """The container of a service, and the SHA-256 digests of files that the service depends on."""

        id: str
        image: str  # the id of the image
        running: bool
        started_at: str
        restarts: int
        labels: dict[str, str]
        weights: str | None  # the digest of the manifest of the model; None if there is no manifest
        driver: str | None  # the digest of the driver's version file; None if there is no such file

    class ClientContainer(TypedDict):
        """The container of a client."""

        running: bool
        exit_code: int | None  # None while the client is running
        ended_at: float | None  # in seconds since the epoch; None while the client is running
        error: str | None  # the reason why the container could not be started
        log: list[str]  # the last lines

    class BenchmarkObservation(TypedDict):
        """The return values of ``ascend.vllm.benchmark_info``."""

        service: ServiceContainer | None  # None if there is no such container
        client: ClientContainer | None  # None if there is no such container
        result: str | None  # None while the client is running, or if the client wrote no result

DOCKER_TIMEOUT_S = 20
MAX_RESULT_BYTES = 4 << 20
LOG_LINES = 60
POLL_S = 0.5


def observe(options: dict[str, Any]) -> BenchmarkObservation:
    """Observe the service and the client. Raise DockerError if Docker does not respond or the result is too large."""
    docker = DockerEngine(options["docker_socket"], DOCKER_TIMEOUT_S)
    client = _client(docker, options["client"], options["wait_s"]) if options["client"] else None
    result = None
    if client and not client["running"] and options["result"]:
        content = docker.read_file(options["client"], options["result"], MAX_RESULT_BYTES)
        result = None if content is None else redact(content.decode("utf-8", "replace"), line_limit=False)
    service = _service(docker, options["service"], options["model_path"], options["driver_version_file"])
    return {"service": service, "client": client, "result": result}


def _service(docker: DockerEngine, name: str, model_path: str | None,
             driver_version_file: str | None) -> ServiceContainer | None:
    found = containers.inspect(docker, name)
    if found is None:
        return None
    return {"id": found["id"], "image": found["image"], "running": found["running"],
            "started_at": found["started_at"], "restarts": found["restarts"], "labels": found["labels"],
            "weights": _digest(model_paths(model_path).manifest) if model_path else None,
            "driver": _digest(driver_version_file) if driver_version_file else None}


def _digest(path: str) -> str | None:
    """Return the SHA-256 digest of a small file, or None if the file cannot be read."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError:
        return None


def _client(docker: DockerEngine, name: str, wait_s: float) -> ClientContainer | None:
    """Return the client when it has exited, or after ``wait_s`` seconds. Return None if there is no such container."""
    deadline = time.monotonic() + wait_s
    while True:
        found = containers.inspect(docker, name)
        if found is None:
            return None
        if not found["running"] or time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    # A progress bar updates its line with carriage returns.
    lines = containers.log(docker, found["id"], LOG_LINES).replace("\r", "\n").splitlines()
    return {
        "running": found["running"],
        "exit_code": None if found["running"] else found["exit_code"],
        "ended_at": None if found["running"] else found["finished_s"],
        "error": found["error"],
        "log": [line for line in lines if line.strip()][-LOG_LINES:],
    }
