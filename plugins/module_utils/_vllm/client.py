# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of OpenAI-compatible servers: one request in, what the server made of it out.

Nothing here fails on an answer: a refusal, a broken stream and a dead server are observations. Proxies never apply,
since the addresses are the cluster's own.
"""

from __future__ import annotations

import json
import time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

# A word that is in the vocabulary of every model: prompts of an exact length are made of it.
FILLER_TOKEN = 1000
MAXIMUM_ANSWER_BYTES = 4 * 1024 * 1024
MAXIMUM_TEXT = 2000
WRONG_KEY = "not-the-key-of-this-service"


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs):
        return None


_OPENER = build_opener(ProxyHandler({}), _NoRedirect)


class Server:
    """One server. ``limit`` is the longest sequence it takes, in tokens; None until :meth:`models` has told it.

    :param url: such as ``http://10.0.0.1:8888``. :param timeout: seconds that an answer may take.
    """

    def __init__(self, url, api_key=None, timeout=120.0):
        self.url = url.rstrip("/")
        self.api_key = api_key
        self.timeout = timeout
        self.limit = None

    def models(self):
        """Return the answer to ``GET /v1/models`` with ``models``, the served names."""
        answer, body = self._exchange("/v1/models", None, self.api_key)
        cards = body.get("data") if isinstance(body.get("data"), list) else []
        cards = [card for card in cards if isinstance(card, dict)]
        answer["models"] = [card.get("id") for card in cards]
        self.limit = next((card["max_model_len"] for card in cards if card.get("max_model_len")), None)
        answer["max_model_len"] = self.limit
        return answer

    def ask(self, request):
        """Send one request.

        :param request: ``{"endpoint", "body", "key": "given" | "wrong" | "none", "prompt_tokens_over_limit": int}``;
            the last one makes a prompt of as many tokens as the server's limit plus this number.
        :returns: ``{"status": int | None, "text", "finish_reason", "prompt_tokens", "completion_tokens", "latency_s",
            "time_to_first_token_s", "chunks", "ended", "error"}``, what does not apply left out.
        """
        body = dict(request["body"])
        if request.get("prompt_tokens_over_limit") is not None:
            if self.limit is None:
                return {"status": None, "error": "the server does not tell its limit (max_model_len)", "sent": False}
            body["prompt"] = [FILLER_TOKEN] * (self.limit + request["prompt_tokens_over_limit"])
        key = {"given": self.api_key, "wrong": WRONG_KEY, "none": None}[request.get("key") or "given"]
        answer, reply = self._exchange(request["endpoint"], body, key)
        answer.update(_interpret(reply))
        return answer

    def _exchange(self, endpoint, body, key):
        """Return what happened and the decoded body (of a stream: the sum of its events)."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = "Bearer " + key
        data = None if body is None else json.dumps(body).encode("utf-8")
        started = time.monotonic()
        answer = {"status": None}
        try:
            with _OPENER.open(Request(self.url + endpoint, data, headers), timeout=self.timeout) as response:
                answer["status"] = response.status
                if body and body.get("stream"):
                    reply = _read_stream(response, started, self.timeout)
                else:
                    reply = _decode(response.read(MAXIMUM_ANSWER_BYTES))
        except HTTPError as refusal:
            answer["status"] = refusal.code
            reply = _decode(refusal.read(MAXIMUM_ANSWER_BYTES))
            reply = {"refusal": next((reply[key] for key in ("refusal", "error", "detail") if key in reply), reply)}
        except (OSError, HTTPException) as failure:
            reply = {"refusal": "%s: %s" % (type(failure).__name__, failure)}
        answer["latency_s"] = round(time.monotonic() - started, 3)
        if "refusal" in reply:
            answer["error"] = _message(reply.pop("refusal"))
        return answer, reply


def _decode(raw):
    try:
        reply = json.loads(raw.decode("utf-8", "replace"))
    except ValueError:
        reply = None
    return reply if isinstance(reply, dict) else {"refusal": "no JSON object: " + raw[:200].decode("utf-8", "replace")}


def _message(refusal):
    message = refusal.get("message", refusal) if isinstance(refusal, dict) else refusal
    return (message if isinstance(message, str) else json.dumps(message))[:300]


def _read_stream(response, started, timeout):
    """Add up server-sent events; ``ended`` tells whether the closing one came."""
    reply = {"text": "", "chunks": 0, "ended": False}
    size = 0
    for line in response:
        size += len(line)
        if time.monotonic() - started > timeout or size > MAXIMUM_ANSWER_BYTES:
            reply["refusal"] = "the stream did not end within %g s and %d bytes" % (timeout, MAXIMUM_ANSWER_BYTES)
            break
        if not line.startswith(b"data:"):
            continue
        event = line[5:].strip()
        if event == b"[DONE]":
            reply["ended"] = True
            break
        part = _interpret(_decode(event))
        if part.get("text"):
            reply.setdefault("time_to_first_token_s", round(time.monotonic() - started, 3))
            reply["text"] += part["text"]
            reply["chunks"] += 1
        reply.update({key: part[key] for key in ("finish_reason", "error") if part.get(key)})
    return reply


def _interpret(reply):
    """Take text, end and token counts from a completion, a chat completion, or a part of one."""
    found = {key: reply[key] for key in ("text", "chunks", "ended", "time_to_first_token_s", "finish_reason")
             if key in reply}
    choices = reply.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        choice = choices[0]
        message = choice.get("message") or choice.get("delta") or choice
        found["text"] = message.get("content", message.get("text")) or ""
        found["finish_reason"] = choice.get("finish_reason")
    if isinstance(reply.get("usage"), dict):
        found.update({key: reply["usage"].get(key) for key in ("prompt_tokens", "completion_tokens")})
    if reply.get("error"):
        found["error"] = _message(reply["error"])
    if "text" in found:
        found["text"] = found["text"][:MAXIMUM_TEXT]
    return found
