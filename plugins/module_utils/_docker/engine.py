# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the Docker engine of this host what it is and who was given which NPU. PRIVATE to the collection.

Reads only. The API on the unix socket needs neither the docker client nor the requests library, which community.docker
wants and whose absence is something to report.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from urllib.parse import quote

_DAVINCI = re.compile(r"/dev/davinci([0-9]{1,3})\Z")


class EngineError(Exception):
    """The engine did not answer; the message is one sentence."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout_s):
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def getter(path, timeout_s):
    """A function ``get(resource)`` that returns the parsed answer, or None for 404; raises `EngineError`."""
    def get(resource):
        connection = _Connection(path, timeout_s)
        try:
            connection.request("GET", resource)
            response = connection.getresponse()
            body = response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise EngineError("the engine at %s does not answer: %s" % (path, error)) from error
        finally:
            connection.close()
        if response.status == 404:
            return None
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise EngineError("the engine at %s answers %s with no JSON" % (path, resource)) from error
        if response.status != 200:
            raise EngineError("the engine at %s answers %s with %d: %s" % (
                path, resource, response.status, answer.get("message", "")))
        return answer
    return get


def log_reader(path, timeout_s):
    """A function ``read(container, lines, since)`` that returns the last lines of a log, its two streams in order.

    ``since`` is a time in seconds (Unix) or None. No engine, no container and no log are an empty text.
    """
    def read(container, lines, since=None):
        connection = _Connection(path, timeout_s)
        try:
            connection.request("GET", "/containers/%s/logs?stdout=1&stderr=1&tail=%d%s" % (
                quote(container, safe=""), lines, "" if since is None else "&since=%d" % since))
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()
        return _both_streams(body).decode("utf-8", "replace") if response.status == 200 else ""
    return read


def _both_streams(body):
    """Take the payload out of the engine's frames: stream (1 or 2), three zeros, four bytes of length."""
    parts, place = [], 0
    while len(body) - place >= 8 and body[place] in (1, 2) and not any(body[place + 1:place + 4]):
        length = int.from_bytes(body[place + 4:place + 8], "big")
        parts.append(body[place + 8:place + 8 + length])
        place += 8 + length
    return b"".join(parts) or body  # a container with a terminal has no frames


def describe(get, image=None):
    """What the engine is, and its running containers that were given NPUs.

    :param get: see `getter`.
    :param image: reference of an image that may be there already.
    :returns: ``{"version", "api_version", "root", "storage_driver", "default_runtime": str, "runtimes": [str],
        "image": {"id", "digests"}|None, "containers": [{"id", "name", "image", "pid", "labels", "privileged",
        "devices": [N of /dev/davinciN]}]}``.
    :raises EngineError: if the engine does not answer.
    """
    version, info = get("/version"), get("/info")
    found = get("/images/%s/json" % quote(image, safe="")) if image else None
    containers = [get("/containers/%s/json" % each["Id"]) for each in get("/containers/json") or ()]
    return {
        "version": version["Version"],
        "api_version": version["ApiVersion"],
        "root": info["DockerRootDir"],
        "storage_driver": info["Driver"],
        "default_runtime": info.get("DefaultRuntime") or "",
        "runtimes": sorted(info.get("Runtimes") or {}),
        "image": {"id": found["Id"], "digests": found.get("RepoDigests") or []} if found else None,
        # None: ended since it was listed.
        "containers": [_container(each, info.get("DefaultRuntime")) for each in containers if each],
    }


def _container(inspected, default_runtime):
    host, config = inspected["HostConfig"], inspected["Config"]
    devices = {match.group(1) for match in (
        _DAVINCI.match(device["PathOnHost"]) for device in host.get("Devices") or ()) if match}
    if "ascend" in (host.get("Runtime") or default_runtime or ""):
        devices |= _visible_devices(config.get("Env") or ())
    return {
        "id": inspected["Id"],
        "name": inspected["Name"].lstrip("/"),
        "image": config["Image"],
        "pid": inspected["State"]["Pid"],
        "labels": config.get("Labels") or {},
        "privileged": bool(host.get("Privileged")),
        "devices": sorted(int(device) for device in devices),
    }


def _visible_devices(environment):
    """Devices that the Ascend Docker Runtime maps: ASCEND_VISIBLE_DEVICES=0,2-4 (or Ascend910-0)."""
    value = next((each.partition("=")[2] for each in environment if each.startswith("ASCEND_VISIBLE_DEVICES=")), "")
    devices = set()
    for part in value.split(","):
        match = re.match(r"\s*(?:Ascend[0-9A-Za-z]*-)?([0-9]{1,3})(?:-([0-9]{1,3}))?\s*\Z", part)
        if match:
            first, last = int(match.group(1)), int(match.group(2) or match.group(1))
            devices |= {str(number) for number in range(first, last + 1)}
    return devices
