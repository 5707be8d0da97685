# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server for tests of health checks. If it hangs, its counters stop, and completions get no response."""

from __future__ import annotations

import contextlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Fakes vLLM's metrics and completions. While the server hangs, no completion gets a response or is counted."""

    def do_GET(self):
        if self.server.metrics_key not in (None, self.headers.get("Authorization")):
            self.send_error(401)
            return
        self.reply('vllm:num_requests_running{engine="0"} %d\nvllm:generation_tokens_total{engine="0"} %d\n' % (
            self.server.running, self.server.generated))

    def do_POST(self):
        self.server.keys.append(self.headers.get("Authorization"))
        if self.server.hangs:
            self.server.ended.wait(5)
            return
        self.server.generated += 1
        self.reply("{}")

    def reply(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def hanging_server(certificate=None):
    """Yield a server with settable ``running``, ``generated`` and ``hangs``.

    ``keys`` records the Authorization headers of completions. If ``metrics_key`` is set, requests for metrics
    need it as their Authorization header.

    :param certificate: the paths of the certificate and its key, if the server uses TLS.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.running, server.generated, server.hangs, server.keys = 0, 0, False, []
        server.metrics_key = None
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.ended, server.daemon_threads = threading.Event(), True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
