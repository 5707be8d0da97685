# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server: routes, errors and streaming of vLLM's OpenAI server."""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from . import VERSION, engine, faults
from .errors import RequestError

DEFAULT_COMPLETION_TOKENS = 16  # of /v1/completions without max_tokens


class Server(ThreadingHTTPServer):
    """A server that binds its port immediately and listens when the engine is ready, like vLLM."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(
        self, address: tuple[str, int], names: list[str], api_keys: list[str], context: int, middlewares: list[type]
    ) -> None:
        super().__init__(address, Handler, bind_and_activate=False)
        self.names, self.api_keys, self.context = names, api_keys, context
        self.created = int(time.time())
        self.metrics = engine.Metrics(names[0])
        self._calls, self._lock = 0, threading.Lock()
        self.app = passed
        for middleware in middlewares:  # the last one is the outermost
            self.app = middleware(self.app)
        self.server_bind()

    def should_fail(self, ratio: float) -> bool:
        """Return True for `ratio` of the calls, evenly spread."""
        with self._lock:
            self._calls += 1
            return int(self._calls * ratio) > int((self._calls - 1) * ratio)


async def passed(scope: dict, _receive: object, _send: object) -> None:
    """Record the headers of a request that has passed the ASGI middlewares."""
    scope["passed"].append(scope["headers"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "uvicorn"
    sys_version = ""
    disable_nagle_algorithm = True
    server: Server

    GET = {
        "/health": "health",
        "/ping": "health",
        "/version": "version",
        "/load": "load",
        "/metrics": "metrics",
        "/v1/models": "models",
    }
    POST = {
        "/v1/chat/completions": "chat",
        "/v1/completions": "completion",
        "/invocations": "invocations",
        "/tokenize": "tokenize",
        "/ping": "health",
    }

    def do_GET(self) -> None:
        self.route(self.GET, self.POST)

    def do_POST(self) -> None:
        self.route(self.POST, self.GET)

    def do_HEAD(self) -> None:
        self.route({}, {**self.GET, **self.POST})

    def route(self, routes: dict[str, str], others: dict[str, str]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path.partition("?")[0])
        try:
            headers = self.pass_middlewares(path)
            if headers is None:
                return None
            if path.startswith("/v1") and not self.authorized(dict(headers).get(b"authorization", b"").decode()):
                return self.reply(401, {"error": "Unauthorized"})
            if path not in routes:
                status, reason = (405, "Method Not Allowed") if path in others else (404, "Not Found")
                return self.reply(status, {"detail": reason})
            getattr(self, routes[path])(body)
        except RequestError as error:
            self.reply(error.status, error.body())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def pass_middlewares(self, path: str) -> list[tuple[bytes, bytes]] | None:
        """Call the middlewares of --middleware; return the headers that they pass on, or None if one has responded."""
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        scope = {"type": "http", "method": self.command, "path": path, "root_path": "", "headers": headers}
        messages: list[dict] = []

        async def send(message: dict) -> None:
            messages.append(message)

        scope["passed"] = []
        asyncio.run(self.server.app(scope, None, send))
        if scope["passed"]:
            return scope["passed"][0]
        body = b"".join(message.get("body", b"") for message in messages)
        self.reply(messages[0]["status"], body.decode())
        return None

    def authorized(self, authorization: str) -> bool:
        scheme, _space, token = authorization.partition(" ")
        keys = self.server.api_keys
        return not keys or (
            scheme.lower() == "bearer" and any(hmac.compare_digest(token.encode(), key.encode()) for key in keys)
        )

    def reply(self, status: int, content: object = None, kind: str = "application/json") -> None:
        text = "" if content is None else content if isinstance(content, str) else json.dumps(content)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        print("(APIServer pid=1) INFO:     %s:%d - " % self.client_address[:2] + format % values, flush=True)

    # -- routes

    def health(self, _body: bytes) -> None:
        self.reply(503 if faults.current().engine_dead else 200)

    def version(self, _body: bytes) -> None:
        self.reply(200, {"version": VERSION})

    def load(self, _body: bytes) -> None:
        self.reply(200, {"server_load": self.server.metrics.running})

    def metrics(self, _body: bytes) -> None:
        self.reply(200, self.server.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    def models(self, _body: bytes) -> None:
        cards = [
            {
                "id": name,
                "object": "model",
                "created": self.server.created,
                "owned_by": "vllm",
                "root": self.server.names[0],
                "parent": None,
                "max_model_len": self.server.context,
                "permission": [],
            }
            for name in self.server.names
        ]
        self.reply(200, {"object": "list", "data": cards})

    def tokenize(self, body: bytes) -> None:
        request = self.read_request(body)
        if "messages" in request:
            question = engine.chat_question(request["messages"])
            tokens = engine.tokenize(question.text)
            count = question.tokens
        else:
            tokens = engine.tokenize(str(request.get("prompt", "")))
            count = len(tokens)
        self.reply(200, {"count": count, "max_model_len": self.server.context, "tokens": tokens, "token_strs": None})

    def chat(self, body: bytes) -> None:
        request = self.read_request(body)
        question = engine.chat_question(request.get("messages"))
        length = request.get("max_completion_tokens") or request.get("max_tokens")
        self.complete(request, question, length or self.server.context - question.tokens, "chat.completion")

    def invocations(self, body: bytes) -> None:
        (self.chat if "messages" in self.read_request(body) else self.completion)(body)

    def completion(self, body: bytes) -> None:
        request = self.read_request(body)
        prompt = request.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
            prompt = prompt[0]
        if not isinstance(prompt, (str, list)) or not prompt:
            raise RequestError(400, "BadRequestError", "prompt: a text or a list of token ids is required", "prompt")
        text = prompt if isinstance(prompt, str) else ""
        question = engine.Question(text, [], len(engine.tokenize(text)) if text else len(prompt))
        self.complete(request, question, request.get("max_tokens") or DEFAULT_COMPLETION_TOKENS, "text_completion")

    # -- completions

    def read_request(self, body: bytes) -> dict:
        try:
            request = json.loads(body)
        except ValueError as error:
            raise RequestError(400, "BadRequestError", "[{'type': 'json_invalid', 'msg': '%s'}]" % error) from error
        if not isinstance(request, dict):
            raise RequestError(400, "BadRequestError", "the body must be a JSON object")
        model = request.get("model", self.server.names[0])
        if model not in self.server.names:
            raise RequestError(404, "NotFoundError", "The model `%s` does not exist." % model, "model")
        return request

    def complete(self, request: dict, question: engine.Question, length: int, kind: str) -> None:
        context = self.server.context
        if question.tokens >= context:
            raise RequestError(
                400,
                "BadRequestError",
                "This model's maximum context length is %d tokens. However, your request has %d input tokens. "
                "Please reduce the length of the input messages." % (context, question.tokens),
            )
        if question.tokens + length > context:
            raise RequestError(
                400,
                "BadRequestError",
                "'max_tokens' or 'max_completion_tokens' is too large: %d. This model's maximum context length is "
                "%d tokens and your request has %d input tokens (%d > %d - %d)."
                % (length, context, question.tokens, length, context, question.tokens),
            )
        with self.server.metrics:
            self.apply_faults()
            self.answer(request, question, length, kind)

    def apply_faults(self) -> None:
        fault = faults.current()
        while fault.hang:
            time.sleep(0.2)
            fault = faults.current()
        if fault.engine_dead:
            message = "EngineCore encountered an issue. See stack trace (above) for the root cause."
            raise RequestError(500, "InternalServerError", message)
        if self.server.should_fail(fault.fail_ratio):
            raise RequestError(500, "InternalServerError", "injected fault: this request fails")

    def answer(self, request: dict, question: engine.Question, length: int, kind: str) -> None:
        fault, started = faults.current(), time.monotonic()
        pieces, reason = engine.answer(question, length, bool(request.get("ignore_eos")))
        schema = ((request.get("response_format") or {}).get("json_schema") or {}).get("schema")
        if schema:
            pieces, reason = [json.dumps(schema["enum"][0])], "stop"
        if fault.answer:
            pieces, reason = [fault.answer], "stop"
        time.sleep(fault.first_token_seconds)
        first = time.monotonic() - started
        usage = {
            "prompt_tokens": question.tokens,
            "total_tokens": question.tokens + len(pieces),
            "completion_tokens": len(pieces),
            "prompt_tokens_details": None,
        }
        if request.get("stream"):
            self.stream(request, pieces, reason, kind, usage, fault.token_seconds)
        else:
            time.sleep(fault.token_seconds * len(pieces))
            choices = [choice(kind, "".join(pieces), reason)]
            self.reply(200, {**self.head(request, kind), "choices": choices, "usage": usage})
        self.server.metrics.finish(reason, question.tokens, len(pieces), first, time.monotonic() - started)

    def head(self, request: dict, kind: str) -> dict:
        prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
        return {
            "id": "%s-%s" % (prefix, uuid.uuid4().hex),
            "object": kind,
            "created": int(time.time()),
            "model": request.get("model", self.server.names[0]),
        }

    def stream(self, request: dict, pieces: list[str], reason: str, kind: str, usage: dict, pause_s: float) -> None:
        head = self.head(request, kind + ".chunk" if kind.startswith("chat") else kind)
        options = request.get("stream_options") or {}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in chunks(kind, pieces, reason):
            self.event(json.dumps({**head, "choices": [part]}))
            time.sleep(pause_s)
        if options.get("include_usage"):
            self.event(json.dumps({**head, "choices": [], "usage": usage}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data: str) -> None:
        line = ("data: %s\n\n" % data).encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


def choice(kind: str, text: str, reason: str) -> dict:
    """Return the only choice of a response that is not streamed."""
    if kind.startswith("chat"):
        message = {"role": "assistant", "content": text, "tool_calls": [], "reasoning_content": None}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason, "stop_reason": None}
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason, "stop_reason": None}


def chunks(kind: str, pieces: list[str], reason: str) -> Iterator[dict]:
    """Yield the choices of a streamed response, one per piece; the last one has the finish reason."""
    if kind.startswith("chat"):
        yield {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    for number, piece in enumerate(pieces, 1):
        content = {"delta": {"content": piece}} if kind.startswith("chat") else {"text": piece}
        yield {"index": 0, **content, "logprobs": None, "finish_reason": reason if number == len(pieces) else None}
