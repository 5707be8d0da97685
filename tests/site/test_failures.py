# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml removes nodes that fail, continues with the others, writes the report, and exits with an error."""

from __future__ import annotations

import json
import tarfile

import jsonschema
import pytest
from bed_case import MODEL, ROOT, Bed, execute

pytestmark = pytest.mark.bed

bed = Bed("failures")
STAGES = "npu_driver,image,weights,serving"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    bed("up", "--nodes", "2", "--image", "light", "--hub")
    yield
    bed("down")


@pytest.fixture
def site(tmp_path):
    """Return a function that runs site.yml on the bed. All runs of a test use the same results folder."""

    def run(*arguments, tags=STAGES, playbook="site", **environment):
        selected = ["--tags", tags] if playbook == "site" else []
        done = execute(bed.playbook(playbook, *selected, *arguments, report_path=str(tmp_path)),
                       **{"ANSIBLE_TIMEOUT": "3", **environment})
        report = tmp_path / "report.json"
        return done, json.loads(report.read_text("utf-8")) if report.exists() else None

    return run


@pytest.fixture
def fault():
    """Return a function that injects faults into a simulated node. They are cleared after the test."""
    faulty = set()

    def inject(node, *settings):
        faulty.add(node)
        bed("exec", node, "ascend-fault", "set", *settings)

    yield inject
    for node in faulty:
        bed("exec", node, "ascend-fault", "clear")


def statuses(report, node):
    return {stage: cell["status"] for stage, cell in report["hosts"][node].items() if stage in STAGES.split(",")}


def passes(report, node):
    return set(statuses(report, node).values()) <= {"passed", "warned"}


NOT_RUN = {"image": "not_run", "weights": "not_run", "serving": "not_run"}


WOULD = "Without --check, the run would"


def test_check_mode_of_the_first_run_shows_what_each_stage_would_do(site):
    """This must be the first test, because it needs nodes that only have the image."""
    done, report = site("--check", tags="all")
    assert done.returncode == 0, done.stdout
    assert report is None
    assert "Report: " not in done.stdout
    for node in ("node1", "node2"):
        for stage, sentence in {
                "npu_driver": "Nothing would be changed.", "hccl": f"{WOULD} measure an all-reduce",
                "image": "Nothing would be changed.", "weights": f"{WOULD} stage the model",
                "serving": f"{WOULD} start vllm-ascend-qwen25-vl.", "functional": f"{WOULD} send requests",
                "accuracy": "Nothing would be changed.", "benchmark": f"{WOULD} measure the performance."}.items():
            assert f"[{node}] {stage}: {sentence}" in done.stdout
        assert bed("exec", node, "docker", "ps", "-aq") == ""
        assert not bed.succeeds(node, f"test -e {MODEL}")


def test_one_host_fails_and_the_other_continues(site, fault):
    fault("node2", "npu=3", "health=Alarm", "code=0x80E01801")
    done, report = site()
    assert done.returncode == 2, done.stdout
    assert passes(report, "node1"), statuses(report, "node1")
    assert statuses(report, "node2") == {"npu_driver": "failed", **NOT_RUN}
    assert (report["passing_hosts"], report["failing_hosts"]) == (["node1"], ["node2"])
    found = [finding for finding in report["findings"] if finding["status"] == "failed"]
    assert {finding["host"] for finding in found} == {"node2"}
    assert any("80E01801" in json.dumps(finding).upper() and finding["remedy"] for finding in found)
    assert "1 of 2 hosts failed: node2" in done.stdout
    (open_server,) = [finding for finding in report["findings"] if finding["id"] == "serving.api_key"]
    assert (open_server["host"], open_server["status"]) == ("node1", "warned")
    assert "listening on 0.0.0.0" in open_server["actual"]
    assert bed("exec", "node2", "docker", "ps", "-aq") == ""


