# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance is ready, starting, failed or missing. Its HTTP server is real, its Docker engine is a fake."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import serving_state
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import STARTED_S
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.engine_case import hanging_server

OUT_OF_MEMORY = "RuntimeError: NPU out of memory. Tried to allocate 260.00 MiB (NPU 0)"


class Handler(BaseHTTPRequestHandler):
    """Sends the responses in ``server.replies``, {path: (status, body)}. Requests for other paths hang."""

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
REPLIES = {HEALTH: (200, None), MODELS: (200, {"data": [{"id": "qwen25_vl"}]}),
           COMPLETION: (200, {"choices": [{"text": "x"}]})}


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.replies, running.keys = dict(REPLIES), []
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def observe(docker, server):
    """Return a function (known=, port=, **container) that returns the state of an instance with this server.

    ``log`` is the log since the container started, ``earlier`` the log before its start.
    """
    def run(log="", earlier="", known=None, port="", restarts=0, status="running", **changes):
        docker.add("vllm", log=log, labels={labels.INSTANCE: "h1"}, status=status, **changes)
        docker.containers["vllm"]["RestartCount"] = restarts
        docker.logs["vllm"] = [(STARTED_S - 60, line) for line in earlier.splitlines()] + docker.logs["vllm"]
        observer = serving_state.Observer(DockerEngine(docker.path), "qwen25_vl", "sesame", 0.5)
        port = server.server_address[1] if port == "" else port
        return observer.observe({"name": "vllm", "port": port, "bind": "0.0.0.0", "restarts": known})
    return run


def test_instance_whose_checks_succeed_is_ready(observe, server):
    found = observe()
    assert (found["state"], found["reason"], found["completion"]["status"]) == ("ready", None, 200)
    assert server.keys == ["Bearer sesame"]


@pytest.mark.parametrize(("status", "state"), [("running", "ready"), ("exited", "failed"), ("created", "starting")])
def test_instance_without_a_port_is_ready_when_its_container_runs(observe, server, status, state):
    found = observe(status=status, port=None)
    assert (found["state"], found["health"]) == (state, None)
    assert server.keys == []


def test_instance_without_a_container_is_missing(docker):
    observer = serving_state.Observer(DockerEngine(docker.path), "qwen25_vl")
    assert observer.observe({"name": "vllm", "port": 1, "bind": "0.0.0.0"})["state"] == "missing"


@pytest.mark.parametrize(("changes", "reason"), [
    ({"status": "exited", "ExitCode": 3}, "exited with exit code 3"),
    ({"status": "restarting", "ExitCode": 1}, "exited with exit code 1"),
    ({"status": "exited", "ExitCode": 137, "OOMKilled": True}, "killed because memory ran out"),
    ({"status": "exited", "ExitCode": 137}, "exit code 137, killed by SIGKILL"),
])
def test_exited_container_has_failed_and_its_log_shows_the_cause(observe, changes, reason):
    found = observe(log="line\nkey sesame\n" + OUT_OF_MEMORY, **changes)
    assert found["state"] == "failed"
    assert reason in found["reason"]
    assert found["causes"][0]["cause"] == "out_of_memory"
    assert found["log"][-1] == OUT_OF_MEMORY
    assert "sesame" not in json.dumps(found)


@pytest.mark.parametrize(("replies", "state", "reason"), [
    ({HEALTH: (503, None)}, "starting", "/health"),
    ({MODELS: (200, {"data": [{"id": "other"}]})}, "failed", "does not list qwen25_vl"),
    ({MODELS: (401, {"error": "no"})}, "failed", "rejects the API key (401)"),
    ({COMPLETION: (500, {"error": {"message": "EngineDeadError"}})}, "failed", "request failed"),
])
def test_state_follows_from_the_responses_of_the_server(observe, server, replies, state, reason):
    server.replies.update(replies)
    found = observe(log="Loading weights took 3 seconds")
    assert found["state"] == state
    assert reason in found["reason"]


def test_hung_engine_is_not_ready(observe, server):
    del server.replies[COMPLETION]
    found = observe()
    assert found["state"] == "starting"
    assert "timed out after 0.5 s" in found["reason"]


def test_starting_instance_has_the_progress_from_its_log(observe, server):
    server.replies[HEALTH] = (503, None)
    assert observe(log="Loading weights took 3 seconds")["progress"] == "weights loaded"


