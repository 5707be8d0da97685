# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client with a real HTTP server on the loopback interface, which sends vLLM responses and malformed ones."""

from __future__ import annotations

import importlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._vllm import client
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import FILLER_TOKEN, Server, send_all

REQUEST = {"endpoint": "/v1/chat/completions", "body": {"model": "m", "messages": []}}
CARD = {"data": [{"id": "m", "max_model_len": 32}]}


def completion(text):
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


def event(text):
    return "data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": None}]}) + "\n\n"


def nested(levels):
    value = "x"
    for _level in range(levels):
        value = [value]
    return value


@pytest.fixture
def serve():
    """Return a function that starts a server that always sends the given response, and returns its URL and requests."""
    servers = []

    def start(status, body):
        got = []

        class Handler(BaseHTTPRequestHandler):
            def respond(self):
                length = int(self.headers.get("Content-Length") or 0)
                sent = json.loads(self.rfile.read(length) or "null")
                got.append((self.path, self.headers.get("Authorization"), sent))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else (
                    body if isinstance(body, str) else json.dumps(body)).encode())

            do_GET = do_POST = respond

            def do_HEAD(self):
                got.append((self.path, self.headers.get("Authorization"), "HEAD"))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return "http://127.0.0.1:%d" % server.server_port, got

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_response_is_summarized_and_request_has_the_key(serve):
    url, got = serve(200, completion("red, yellow, blue"))
    response = Server(url, "secret").send(REQUEST)
    assert response.pop("latency_s") >= 0
    assert response == {"status": 200, "text": "red, yellow, blue", "finish_reason": "stop", "prompt_tokens": 5,
                        "completion_tokens": 2}
    assert got == [("/v1/chat/completions", "Bearer secret", REQUEST["body"])]


def test_no_proxy_is_used(serve, monkeypatch):
    url, got = serve(200, completion("hello"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    try:
        assert importlib.reload(client).Server(url).send(REQUEST)["status"] == 200
    finally:
        monkeypatch.undo()
        importlib.reload(client)
    assert len(got) == 1


@pytest.mark.parametrize(("key", "header"), [("given", "Bearer secret"), ("none", None)])
def test_request_can_omit_the_key(serve, key, header):
    url, got = serve(200, completion(""))
    Server(url, "secret").send(dict(REQUEST, key=key))
    assert got[0][1] == header


def test_wrong_key_differs_from_the_configured_key(serve):
    url, got = serve(401, {"error": "Unauthorized"})
    response = Server(url, "secret").send(dict(REQUEST, key="wrong"))
    assert got[0][1] not in (None, "Bearer secret")
    assert (response["status"], response["error"]) == (401, "Unauthorized")


@pytest.mark.parametrize(("status", "body", "error"), [
    (404, {"error": {"message": "The model `m` does not exist.", "code": 404}}, "The model `m` does not exist."),
    (400, {"message": "too long"}, "too long"),
    (500, "Internal Server Error", "not a JSON object: Internal Server Error"),
    (302, {}, "{}"),
    (200, "<html>", "not a JSON object: <html>"),
    (200, b"\xff\xfe", "not a JSON object: \ufffd\ufffd"),
])
def test_error_response_and_malformed_response_are_recorded(serve, status, body, error):
    url, got = serve(status, body)
    response = Server(url).send(REQUEST)
    assert (response["status"], response["error"]) == (status, error)
    assert "text" not in response
    assert len(got) == 1


def test_texts_of_a_stream_are_joined(serve):
    url, _got = serve(200, event("TONG") + ": comment\n\n" + event("") + event("YI") + "data: [DONE]\n\n")
    response = Server(url).send({"endpoint": "/v1/chat/completions", "body": {"stream": True}})
    assert (response["text"], response["chunks"], response["ended"]) == ("TONGYI", 2, True)
    assert response["time_to_first_token_s"] <= response["latency_s"]


@pytest.mark.parametrize(("body", "error"), [
    (event("cut"), None), (event("x") + 'data: {"error": {"message": "EngineCore died"}}\n\n', "EngineCore died"),
    ("data: {broken\n\n", None)])
def test_interrupted_stream_is_recorded_as_not_ended(serve, body, error):
    url, _got = serve(200, body)
    response = Server(url).send({"endpoint": "/v1/completions", "body": {"stream": True}})
    assert response["ended"] is False
    assert response.get("error") == error


def choice(message):
    return {"choices": [{"message": message, "finish_reason": 5}]}


@pytest.mark.parametrize(("body", "text"), [
    (choice("text"), "text"), (choice({"content": 5}), ""), (choice({"content": ["a"]}), ""), (choice([]), None),
    (choice({"content": None}), ""), (choice({"content": {"text": "x"}}), ""), ({"choices": 5}, None),
    ({"choices": [5]}, None), ({"choices": [{"text": 5}]}, ""), (b"[" * 100000, None), (b'{"a":' * 100000, None),
    ({"error": nested(500)}, None), ({"choices": [], "usage": {"prompt_tokens": "5"}}, None),
    ({"choices": [], "usage": {"prompt_tokens": 10**30}}, None), (b'{"choices": ' + b"9" * 5000 + b"}", None)])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 500])
def test_unexpected_response_is_recorded(serve, body, text, stream, status):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    url, _got = serve(status, b"data: " + raw + b"\n\ndata: [DONE]\n\n" if stream else raw)
    response = Server(url).send({"endpoint": "/v1/completions", "body": {"stream": stream}})
    assert response["status"] == status
    if status == 200 and not stream and text is not None:
        assert response["text"] == text
    assert isinstance(response.get("text", ""), str)
    assert isinstance(response.get("error", ""), str)
    assert all(type(response.get(key)) in (int, type(None)) for key in ("prompt_tokens", "completion_tokens"))
    json.dumps(response)


