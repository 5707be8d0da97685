# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands on the nodes, seen over SSH by other eyes than the roles', and what the run left on the controller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import jsonschema
import pytest

RESULTS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory" / ".results"
SCHEMAS = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "docs" / "schemas"
SERVICE = "vllm-ascend-qwen25-vl"
NODES = ("node1", "node2")


def result(node, stage):
    return json.loads((RESULTS / node / f"{stage}.json").read_text("utf-8"))


def checks(node, stage):
    return {check["id"].split(".")[1]: check for check in result(node, stage)["checks"]}


@pytest.fixture
def container(host):
    return json.loads(host.check_output(f"docker inspect {SERVICE}"))[0]


def test_container_is_exactly_the_plan(container):
    settings = container["HostConfig"]
    assert container["State"]["Running"]
    assert container["RestartCount"] == 0
    assert not settings["Privileged"]
    assert {device["PathOnHost"] for device in settings["Devices"]} == {
        "/dev/davinci0", "/dev/davinci1", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}
    mounts = {mount["Destination"]: mount for mount in container["Mounts"]}
    assert not any(mount["RW"] for mount in mounts.values())
    assert {"/data/Qwen2.5-VL-32B-Instruct-w8a8", "/usr/local/dcmi", "/usr/local/bin/npu-smi",
            "/vllm-workspace/vllm-ascend/vllm_ascend/utils.py"} <= set(mounts)


def test_patch_is_what_the_process_sees(host):
    patched = "/vllm-workspace/vllm-ascend/vllm_ascend/utils.py"
    seen = host.check_output(f"docker exec {SERVICE} grep '\"MRotaryEmbedding\":' {patched}")
    assert seen.strip() == '# "MRotaryEmbedding": AscendMRotaryEmbedding,'


def test_service_answers_on_the_one_port(host):
    models = json.loads(host.check_output("curl -fsS --max-time 10 http://127.0.0.1:8888/v1/models"))
    assert [model["id"] for model in models["data"]] == ["qwen25_vl"]
    assert not host.socket("tcp://0.0.0.0:8000").is_listening


def test_npus_of_the_service_are_busy_and_no_others(host):
    table = host.check_output("npu-smi info")
    idle = {line.split()[-2] for line in table.splitlines() if "No running processes found in NPU" in line}
    assert idle == {"2", "3", "4", "5", "6", "7"}


def test_weights_are_read_only_for_the_container(host):
    denied = host.run(f"docker exec {SERVICE} touch /data/Qwen2.5-VL-32B-Instruct-w8a8/planted")
    assert denied.rc != 0
    assert "Read-only" in denied.stderr


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("stage", ["npu_driver", "hccl", "image", "weights", "serving", "functional", "benchmark"])
def test_every_stage_left_a_valid_result_that_holds(node, stage):
    found = result(node, stage)
    jsonschema.validate(found, json.loads((SCHEMAS / "stage-result-v1.json").read_text("utf-8")))
    assert found["status"] in ("passed", "waived" if stage == "image" else "warned"), [
        check for check in found["checks"] if check["status"] != "passed"]
    assert found["checks"]


@pytest.mark.parametrize("node", NODES)
def test_the_model_read_the_picture(node):
    check = checks(node, "functional")["image_answer"]
    assert check["status"] == "passed"
    assert "TONGYI" in json.dumps(check["actual"])


@pytest.mark.parametrize("node", NODES)
def test_every_request_of_the_benchmark_completed(node):
    assert checks(node, "benchmark")["completed"]["status"] == "passed"
    figures = {figure["name"]: figure["value"] for figure in result(node, "benchmark")["observed"]["figures"]}
    assert figures
    assert all(value > 0 for value in figures.values())


def test_diagnostics_fetches_the_log_of_every_service(tmp_path):
    subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", RESULTS.parent, "playbooks/diagnostics.yml",
         "-e", f"diagnostics_path={tmp_path}"], cwd=SCHEMAS.parents[1], check=True, stdout=subprocess.DEVNULL)
    for node in NODES:
        with tarfile.open(tmp_path / node / "diagnostics.tar.gz") as bundle:
            texts = {member.name: bundle.extractfile(member).read().decode("utf-8") for member in bundle}
        assert "Application startup complete" in texts[f"diagnostics/container-{SERVICE}.log"]
        assert json.loads(texts[f"diagnostics/container-{SERVICE}.json"])["Name"] == f"/{SERVICE}"
        assert json.loads(texts["diagnostics/docker-engine.json"])["ServerVersion"]


def test_report_tells_the_same():
    report = json.loads((RESULTS / "report.json").read_text("utf-8"))
    jsonschema.validate(report, json.loads((SCHEMAS / "report-v1.json").read_text("utf-8")))
    assert report["status"] in ("passed", "warned")
    assert report["passing_hosts"] == list(NODES)
    assert [service["url"] for service in report["services"]] == ["http://10.77.0.11:8888", "http://10.77.0.12:8888"]
    assert all(service["unchanged"] for service in report["services"]), "the second run has started a service anew"
    assert report["hosts"]["node1"]["accuracy"]["status"] == "not_run"