def test_ready_instance_has_the_size_of_its_kv_cache_from_its_log(observe):
    assert observe(log="GPU KV cache size: 458,752 tokens")["kv_cache_tokens"] == 458752
    assert observe()["kv_cache_tokens"] is None


@pytest.mark.parametrize(("restarts", "known", "health", "state"), [
    (1, 0, 503, "failed"),     # crashed since the last observation
    (3, 3, 503, "starting"),   # crashed long ago
    (3, None, 503, "starting"),
    (3, 0, 200, "ready"),      # has recovered
])
def test_crash_loop_is_detected_between_two_crashes(observe, server, restarts, known, health, state):
    server.replies[HEALTH] = (health, None)
    assert observe(restarts=restarts, known=known)["state"] == state


def test_container_that_could_not_be_started_has_failed_with_the_docker_error(observe):
    error = 'error gathering device information while adding custom device "/dev/davinci9": no such file or directory'
    found = observe(status="created", ExitCode=128, Error=error)
    assert (found["state"], found["reason"], found["causes"][0]["cause"]) == ("failed", error, "device_node_missing")
    assert observe(status="created")["state"] == "starting"


def test_unhealthy_container_that_does_not_respond_has_failed(observe, server):
    del server.replies[COMPLETION]
    found = observe(health="unhealthy")
    assert (found["state"], found["container"]["health"]["failures"]) == ("failed", 3)
    assert "unhealthy" in found["reason"]
    assert observe(health="healthy")["state"] == "starting"  # it is only busy


def test_unhealthy_container_that_responds_is_ready(observe):
    assert observe(health="unhealthy")["state"] == "ready"


def test_cause_is_searched_first_in_the_log_since_the_last_start(observe):
    earlier = "ModuleNotFoundError: No module named 'x'\n"
    assert observe(OUT_OF_MEMORY, earlier, status="exited")["causes"][0]["cause"] == "out_of_memory"
    assert observe("nothing", earlier, status="exited")["causes"][0]["cause"] == "module_missing"


def test_crash_between_two_observations_of_one_wait_is_detected(docker, server, monkeypatch):
    server.replies[HEALTH] = (503, None)
    docker.add("vllm", log=OUT_OF_MEMORY)
    restarts = iter([4, 4, 5])

    def sleep(_seconds):
        docker.containers["vllm"]["RestartCount"] = next(restarts)

    sleep(0)
    monkeypatch.setattr(serving_state.time, "sleep", sleep)
    instances = [{"name": "vllm", "port": server.server_address[1], "bind": "0.0.0.0", "restarts": None}]
    observer = serving_state.Observer(DockerEngine(docker.path), "q")
    (found,), settled = serving_state.wait(observer, instances, 60, 0)
    assert settled
    assert (found["state"], found["causes"][0]["cause"], found["health"]) == ("failed", "out_of_memory", None)


def test_instance_whose_log_cannot_be_read_still_has_a_state(docker, observe):
    name = docker.add("vllm")["Id"]
    docker.responses[f"/containers/{name}/logs"] = 500, {"message": "the log driver cannot read"}
    found = observe(status="exited", ExitCode=1)
    assert (found["state"], found["log"]) == ("failed", [])


METRICS = "vllm:num_requests_running 2.0\nvllm:num_requests_waiting 1.0\n"


def add_instance(docker, server, name, status="running"):
    docker.add(name, labels={labels.INSTANCE: "h1"}, status=status, command=[
        "vllm", "serve", "--host", "127.0.0.1", "--port", str(server.server_address[1])])


def test_containers_are_listed_without_a_request_to_their_servers(docker, server):
    del server.replies[HEALTH]
    add_instance(docker, server, "vllm")
    docker.add("other")
    (found,) = serving_state.deployed_containers(DockerEngine(docker.path), False)
    assert (found["name"], found["port"], "load" in found) == ("vllm", server.server_address[1], False)


def test_load_is_read_only_from_running_containers(docker, server):
    server.replies["/metrics"] = (200, METRICS)
    add_instance(docker, server, "b")
    add_instance(docker, server, "a", "exited")
    docker.images["sha256:i1"] = {"Id": "sha256:i1", "RepoDigests": ["quay.io/x@sha256:d1"], "Architecture": "arm64",
                                  "Size": 1, "Created": "now"}
    found = serving_state.deployed_containers(DockerEngine(docker.path), True)
    assert [(each["name"], each["image_digest"]) for each in found] == [("a", "sha256:d1"), ("b", "sha256:d1")]
    assert found[0]["load"] is None
    assert found[1]["load"]["error"] == "/metrics does not contain the number of requests"  # JSON


