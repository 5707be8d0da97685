# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run playbooks with inputs other than the defaults, in the order of the tests, and check the effect of each input.

The `lifecycle` scenario does the same for the playbooks that need a running service, and `benchmark` for its playbook.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile

import pytest
from bed_case import IMAGE, MODEL, NODES, ROOT, SERVICE, Bed, execute

pytestmark = pytest.mark.bed

bed = Bed("inputs")
# Whenever a container starts, appends the output of `docker inspect` to /var/tmp/containers.
WATCH = ("docker events --filter event=start --format '{{.ID}}' | while read id; do "
         "docker inspect --format '{{json .}}' $id >> /var/tmp/containers; done")
#: Inputs of every run that deploys or tests the service.
SERVING = {"serving_port": 9000, "serving_served_model_name": "vision", "serving_ready_interval_s": 1,
           "serving_log_max_files": 2, "serving_ready_timeout_s": 300}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Start the bed, and return the results folder."""
    bed("up", "--nodes", "2", "--image", "light", "--hub")
    for node in NODES:
        bed("exec", node, "systemd-run", "--unit=watch", "sh", "-c", WATCH)
    yield tmp_path_factory.mktemp("results")
    bed("down")


@pytest.fixture
def run(results):
    """Return a function that runs a playbook and returns its output without line breaks."""
    def playbook(name, *arguments, exit_code=0, variables=None, **inputs):
        done = execute(bed.playbook(name, *arguments, **{"report_path": str(results), **inputs}), **(variables or {}))
        assert done.returncode == exit_code, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    return playbook


def result(results, node, stage):
    return json.loads((results / node / f"{stage}.json").read_text("utf-8"))


def checks(results, node, stage):
    """Return ``{check: (status, message)}`` of a stage whose result contains each check once."""
    return {check["id"].split(".")[1]: (check["status"], check["message"])
            for check in result(results, node, stage)["checks"]}


def started(node):
    """Return ``{container: output of docker inspect}`` for the containers that a node started, the last per name."""
    # The line is empty if the container had already been removed.
    lines = filter(None, bed.shell(node, "cat /var/tmp/containers").splitlines())
    return {each["Name"].lstrip("/"): each for each in map(json.loads, lines)}


def test_npu_driver_waives_a_kernel_below_the_minimum(run, results):
    run("npu_driver", npu_driver_kernel_minimum="99", npu_driver_waive=["kernel"])
    for node in NODES:
        assert checks(results, node, "npu_driver")["kernel"][0] == "waived"


def test_hccl_is_not_run_if_it_is_disabled(run, results):
    run("hccl", hccl_enabled=False)
    for node in NODES:
        assert "hccl_enabled" in json.dumps(result(results, node, "hccl"))
        assert result(results, node, "hccl")["status"] == "not_run"


def test_site_tests_the_ports_without_an_all_reduce(run, results):
    run("site", "--tags", "hccl", hccl_collective_policy="never", hccl_ping_same_rail_only=True, hccl_host_port=2222,
        hccl_ping_round_s=0.2)
    for node in NODES:
        observed = json.dumps(result(results, node, "hccl"))
        assert result(results, node, "hccl")["status"] in ("passed", "warned")
        assert "hccl_collective_policy" in observed


def test_image_is_loaded_from_an_archive(run, results):
    archive = subprocess.run([ROOT / "molecule/testbed/engine/build", "light"], capture_output=True, text=True,
                             check=True).stdout.strip()
    bed.shell("node2", f"docker image rm --force {IMAGE}")
    run("image", image_archive=archive, image_archive_path="/srv/images", image_timeout_s=300)
    assert bed.shell("node2", "ls -A /srv/images") == ""
    assert IMAGE in bed.shell("node2", "docker image ls --format '{{.Repository}}:{{.Tag}}'")
    assert result(results, "node2", "image")["status"] in ("passed", "warned", "waived")


def test_weights_are_distributed_by_fan_out(run, results, tmp_path):
    wheels = tmp_path / "wheels"
    run("weights", weights_distribution="fanout", weights_swarm_port=6999, weights_swarm_patience_s=77,
        weights_swarm_wheels=str(wheels), weights_timeout_s=1200, weights_workers=2, weights_progress_s=0)
    for node in NODES:
        assert result(results, node, "weights")["status"] in ("passed", "warned")
        (swarm,) = [each for key, each in started(node).items() if "swarm" in key]
        arguments = swarm["Args"]
        assert arguments[arguments.index("--port") + 1] == "6999"
        assert arguments[arguments.index("--patience") + 1] == "77"
    assert list(wheels.glob("libtorrent-*.whl"))


def test_fan_out_without_a_wheel_fails(run, results, tmp_path):
    bed.shell("node2", f"rm -rf {MODEL} /data/.ascend-vllm /var/lib/ascend-vllm/weights")
    output = run("weights", exit_code=2, weights_distribution="fanout", weights_swarm_wheels=str(tmp_path / "none"),
                 variables={"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"})
    assert f"weights_swarm_wheels has no wheel of libtorrent for cp311 on {os.uname().machine}" in output
    assert checks(results, "node2", "weights")["staged"][0] == "failed"


def test_site_deploys_with_the_serving_and_functional_inputs(run, results):
    run("site", "--tags", "weights,serving,functional", **SERVING, functional_expected_words=[],
        functional_max_tokens=5, weights_verify="full")
    for node in NODES:
        assert bed.shell(node, "curl -s http://127.0.0.1:9000/v1/models").count('"vision"') >= 1
        container = started(node)[SERVICE]
        assert container["HostConfig"]["LogConfig"]["Config"]["max-file"] == "2"
        assert checks(results, node, "functional")["expected_words"][0] == "not_run"


def test_accuracy_fails_if_the_tool_cannot_be_installed(run, results, tmp_path):
    output = run("site", "--tags", "accuracy", exit_code=2, accuracy_enabled=True, accuracy_python="/nowhere/python3",
                 accuracy_run_on="localhost", accuracy_environment_path=str(tmp_path / "environment"),
                 accuracy_datasets=[{"name": "tiny", "path": str(ROOT / "molecule/benchmark/files/tiny.jsonl")}],
                 **SERVING)
    assert "/nowhere/python3" in output
    assert "/nowhere/python3" in json.dumps(result(results, "node1", "accuracy"))
    assert result(results, "node1", "accuracy")["status"] == "failed"
    # Both nodes serve the same, so only the first one is measured.
    assert result(results, "node2", "accuracy")["status"] == "not_run"
    assert "node1 has the same deployment" in json.dumps(result(results, "node2", "accuracy"))


def test_accuracy_fails_if_the_tool_is_missing_and_must_not_be_installed(run, results, tmp_path):
    run("accuracy", exit_code=2, accuracy_enabled=True, accuracy_install=False, accuracy_run_on="localhost",
        accuracy_executable=str(tmp_path / "ais_bench"),
        accuracy_datasets=[{"name": "tiny", "path": str(ROOT / "molecule/benchmark/files/tiny.jsonl")}], **SERVING)
    assert str(tmp_path / "ais_bench") in json.dumps(result(results, "node1", "accuracy"))


def test_benchmark_fails_if_its_tool_cannot_be_installed(run, results, tmp_path):
    run("benchmark", exit_code=2, benchmark_tools=["ais_bench"], accuracy_python="/nowhere/python3",
        accuracy_run_on="localhost", accuracy_environment_path=str(tmp_path / "environment"), **SERVING)
    for node in NODES:
        assert "/nowhere/python3" in json.dumps(result(results, node, "benchmark"))


def test_diagnostics_limits_the_logs_and_searches_its_own_archive(run, results, tmp_path):
    run("diagnostics", diagnostics_path=str(tmp_path), diagnostics_log_lines=3, diagnostics_timeout_s=60, **SERVING)
    (archive,) = tmp_path.glob("diagnostics-*.tar.gz")
    with tarfile.open(archive) as bundle:
        for node in NODES:
            log = bundle.extractfile(f"diagnostics/{node}/containers/{SERVICE}.log").read()
            assert 1 <= len(log.splitlines()) <= 4  # an additional line can say that others were left out
    # The logs are then searched on the controller.
    found = run("diagnostics", diagnostics_from=str(archive))
    assert re.search(r"No fault was found \(files read: \d+\)|The checks that the remedies name", found)
    assert re.search(r"node1 +: ok=0 ", found.partition("PLAY RECAP")[2])  # the plays for nodes are skipped


def test_report_reads_results_from_another_folder(run, results, tmp_path):
    moved = tmp_path / "results"
    results.rename(moved)
    try:
        # The measurement without AISBench failed. The first stages ran with another plan.
        output = run("report", "-e", f"report_path={moved}", exit_code=2, report_max_age_h=0,
                     report_fail_on=["failed", "stale"], report_query="failing_hosts", **SERVING)
    finally:
        moved.rename(results)
    assert "(report_fail_on: failed, stale)" in output
    assert "STALE npu_driver, hccl, image on all 2 hosts: the plan was " in output
    assert "Older than 0 h (report_max_age_h): " in output
    report = json.loads((results / "report.json").read_text("utf-8"))
    assert set(report["hosts"]) == set(NODES)
    assert report["hosts"]["node1"]["serving"]["status"] in ("passed", "warned")
