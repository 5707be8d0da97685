#!/usr/bin/python3
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a server that delays each event of a stream: slow_proxy.py PORT SERVER_PORT FILE.

The file contains the delay in seconds. It is read for each request.
"""

import http.client
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, SERVER_PORT, DELAY = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])


class Handler(BaseHTTPRequestHandler):
    def forward(self):
        delay_s = float(DELAY.read_text("ascii"))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        server = http.client.HTTPConnection("127.0.0.1", SERVER_PORT, timeout=60)
        server.request(self.command, self.path, body, headers)
        response = server.getresponse()
        self.send_response(response.status)
        self.send_header("Content-Type", response.getheader("Content-Type") or "application/json")
        self.end_headers()
        for line in response:
            if line.startswith(b"data: {"):
                time.sleep(delay_s)
            self.wfile.write(line)
            self.wfile.flush()
        server.close()

    do_GET = do_POST = do_HEAD = forward

    def log_message(self, *_arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", PORT), Handler).serve_forever()