def test_all_hosts_fail_and_the_report_is_written(site, fault):
    for node in ("node1", "node2"):
        fault(node, "npu=0", "health=Alarm", "code=0x80E01801")
    done, report = site()
    assert done.returncode == 2
    assert report["failing_hosts"] == ["node1", "node2"]
    assert "2 of 2 hosts failed" in done.stdout
    jsonschema.validate(report, json.loads((ROOT / "docs/schemas/report-v2.json").read_text("utf-8")))


@pytest.mark.parametrize("unreachable", [["node2"], ["node1", "node2"]], ids=["one", "all"])
def test_unreachable_hosts_are_reported(site, unreachable):
    for node in unreachable:
        bed("fault", "sshd-stop", node)
    try:
        # An open connection of the previous run would still work without sshd.
        done, report = site(tags="npu_driver", ANSIBLE_SSH_ARGS="-o ControlMaster=no")
    finally:
        for node in unreachable:
            bed("heal", node)
    assert done.returncode == 2
    assert report["failing_hosts"] == unreachable
    for node in unreachable:
        (finding,) = [each for each in report["findings"] if each["host"] == node and each["status"] == "failed"]
        assert finding["id"] == "npu_driver.node_reachable"
    assert all(report["hosts"][node]["npu_driver"]["status"] != "failed"
               for node in {"node1", "node2"} - set(unreachable))


def test_node_that_becomes_unreachable_during_a_docker_task_is_reported(site):
    """The task cannot record this failure. The only node in the run blocks its network once its container exists."""
    done, _report = site("--limit", "node2")
    assert done.returncode == 0, done.stdout
    service = "vllm-ascend-qwen25-vl"
    bed("exec", "node2", "docker", "rm", "--force", service)
    bed("exec", "node2", "setsid", "--fork", "sh", "-c",
        f"exec >/dev/null 2>&1 </dev/null; for _ in $(seq 3000); do docker inspect {service} && break; sleep 0.02; done"
        "; iptables -w -t mangle -I PREROUTING -i eth0 -j DROP")
    try:
        done, report = site("--limit", "node2", tags="serving", ANSIBLE_SSH_ARGS=(
            "-o ControlMaster=no -o ServerAliveInterval=1 -o ServerAliveCountMax=2"))
    finally:
        bed("heal", "node2")
    assert done.returncode == 2
    (finding,) = [each for each in report["findings"] if each["status"] == "failed"]
    assert (finding["host"], finding["id"]) == ("node2", "serving.node_reachable")


def test_cause_is_found_in_the_log_of_a_service_that_does_not_start(site, tmp_path):
    service, settings = "vllm-ascend-qwen25-vl", "/usr/local/Ascend/driver/lib64/vllm-light.json"
    bed("exec", "node2", "docker", "rm", "--force", service)
    bed("exec", "node2", "sh", "-c", f"echo '{{\"start_error\": \"out_of_memory\"}}' > {settings}")
    try:
        done, report = site("--limit", "node2", "-e", "serving_ready_timeout_s=60")
    finally:
        bed("exec", "node2", "rm", "--force", settings)
        bed("exec", "node2", "docker", "rm", "--force", service)
    assert done.returncode == 2
    assert statuses(report, "node2")["serving"] == "failed"
    (path,) = tmp_path.glob("diagnostics-*.tar.gz")
    with tarfile.open(path) as bundle:
        texts = {member.name: bundle.extractfile(member).read().decode("utf-8") for member in bundle}
    assert "out of memory" in texts[f"diagnostics/node2/containers/{service}.log"]
    first_cause = f"1. **node2: out_of_memory** (node2/containers/{service}.log, line "
    assert first_cause in texts["diagnostics/index.md"]
    assert first_cause in done.stdout
    assert len([name for name in texts if name.endswith("-link.txt")]) == 8


