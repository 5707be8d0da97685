# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog, which reports hung engines to HAProxy.

It runs on the host of the balancer without root, and needs Python >= 3.7 and the standard library only.

A hung engine still passes the health checks of HAProxy. Therefore the watchdog checks every engine in the same way as
the health check of its container (health.py), but over the network. HAProxy sends the name of a server (agent-check).
The response is ``up``, ``down`` with the reason, or nothing before the first check. While the watchdog is not running,
no server changes its state. HAProxy itself detects a server that does not respond at all.
"""

from __future__ import annotations

import json
import os
import socketserver
import ssl
import sys
import threading
import time
import traceback

import health

# Seconds that HAProxy has to send the name of a server.
QUERY_TIMEOUT_S = 5
MAX_FILE_BYTES = 16 << 20


class NoResponse(Exception):
    """The API server does not respond, so the state of its engine is unknown."""


class Api(health.Api):
    """An API server that raises `NoResponse` instead of reporting a failure of its engine."""

    def metrics(self):
        """Return the engines. Raise `NoResponse` if the server does not respond."""
        found = super().metrics()
        if found is None:
            raise NoResponse
        return found


class Engine:
    """The engines of one server and their state, which a file keeps across restarts of the watchdog."""

    def __init__(self, server, options, folder):
        self.api = Api(server["address"], server["port"], options["interval_s"], options["api_key"],
                       ssl.create_default_context(cadata=options["ca"] or None) if server["tls"] else None)
        self.model, self.retries = server["served_name"], options["retries"]
        self.path = os.path.join(folder, server["name"] + ".json")
        self.state = health.read_state(self.path, server["name"])

    def check(self):
        """Check the engines once."""
        try:
            _healthy, reason = health.check(self.api, self.model, self.state)
        except NoResponse:
            return
        self.state["reason"] = reason
        health.write_state(self.path, self.state)

    def answer(self):
        """Return the response to an agent check (see HAProxy's manual), or None before the first check."""
        if "reason" not in self.state:
            return None
        if self.state["failures"] < self.retries:
            return "up"
        return "down #%d consecutive checks failed, the last one: %s" % (self.state["failures"], self.state["reason"])


def watch(engine, interval_s):
    """Check the engines of a server repeatedly. After an error, print it and continue."""
    printed = None
    while True:
        started = time.monotonic()
        try:
            engine.check()
        except Exception as error:  # pylint: disable=broad-except
            if repr(error) != printed:
                printed = repr(error)
                traceback.print_exc()
        time.sleep(max(0, started + interval_s - time.monotonic()))


class AgentServer(socketserver.ThreadingTCPServer):
    """The server to which HAProxy sends its agent checks."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port, engines):
        self.engines = engines
        super().__init__(("127.0.0.1", port), AgentCheck)


class AgentCheck(socketserver.StreamRequestHandler):
    """One agent check: HAProxy sends a line with the name of a server."""

    timeout = QUERY_TIMEOUT_S

    def handle(self):
        try:
            name = self.rfile.readline(1024).decode("utf-8", "replace").strip()
            answer = self.server.engines[name].answer() if name in self.server.engines else None
            if answer:
                self.wfile.write(answer.encode("utf-8", "replace") + b"\n")
        except OSError:  # HAProxy has closed the connection
            return


def main(argv):
    """Watch the servers in the file (first argument), and keep their state in the folder (second argument)."""
    with open(argv[0], encoding="utf-8") as file:
        options = json.loads(file.read(MAX_FILE_BYTES))
    engines = {server["name"]: Engine(server, options, argv[1]) for server in options["servers"]}
    server = AgentServer(options["port"], engines)
    for engine in engines.values():
        threading.Thread(target=watch, args=(engine, options["interval_s"]), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
