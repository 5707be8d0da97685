# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module finds the planned containers by their label and diagnoses why they failed."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import ssl
import tarfile
import threading
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.modules import diagnostics_bundle
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import inspected
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._host.test_redact import KINDS

pytest.importorskip("ansible.errors", reason="ansible-test runs module tests without the controller code")

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid

OUT_OF_MEMORY = "RuntimeError: NPU out of memory. Tried to allocate 260.00 MiB (NPU 0)"
NAME = "vllm-ascend-qwen25-vl"
OLD_ERROR = "[ERROR] HCCL(9,vllm):2026-11-20-09:00:00.0 [x.cc:1] of a container that was replaced\n"
PLOG = "/root/ascend/log/debug/plog/plog-9_1.log"


class Stop(Exception):
    """Raised by the fake exit_json to stop the module."""


def unpacked(result):
    """Return {name: text} of the archive that a module returned."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(result["archive"]))) as archive:
        return {member.name: archive.extractfile(member).read().decode() for member in archive}


@pytest.fixture
def bundle(docker, tmp_path, monkeypatch):
    """Return a function that runs the module with options, and returns its result and {file in the archive: text}."""
    monkeypatch.setattr(diagnostics_bundle, "COMMANDS", {"host/memory.txt": ["echo", "memory"]})
    monkeypatch.setattr(diagnostics_bundle, "DAEMON", str(tmp_path / "daemon.json"))
    (tmp_path / "daemon.json").write_text(json.dumps({"data-root": str(tmp_path / "docker")}))

    class Module:
        check_mode = False

        def __init__(self, **_specification):
            self.params = {"log_lines": 100, "timeout_s": 60, "limit_s": 300, "size_limit_mb": 64, "cards": [],
                           "npus": [], "record": False, "controller_time_s": 0.0, "ca": None, "server_name": None,
                           "driver_path": str(tmp_path / "driver"), "state_path": str(tmp_path / "state"),
                           "docker_socket": docker.path, **run.options}

        def exit_json(self, **result):
            run.result = result
            raise Stop

    monkeypatch.setattr(diagnostics_bundle, "AnsibleModule", Module)

    def run(**options):
        run.options = options
        with pytest.raises(Stop):
            diagnostics_bundle.main()
        assert run.result["changed"] is False
        return run.result, unpacked(run.result)
    return run


def add(docker, instance, name=None, **changes):
    """Add the container of a planned instance, as the role creates it."""
    return docker.add(name or instance["name"], labels={**instance["labels"], labels.SECRETS: "1.5"},
                      command=changes.pop("command", instance["command"]), **changes)


def test_log_of_a_planned_container_leads_to_a_diagnosis(docker, bundle):
    (instance,) = valid()["instances"]
    add(docker, instance, status="exited", ExitCode=1, log="line\n" + OUT_OF_MEMORY)
    docker.add("other", log=OUT_OF_MEMORY, labels={"ascend.vllm.instance": "x"})
    result, texts = bundle()
    (found,) = result["diagnosis"]
    assert (found["cause"], found["source"], found["evidence"]) == (
        "out_of_memory", f"containers/{NAME}.log", OUT_OF_MEMORY)
    assert found["remedy"]
    assert OUT_OF_MEMORY in texts[f"containers/{NAME}.log"]
    assert json.loads(texts[f"containers/{NAME}.json"])["Name"] == f"/{NAME}"
    assert "containers/other.log" not in texts


def test_containers_in_any_state_are_included(docker, bundle):
    first, second = valid(serving_replicas=2)["instances"]
    add(docker, first, log="Application startup complete.", command=[])
    add(docker, second, status="exited", log="ModuleNotFoundError: No module named 'x'")
    add(docker, first, f"{NAME}-previous", status="exited", log=OUT_OF_MEMORY)
    result, texts = bundle()
    names = [NAME, NAME + "-1", NAME + "-previous"]
    assert {f"containers/{name}.log" for name in names} <= set(texts)
    assert [(each["source"], each["cause"]) for each in result["diagnosis"]] == [
        (f"containers/{NAME}-1.log", "module_missing"), (f"containers/{NAME}-previous.log", "out_of_memory")]
    assert {result["files"][f"containers/{name}.log"]["rc"] for name in names} == {0}


def test_health_history_is_in_the_state_of_the_container(docker, bundle):
    add(docker, valid()["instances"][0], health="unhealthy", command=[])
    _result, texts = bundle()
    health = json.loads(texts[f"containers/{NAME}.json"])["State"]["Health"]
    assert [each["Output"] for each in health["Log"]] == ["first", "the engine is silent\n"]


def test_plog_is_read_from_containers_and_from_the_folder_on_the_node(docker, bundle, tmp_path):
    first, second = valid(serving_replicas=2)["instances"]
    add(docker, first, status="exited")
    add(docker, second, status="exited")["Mounts"] = [
        {"Destination": "/root/ascend/log", "Source": second["plog_path"]}]
    log = b"[ERROR] HCCL(9,vllm):2026-11-20-10:00:00.0 [x.cc:1] EI0006: Getting socket times out\n"
    docker.files = {(NAME, PLOG): log, (NAME, "/root/ascend/log/vllm_ascend/vllm_ascend.log"): b"INFO of vLLM Ascend\n",
                    (NAME + "-1", PLOG): log}
    kept = tmp_path / "state" / "plog" / (NAME + "-1")
    kept.mkdir(parents=True)
    (kept / "plog-9_0.log").write_text(OLD_ERROR)
    result, texts = bundle()
    assert {name: text for name, text in texts.items() if name.startswith("plog/")} == {
        f"plog/{NAME}/ascend/log/debug/plog/plog-9_1.log": log.decode(),
        f"plog/{NAME}/ascend/log/vllm_ascend/vllm_ascend.log": "INFO of vLLM Ascend\n",
        f"plog/{NAME}-1/plog-9_0.log": OLD_ERROR}
    # The error in plog-9_0.log matches no known cause.
    assert [(each["cause"], each["source"]) for each in result["diagnosis"]] == [
        ("link_timeout", f"plog/{NAME}/ascend/log/debug/plog/plog-9_1.log")]


def test_plog_of_a_container_is_limited_in_size_and_the_newest_files_are_kept(docker, bundle):
    add(docker, valid()["instances"][0], status="exited")
    docker.files = {(NAME, PLOG.replace("_1", f"_{number}")): bytes(200 << 10) for number in range(3)}
    result, texts = bundle(size_limit_mb=2)
    names = sorted(name.rpartition("_")[2] for name in texts if name.startswith("plog/"))
    assert names == ["1.log", "2.log"]
    assert result["files"][f"plog/{NAME}/ascend/(older files)"]["problem"] == "older files were left out: 1"


def test_events_of_the_last_hour_are_listed_without_health_checks_and_other_labels(docker, bundle):
    now = int(time.time())
    docker.responses["/events"] = 200, b"".join(json.dumps(event).encode() + b"\n" for event in (
        {"time": 1764097200, "Type": "container", "Action": "die",
         "Actor": {"Attributes": {"name": NAME, "exitCode": "137", "password": "hunter22"}}},
        {"time": 1764097201, "Type": "container", "Action": "exec_create: client --secret hunter22", "Actor": None}))
    result, texts = bundle()
    assert texts["docker/events.txt"] == f"2025-11-25T19:00:00Z container die name={NAME} exitCode=137\n"
    (requested,) = [target for _method, target in docker.requests if target.startswith("/events")]
    since, until = (int(part.partition("=")[2]) for part in requested.partition("?")[2].split("&"))
    assert until - since == 3600
    assert 0 <= until - now < 60
    assert result["files"]["docker/events.txt"]["problem"] is None


@pytest.fixture
def engine():
    """A server that returns metrics to clients that send the API key. It waits ``delay_s`` before each response."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(server.delay_s)
            allowed = self.headers["Authorization"] == "Bearer sesame"
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(b"vllm:num_requests_running 3.0\n" if allowed else b"")

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.delay_s = 0
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def add_running_instance(docker, engine, tmp_path, *options):
    (instance,) = valid()["instances"]
    command = ["vllm", "serve", "--host", "127.0.0.1", "--port", str(engine.server_port), *options]
    (tmp_path / "secrets.env").write_text("VLLM_API_KEY=sesame\n")
    add(docker, instance, command=command)["Mounts"] = [
        {"Destination": labels.SECRETS_TARGET, "Source": str(tmp_path / "secrets.env")}]


