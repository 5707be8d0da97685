# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake Docker engine inside the test process, behind a real Unix socket.

It applies the parameters of a request as Docker does: a label filter matches a whole key (or ``key=value``), a list
without ``all`` contains only running containers, and a log obeys ``tail`` and ``since``.
"""

from __future__ import annotations

import http.server
import io
import json
import re
import socketserver
import sys
import tarfile
import threading
from urllib.parse import parse_qs, unquote, urlsplit

CREATED = "2025-11-25T18:59:00.5Z"
STARTED = "2025-11-25T19:00:00.5Z"
STARTED_S = 1764097200.5
FINISHED = "2025-11-25T19:05:00.25Z"
NEVER = "0001-01-01T00:00:00Z"


def inspected(name, status="running", labels=None, command=(), environment=(), devices=(), runtime="runc", ports=(),
              health=None, **state):
    """Return the output of ``docker inspect``; ``state`` replaces fields of its State, such as ExitCode."""
    running = status in ("running", "paused", "restarting")
    found = {
        "Id": (name.encode().hex() + 64 * "0")[:64], "Created": CREATED, "Name": "/" + name, "Image": "sha256:i1",
        "RestartCount": 0,
        "Config": {"Image": "vllm:v1", "Labels": labels, "Cmd": list(command), "Env": list(environment)},
        "HostConfig": {"Devices": [{"PathOnHost": path, "PathInContainer": path} for path in devices],
                       "RestartPolicy": {"Name": "always"}, "Privileged": False, "Runtime": runtime},
        "NetworkSettings": {"Ports": {f"{port}/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}] for port in ports}},
        "Mounts": [],
        "State": {"Status": status, "Running": running, "Pid": 40 if running else 0, "ExitCode": 0, "OOMKilled": False,
                  "Error": "", "StartedAt": NEVER if status == "created" else STARTED,
                  "FinishedAt": NEVER if running or status == "created" else FINISHED, **state}}
    if health:
        found["State"]["Health"] = {"Status": health, "FailingStreak": 3, "Log": [
            {"Output": "first"}, {"Output": "the engine is silent\n"}]}
    return found


class FakeDocker(socketserver.ThreadingUnixStreamServer):
    """A Docker engine with these settable attributes.

    ``containers``: {name: output of docker inspect}; ``logs``: {name: [(seconds since the epoch, line)]}; ``files``:
    {(name, path): bytes}, each newer than the previous one; ``images``: {name: output of docker image inspect};
    ``responses``: {path: (status, body)} for any other path; ``broken``: names of containers that cannot be started;
    ``requests``: [(method, target)].
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path):
        super().__init__(path, Handler)
        self.path = path
        self.containers, self.logs, self.files, self.images, self.responses = {}, {}, {}, {}, {}
        self.broken, self.requests, self.headers = set(), [], {}
        self.responses["/info"] = 200, {
            "ServerVersion": "20.10.24", "Architecture": "x86_64", "DockerRootDir": "/", "Driver": "overlay2",
            "DefaultRuntime": "runc", "Runtimes": {"runc": {}, "ascend": {}}}

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_exception):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client can close the connection early
            super().handle_error(request, client_address)

    def add(self, name, log="", **changes):
        """Add a container, see `inspected`. All lines of its log have the time of its start."""
        self.containers[name] = inspected(name, **changes)
        self.logs[name] = [(STARTED_S, line) for line in log.splitlines()]
        return self.containers[name]

    def find(self, name):
        """Return the name of a container by name or id, or None."""
        return next((known for known, each in self.containers.items() if name in (known, each["Id"])), None)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self._serve()

    def do_POST(self):
        self.body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        self._serve()

    def do_DELETE(self):
        self._serve()

    def _serve(self):
        self.server.requests.append((self.command, self.path))
        self.server.headers.update(self.headers)
        url = urlsplit(self.path)
        path, query = unquote(url.path), {key: values[0] for key, values in parse_qs(url.query).items()}
        if path in self.server.responses:
            return self._respond(*self.server.responses[path])
        if path == "/containers/json":
            return self._respond(200, self._listed(query))
        match = re.fullmatch("/containers/([^/]+)/([a-z]+)", path)
        if match and self.server.find(match.group(1)):
            return getattr(self, "_" + match.group(2))(self.server.find(match.group(1)), query)
        match = re.fullmatch("/containers/([^/]+)", path)
        if match and self.command == "DELETE" and query.get("force") == "1" and self.server.find(match.group(1)):
            del self.server.containers[self.server.find(match.group(1))]
            return self._respond(204, b"")
        match = re.fullmatch("/images/(.+)/json", path)
        if match and match.group(1) in self.server.images:
            return self._respond(200, self.server.images[match.group(1)])
        return self._respond(404, {"message": f"no such thing: {path}"})

    def _listed(self, query):
        filters = json.loads(query.get("filters", "{}"))
        assert set(filters) <= {"label"}
        required = filters.get("label", [])

        def matches(each):
            labels = each["Config"]["Labels"] or {}
            return all(labels.get(key) == value if equals else key in labels
                       for key, equals, value in (label.partition("=") for label in required))
        return [{"Id": each["Id"], "Labels": each["Config"]["Labels"] or {}} for each in self.server.containers.values()
                if matches(each) and (query.get("all") in ("1", "true") or each["State"]["Running"])]

    def _json(self, name, query):
        self._respond(200, self.server.containers[name])

    def _logs(self, name, query):
        lines = [line for time, line in self.server.logs[name] if time >= float(query.get("since", 0))]
        tail = query.get("tail", "all")
        body = b""
        for number, line in enumerate(lines if tail == "all" else lines[-int(tail):]):
            data = line.encode() + b"\n"
            body += bytes([1 + number % 2, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
        self._respond(200, body)

    def _archive(self, name, query):
        requested = query["path"]
        files = {path: content for (container, path), content in self.server.files.items()
                 if container == name and (path == requested or path.startswith(requested + "/"))}
        if not files:
            return self._respond(404, {"message": "Could not find the file in container"})
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for number, (path, content) in enumerate(files.items()):
                member = tarfile.TarInfo(path[len(requested.rpartition("/")[0]) + 1:])
                member.size, member.mtime = len(content), number
                archive.addfile(member, io.BytesIO(content))
        return self._respond(200, stream.getvalue())

    def _start(self, name, query):
        if name in self.server.broken:
            return self._respond(500, {"message": "OCI runtime create failed"})
        return self._switch(name, True)

    def _stop(self, name, query):
        return self._switch(name, False)

    def _update(self, name, query):
        self.server.containers[name]["HostConfig"].update(self.body)
        return self._respond(200, {"Warnings": None})

    def _rename(self, name, query):
        new = query["name"]
        if new in self.server.containers:
            return self._respond(409, {"message": f'The container name "/{new}" is already in use'})
        self.server.containers[new] = dict(self.server.containers.pop(name), Name="/" + new)
        self.server.logs[new] = self.server.logs.pop(name)
        return self._respond(204, b"")

    def _switch(self, name, running):
        state = self.server.containers[name]["State"]
        if state["Running"] == running:
            return self._respond(304, b"")
        state.update(Running=running, Status="running" if running else "exited")
        return self._respond(204, b"")

    def _respond(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self):
        return "a module"

    def log_message(self, *_args):
        pass
