# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells Docker whether the engine of this container goes on. Runs inside it; Python >= 3.7, standard library only.

A hung engine still answers /health. So the engine's own counters are read: work that is there and does not go on since
the last look is a failure, and an engine without work is asked for one token. Load is never taken for a hang: whatever
moved is a sign of life, however slow, and only a row of failures makes Docker say unhealthy.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shlex
import signal
import sys
import tempfile

SECRETS = "/run/ascend-vllm/secrets.env"
STATE = os.path.join(tempfile.gettempdir(), "ascend-vllm-health.json")

# Told by the engine, not by the API server in front of it: the latter counts on while the engine hangs. The share of
# the KV cache moves with every part of a long prompt, before its first token is counted.
PENDING = ("num_requests_running", "num_requests_waiting")
SIGNS = ("generation_tokens_total", "prompt_tokens_total", "iteration_tokens_total_count", "kv_cache_usage_perc")
_SAMPLE = re.compile(r"^vllm:(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_ENGINE = re.compile(r'(?:^|,)engine="([^"]*)"')

# Looks between asking the server to end and ending it.
PATIENCE = 2


def engines(text):
    """Return ``{engine: {"pending": requests, "signs": [numbers]}}`` of the text that /metrics answers."""
    found = {}
    for name, labels, value in _SAMPLE.findall(text):
        if name in PENDING + SIGNS:
            named = _ENGINE.search(labels)
            engine = found.setdefault(named.group(1) if named else "0", {"pending": 0.0, "signs": [0.0] * len(SIGNS)})
            if name in PENDING:
                engine["pending"] += float(value)
            else:
                engine["signs"][SIGNS.index(name)] += float(value)
    return found


def stuck(before, now):
    """Return the engines that had and have work, and none of whose signs has moved."""
    return sorted(name for name, engine in now.items() if engine["pending"] and name in before
                  and before[name]["pending"] and before[name]["signs"] == engine["signs"])


def moved(before, now):
    """Tell whether any engine shows another sign than before; one that was not seen before says nothing."""
    return any(name in before and before[name]["signs"] != engine["signs"] for name, engine in now.items())


def is_idle(before, now):
    """Tell whether the engines have neither work nor done any since the last look: then one has to be asked."""
    return not any(engine["pending"] for engine in now.values()) and not moved(before, now)


def decide(before, now, completion=None, after=None):
    """Return (goes on, why) from two looks, and what became of a completion where the engines were idle.

    :param before: the engines at the last look of this life of the container; empty at the first.
    :param now: the engines at this look; None when /metrics did not answer.
    :param completion: HTTP status of the completion, None when it was not asked for or not answered.
    :param after: the engines after a completion that was not answered.
    """
    if now is None:
        return False, "the API server does not answer"
    if not now:
        return True, "the API server answers; the engine keeps no metrics to judge it by"
    hung = stuck(before, now)
    if hung:
        return False, "engine %s has %d requests and did nothing since the last look" % (
            ", ".join(hung), sum(now[name]["pending"] for name in hung))
    if not is_idle(before, now):
        return True, "the engine works"
    if completion is None:
        # Load that came meanwhile may keep a completion waiting, but not the counters.
        if after and moved(now, after):
            return True, "the engine works"
        return False, "an idle engine does not answer a completion of one token"
    if completion >= 500:
        return False, "a completion is answered with %d" % completion
    return True, "a completion is answered" if completion == 200 else (
        "the API server refuses a completion with %d; the engine was not asked" % completion)


def action(state, restart_after):
    """Return the signal that the failures call for, or None; a server that was never ready is never touched.

    :param state: ``{"ready": bool, "failures": failed looks in a row, with this one}``.
    :param restart_after: failed looks after which a server is ended, for Docker to start it again; 0 for never.
    """
    if not restart_after or not state["ready"] or state["failures"] < restart_after:
        return None
    return signal.SIGTERM if state["failures"] < restart_after + PATIENCE else signal.SIGKILL


class Api:
    """The server in this container. No answer in time is None."""

    def __init__(self, host, port, timeout, key):
        self.host, self.port, self.timeout, self.key = host, port, timeout, key

    def metrics(self):
        """Return the engines, or None."""
        answer = self._ask("GET", "/metrics")
        return engines(answer[1]) if answer and answer[0] == 200 else None

    def complete(self, model):
        """Return the HTTP status of a completion of one token, or None."""
        answer = self._ask("POST", "/v1/completions", {"model": model, "prompt": "Hello", "max_tokens": 1})
        return answer and answer[0]

    def _ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.key and body:
            headers["Authorization"] = "Bearer " + self.key
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def api_key(path=SECRETS):
    """Return the key from the file that the server read it from, or None."""
    try:
        with open(path, encoding="utf-8") as file:
            words = shlex.split(file.read())
    except (OSError, ValueError):
        return None
    return next((word.partition("=")[2] for word in words if word.startswith("VLLM_API_KEY=")), None)


def life(stat="/proc/1/stat"):
    """Return when the first process of this container started: what was seen before that belongs to another server."""
    with open(stat, encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


def recall(path, born):
    """Return the state of the last look in this life."""
    try:
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        if state["life"] == born:
            return state
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"life": born, "ready": False, "failures": 0, "engines": {}}


def keep(path, state):
    """Write the state, whole or not at all."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(path + ".new", path)


def look(api, model, state):
    """Return (goes on, why) and bring the state up to date."""
    now = api.metrics()
    completion = after = None
    if now and is_idle(state["engines"], now):
        completion = api.complete(model)
        after = api.metrics() if completion is None else None
    well, why = decide(state["engines"], now, completion, after)
    state["engines"] = after or now or state["engines"]
    state["ready"] = state["ready"] or well
    state["failures"] = 0 if well else state["failures"] + 1
    return well, why


def end(number, state):
    """End the server; its log says why, since a health check's own words are not kept."""
    words = "ascend.vllm health check: the engine hangs (%d failed looks in a row); %s ends the server\n" % (
        state["failures"], signal.Signals(number).name)
    try:
        with open("/proc/1/fd/1", "w", encoding="utf-8") as log:
            log.write(words)
    except OSError:
        pass
    # The first process hands SIGTERM on and cannot be killed from here; all others can.
    os.kill(1 if number == signal.SIGTERM else -1, number)


def main(argv):
    """Print one sentence; 0 when the engine goes on, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--timeout", type=float, required=True, help="seconds for each answer")
    parser.add_argument("--restart-after", type=int, default=0, help="failed looks in a row; 0: never")
    options = parser.parse_args(argv)
    state = recall(STATE, life())
    well, why = look(Api(options.host, options.port, options.timeout, api_key()), options.model, state)
    keep(STATE, state)
    print(why)
    number = action(state, options.restart_after)
    if number:
        end(number, state)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
