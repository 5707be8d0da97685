# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployment on the nodes, the results on the controller, and the playbooks for a running service."""

from __future__ import annotations

import json
import re
import stat
import tarfile

import jsonschema
import pytest
from scenario import INVENTORY, PROJECT, bed, result, succeeds

RESULTS = INVENTORY / ".results"
SCHEMAS = PROJECT / "docs" / "schemas"
SERVICE = "vllm-ascend-qwen25-vl"
NODES = ("node1", "node2")


def checks(node, stage):
    return {check["id"].split(".")[1]: check for check in result(node, stage)["checks"]}


@pytest.fixture
def container(host):
    return json.loads(host.check_output(f"docker inspect {SERVICE}"))[0]


def test_container_is_as_planned(container):
    settings = container["HostConfig"]
    assert container["State"]["Running"]
    assert container["RestartCount"] == 0
    assert not settings["Privileged"]
    assert {device["PathOnHost"] for device in settings["Devices"]} == {
        "/dev/davinci0", "/dev/davinci1", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}
    mounts = {mount["Destination"]: mount for mount in container["Mounts"]}
    assert {target for target, mount in mounts.items() if mount["RW"]} == {"/root/ascend/log"}
    assert {"/data/Qwen2.5-VL-32B-Instruct-w8a8", "/usr/local/dcmi", "/usr/local/bin/npu-smi",
            "/vllm-workspace/vllm-ascend/vllm_ascend/utils.py"} <= set(mounts)


def test_no_container_has_more_privileges_than_planned():
    """They are the containers that probe the image, download the model, test the network, serve, and benchmark."""
    inspected = [json.loads(line)[0] for line in bed("exec", "node1", "cat", "/var/tmp/containers").splitlines()]
    found = {container["Name"].strip("/"): container["HostConfig"] for container in inspected}
    assert len(found) >= 5, sorted(found)
    for name, settings in found.items():
        assert not settings["Privileged"], name
        assert settings["SecurityOpt"] == ["no-new-privileges"], name
        assert not settings["CapAdd"], name
        assert "NET_RAW" in settings["CapDrop"] if settings["Devices"] else settings["CapDrop"] == ["ALL"], name


def test_patch_is_visible_in_the_container(host):
    patched = "/vllm-workspace/vllm-ascend/vllm_ascend/utils.py"
    line = host.check_output(f"docker exec {SERVICE} grep '\"MRotaryEmbedding\":' {patched}")
    assert line.strip() == '# "MRotaryEmbedding": AscendMRotaryEmbedding,'


def test_service_listens_only_on_the_planned_port(host):
    models = json.loads(host.check_output("curl -fsS --max-time 10 http://127.0.0.1:8888/v1/models"))
    assert [model["id"] for model in models["data"]] == ["qwen25_vl"]
    assert not host.socket("tcp://0.0.0.0:8000").is_listening


def test_only_the_planned_npus_are_in_use(host):
    table = host.check_output("npu-smi info")
    idle = {line.split()[-2] for line in table.splitlines() if "No running processes found in NPU" in line}
    assert idle == {"2", "3", "4", "5", "6", "7"}


def test_weights_are_read_only_for_the_container(host):
    touch = host.run(f"docker exec {SERVICE} touch /data/Qwen2.5-VL-32B-Instruct-w8a8/file")
    assert touch.rc != 0
    assert "Read-only" in touch.stderr


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("stage", ["npu_driver", "hccl", "image", "weights", "serving", "functional", "benchmark"])
def test_every_stage_has_a_valid_result_and_passed(node, stage):
    found = result(node, stage)
    jsonschema.validate(found, json.loads((SCHEMAS / "stage-result-v1.json").read_text("utf-8")))
    assert found["status"] in ("passed", "waived" if stage == "image" else "warned"), [
        check for check in found["checks"] if check["status"] != "passed"]
    assert found["checks"]


@pytest.mark.parametrize("node", NODES)
def test_model_describes_the_picture(node):
    check = checks(node, "functional")["image_answer"]
    assert check["status"] == "passed"
    assert "TONGYI" in json.dumps(check["actual"])


@pytest.mark.parametrize("node", NODES)
def test_every_request_of_the_benchmark_completed(node):
    assert checks(node, "benchmark")["completed"]["status"] == "passed"
    figures = {figure["name"]: figure["value"] for figure in result(node, "benchmark")["observed"]["figures"]}
    assert figures
    # Tokens that arrive together have no time between them.
    assert all(value > 0 for name, value in figures.items() if not name.startswith("Time per output token"))


def test_plan_is_shown_for_every_node():
    shown = succeeds("plan")
    assert f"Plan of {len(NODES)} nodes" in shown
    assert "vllm serve /data/Qwen2.5-VL-32B-Instruct-w8a8" in shown


def test_status_without_a_balancer_shows_every_service():
    output = succeeds("status")
    assert "balancer on" not in output
    for node in NODES:
        (row,) = re.findall(rf"^{node} +{SERVICE} +(.+)$", output, re.MULTILINE)
        assert "ready" in row
        assert "as planned" in row


def test_diagnostics_contain_the_log_of_every_service():
    succeeds("diagnostics", "-e", "diagnostics_record=true")
    (path,) = RESULTS.glob("diagnostics-*.tar.gz")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as bundle:
        texts = {member.name: bundle.extractfile(member).read().decode("utf-8") for member in bundle}
    assert next(iter(texts)) == "diagnostics/index.md"
    for node in NODES:
        container = f"diagnostics/{node}/containers/{SERVICE}"
        assert "Application startup complete" in texts[container + ".log"]
        assert json.loads(texts[container + ".json"])["Name"] == f"/{SERVICE}"
        assert "vllm:num_requests_running" in texts[container + "-metrics.txt"]
        assert json.loads(texts[f"diagnostics/{node}/docker/info.json"])["ServerVersion"]
        assert json.loads(texts[f"diagnostics/{node}/results/serving.json"])["host"] == node
        assert json.loads(texts[f"diagnostics/{node}/results/plan.json"])["plan"]["instances"]
        recording = json.loads(texts[f"diagnostics/{node}/recording.json"])
        assert {command["argv"][0] for command in recording["commands"]} == {"npu-smi", "hccn_tool"}
        assert {command["rc"] for command in recording["commands"]} == {0}
        assert "10.78." not in texts[f"diagnostics/{node}/recording.json"]


def test_report_has_passed_and_names_the_services():
    assert f"Report: {RESULTS / 'report.html'}" in succeeds("report")
    report = json.loads((RESULTS / "report.json").read_text("utf-8"))
    jsonschema.validate(report, json.loads((SCHEMAS / "report-v2.json").read_text("utf-8")))
    assert report["status"] in ("passed", "warned")
    assert report["passing_hosts"] == list(NODES)
    assert [service["url"] for service in report["services"]] == ["http://10.77.0.11:8888", "http://10.77.0.12:8888"]
    assert all(service["unchanged"] for service in report["services"]), "a service was restarted"
    assert report["hosts"]["node1"]["accuracy"]["status"] == "not_run"