@pytest.mark.parametrize("limit", [10**15, 10**400, -5, 0, "32", 1.5, True, [32], None])
def test_invalid_max_model_len_is_not_used(serve, limit):
    url, got = serve(200, {"data": [{"id": "m", "max_model_len": limit}, {"id": 5}, 5, {"id": ["x"]}]})
    server = Server(url)
    found = server.models()
    assert (found["models"], found["max_model_len"]) == (["m"], None)
    response = server.send({"endpoint": "/v1/completions", "body": {}, "prompt_tokens_over_limit": 1})
    assert (response["sent"], len(got)) == (False, 1)


@pytest.mark.parametrize(("url", "key"), [
    ("http://127.0.0.1:9", "se same\n"), ("http://127.0.0.1:9", "\u4f60"), ("http://127.0.0.1:x", None),
    ("nonsense", None), ("http://[::1", None)])
def test_unsendable_request_is_recorded_without_the_key(url, key):
    response = Server(url, key).send(REQUEST)
    assert response["status"] is None
    assert "same" not in response["error"]


@pytest.mark.parametrize("stream", [False, True])
def test_response_above_the_limit_is_an_error(serve, stream):
    url, _got = serve(200, b"data: " + b"x" * (client.MAX_RESPONSE_BYTES + 10))
    response = Server(url).send({"endpoint": "/v1/completions", "body": {"stream": stream}})
    assert "has more than" in response["error"]


def test_stream_keeps_what_it_received_before_it_became_too_large(serve):
    url, _got = serve(200, event("TONG").encode() + b"data: " + b"x" * (5 << 20))
    response = Server(url).send({"endpoint": "/v1/completions", "body": {"stream": True}})
    assert (response["text"], response["ended"]) == ("TONG", False)
    assert "a line of the response has more than" in response["error"]


def test_models_returns_the_names_and_the_prompt_limit(serve):
    url, got = serve(200, CARD)
    server = Server(url)
    found = server.models()
    assert (found["models"], found["max_model_len"]) == (["m"], 32)
    server.send({"endpoint": "/v1/completions", "body": {}, "prompt_tokens_over_limit": -2})
    assert got[1][2] == {"prompt": [FILLER_TOKEN] * 30}


def test_prompt_relative_to_an_unknown_limit_is_not_sent(serve):
    url, got = serve(200, CARD)
    response = Server(url).send({"endpoint": "/v1/completions", "body": {}, "prompt_tokens_over_limit": 1})
    assert (response["sent"], got) == (False, [])


def test_dead_server_is_recorded():
    response = Server("http://127.0.0.1:9").send(REQUEST)
    assert response["status"] is None
    assert "refused" in response["error"]


def test_silent_server_causes_a_timeout():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        response = Server("http://127.0.0.1:%d" % listener.getsockname()[1], timeout=0.2).send(REQUEST)
    assert response["status"] is None
    assert "timed out" in response["error"]
    assert response["latency_s"] < 2


def test_requests_are_sent_in_order(serve):
    url, got = serve(200, CARD)
    requests = [{"id": name, "endpoint": f"/{name}", "body": {}} for name in ("first", "second")]
    found = send_all("node1", Server(url), requests)
    assert (found["name"], found["url"], found["models"]["models"]) == ("node1", url, ["m"])
    assert list(found["answers"]) == ["first", "second"]
    assert [path for path, _key, _body in got] == ["/v1/models", "/first", "/second"]


@pytest.mark.parametrize("status", [200, 401, 404, 405])
def test_routes_are_probed_with_head_and_without_the_key(serve, status):
    url, got = serve(status, CARD)
    found = send_all("node1", Server(url, "sesame"), [], ["/pause", "/docs"])
    assert found["routes"] == {"/pause": status, "/docs": status}
    assert got[1:] == [("/pause", None, "HEAD"), ("/docs", None, "HEAD")]


@pytest.mark.parametrize("key", ["sesame\n", "sesame\r\nX-Header: 1", "sesam\u00e9\u0142"])
def test_failure_of_an_unsendable_key_is_recorded_without_the_key(serve, key):
    url, got = serve(200, CARD)
    found = json.dumps(send_all("node1", Server(url, key), [dict(REQUEST, id="question")]))
    assert got == []
    assert "sesam" not in found
    assert "its URL or API key is invalid" in found


def test_no_more_requests_are_sent_to_a_dead_server():
    found = send_all("node1", Server("http://127.0.0.1:9"), [dict(REQUEST, id="question")], ["/pause"])
    assert found["routes"] == {"/pause": None}
    assert found["models"]["status"] is None
    assert found["answers"]["question"]["sent"] is False


def test_request_that_was_not_sent_does_not_stop_the_others(serve):
    url, got = serve(200, {"data": [{"id": "m"}]})
    beyond = {"id": "beyond", "endpoint": "/v1/completions", "body": {}, "prompt_tokens_over_limit": 1}
    found = send_all("node1", Server(url), [beyond, dict(REQUEST, id="question")])
    assert found["answers"]["beyond"]["sent"] is False
    assert found["answers"]["question"]["status"] == 200
    assert len(got) == 2


@pytest.mark.parametrize("before", range(280, 305))
def test_no_part_of_the_key_remains_in_a_truncated_message(before):
    shown = client._message("x" * before + "sesame-of-this-service", "sesame-of-this-service")
    assert "ses" not in shown
    assert len(shown) <= 300
