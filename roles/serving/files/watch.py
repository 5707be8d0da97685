# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells HAProxy which engines hang. Runs beside the balancer, not as root; Python >= 3.7, standard library only.

A hung engine answers the health checks of HAProxy all the same. So every engine is looked at with the eyes of its
container's health check (health.py), over the network. HAProxy asks for a server by its name (agent-check) and is told
up, down with the reason, or nothing before the first look; a watch that is not there changes nothing. Whether a server
answers at all HAProxy sees by itself.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
import time
import traceback

import health

# Seconds that HAProxy has to say which server it asks for.
PATIENCE_S = 5


class Silence(Exception):
    """The API server does not answer, so nothing is known of its engine."""


class Api(health.Api):
    """A server whose silence is no failure of its engine."""

    def metrics(self):
        """Return the engines; raises `Silence`."""
        found = super().metrics()
        if found is None:
            raise Silence
        return found


class Engine:
    """The engines of one server, and what was seen of them; that outlives the watch in a file."""

    def __init__(self, server, options, folder):
        self.api = Api(server["address"], server["port"], options["interval_s"], options["api_key"])
        self.model, self.retries = server["served_name"], options["retries"]
        self.path = os.path.join(folder, server["name"] + ".json")
        self.state = health.recall(self.path, server["name"])

    def look(self):
        """Look at the engines once."""
        try:
            _well, why = health.look(self.api, self.model, self.state)
        except Silence:
            return
        self.state["why"] = why
        health.keep(self.path, self.state)

    def answer(self):
        """Return what HAProxy is told, see "agent-check" in its configuration manual; None before the first look."""
        if "why" not in self.state:
            return None
        if self.state["failures"] < self.retries:
            return "up"
        return "down #%d looks in a row failed, at last: %s" % (self.state["failures"], self.state["why"])


def watch(engine, interval_s):
    """Look again and again. A watch with a blind eye is worse than none: it ends, to be started anew."""
    try:
        while True:
            begun = time.monotonic()
            engine.look()
            time.sleep(max(0, begun + interval_s - time.monotonic()))
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
        os._exit(1)


class Questions(socketserver.ThreadingTCPServer):
    """Where HAProxy asks."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port, engines):
        self.engines = engines
        super().__init__(("127.0.0.1", port), Question)


class Question(socketserver.StreamRequestHandler):
    """One question: the name of a server in a line."""

    timeout = PATIENCE_S

    def handle(self):
        try:
            name = self.rfile.readline(1024).decode("utf-8", "replace").strip()
            answer = self.server.engines[name].answer() if name in self.server.engines else None
            if answer:
                self.wfile.write(answer.encode("utf-8") + b"\n")
        except OSError:  # HAProxy has given up
            return


def main(argv):
    """Watch what the file (first argument) names; keep what was seen in the folder (second argument)."""
    with open(argv[0], encoding="utf-8") as file:
        options = json.load(file)
    engines = {server["name"]: Engine(server, options, argv[1]) for server in options["servers"]}
    server = Questions(options["port"], engines)
    for engine in engines.values():
        threading.Thread(target=watch, args=(engine, options["interval_s"]), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
