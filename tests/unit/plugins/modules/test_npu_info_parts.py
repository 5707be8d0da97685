# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that ascend.vllm.npu_info is made of: runner of tools, host, engine, kernel log, and what joins them."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import kernel_log
from ansible_collections.ascend.vllm.plugins.module_utils._ascend import observation as npu_observation
from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine as engine_api
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands as tools
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts

SAMPLES = Path(__file__).parents[1] / "module_utils" / "_ascend" / "npu_smi"


def test_tools_run_side_by_side_and_each_within_its_time():
    commands = {number: ["sleep", "0.4"] for number in range(4)}
    commands["hangs"] = ["sh", "-c", "echo begun; sleep 60 & wait"]
    commands["fails"] = ["sh", "-c", "echo on stdout; echo on stderr >&2; exit 3"]
    commands["is not there"] = ["/nonexistent/npu-smi", "info"]
    started = time.monotonic()
    outcomes = tools.run_all(commands, timeout_s=1, workers=8)
    assert time.monotonic() - started < 1.6
    assert [outcomes[number].rc for number in range(4)] == [0, 0, 0, 0]
    assert outcomes["hangs"].timed_out
    assert outcomes["hangs"].rc is None
    assert outcomes["hangs"].stdout == "begun\n"
    assert outcomes["hangs"].error == "no answer within 1 s"
    assert (outcomes["fails"].rc, outcomes["fails"].output) == (3, "on stdout\non stderr\n")
    assert outcomes["is not there"].rc is None
    assert not outcomes["is not there"].timed_out
    assert "No such file" in outcomes["is not there"].error
    assert list(outcomes) == list(commands)


def test_tools_speak_english():
    os.environ["LC_ALL"] = "zh_CN.UTF-8"
    try:
        assert tools.run(["sh", "-c", "echo $LC_ALL"], 5).stdout == "C\n"
    finally:
        del os.environ["LC_ALL"]


@pytest.fixture
def root(tmp_path):
    """A folder that stands for / of a node."""
    for name in ("davinci0", "davinci2", "davinci10", "davinci_manager"):
        path = tmp_path / "dev" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for address, vendor, device, group in (
            ("0000:c1:00.0", "0x19e5", "0xd802", "0x120000"), ("0000:05:00.0", "0x19e5", "0x0222", "0x020000"),
            ("0000:06:00.0", "0x8086", "0x1234", "0x120000")):
        folder = tmp_path / "sys/bus/pci/devices" / address
        folder.mkdir(parents=True)
        for name, value in (("vendor", vendor), ("device", device), ("class", group)):
            (folder / name).write_text(value + "\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="openEuler"\nID="openEuler"\nVERSION_ID="22.03"\n'
                                             'PRETTY_NAME="openEuler 22.03 (LTS-SP4)"\n')
    for pid, name, group, opened in ((41, "python3", "0::/docker/" + "a" * 64, ["dev/davinci2", "dev/davinci_manager"]),
                                     (42, "npu-smi", "0::/user.slice", ["dev/davinci0"]), (43, "bash", "", [])):
        folder = tmp_path / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        (folder / "cgroup").write_text(group + "\n")
        for number, target in enumerate(opened):
            (folder / "fd" / str(number)).symlink_to(tmp_path / target)
    (tmp_path / "proc/meminfo").write_text("MemTotal:  1024 kB\nMemAvailable:   512 kB\n")
    (tmp_path / "proc/uptime").write_text("77.5 10.0\n")
    (tmp_path / "dev/shm").mkdir()
    return tmp_path


def test_device_nodes_in_order_and_with_their_type(root):
    nodes = facts.device_nodes(str(root))
    assert [os.path.basename(node["path"]) for node in nodes] == [
        "davinci0", "davinci2", "davinci10", "davinci_manager", "devmm_svm", "hisi_hdc"]
    assert [node["type"] for node in nodes] == ["file"] * 4 + [None] * 2


