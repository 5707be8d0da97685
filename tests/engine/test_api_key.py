# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API key middleware in the real vLLM's HTTP application, without an engine: its position, paths and protocols."""

from __future__ import annotations

import json
import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import routes
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE

from .conftest import ROOT

pytestmark = pytest.mark.engine

# Sends the requests on standard input, each [method, target, headers], to the application that `vllm serve` builds for
# the options in argv. Prints {"version", "routes": {path: protocol or methods}, "statuses"}.
SERVE = """
import http.client, json, socket, sys, threading, time
import uvicorn, vllm
from fastapi import APIRouter
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

TASKS = ("generate", "transcription", "translation", "realtime", "embed", "classify", "score", "token_embed", "render")
args = make_arg_parser(FlexibleArgumentParser()).parse_args(["model", *sys.argv[1:]])
app = build_app(args, TASKS, None)
app.state.engine_client, app.state.server_load_metrics = None, 0
found = {}

def walk(entries):
    for entry in entries:
        inner = getattr(entry, "original_router", None) or getattr(entry, "router", None)
        if getattr(entry, "path", None) is None and inner is not None:
            walk(inner.routes)
        elif getattr(entry, "path", None) is not None:
            found.setdefault(entry.path, []).extend(sorted(getattr(entry, "methods", None) or [type(entry).__name__]))

walk(app.routes)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, lifespan="off", log_level="critical"))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.05)
statuses = []
for method, target, headers in json.load(sys.stdin):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    statuses.append(connection.getresponse().status)
    connection.close()
print(json.dumps({"version": vllm.__version__, "routes": found, "statuses": statuses}))
server.should_exit = True
"""
FIRST, SECOND = "sesame", 'a%20$HOME"b\'c\\d'
KEYS = {"VLLM_API_KEY": FIRST, "ASCEND_VLLM_API_KEY_2": SECOND}
PREFLIGHT = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")]
UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


def bearer(key):
    return [("Authorization", f"Bearer {key}")]


@pytest.fixture(scope="module")
def serve(environment, tmp_path_factory):
    """Return a function that runs the application once and returns its output."""
    def run(requests, *options, **variables):
        done = subprocess.run(
            [environment / "bin/python", "-B", "-c", SERVE, *options], input=json.dumps(requests), text=True,
            capture_output=True, check=False, cwd="/", timeout=300,
            env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR",
                 "HOME": str(tmp_path_factory.mktemp("home")),
                 "VLLM_SERVER_DEV_MODE": "1", "PYTHONPATH": str(ROOT / "roles/serving/files"), **variables})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
    return run


def test_middleware_requires_the_key_on_every_route_but_health(serve):
    version = max(CATALOGUE["vllm_versions"], key=lambda text: [int(part) for part in text.split(".")])
    paths = [path for path in routes(CATALOGUE, version) if path != "/health"]
    expected = [(["HEAD", path, []], 401) for path in paths]
    expected += [(["POST", path, bearer("wrong")], 401) for path in paths]  # on an open route, a POST has an effect
    # The server decodes paths. None of these paths is decoded to /health, but some are decoded to another route.
    expected += [([method, path, []], 401) for method in ("GET", "POST", "OPTIONS") for path in (
        "//v1/models", "/%76%31/models", "/v1%2Fmodels", "/%69nvocations", "/health/..%2fload", "/health/", "//health",
        "/load?x=/health", "/health%00", "/", "/redoc", "/static/x", "http://127.0.0.1/load")]
    expected += [(["GET", path, []], 200) for path in ("/health", "/%68ealth", "/health?x=1")]
    expected += [(["HEAD", "/health", []], 405), (["POST", "/health", []], 405)]
    expected += [(["GET", path, bearer(key)], 200) for path in ("/load", "/version", "/metrics", "/openapi.json")
                 for key in (FIRST, SECOND)]
    expected += [(["HEAD", "/v1/models", bearer(key)], 405) for key in (FIRST, SECOND)]  # passes vLLM's own check, too
    expected += [(["OPTIONS", "/v1/chat/completions", PREFLIGHT], 200), (["OPTIONS", "/load", PREFLIGHT[:1]], 401)]
    expected += [(["GET", "/v1/realtime", UPGRADE], 403), (["GET", "/health", UPGRADE], 403)]
    options = ["--allowed-origins", '["https://a.example"]', *api_key.middleware_options(True)]
    found = serve([request for request, _status in expected], *options, **KEYS)
    assert found["version"].partition("+")[0] == version
    assert [(request, status) for (request, _expected), status in zip(expected, found["statuses"], strict=True)
            ] == expected
    # The catalogue lists all routes of this version except those with parameters.
    known = routes(CATALOGUE, version)
    served = {path for path, methods in found["routes"].items() if methods != ["APIWebSocketRoute"] and "{" not in path}
    assert served - set(known) == {"/docs/oauth2-redirect"}
    # The functional stage probes the routes with HEAD, which has no effect on any of them.
    assert {path for path, methods in found["routes"].items() if "HEAD" in methods} == {
        "/docs", "/docs/oauth2-redirect", "/openapi.json", "/redoc"}


def test_probe_finds_the_routes_that_vllm_leaves_open_without_the_middleware(serve):
    paths = ["/invocations", "/tokenize", "/pause", "/update_weights", "/collective_rpc", "/load", "/metrics", "/docs",
             "/v1/models", "/v1/chat/completions", "/v2/rerank", "/no/such/route"]
    found = serve([["HEAD", path, []] for path in paths], VLLM_API_KEY=FIRST)["statuses"]
    assert dict(zip(paths, found, strict=True)) == {
        **dict.fromkeys(paths[:6], 405), "/metrics": 200, "/docs": 200, **dict.fromkeys(paths[8:11], 401),
        "/no/such/route": 404}


def test_metrics_can_be_open_and_paths_can_have_a_prefix(serve):
    paths = ["/metrics", "/api/metrics", "/health", "/api/health", "/metricsx", "/load", "/api/load", "/api"]
    options = ["--root-path", "/api", *api_key.middleware_options(False)]
    found = serve([["GET", path, []] for path in paths], *options, **KEYS)
    assert dict(zip(paths, found["statuses"], strict=True)) == {
        **dict.fromkeys(paths[:4], 200), **dict.fromkeys(paths[4:], 401)}