def test_metrics_of_a_running_engine_are_read_with_its_key(docker, bundle, engine, tmp_path):
    add_running_instance(docker, engine, tmp_path)
    result, texts = bundle()
    assert texts[f"containers/{NAME}-metrics.txt"] == "vllm:num_requests_running 3.0\n"
    (tmp_path / "secrets.env").write_text("VLLM_API_KEY=wrong\n")
    result, _texts = bundle()
    assert result["files"][f"containers/{NAME}-metrics.txt"]["problem"] == "status 401"


def test_metrics_are_read_from_a_server_with_tls(docker, bundle, engine, tmp_path):
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", "node1.example"))
    engine.socket = context.wrap_socket(engine.socket, server_side=True)
    add_running_instance(docker, engine, tmp_path, "--ssl-certfile", "/run/server.pem")
    problem = bundle()[0]["files"][f"containers/{NAME}-metrics.txt"]["problem"]
    assert "certificate" in problem
    _result, texts = bundle(ca=authority.path.read_text(), server_name="node1.example")
    assert texts[f"containers/{NAME}-metrics.txt"] == "vllm:num_requests_running 3.0\n"


def test_only_the_metrics_are_missing_if_a_server_does_not_respond(docker, bundle, engine, tmp_path):
    add_running_instance(docker, engine, tmp_path)
    engine.delay_s = 3
    result, texts = bundle(timeout_s=1)
    assert "timed out" in result["files"][f"containers/{NAME}-metrics.txt"]["problem"]
    assert texts["host/memory.txt"] == "memory\n"