def test_load_is_none_if_the_server_accepts_no_connection(server):
    server.shutdown()
    server.server_close()
    assert serving_state.request_load(f"http://127.0.0.1:{server.server_address[1]}", None) is None


def test_load_of_a_hung_server_is_an_error(server, monkeypatch):
    monkeypatch.setattr(serving_state, "STATUS_TIMEOUT_S", 0.2)
    assert "timed out" in serving_state.request_load(f"http://127.0.0.1:{server.server_address[1]}", None)["error"]


def test_load_is_read_with_the_key_if_metrics_require_it(docker, tmp_path):
    (tmp_path / "secrets.env").write_text("VLLM_API_KEY=sesame\nASCEND_VLLM_API_KEY_2=other\n")
    with hanging_server() as running:
        running.metrics_key = "Bearer sesame"
        add_instance(docker, running, "vllm")
        docker.containers["vllm"]["Mounts"] = [
            {"Destination": labels.SECRETS_TARGET, "Source": str(tmp_path / "secrets.env")}]
        (found,) = serving_state.deployed_containers(DockerEngine(docker.path), True)
        assert found["load"] == {"running": 0, "waiting": 0, "finished": 0, "kv_cache_usage": None}
        url = f"http://127.0.0.1:{running.server_address[1]}"
        assert serving_state.request_load(url, None) == {"error": "/metrics returns 401"}
        assert "sesame" not in serving_state.request_load(url, "sesame\n")["error"]


PARAMS = {"image": "vllm:v1", "served_name": "qwen25_vl", "api_key": "", "ca": None, "server_name": None}


def test_state_of_a_node_is_observed(docker, server):
    add_instance(docker, server, "vllm")
    add_instance(docker, server, "vllm-previous", "exited")
    docker.images["vllm:v1"] = {"Id": "sha256:i1", "Architecture": "arm64", "Size": 1, "Created": "now"}
    instances = [{"name": "vllm", "port": server.server_address[1], "bind": "127.0.0.1"}]
    state = serving_state.observe(DockerEngine(docker.path), dict(PARAMS, instances=instances))
    assert (state["docker_engine_error"], state["image"], state["settled"]) == (None, "sha256:i1", True)
    assert [each["name"] for each in state["containers"]] == ["vllm", "vllm-previous"]
    assert [instance["state"] for instance in state["instances"]] == ["ready"]
    assert abs(state["now_s"] - time.time()) < 60


def test_tls_server_is_verified_with_the_service_name(docker, tmp_path):
    """The certificate is valid for the address that clients use, not for the loopback interface."""
    authority = Authority(tmp_path)
    ca, other = authority.path.read_text(), Authority(tmp_path, "other").path.read_text()
    with hanging_server(authority.issue("server", "a.example")) as running:
        add_instance(docker, running, "vllm")
        docker.containers["vllm"]["Config"]["Cmd"] += ["--ssl-certfile", "/run/c.pem"]
        engine = DockerEngine(docker.path)
        (found,) = serving_state.deployed_containers(engine, True, ca, "a.example")
        assert found["load"] == {"running": 0, "waiting": 0, "finished": 0, "kv_cache_usage": None}
        instance = {"name": "vllm", "port": running.server_address[1], "bind": "127.0.0.1"}
        observed = serving_state.Observer(engine, "q", ca=ca, server_name="a.example").observe(instance)
        assert observed["health"]["status"] == 200
        for trusted, name, problem in ((other, "a.example", "unable to get local issuer certificate"),
                                       (ca, None, "IP address mismatch, certificate is not valid for '127.0.0.1'")):
            message = f"the certificate of the server is not accepted: {problem}"
            (found,) = serving_state.deployed_containers(engine, True, trusted, name)
            assert found["load"] == {"error": f"/metrics: {message}"}
            observed = serving_state.Observer(engine, "q", ca=trusted, server_name=name).observe(instance)
            assert (observed["state"], observed["reason"]) == ("failed", message)


def test_docker_engine_that_does_not_respond_is_returned_as_an_error(tmp_path):
    state = serving_state.observe(DockerEngine(str(tmp_path / "none.sock")), dict(PARAMS, instances=[]))
    assert "none.sock does not respond" in state["docker_engine_error"]
    assert (state["image"], state["containers"], state["instances"]) == (None, [], [])
