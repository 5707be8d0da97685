# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's health check of a vLLM container. Runs inside it; Python >= 3.7, standard library only.

When an engine hangs, /health still returns 200. Therefore, this program reads the counters of the engine. A check fails
if requests are pending and there was no progress since the last check. An idle engine gets a request for one token. A
slow engine under load does not fail, because any change of a counter is progress. Docker reports a container as
unhealthy only after several consecutive failures.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import socket
import ssl
import sys
import tempfile
import threading

SECRETS = "/run/ascend-vllm/secrets.env"
STATE = os.path.join(tempfile.gettempdir(), "ascend-vllm-health.json")

# Metrics of the engine. The counters of the API server in front of it still increase while the engine hangs. The usage
# of the KV cache changes with every chunk of a long prompt, before the first generated token is counted.
PENDING = ("num_requests_running", "num_requests_waiting")
PROGRESS = ("generation_tokens_total", "prompt_tokens_total", "iteration_tokens_total_count", "kv_cache_usage_perc")
_SAMPLE = re.compile(r"^vllm:(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_ENGINE = re.compile(r'(?:^|,)engine="([^"]{0,64})')

# Limits for data from a server: the bytes of a response, and the value of a metric.
MAX_RESPONSE_BYTES = 16 << 20
MAX_VALUE = 1e15
# Limit for a file in this container.
MAX_FILE_BYTES = 1 << 20

# Number of failed checks between SIGTERM and SIGKILL.
CHECKS_BEFORE_KILL = 2


def engines(text):
    """Return ``{engine: {"pending": requests, "progress": [numbers]}}`` for the text of /metrics."""
    found = {}
    for name, labels, value in _SAMPLE.findall(text):
        if name in PENDING + PROGRESS:
            number = finite(value)
            if number is None:
                continue
            named = _ENGINE.search(labels)
            engine = found.setdefault(named.group(1) if named else "0",
                                      {"pending": 0.0, "progress": [0.0] * len(PROGRESS)})
            if name in PENDING:
                engine["pending"] += number
            else:
                engine["progress"][PROGRESS.index(name)] += number
    return found


def finite(text):
    """Return a string as a number, or None if it is not a number from 0 to MAX_VALUE."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= MAX_VALUE else None


def hung_engines(before, now):
    """Return the names of the engines with pending requests in both checks and no progress between them."""
    return sorted(name for name, engine in now.items() if engine["pending"] and name in before
                  and before[name]["pending"] and before[name]["progress"] == engine["progress"])


def has_progress(before, now):
    """Return whether any engine made progress between the checks. An engine that is not in both is ignored."""
    return any(name in before and before[name]["progress"] != engine["progress"] for name, engine in now.items())


def is_idle(before, now):
    """Return whether the engines have no requests and made no progress since the last check."""
    return not any(engine["pending"] for engine in now.values()) and not has_progress(before, now)


def decide(before, now, completion=None, after=None):
    """Return (healthy, reason) from two checks and, if the engines were idle, a completion request.

    :param before: the engines in the last check of this server; empty in the first check.
    :param now: the engines in this check; None if there was no response to /metrics.
    :param completion: HTTP status of the completion request; None if it was not sent or got no response.
    :param after: the engines after a completion request that got no response.
    """
    if now is None:
        return False, "the API server does not respond"
    if not now:
        return True, "the API server responds, but has no metrics of an engine"
    hung = hung_engines(before, now)
    if hung:
        return False, "engine %s has %d requests and made no progress since the last check" % (
            ", ".join(hung), sum(now[name]["pending"] for name in hung))
    if not is_idle(before, now):
        return True, "the engine makes progress"
    if completion is None:
        # Requests that have arrived in the meantime can delay the completion, but then the counters change.
        if after and has_progress(now, after):
            return True, "the engine makes progress"
        return False, "the engine is idle, but does not complete a request for one token"
    if completion >= 500:
        return False, "a completion request failed with HTTP status %d" % completion
    return True, "a completion request succeeded" if completion == 200 else (
        "the API server rejects a completion request (%d), so the engine was not checked" % completion)


def signal_to_send(state, restart_after):
    """Return the signal to send to a hung server, or None. No signal is sent to a server that was never ready.

    :param state: ``{"ready": bool, "failures": consecutive failed checks, including this one}``.
    :param restart_after: number of consecutive failed checks after which the server is terminated, so that Docker
        restarts it. With 0, it is never terminated.
    """
    if not restart_after or not state["ready"] or state["failures"] < restart_after:
        return None
    return signal.SIGTERM if state["failures"] < restart_after + CHECKS_BEFORE_KILL else signal.SIGKILL


class Api:
    """An API server. Its methods return None if there is no response in time.

    :param timeout: timeout of a whole response, in seconds.
    :param tls: the SSLContext of a server with TLS.
    """

    def __init__(self, host, port, timeout, key, tls=None):
        self.host, self.port, self.timeout, self.key, self.tls = host, port, timeout, key, tls

    def metrics(self):
        """Return the engines, or None."""
        response = self._send("GET", "/metrics")
        return engines(response[1]) if response and response[0] == 200 else None

    def complete(self, model):
        """Request a completion of one token. Return the HTTP status, or None."""
        response = self._send("POST", "/v1/completions", {"model": model, "prompt": "Hello", "max_tokens": 1})
        return response and response[0]

    def _send(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = "Bearer " + self.key
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        deadline, expired = None, threading.Event()
        try:
            connection.connect()
            if self.tls:
                connection.sock = self.tls.wrap_socket(
                    connection.sock, do_handshake_on_connect=False, server_hostname=self.host)
            # The timeout of a socket restarts with every byte.
            deadline = threading.Timer(self.timeout, shut_down, (connection.sock, expired))
            deadline.daemon = True
            deadline.start()
            if self.tls:
                connection.sock.do_handshake()
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            content = response.read(MAX_RESPONSE_BYTES + 1)
            if len(content) > MAX_RESPONSE_BYTES or expired.is_set():
                return None
            return response.status, content.decode("utf-8", "replace")
        except (OSError, ValueError, http.client.HTTPException):
            return None  # http.client quotes an invalid key in its ValueError, so it must not be printed
        finally:
            if deadline:
                deadline.cancel()
                deadline.join()  # so that it cannot shut down a later connection that has the same descriptor
            connection.close()


def shut_down(connected, expired):
    """Shut down a connection, so that a blocked read returns."""
    expired.set()
    with contextlib.suppress(OSError):
        # SSLSocket.shutdown would remove the TLS state, which another thread uses.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def api_key(path=SECRETS):
    """Return the API key from the file that the server reads, or None."""
    try:
        with open(path, encoding="utf-8") as file:
            words = shlex.split(file.read(MAX_FILE_BYTES))
    except (OSError, ValueError):
        return None
    return next((word.partition("=")[2] for word in words if word.startswith("VLLM_API_KEY=")), None)


def start_time(stat="/proc/1/stat"):
    """Return the start time of the first process of this container, which changes when the server is restarted."""
    with open(stat, encoding="utf-8", errors="replace") as file:
        return file.read(MAX_FILE_BYTES).rpartition(")")[2].split()[19]


def read_state(path, server):
    """Return the state after the last check. If the file is missing or describes another server, it is empty.

    :param server: a string that identifies the server, see `start_time`.
    """
    try:
        with open(path, encoding="utf-8") as file:
            state = json.loads(file.read(MAX_FILE_BYTES))
        numbers = [number for engine in state["engines"].values()
                   for number in (engine["pending"], *engine["progress"])]
        if (state["server"] == server and isinstance(state["ready"], bool) and isinstance(state["failures"], int)
                and all(isinstance(number, (int, float)) for number in numbers)):
            return state
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    return {"server": server, "ready": False, "failures": 0, "engines": {}}


def write_state(path, state):
    """Write the state atomically."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(path + ".new", path)


def check(api, model, state):
    """Check the engines once, update the state, and return (healthy, reason)."""
    now = api.metrics()
    completion = after = None
    if now and is_idle(state["engines"], now):
        completion = api.complete(model)
        after = api.metrics() if completion is None else None
    healthy, reason = decide(state["engines"], now, completion, after)
    state["engines"] = after or now or state["engines"]
    state["ready"] = state["ready"] or healthy
    state["failures"] = 0 if healthy else state["failures"] + 1
    return healthy, reason


def terminate(number, state):
    """Send a signal to the server, and write the reason to its log, since Docker does not keep the output of checks."""
    line = "ascend.vllm health check: the engine hangs (%d consecutive failed checks); sending %s to the server\n" % (
        state["failures"], signal.Signals(number).name)
    try:
        with open("/proc/1/fd/1", "w", encoding="utf-8") as log:
            log.write(line)
    except OSError:
        pass
    # The first process forwards SIGTERM to the server. From inside the container, SIGKILL has no effect on it, and is
    # sent to all other processes instead.
    os.kill(1 if number == signal.SIGTERM else -1, number)


def main(argv):
    """Print the reason. Return 0 if the engines are healthy, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--timeout", type=float, required=True, help="timeout of one response, in seconds")
    parser.add_argument("--restart-after", type=int, default=0, help="number of failed checks; 0 disables it")
    parser.add_argument("--tls", action="store_true", help="the server uses TLS")
    options = parser.parse_args(argv)
    state = read_state(STATE, start_time())
    # The server is in the same container. An engine with an expired certificate does not hang.
    tls = ssl._create_unverified_context() if options.tls else None  # pylint: disable=protected-access
    api = Api(options.host, options.port, options.timeout, api_key(), tls)
    healthy, reason = check(api, options.model, state)
    write_state(STATE, state)
    print(reason)
    number = signal_to_send(state, options.restart_after)
    if number:
        terminate(number, state)
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