def test_paths(tmp_path):
    (tmp_path / "file").write_text("x")
    os.chmod(tmp_path / "file", 0o640)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    described = {name: facts.describe_path(str(tmp_path / name)) for name in ("file", "link", "dangling", "nothing")}
    assert (described["file"]["type"], described["file"]["mode"]) == ("file", "0640")
    assert (described["link"]["type"], described["link"]["target"]) == ("directory", str(tmp_path))
    assert described["dangling"]["type"] is None
    assert described["nothing"] == {"path": str(tmp_path / "nothing"), "type": None}
    null = facts.describe_path("/dev/null")
    assert (null["type"], null["major"], null["minor"]) == ("character device", 1, 3)


def test_only_accelerators_of_the_vendor_count(root):
    assert facts.accelerators(str(root)) == [{"address": "0000:c1:00.0", "device": "0xd802"}]


def test_system(root):
    system = facts.system(str(root))
    assert system["os"] == {"id": "openEuler", "version": "22.03", "name": "openEuler 22.03 (LTS-SP4)"}
    assert (system["memory_bytes"], system["memory_available_bytes"]) == (1048576, 524288)
    assert system["uptime_s"] == 77.5
    assert system["shm"]["existing"] == str(root / "dev/shm")
    assert system["architecture"] == os.uname().machine


def test_disk_of_a_path_that_is_yet_to_be_made(tmp_path):
    space = facts.disk(str(tmp_path / "not" / "there"))
    assert space["existing"] == str(tmp_path)
    assert 0 < space["free_bytes"] <= space["total_bytes"]


def test_python_tells_whether_requests_is_there(monkeypatch, tmp_path):
    for name in ("requests", "urllib3", "idna", "certifi"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "requests" / "__version__.py").write_text('__title__ = "requests"\n__version__ = "2.28.1"\n')
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert facts.python()["executable"] == sys.executable
    assert facts.python()["requests"] == "2.28.1"
    (tmp_path / "urllib3" / "__init__.py").unlink()
    assert facts.python()["requests"] is None
    monkeypatch.setattr(sys, "path", [])
    assert facts.python()["requests"] is None


def test_open_devices(root):
    assert facts.open_devices(str(root), skip=["npu-smi"]) == [{"device": 2, "pid": 41, "process": "python3"}]
    assert len(facts.open_devices(str(root))) == 2


KMSG = [
    "5,1,1000000,-;[ascend] [ERROR] [devmm] [devmm_svm_device_fault 438] <kworker:9,9> Vm fault failed. (devid=0)\n",
    "5,2,900000000,-;[ascend] [drv_pcie] [devdrv_msg_send 12] <a:1> Device is abnormal. (dev_id=5; msg_type=3)\n",
    "6,3,900000001,-;[ascend] [drv_pcie] [devdrv_probe 40] <insmod:7> Probe begin. (dev_id=5)\n",
    "4,4,910000000,-;pcieport 0000:c0:00.0: AER: Corrected error received: 0000:c1:00.0\n SUBSYSTEM=pci\n",
    "4,5,910000001,-;pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0\n",
    "4,6,920000000,-;acc 0000:82:00.0:   device [19e5:d802] error status, PCIe Bus Error: severity=Fatal\n",
    "not a record",
]


def test_kernel_log_finds_npu_errors_of_the_last_minutes():
    found = kernel_log.errors(KMSG, uptime_s=1000.0, within_s=600, bus_ids=["0000:C1:00.0", None])
    assert [(each["seconds_ago"], each["text"][:30]) for each in found] == [
        (100, "[ascend] [drv_pcie] [devdrv_ms"), (90, "pcieport 0000:c0:00.0: AER: Co"),
        (80, "acc 0000:82:00.0:   device [19")]
    assert len(kernel_log.errors(KMSG, uptime_s=1000.0, within_s=2000, bus_ids=["0000:c1:00.0"])) == 4


