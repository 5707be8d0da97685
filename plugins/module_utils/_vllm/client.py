# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client for OpenAI-compatible servers.

If a server refuses a request, interrupts a stream or does not respond, the client does not raise an exception, but
returns a response with an ``error``. Proxies are not used, because the servers belong to the cluster.
"""

from __future__ import annotations

import json
import math
import ssl
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, cast

from ansible_collections.ascend.vllm.plugins.module_utils._host import http_request, tls
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known

if TYPE_CHECKING:
    from typing import Any, Iterable, TypedDict

    class _Request(TypedDict):
        endpoint: str
        body: dict[str, Any]

    class ChatRequest(_Request, total=False):
        """A request (see `Server.send`). ``id`` is the key of the response in ``answers`` of `ChatServer`."""

        id: str
        key: str
        prompt_tokens_over_limit: int | None

    class _Response(TypedDict):
        status: int | None

    class Response(_Response, total=False):
        """The response of a server to a request. Keys that do not apply are absent.

        ``status`` is the HTTP status, or None without a response. ``sent`` is false if the request was not sent, and
        absent otherwise. Streams also have ``chunks``, the number of events with text, and ``ended``, whether the
        closing event was received. Responses over https have ``certificate_days``, see `tls.days_left`. ``tool_calls``
        have a ``name`` and the text of their ``arguments``. ``vectors`` are the ``dimensions`` and ``norms`` of
        embeddings, and the ``cosines`` of the angles between the first and each of them. ``scores`` are the relevances
        of documents, in the order of the request.
        """

        sent: bool
        text: str
        reasoning: str
        tool_calls: list[dict[str, str]]
        vectors: dict[str, list[float]]
        scores: list[float]
        finish_reason: str | None
        prompt_tokens: int | None
        completion_tokens: int | None
        latency_s: float
        certificate_days: float
        time_to_first_token_s: float
        chunks: int
        ended: bool
        error: str

    class ModelsResponse(_Response, total=False):
        """The response to ``GET /v1/models``: the served names, and the length of the longest sequence in tokens."""

        models: list[str]
        max_model_len: int | None
        latency_s: float
        certificate_days: float
        error: str

    class ChatServer(TypedDict):
        """The responses of one server, by the id of the request."""

        name: str
        url: str
        models: ModelsResponse
        answers: dict[str, Response]
        #: The statuses of the responses to HEAD requests without an API key, by path; None without a response.
        routes: dict[str, int | None]

    class ChatServerLoad(ChatServer, total=False):
        """A server, with its load if the option ``load`` is set, see `serving_state.request_load`."""

        load: dict[str, Any] | None

    class ChatObservation(TypedDict):
        """The return values of ``ascend.vllm.chat_info``."""

        servers: list[ChatServerLoad]

# A token in the vocabulary of every model. Prompts with an exact number of tokens consist of this token.
FILLER_TOKEN = 1000
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
MAX_TEXT_CHARACTERS = 2000
# The length of the longest prompt that is sent. A greater max_model_len is not plausible.
MAX_PROMPT_TOKENS = 16 * 1024 * 1024
WRONG_KEY = "not-the-key-of-this-service"
# Small requests that need a step of the engine, for models that generate text, compute embeddings, or rank documents.
SMALL_REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/completions", {"prompt": "Hello", "max_tokens": 1, "temperature": 0}),
    ("/v1/embeddings", {"input": "Hello"}), ("/v1/rerank", {"query": "Hello", "documents": ["Hello"]}))
# The beginning of the error about a server whose certificate the client does not accept.
REJECTED = "the certificate of the server is not accepted: "


class Server:
    """A server. ``limit`` is the length of the longest sequence in tokens, or None before :meth:`models` was called.

    :param url: the base URL, such as ``http://10.0.0.1:8888``.
    :param timeout: the timeout of a whole response in seconds.
    :param ca: the CA certificates for https, see `tls.client_context`.
    :param server_name: the name in the certificate, if it is not the host in the URL.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 120.0, ca: str | None = None,
                 server_name: str | None = None) -> None:
        self._ca, self._server_name = ca, server_name
        self.url = url.rstrip("/")
        self.api_key = api_key
        self.timeout = timeout
        self.limit: int | None = None

    def health(self) -> Response:
        """Return the response to ``GET /health``. Its body is empty, which is not an error."""
        response, _body = self._exchange("/health", None, None)
        if response["status"] is not None:
            response.pop("error", None)
        return cast("Response", response)

    def models(self) -> ModelsResponse:
        """Send ``GET /v1/models`` and return the response."""
        response, body = self._exchange("/v1/models", None, self.api_key)
        data = body.get("data")
        cards = [card for card in data if isinstance(card, dict)] if isinstance(data, list) else []
        limits = [_number_or_none(card.get("max_model_len")) or 0 for card in cards]
        self.limit = next((limit for limit in limits if 0 < limit <= MAX_PROMPT_TOKENS), None)
        names = [card["id"] for card in cards if isinstance(card.get("id"), str)]
        return cast("ModelsResponse", dict(response, models=names, max_model_len=self.limit))

    def send(self, request: ChatRequest) -> Response:
        """Send a request and return the response.

        :param request: ``{"endpoint", "body", "key": "given" | "wrong" | "none", "prompt_tokens_over_limit": int}``.
            If ``prompt_tokens_over_limit`` is set, the prompt is replaced. The number of tokens of the new prompt is
            the limit of the server plus this number.
        """
        body = dict(request["body"])
        over_limit = request.get("prompt_tokens_over_limit")
        if over_limit is not None:
            if self.limit is None:
                return {"status": None, "error": "the server does not report a max_model_len between 1 and %d" % (
                    MAX_PROMPT_TOKENS), "sent": False}
            field = "input" if request["endpoint"].endswith("/embeddings") else "prompt"
            body[field] = [FILLER_TOKEN] * (self.limit + over_limit)
        key = {"given": self.api_key, "wrong": WRONG_KEY, "none": None}[request.get("key") or "given"]
        response, reply = self._exchange(request["endpoint"], body, key)
        return cast("Response", dict(response, **(reply if body.get("stream") else _interpret(reply))))

    def send_small(self, model: str) -> Response:
        """Send the first small request that the model does not refuse. If it refuses all, return the first response."""
        refused: list[Response] = []
        for endpoint, body in SMALL_REQUESTS:
            response = self.send({"endpoint": endpoint, "body": dict(body, model=model)})
            if response["status"] not in (400, 404, 405):
                return response
            refused.append(response)
        return refused[0]

    def probe(self, path: str) -> int | None:
        """Return the status of the response to a HEAD request without an API key, or None without a response.

        HEAD requests have no effect on any route. A route that does not require an API key returns 405, or 200 if it
        accepts GET.
        """
        status: int | None = self._exchange(path, None, None, "HEAD")[0]["status"]
        return status

    def _exchange(self, endpoint: str, body: dict[str, Any] | None, key: str | None, method: str | None = None
                  ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Send a request. Return (status, latency and error; the decoded body, or the combined events of a stream)."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = "Bearer " + key
        data = None if body is None else json.dumps(body).encode("utf-8")
        started = time.monotonic()
        observed: dict[str, Any] = {"status": None}
        try:
            with http_request.request(self.url + endpoint, self.timeout, MAX_RESPONSE_BYTES, method, data, headers,
                                      self._ca, self._server_name) as response:
                observed["status"] = response.status
                if response.certificate_days is not None:
                    observed["certificate_days"] = response.certificate_days
                if response.status >= 300:
                    reply = _decode(response.read())
                    reply = {"refusal": next(
                        (reply[key] for key in ("refusal", "error", "detail") if key in reply), reply)}
                elif body and body.get("stream"):
                    reply = _read_stream(response, started)
                else:
                    reply = _decode(response.read())
        except ssl.SSLCertVerificationError as failure:
            reply = {"refusal": REJECTED + tls.rejection(failure)}
        except (OSError, HTTPException) as failure:
            reply = {"refusal": "%s: %s" % (type(failure).__name__, failure)}
        except ValueError as failure:  # the message can contain the API key
            reply = {"refusal": "the request cannot be sent (%s): its URL or API key is invalid" % (
                type(failure).__name__)}
        observed["latency_s"] = round(time.monotonic() - started, 3)
        if "refusal" in reply:
            observed["error"] = _message(reply.pop("refusal"), key)
        return observed, reply


def send_all(name: str, server: Server, requests: Iterable[ChatRequest], routes: Iterable[str] = ()) -> ChatServer:
    """Send ``GET /v1/models`` and all requests to a server, and then call `Server.probe` for the routes.

    After a request without a response, no more requests are sent, because each of them would time out.
    """
    models = server.models()
    answers: dict[str, Response] = {}
    silent = models["status"] is None
    for request in requests:
        if silent:
            answers[request["id"]] = {"status": None, "sent": False,
                                      "error": "not sent, because the server did not respond"}
            continue
        response = server.send(request)
        answers[request["id"]] = response
        silent = response["status"] is None and response.get("sent", True)
    statuses: dict[str, int | None] = {}
    for path in routes:
        statuses[path] = None if silent else server.probe(path)
        silent = silent or statuses[path] is None
    return {"name": name, "url": server.url, "models": models, "answers": answers, "routes": statuses}


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        reply = None
    text = raw[:200].decode("utf-8", "replace")
    return reply if isinstance(reply, dict) else {"refusal": "not a JSON object: " + text}


def _message(refusal: Any, key: str | None = None) -> str:
    message = refusal.get("message", refusal) if isinstance(refusal, dict) else refusal
    try:
        # The key is masked before the message is truncated. Otherwise, a part of the key could remain.
        return mask_known(message if isinstance(message, str) else json.dumps(message), [key], 1)[:300]
    except RecursionError:
        return "a message that is nested too deeply"


def _read_stream(response: http_request.BoundedResponse, started: float) -> dict[str, Any]:
    """Combine server-sent events. If a timeout or the size limit interrupts the stream, the earlier events are kept."""
    reply: dict[str, Any] = {"text": "", "reasoning": "", "tool_calls": [], "chunks": 0, "ended": False}
    try:
        for line in response.lines():
            if _add_event(reply, line, started):
                break
    except (OSError, HTTPException) as failure:
        reply["refusal"] = "the stream did not end: %s" % failure
    return _shortened(reply)


def _add_event(reply: dict[str, Any], line: bytes, started: float) -> bool:
    """Add a line of a stream to the reply. Return whether the line is the closing event."""
    if not line.startswith(b"data:"):
        return False
    event = line[5:].strip()
    if event == b"[DONE]":
        reply["ended"] = True
        return True
    part = _interpret(_decode(event))
    if part.get("text"):
        reply.setdefault("time_to_first_token_s", round(time.monotonic() - started, 3))
        reply["text"] += part["text"]
        reply["chunks"] += 1
    reply["reasoning"] += part.get("reasoning", "")
    for call in part.get("tool_calls", []):
        if call["name"] or not reply["tool_calls"]:
            reply["tool_calls"].append(call)
        else:
            reply["tool_calls"][-1]["arguments"] += call["arguments"]
    reply.update({key: part[key] for key in ("finish_reason", "error") if part.get(key)})
    return False


def _interpret(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of `Response` for a completion, a chat completion, a chunk, embeddings or a ranking."""
    found: dict[str, Any] = {}
    choices = reply.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        choice = choices[0]
        message = choice.get("message") or choice.get("delta") or choice
        text = message.get("content", message.get("text")) if isinstance(message, dict) else message
        if text is not None and not isinstance(text, str):
            found["error"] = "the content is not text, but: %s" % _message(text)
        found["text"] = text if isinstance(text, str) else ""
        reason = choice.get("finish_reason")
        found["finish_reason"] = reason if isinstance(reason, str) else None
        if isinstance(message, dict):
            _add_parsed(found, message)
    if isinstance(reply.get("usage"), dict):
        found.update({key: _number_or_none(reply["usage"].get(key)) for key in ("prompt_tokens", "completion_tokens")})
    if reply.get("error"):
        found["error"] = _message(reply["error"])
    try:
        if isinstance(reply.get("data"), list):
            found["vectors"] = _vectors([entry["embedding"] for entry in reply["data"]])
        elif isinstance(reply.get("results"), list):
            ranked = sorted(reply["results"], key=lambda entry: entry["index"])
            found["scores"] = [_finite(entry["relevance_score"]) for entry in ranked]
    except (ArithmeticError, LookupError, TypeError, ValueError) as failure:
        found["error"] = "the response has no valid numbers (%s)" % type(failure).__name__
    return _shortened(found)


def _shortened(found: dict[str, Any]) -> dict[str, Any]:
    """Truncate the texts, and remove reasoning and tool calls if there are none."""
    found.update({key: found[key][:MAX_TEXT_CHARACTERS] for key in ("text", "reasoning") if key in found})
    return {key: value for key, value in found.items() if value or key not in ("reasoning", "tool_calls")}


def _add_parsed(found: dict[str, Any], message: dict[str, Any]) -> None:
    """Add what the server parsed from the text: the reasoning, whose key depends on the release, and the tool calls."""
    reasoning, calls = message.get("reasoning") or message.get("reasoning_content"), message.get("tool_calls")
    found["reasoning"] = reasoning if isinstance(reasoning, str) else ""
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    found["tool_calls"] = [{key: str(function.get(key) or "") for key in ("name", "arguments")}
                           for function in functions if isinstance(function, dict)]


def _vectors(embeddings: list[list[float]]) -> dict[str, list[float]]:
    def product(one: list[float], other: list[float]) -> float:
        return math.fsum(a * b for a, b in zip(one, other))

    norms = [math.sqrt(product(each, each)) for each in embeddings]
    return {"dimensions": [len(each) for each in embeddings], "norms": [_finite(norm) for norm in norms],
            "cosines": [product(embeddings[0], each) / (norms[0] * norm) for each, norm in zip(embeddings, norms)]}


def _finite(value: float) -> float:
    """Return the number. Raise ValueError if it is not finite, because JSON cannot represent it."""
    if not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _number_or_none(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None
