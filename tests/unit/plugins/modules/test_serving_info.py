# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance is ready, starting, failed or missing, as a real server behind a told container shows."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.ascend.vllm.plugins.modules import serving_info

OUT_OF_MEMORY = "RuntimeError: NPU out of memory. Tried to allocate 260.00 MiB (NPU 0)"


class Handler(BaseHTTPRequestHandler):
    """Answers as `server.replies` says: {path: (status, body)}; a path that is not there hangs."""

    def do_GET(self):
        if self.path not in self.server.replies:
            time.sleep(2)
            return
        status, body = self.server.replies[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode() if body is not None else b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers.get("Authorization"))
        self.do_GET()

    def log_message(self, *args):
        pass


HEALTH, MODELS, COMPLETION = "/health", "/v1/models", "/v1/completions"
WELL = {HEALTH: (200, None), MODELS: (200, {"data": [{"id": "qwen25_vl"}]}),
        COMPLETION: (200, {"choices": [{"text": "x"}]})}


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.replies, running.keys = dict(WELL), []
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


STARTED = 1764097200


def container(status="running", restarts=0, exit_code=0, label="h1", oom=False, health=None, error=""):
    state = {"Status": status, "ExitCode": exit_code, "OOMKilled": oom, "Error": error,
             "StartedAt": "2025-11-25T19:00:00.5Z"}
    if health:
        state["Health"] = {"Status": health, "FailingStreak": 3, "Log": [{"Output": "an idle engine is silent\n"}]}
    return {"Id": "c1", "Image": "i1", "RestartCount": restarts, "Config": {"Labels": {"ours": label} if label else {}},
            "State": state}


def look(server, found, log="", known=None, earlier="", port=""):
    """One look; ``log`` is of the last life of the container, ``earlier`` what stands before it."""
    options = {"label": "ours", "api_key": "sesame", "served_name": "qwen25_vl", "completion_timeout_s": 0.5}
    observer = serving_info.Observer(options, lambda resource: found,
                                     lambda name, lines, since: log if since == STARTED else earlier + log)
    port = server.server_address[1] if port == "" else port
    return observer.look({"name": "vllm", "port": port, "bind": "0.0.0.0", "restarts": known})


def test_ready(server):
    seen = look(server, container())
    assert (seen["state"], seen["reason"], seen["completion"]["status"]) == ("ready", None, 200)
    assert server.keys == ["Bearer sesame"]


@pytest.mark.parametrize(("status", "state"), [("running", "ready"), ("exited", "failed"), ("created", "starting")])
def test_instance_without_a_port_is_ready_when_its_container_runs(server, status, state):
    seen = look(server, container(status), port=None)
    assert (seen["state"], seen["health"]) == (state, None)
    assert server.keys == []


def test_missing(server):
    assert look(server, None)["state"] == "missing"


@pytest.mark.parametrize(("found", "reason"), [
    (container("exited", exit_code=3), "ended with exit code 3"),
    (container("restarting", exit_code=1), "ended with exit code 1"),
    (container("exited", exit_code=137, oom=True), "killed for want of memory"),
    (container("exited", exit_code=137), "exit code 137, killed by SIGKILL"),
])
def test_ended_container_fails_at_once_with_the_cause(server, found, reason):
    seen = look(server, found, log="line\nkey sesame\n" + OUT_OF_MEMORY)
    assert seen["state"] == "failed"
    assert reason in seen["reason"]
    assert seen["causes"][0]["cause"] == "out_of_memory"
    assert seen["log"][-1] == OUT_OF_MEMORY
    assert "sesame" not in json.dumps(seen)


@pytest.mark.parametrize(("replies", "state", "reason"), [
    ({HEALTH: (503, None)}, "starting", "/health"),
    ({MODELS: (200, {"data": [{"id": "other"}]})}, "failed", "does not name qwen25_vl"),
    ({MODELS: (401, {"error": "no"})}, "failed", "refuses our API key (401)"),
    ({COMPLETION: (500, {"error": {"message": "EngineDeadError"}})}, "failed", "refused"),
])
def test_answers_of_the_server(server, replies, state, reason):
    server.replies.update(replies)
    seen = look(server, container(), log="Loading weights took 3 seconds")
    assert seen["state"] == state
    assert reason in seen["reason"]


def test_hung_engine_is_not_ready(server):
    del server.replies[COMPLETION]
    seen = look(server, container())
    assert seen["state"] == "starting"
    assert "not answered within 0.5 s" in seen["reason"]


def test_progress_of_a_start(server):
    server.replies[HEALTH] = (503, None)
    assert look(server, container(), log="Loading weights took 3 seconds")["progress"] == "weights loaded"