def test_tools_query_every_card_and_every_chip(bundle):
    result, _texts = bundle(cards=[0, 7], npus=[0, 15])
    assert {name for name in result["files"] if name.startswith("hccn_tool/")} == {
        f"hccn_tool/{npu}-{item}.txt" for npu in (0, 15) for item in diagnostics_bundle.FABRIC}
    assert {name for name in result["files"] if name.startswith("npu-smi/")} == {
        f"npu-smi/{card}-{kind}.txt" for card in (0, 7) for kind in diagnostics_bundle.CARD}


def test_log_and_state_are_read_from_the_data_root_if_docker_is_stopped(bundle, tmp_path):
    (instance,) = valid()["instances"]
    folder = tmp_path / "docker" / "containers" / "abc"
    folder.mkdir(parents=True)
    stored = inspected(NAME, labels=instance["labels"], environment=["HF_TOKEN=t0k3n"])
    (folder / "config.v2.json").write_text(json.dumps(stored))
    (folder / "abc-json.log").write_text('g": "cut"}\n' + "".join(
        json.dumps({"log": line + "\n", "stream": "stdout"}) + "\n"
        for line in ("first", "t0k3n", "key is sesame", OUT_OF_MEMORY)))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "secrets.env").write_text("VLLM_API_KEY=sesame\n")
    other = tmp_path / "docker" / "containers" / "def"
    other.mkdir()
    (other / "config.v2.json").write_text(json.dumps(inspected("theirs", labels={"a": "b"})))
    result, texts = bundle(docker_socket=str(tmp_path / "none.sock"))
    assert texts[f"containers/{NAME}.log"] == f"first\n(redacted)\nkey is (redacted)\n{OUT_OF_MEMORY}\n"
    assert "t0k3n" not in texts[f"containers/{NAME}.json"]
    assert [each["cause"] for each in result["diagnosis"]] == ["out_of_memory"]
    assert not [name for name in texts if "theirs" in name]


def test_host_data_is_collected_if_docker_is_stopped(bundle, tmp_path):
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "version.info").write_text("Version=25.3.rc1\n")
    result, texts = bundle(docker_socket=str(tmp_path / "none.sock"))
    assert texts["host/memory.txt"] == "memory\n"
    assert texts["versions/driver.txt"] == "Version=25.3.rc1\n"
    for name in ("docker/info.json", "docker/version.json", "docker/containers.json", "docker/events.txt"):
        assert "does not respond" in result["files"][name]["problem"]
        assert name not in texts
    assert (result["diagnosis"], result["files"]["docker/info.json"]["rc"]) == ([], None)
    assert result["files"]["host/memory.txt"] == {"rc": 0, "size": 7, "problem": None}


def test_only_the_end_of_a_log_is_included(docker, bundle):
    add(docker, valid()["instances"][0], status="exited", log="\n".join("line %d" % number for number in range(10)))
    _result, texts = bundle(log_lines=2)
    assert texts[f"containers/{NAME}.log"] == "line 8\nline 9\n"


def test_clock_is_compared_with_the_controllers_clock(bundle):
    assert bundle(controller_time_s=time.time() - 100)[0]["clock_offset_s"] == pytest.approx(100, abs=30)
    assert bundle()[0]["clock_offset_s"] == 0


def test_no_secrets_of_other_containers_are_included(docker, bundle):
    docker.responses["/containers/json"] = 200, [
        {"Id": "1", "Names": ["/theirs"], "Image": "app:1", "Command": "app hunter22", "State": "running",
         "Labels": {"password": "hunter22", labels.INSTANCE: "h1"}, "Ports": []}]
    _result, texts = bundle()
    assert json.loads(texts["docker/containers.json"]) == [
        {"Id": "1", "Names": ["/theirs"], "Image": "app:1", "State": "running", "Ports": [],
         "Labels": {labels.INSTANCE: "h1"}}]
    assert not [name for name, text in texts.items() if "hunter22" in text]


KNOWN_SECRET = "sesame \"open\" & close"
ALL_SECRETS = "\n\n".join(["key is " + KNOWN_SECRET, *(text for text, _secret in KINDS.values())]) + "\n"


