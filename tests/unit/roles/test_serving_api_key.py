# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The middleware accepts only requests that have one of the keys, and requests for paths that need no key."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

SCRIPT = ROOT / "roles/serving/files/ascend_vllm_api_key.py"
_spec = importlib.util.spec_from_file_location("ascend_vllm_api_key", SCRIPT)
middleware = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(middleware)

PREFLIGHT = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"POST")]


def test_version_is_the_digest_of_the_script():
    """A change needs a changelog fragment: the version is part of a path on nodes, so containers are replaced."""
    assert hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:12] == api_key.MIDDLEWARE_VERSION


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    monkeypatch.setenv("ASCEND_VLLM_API_KEY_2", "open d'oor")


def run(path="/v1/models", key="sesame", method="GET", kind="http", headers=(), root="", cls=middleware.ApiKey):
    """Return the scope that reaches vLLM, or None, and the messages that the middleware sends itself."""
    passed, sent = [], []

    async def app(scope, _receive, _send):
        passed.append(scope)

    async def send(message):
        sent.append(message)

    given = [(b"authorization", f"Bearer {key}".encode())] if key is not None else []
    scope = {"type": kind, "path": path, "root_path": root, "headers": [*given, *headers]}
    if kind == "http":
        scope["method"] = method
    asyncio.run(cls(app)(scope, None, send))
    assert bool(passed) != bool(sent)
    return (passed or [None])[0], sent


@pytest.mark.parametrize("key", ["sesame", "open d'oor", " sesame"])
def test_each_key_is_accepted_and_vllm_receives_the_first_one(key):
    scope, _sent = run(key=key, headers=[(b"accept", b"*/*")])
    assert scope["headers"] == [(b"accept", b"*/*"), (b"authorization", b"Bearer sesame")]


def test_scheme_can_be_in_any_case():
    assert run(key=None, headers=[(b"authorization", b"bearer sesame")])[0]


@pytest.mark.parametrize("path", [
    "/v1/models", "/invocations", "/tokenize", "/pause", "/metrics", "/docs", "/", "", "//v1/models", "/health/",
    "/health/../v1/models", "//health", "/Health", "/healthz", "/ping", "/v1/health", "*", "http://a/health"])
@pytest.mark.parametrize("key", [None, "", "wrong", "sesam", "sesamee", "SESAME", "sesame,sesame", "open"])
def test_request_without_a_valid_key_is_refused_on_all_other_paths(path, key):
    scope, sent = run(path, key, method="POST")
    assert scope is None
    start, body = sent
    assert (start["status"], json.loads(body["body"])) == (401, {"error": "Unauthorized"})
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


@pytest.mark.parametrize("headers", [
    [(b"authorization", b"Basic c2VzYW1l")], [(b"authorization", b"sesame")], [(b"authorization", b"Bearersesame")],
    [(b"x-api-key", b"sesame")], [(b"authorization", b"Bearer sesame"), (b"authorization", b"Bearer wrong")]])
def test_other_and_repeated_authorization_headers_are_refused(headers):
    assert run(key=None, headers=headers)[0] is None


@pytest.mark.parametrize(("path", "root"), [("/health", ""), ("/health", "/api"), ("/api/health", "/api")])
def test_health_needs_no_key(path, root):
    assert run(path, None, root=root)[0]


def test_health_below_another_root_path_needs_a_key():
    assert run("/other/health", None, root="/api")[0] is None


@pytest.mark.parametrize(("cls", "path", "passes"), [
    (middleware.ApiKey, "/metrics", False), (middleware.ApiKeyExceptMetrics, "/metrics", True),
    (middleware.ApiKeyExceptMetrics, "/metricsx", False), (middleware.ApiKeyExceptMetrics, "/v1/models", False)])
def test_metrics_need_no_key_only_if_the_exception_is_chosen(cls, path, passes):
    assert bool(run(path, None, cls=cls)[0]) == passes


@pytest.mark.parametrize(("method", "headers", "passes"), [
    ("OPTIONS", PREFLIGHT, True), ("OPTIONS", PREFLIGHT[:1], False), ("OPTIONS", PREFLIGHT[1:], False),
    ("OPTIONS", [], False), ("GET", PREFLIGHT, False), ("POST", PREFLIGHT, False)])
def test_only_a_preflight_request_needs_no_key(method, headers, passes):
    assert bool(run("/v1/chat/completions", None, method, headers=headers)[0]) == passes


@pytest.mark.parametrize("path", ["/v1/realtime", "/health"])
def test_websocket_needs_a_key(path):
    scope, sent = run(path, None, kind="websocket")
    assert (scope, [message["type"] for message in sent]) == (None, ["websocket.close"])
    assert run("/v1/realtime", "open d'oor", kind="websocket")[0]


def test_lifespan_is_accepted_and_an_unknown_protocol_is_refused():
    assert run("", None, kind="lifespan")[0]
    assert run("/health", None, kind="webtransport")[0] is None


@pytest.mark.parametrize(("name", "value"), [("VLLM_API_KEY", ""), ("VLLM_API_KEY", None),
                                             ("ASCEND_VLLM_API_KEY_3", "")])
def test_server_does_not_start_with_an_empty_key(monkeypatch, name, value):
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="must not be empty"):
        middleware.ApiKey(None)