def test_kernel_log_reads_until_nothing_is_left(tmp_path):
    (tmp_path / "kmsg").write_text(KMSG[0])
    assert kernel_log.read(str(tmp_path / "kmsg")) == [KMSG[0]]
    with pytest.raises(OSError, match="No such file"):
        kernel_log.read(str(tmp_path / "none"))


LABELS = {"ascend.vllm.instance-hash": "0123456789ab"}


def container(identifier, name, devices=(), runtime="runc", environment=(), labels=None):
    return {"Id": identifier * 64, "Name": "/" + name, "State": {"Pid": 40},
            "HostConfig": {"Privileged": False, "Runtime": runtime, "Devices": [
                {"PathOnHost": path, "PathInContainer": path} for path in devices]},
            "Config": {"Image": "vllm", "Labels": labels, "Env": list(environment)}}


ENGINE = {
    "/version": {"Version": "20.10.24", "ApiVersion": "1.41"},
    "/info": {"DockerRootDir": "/var/lib/docker", "Driver": "overlay2", "DefaultRuntime": "runc",
              "Runtimes": {"runc": {}, "ascend": {}}},
    "/images/quay.io%2Fvllm%3A1/json": {"Id": "sha256:1", "RepoDigests": ["quay.io/vllm@sha256:2"]},
    "/containers/json": [{"Id": "a" * 64}, {"Id": "b" * 64}, {"Id": "c" * 64}],
    "/containers/%s/json" % ("a" * 64): container("a", "ours", [
        "/dev/davinci2", "/dev/davinci_manager", "/dev/davinci0"], labels=LABELS),
    "/containers/%s/json" % ("b" * 64): container("b", "runtime", runtime="ascend", environment=[
        "PATH=/bin", "ASCEND_VISIBLE_DEVICES=1,4-5"]),
}