def test_no_secret_from_any_source_is_in_the_bundle(docker, bundle, engine, tmp_path, monkeypatch):
    """Every source contains secrets of all kinds."""
    secrets_file = tmp_path / "secrets_file.txt"
    secrets_file.write_text(ALL_SECRETS)
    commands = {name: ["cat", str(secrets_file)] for name in (*diagnostics_bundle.COMMANDS, "host/other.log")}
    monkeypatch.setattr(diagnostics_bundle, "COMMANDS", commands)
    monkeypatch.setattr(diagnostics_bundle, "FILES", dict.fromkeys(diagnostics_bundle.FILES, str(secrets_file)))
    monkeypatch.setattr(diagnostics_bundle.http_request.BoundedResponse, "read", lambda _self: ALL_SECRETS.encode())
    add_running_instance(docker, engine, tmp_path)
    (tmp_path / "state" / "plog").mkdir(parents=True)
    (tmp_path / "state" / "secrets.env").write_text(f"VLLM_API_KEY='{KNOWN_SECRET}'\n")
    (tmp_path / "state" / "plog" / "plog.log").write_text(ALL_SECRETS)
    docker.logs[NAME] = [(1764097200.5, line) for line in ALL_SECRETS.splitlines()]
    health = {"Status": "x", "Log": [{"Output": ALL_SECRETS}]}
    docker.containers[NAME]["State"].update(Error=ALL_SECRETS, Health=health)
    docker.files = {(NAME, PLOG): ALL_SECRETS.encode(), (NAME, "/root/atb/log/a.log"): ALL_SECRETS.encode()}
    for resource in ("/info", "/version"):
        docker.responses[resource] = 200, {"text": ALL_SECRETS}
    docker.responses["/events"] = 200, json.dumps({"Actor": {"Attributes": {"name": ALL_SECRETS}}}).encode()
    result, texts = bundle()
    sources = {name for name in result["files"] if result["files"][name]["size"]}
    assert len(sources) == 12 + len(diagnostics_bundle.FILES)
    outputs = {**texts, "return values": json.dumps([result["files"], result["diagnosis"]])}
    found = [(name, kind) for name, text in outputs.items()
             for kind, (_text, secret) in [*KINDS.items(), ("known", (None, KNOWN_SECRET))]
             if secret in text or json.dumps(secret)[1:-1] in text]
    assert found == []
    not_redacted = [name for name, text in texts.items() if "(redacted)" not in text]
    assert not_redacted == []


TOOL = """\
#!/bin/sh
case "$*" in
  info) echo 'a table';;
  *board*) echo 'Serial Number : 1025C9048791'; echo TOKEN=s3cret-vAlue;;
  *link*) echo 'link status: UP';;
  *tls*) echo 'The device is not exist!' >&2; exit 4;;
  *lldp*) sleep 60;;
esac
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Vendor tools in the driver folder, which also contains the files that a recording includes."""
    monkeypatch.setenv("PATH", os.environ["PATH"])
    folder = tmp_path / "driver" / "tools"
    folder.mkdir(parents=True)
    (tmp_path / "driver" / "version.info").write_text("Version=25.3.rc1\n")
    for name in ("npu-smi", "hccn_tool"):
        (folder / name).write_text(TOOL)
        (folder / name).chmod(0o755)
    return folder


def test_recording_contains_the_output_of_every_tool_call(docker, bundle, tools, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics_bundle, "FABRIC", ("link", "tls", "lldp"))
    monkeypatch.setattr(diagnostics_bundle, "CARD", ("board",))
    _result, texts = bundle(record=True, cards=[0], npus=[0], timeout_s=2)
    recording = json.loads(texts["recording.json"])
    outputs = {" ".join(each["argv"]): (each["rc"], each["stdout"], each["stderr"]) for each in recording["commands"]}
    assert outputs["hccn_tool -i 0 -link -g"] == (0, "link status: UP\n", "")
    assert outputs["hccn_tool -i 0 -tls -g"] == (4, "", "The device is not exist!\n")
    assert outputs["hccn_tool -i 0 -lldp -g"] == (None, "", ""), "it hung"
    assert outputs["npu-smi info -t board -i 0"] == (0, "Serial Number : 1025C9048791\nTOKEN=(redacted)\n", "")
    assert outputs["npu-smi info"][0] == 0
    assert recording["files"][str(tmp_path / "driver" / "version.info")] == "Version=25.3.rc1\n"
    assert not any("daemon.json" in path for path in recording["files"])
    assert (recording["names"], recording["kernel"]) == ([os.uname().nodename], os.uname().release)
    assert texts["npu-smi/0-board.txt"] == outputs["npu-smi info -t board -i 0"][1]


def test_recording_is_empty_without_tools_and_omitted_by_default(docker, bundle):
    assert json.loads(bundle(record=True, cards=[0])[1]["recording.json"])["commands"] == []
    assert "recording.json" not in bundle(cards=[0])[1]