@pytest.mark.parametrize(("restarts", "known", "health", "state"), [
    (1, 0, 503, "failed"),     # crashed since the last look
    (3, 3, 503, "starting"),   # crashed long ago
    (3, None, 503, "starting"),
    (3, 0, 200, "ready"),      # and has come back
])
def test_crash_loop_is_seen_between_two_crashes(server, restarts, known, health, state):
    server.replies[HEALTH] = (health, None)
    assert look(server, container(restarts=restarts), known=known)["state"] == state


def test_container_that_could_not_be_started_fails_with_what_docker_says(server):
    said = 'error gathering device information while adding custom device "/dev/davinci9": no such file or directory'
    seen = look(server, container("created", exit_code=128, error=said))
    assert (seen["state"], seen["reason"], seen["causes"][0]["cause"]) == ("failed", said, "device_missing")
    assert look(server, container("created"))["state"] == "starting"


def test_unhealthy_container_that_does_not_answer_is_not_waited_for(server):
    del server.replies[COMPLETION]
    seen = look(server, container(health="unhealthy"))
    assert (seen["state"], seen["container"]["health"]["failures"]) == ("failed", 3)
    assert "unhealthy" in seen["reason"]
    assert look(server, container(health="healthy"))["state"] == "starting"  # busy


def test_unhealthy_container_that_answers_is_ready(server):
    assert look(server, container(health="unhealthy"))["state"] == "ready"


def test_cause_is_that_of_the_last_life(server):
    earlier = "ModuleNotFoundError: No module named 'x'\n"
    assert look(server, container("exited"), OUT_OF_MEMORY, earlier=earlier)["causes"][0]["cause"] == "out_of_memory"
    assert look(server, container("exited"), "nothing", earlier=earlier)["causes"][0]["cause"] == "module_missing"


def test_crash_between_two_looks_of_one_wait(server, monkeypatch):
    server.replies[HEALTH] = (503, None)
    lives = iter([container(restarts=4), container(restarts=4), container(restarts=5)])
    options = {"label": "ours", "api_key": "", "served_name": "q", "completion_timeout_s": 0.5, "wait_s": 60,
               "interval_s": 0, "instances": [{"name": "vllm", "port": server.server_address[1], "bind": "0.0.0.0",
                                               "restarts": None}]}
    observer = serving_info.Observer(options, lambda resource: next(lives), lambda name, lines, since: OUT_OF_MEMORY)
    (seen,), settled = serving_info.wait(observer, options, once=False)
    assert settled
    assert (seen["state"], seen["causes"][0]["cause"], seen["health"]) == ("failed", "out_of_memory", None)


METRICS = "vllm:num_requests_running 2.0\nvllm:num_requests_waiting 1.0\n"


def listed(server, *found):
    """A function that asks an engine with these containers and one image."""
    def get(resource):
        if resource.startswith("/containers/json"):
            return [{"Id": each["Id"]} for each in found]
        if resource.startswith("/images/"):
            return {"RepoDigests": ["quay.io/x@sha256:d1"]}
        return next((each for each in found if each["Id"] in resource), None)
    return get


def ours(server, name="vllm", status="running"):
    return dict(container(status), Id=name, Name="/" + name, HostConfig={}, Config={
        "Image": "x", "Labels": {"ours": "h1"}, "Cmd": ["vllm", "serve", "--host", "127.0.0.1", "--port", str(
            server.server_address[1])]}, State={"Status": status, "StartedAt": "2026-01-02T03:04:05Z"})


def test_containers_are_described_without_asking_their_servers(server):
    del server.replies[HEALTH]
    (found,) = serving_info.our_containers(listed(server, ours(server)), "ours", False)
    assert (found["name"], found["port"], "load" in found) == ("vllm", server.server_address[1], False)


def test_load_of_running_containers(server):
    server.replies["/metrics"] = (200, METRICS)
    found = serving_info.our_containers(
        listed(server, ours(server, "b"), ours(server, "a", "exited")), "ours", True)
    assert [(each["name"], each["image_digest"]) for each in found] == [("a", "sha256:d1"), ("b", "sha256:d1")]
    assert found[0]["load"] is None
    assert found[1]["load"]["error"] == "/metrics tells nothing of requests"  # JSON text is no metrics


def test_load_of_a_server_that_takes_no_connection(server):
    described = {"bind": "127.0.0.1", "port": server.server_address[1]}
    server.shutdown()
    server.server_close()
    assert serving_info.ask_load(described) is None


def test_load_of_a_hung_server(server, monkeypatch):
    monkeypatch.setattr(serving_info, "STATUS_TIMEOUT_S", 0.2)
    assert "timed out" in serving_info.ask_load({"bind": "0.0.0.0", "port": server.server_address[1]})["error"]


def test_label_is_that_of_the_plan():
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import LABEL
    assert f"default: {LABEL}" in serving_info.DOCUMENTATION