@pytest.fixture
def engine(tmp_path):
    """A server on a unix socket that answers as the engine does."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(ENGINE.get(self.path, {"message": "none"})).encode()
            self.send_response(200 if self.path in ENGINE else 404)
            self.end_headers()
            self.wfile.write(b"<html>" if self.path == "/broken" else body)

        def address_string(self):
            return "engine"

        def log_message(self, *_args):
            pass

    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "engine.sock"), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(tmp_path / "engine.sock")
        server.shutdown()


def test_engine(engine):
    described = engine_api.describe(engine_api.getter(engine, 5), "quay.io/vllm:1")
    assert (described["version"], described["root"], described["runtimes"]) == (
        "20.10.24", "/var/lib/docker", ["ascend", "runc"])
    assert described["image"] == {"id": "sha256:1", "digests": ["quay.io/vllm@sha256:2"]}
    assert [(each["name"], each["devices"]) for each in described["containers"]] == [
        ("ours", [0, 2]), ("runtime", [1, 4, 5])]
    assert described["containers"][0]["labels"] == LABELS
    assert engine_api.describe(engine_api.getter(engine, 5), "other")["image"] is None


def test_engine_that_does_not_answer(tmp_path):
    with pytest.raises(engine_api.EngineError, match="does not answer"):
        engine_api.describe(engine_api.getter(str(tmp_path / "engine.sock"), 1))


def answers(table, details):
    """A runner of tools that knows some answers; others hang."""
    def run_all(commands):
        outcomes = {}
        for key, argv in commands.items():
            text = table if argv[1:] == ["info"] else details.get(" ".join(argv[2:]))
            outcomes[key] = tools.Outcome(argv, None if text is None else 0, text or "", "", 0.1, text is None,
                                          None if text is not None else "no answer within 5 s")
        return outcomes
    return run_all


def test_query_asks_for_the_codes_of_what_is_not_well():
    table = (SAMPLES / "910b.txt").read_text()
    observation, outcomes = npu_observation.query(answers(table, {
        "-t health -i 3 -c 0": "\tHealth Status : Alarm\n\tError Code : 80E01801 81078603\n\tError Information : x\n",
        "-t ecc -i 0": "\tNPU ID : 0\n\n\tHBM Double Bit Isolated Pages Count : 2\n\tChip ID : 0\n",
        "-t board -i 0": "\tNPU ID : 0\n\tSoftware Version : 25.3.rc1\n\tCompatibility : OK\n",
    }), "/usr/local/bin/npu-smi")
    assert observation["error"] is None
    first, second = observation["chips"]
    assert (first["device"], first["error_codes"], second["error_codes"]) == (0, None, ["80E01801", "81078603"])
    assert first["ecc"]["HBM Double Bit Isolated Pages Count"] == "2"
    assert first["board"]["Compatibility"] == "OK"
    assert (second["ecc"], second["board"]) == (None, None)
    commands = [" ".join(outcome.argv[1:]) for outcome in outcomes]
    assert commands == ["info", "info -t ecc -i 0", "info -t board -i 0", "info -t health -i 3 -c 0",
                        "info -t ecc -i 3", "info -t board -i 3"]


def test_query_tells_the_chips_of_one_npu_apart():
    observation, outcomes = npu_observation.query(answers((SAMPLES / "a3_wide.txt").read_text(), {
        "-t ecc -i 6": "\tNPU ID : 6\n\tChip Count : 2\n\n\tHBM Double Bit Error Count : 0\n\tChip ID : 0\n\n"
                       "\tHBM Double Bit Error Count : 9\n\tChip ID : 1\n",
    }), "npu-smi")
    assert [chip["device"] for chip in observation["chips"]] == [12, 13]
    assert [chip["ecc"]["HBM Double Bit Error Count"] for chip in observation["chips"]] == ["0", "9"]
    assert len(outcomes) == 3


@pytest.mark.parametrize(("table", "message", "code"), [
    (None, "npu-smi info: no answer within 5 s", None),
    ("dcmi module initialize failed. ret is -8005\n", "dcmi module initialize failed. ret is -8005", -8005),
    ("gibberish", "npu-smi info cannot be read: npu-smi info printed no table and no known error: 'gibberish'", None),
])
def test_query_of_a_tool_that_fails(table, message, code):
    observation, outcomes = npu_observation.query(answers(table, {}), "npu-smi")
    assert observation["error"] == {"message": message, "code": code}
    assert observation["chips"] == []
    assert len(outcomes) == 1


def test_query_without_a_tool():
    observation, outcomes = npu_observation.query(None, None)
    assert observation["error"] == {"message": "npu-smi was not found", "code": None}
    assert outcomes == []


def test_holders(root):
    chips = [{"npu": npu, "chip": chip, "device": device} for npu, chip, device in ((6, 0, 12), (6, 1, 13), (1, 0, 2))]
    processes = [{"npu": 6, "chip": 1, "pid": 43, "name": "bash", "memory_mb": 7},
                 {"npu": 1, "chip": 0, "pid": 41, "name": "python3", "memory_mb": 9}]
    containers = [{"id": "a" * 64, "name": "ours", "image": "vllm", "labels": LABELS, "pid": 40, "devices": [2, 5]}]
    found = npu_observation.holders(
        chips, processes, facts.open_devices(str(root), skip=npu_observation.ECHO), containers,
        lambda pid: facts.cgroup(pid, str(root)))
    ours = {"id": "a" * 64, "name": "ours", "image": "vllm", "labels": LABELS}
    assert found == [
        {"device": 2, "pid": 41, "process": "python3", "memory_mb": 9, "container": ours},
        {"device": 5, "pid": 40, "process": None, "memory_mb": None, "container": ours},
        {"device": 13, "pid": 43, "process": "bash", "memory_mb": 7, "container": None},
    ]


def test_version_file(tmp_path):
    (tmp_path / "version.info").write_text("Version=25.3.rc1\nascendhal_version=7.35.23\n")
    assert npu_observation.version_file(str(tmp_path / "version.info"))["fields"]["Version"] == "25.3.rc1"
    assert "No such file" in npu_observation.version_file(str(tmp_path / "none"))["error"]