def test_bundle_is_written_for_a_node_with_hung_npu_smi_stopped_docker_and_full_disks(site, fault, tmp_path):
    service, full = "vllm-ascend-qwen25-vl", ("/tmp", "/var/tmp", "/root/.ansible")
    done, _report = site("--limit", "node2")
    assert done.returncode == 0, done.stdout
    fault("node2", "npu_smi=hang")
    bed("exec", "node2", "mkdir", "-p", *full)
    try:
        bed("fault", "docker-stop", "node2")
        for path in full:
            bed("fault", "small-disk", "node2", path, "16k")
            bed("exec", "node2", "sh", "-c", f"cat /dev/zero > {path}/full || true")
        done, _report = site("--limit", "node2", "-e", "diagnostics_timeout_s=5", "-e", "diagnostics_limit_s=120",
                             "-e", "diagnostics_size_limit_mb=1", playbook="diagnostics")
    finally:
        bed("heal", "node2")  # also removes the small disks
    assert done.returncode == 0, done.stdout
    (path,) = tmp_path.glob("diagnostics-*.tar.gz")
    with tarfile.open(path) as bundle:
        texts = {member.name: bundle.extractfile(member).read().decode("utf-8") for member in bundle}
    for name in (f"containers/{service}.log", f"containers/{service}.json", "host/docker.log", "host/kernel.log",
                 "host/disks.txt", "host/hccn.conf", "hccn_tool/7-link.txt", "results/plan.json"):
        assert texts[f"diagnostics/node2/{name}"], name
    assert "Application startup complete" in texts[f"diagnostics/node2/containers/{service}.log"]
    missing_files = texts["diagnostics/index.md"].partition("## Missing files")[2]
    # The queries run in parallel, and any of them can time out first.
    assert "not run, since \\`npu-smi " in missing_files
    assert "docker.sock does not respond" in missing_files
    assert sum(map(len, texts.values())) < 2 << 20


def test_no_diagnostics_are_collected_if_they_are_disabled(site, fault, tmp_path):
    fault("node2", "npu=3", "health=Alarm", "code=0x80E01801")
    done, report = site("-e", "diagnostics_on_failure=false", tags="npu_driver")
    assert (done.returncode, report["failing_hosts"]) == (2, ["node2"])
    assert list(tmp_path.glob("diagnostics-*")) == []


def test_results_of_an_earlier_run_are_not_reported_for_this_run(site, fault):
    _done, report = site(tags="npu_driver,image")
    assert report["hosts"]["node1"]["image"]["status"] in ("passed", "warned")
    fault("node1", "npu=0", "health=Alarm", "code=0x80E01801")
    _done, report = site(tags="npu_driver,image")
    assert report["hosts"]["node1"]["image"]["status"] == "not_run"
    assert report["hosts"]["node2"]["image"]["status"] in ("passed", "warned")


def test_stages_that_were_not_selected_keep_their_results(site):
    site(tags="npu_driver")
    _done, report = site(tags="image")
    assert passes({"hosts": {"node1": {"npu_driver": report["hosts"]["node1"]["npu_driver"]}}}, "node1")


@pytest.mark.parametrize(("variable", "named"), [
    ("serving_topology=prefill_decode", "qwen2_5_vl_32b_instruct_w8a8"),
    ("plan_model=qwen2_5_vl_32b_instruct_w8a9", "qwen2_5_vl_32b_instruct_w8a8"),
    ("serving_port=0", "serving_port"),
])
def test_invalid_plan_is_refused_before_a_node_is_contacted(site, variable, named):
    bed("fault", "sshd-stop", "node1")  # if the node were contacted, the message would be that it is not reachable
    try:
        done, report = site("-e", variable, ANSIBLE_SSH_ARGS="-o ControlMaster=no")
    finally:
        bed("heal", "node1")
    assert done.returncode == 2
    assert report is None
    assert named in done.stdout
    assert "not reachable" not in done.stdout


def test_check_mode_changes_and_writes_nothing(site):
    done, report = site("--check", tags="npu_driver,image")
    assert done.returncode == 0, done.stdout
    assert report is None
    assert "changed=0" in done.stdout
