# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults make the expected checks fail, and no others. Runs without faults have plausible results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
HOME = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
testinfra_hosts = ["ssh://node1"]
SERVICE = "vllm-ascend-qwen25-vl"
ROUNDS = yaml.safe_load((PROJECT / "molecule/benchmark/vars/rounds.yml").read_text("utf-8"))["rounds"]
VALIDATE = jsonschema.Draft202012Validator(json.loads(
    (PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8"))).validate
JUDGED = [(each["name"], role, failed) for each in ROUNDS for role, failed in each["roles"].items()]


def result(name, role):
    return json.loads((HOME / "rounds" / name / "node1" / f"{role}.json").read_text("utf-8"))


def statuses(name, role):
    return {check["id"].split(".")[1]: check["status"] for check in result(name, role)["checks"]}


@pytest.mark.parametrize(("name", "role", "failed"), JUDGED, ids=[f"{name}-{role}" for name, role, _failed in JUDGED])
def test_only_the_expected_checks_fail(name, role, failed):
    found = result(name, role)
    VALIDATE(found)
    ids = {status: {check["id"].split(".")[1] for check in found["checks"] if check["status"] == status}
           for status in ("failed", "not_run")}
    assert ids["failed"] == set(failed)
    if not failed:
        # On a busy machine, two clients can start at such different times that the sum of their results is meaningless,
        # and the results can vary so much that they are inconclusive.
        assert found["status"] == ("not_run" if ids["not_run"] & {"clients_overlap", "noise"} else "passed")


def measured(name):
    return {each["name"]: each for each in result(name, "benchmark")["observed"]["measurements"]}


def raw(name, path):
    return json.loads((HOME / "rounds" / name / path).read_text("utf-8"))


def test_metrics_of_the_real_vllm_match_its_raw_results():
    run = measured("real_vllm")[SERVICE]["runs"][0]
    found = raw("real_vllm", run["file"])
    assert (found["completed"], found["num_prompts"], found["target"]) == (8, 8, "instance")
    assert run["metrics"]["output_throughput"] == found["output_throughput"] > 0
    figures = {figure["name"]: figure["value"] for figure in result("real_vllm", "benchmark")["observed"]["figures"]}
    assert figures[f"Output token throughput ({SERVICE})"] > 0


def test_ais_bench_measures_metrics_similar_to_those_of_vllm_bench():
    """AISBench measures the same server with the same load, so its metrics are similar."""
    run = measured("real_vllm")[f"{SERVICE}, AISBench"]["runs"][0]
    assert raw("real_vllm", run["file"].replace(".csv", ".json"))["Success Requests"]["total"] == 8
    metrics = run["metrics"]
    assert (metrics["completed"], metrics["failed"], metrics["total_output_tokens"]) == (8, 0, 8 * 16)
    vllm = measured("real_vllm")[SERVICE]["runs"][0]["metrics"]
    assert 0 < metrics["median_ttft_ms"] < metrics["p99_e2el_ms"]
    assert 0.1 < metrics["output_throughput"] / vllm["output_throughput"] < 10


def test_two_instances_are_measured_at_once_and_behind_a_balancer():
    found = measured("two_instances")
    node, balancer = (found[name]["runs"][0] for name in ("node", "balancer"))
    assert [raw("two_instances", client["file"])["completed"] for client in node["clients"]] == [40, 40]
    assert (node["metrics"]["completed"], balancer["metrics"]["completed"]) == (80, 80)
    assert raw("two_instances", balancer["file"])["request_rate"] == 4
    assert node["overlap_percent"] > 0
    assert statuses("two_instances", "benchmark")["clients_overlap"] == (
        "passed" if node["overlap_percent"] >= 80 else "not_run")


def scores(name):
    return {each["dataset"]: each for each in result(name, "accuracy")["observed"]["scores"]}


def test_real_ais_bench_computes_the_score():
    score = scores("real_vllm")["tiny"]
    assert (score["answered"], score["failed"]) == (3, 0)
    assert score["score"] == pytest.approx(200 / 3, abs=0.01)


@pytest.mark.parametrize(("name", "answered"), [("gsm8k", 12), ("textvqa", 3)])
def test_real_vllm_answers_known_datasets(name, answered):
    """Any score is accepted, because the tiny model was not trained for them. The textvqa questions include images."""
    score = scores("real_vllm")[name]
    assert (score["answered"], score["failed"]) == (answered, 0)
    assert 0 <= score["score"] <= 100


@pytest.mark.parametrize(("name", "answered", "expected"), [
    ("gsm8k", 12, 75), ("textvqa", 3, 200 / 3), ("mmlu", 57, 100 * (1 - 100 / 14042)),
    ("ceval", 52, 100 * (1 - 49 / 1346))])
def test_every_kind_of_dataset_has_the_known_score(name, answered, expected):
    """In MMLU and C-Eval, the answer is wrong for one subject, which is weighted by the number of its questions."""
    score = scores("datasets")[name]
    assert (score["answered"], score["failed"]) == (answered, 0)
    assert score["score"] == pytest.approx(expected, abs=0.01)
    figures = {figure["name"]: figure["value"] for figure in result("datasets", "accuracy")["observed"]["figures"]}
    assert figures[f"{name}, {score['metric']}"] == score["score"]


def test_server_that_fails_every_request_has_no_score():
    """In this case, AISBench exits with 0 and writes a dash instead of the score in its summary."""
    observed, score = result("every_request_fails", "accuracy")["observed"], scores("every_request_fails")["tiny"]
    assert (observed["exit_code"], score["printed"], score["score"], score["answered"]) == (0, "-", None, 0)
    assert observed["figures"] == []


def test_report_compares_bf16_and_w8a8(tmp_path):
    """The W8A8 model, which gives wrong answers, is compared with the BF16 model on the same data."""
    folder = shutil.copytree(HOME / "rounds" / "every_answer_is_wrong", tmp_path / "results")
    subprocess.run(playbook_command("report.yml", report_path=folder), cwd=PROJECT, capture_output=True, check=False)
    model = "qwen2_5_vl_32b_instruct"
    row = f"| node1 | gsm8k, accuracy | {model} | 75 | {model}_w8a8 | 0 | -75 | "
    (line,) = [line for line in (folder / "report.md").read_text("utf-8").splitlines() if line.startswith(row)]
    assert line.endswith(" | TOO LOW |")
    (change,) = result("every_answer_is_wrong", "accuracy")["observed"]["comparison"]
    assert (change["paired"]["questions"], change["paired"]["lost"], change["paired"]["gained"]) == (12, 9, 0)


def test_message_names_missing_data():
    (check,) = [check for check in result("data_missing", "accuracy")["checks"] if check["status"] == "failed"]
    assert f"ceval lacks dev, val, test below {HOME / 'data' / 'gsm8k'}" in check["actual"]


@pytest.mark.parametrize("name", [SERVICE, f"{SERVICE}, AISBench"])
def test_both_tools_send_custom_prompts(name):
    """There are only three prompts, so some are repeated."""
    metrics = measured("custom_prompts")[name]["runs"][0]["metrics"]
    assert (metrics["completed"], metrics["total_output_tokens"]) == (8, 8 * 16)
    assert 0 < metrics["total_input_tokens"] < 8 * 64  # not the random text of the other rounds


def test_ais_bench_measures_with_textvqa():
    metrics = measured("datasets")[f"{SERVICE}, AISBench"]["runs"][0]["metrics"]
    assert (metrics["completed"], metrics["failed"]) == (3, 0)
    assert 0 < metrics["median_ttft_ms"] <= metrics["p99_e2el_ms"]


def test_images_are_sent_with_the_text():
    metrics = measured("images")[SERVICE]["runs"][0]["metrics"]
    assert metrics["completed"] == 4
    command = " ".join(measured("images")[SERVICE]["runs"][0]["command"])
    assert "--random-mm-bucket-config {(84, 112, 1): 1.0}" in command


def test_offline_runs_of_the_real_vllm_have_plausible_results():
    found = result("offline", "benchmark")
    latency, throughput = (run["metrics"] for run in found["observed"]["offline"])
    assert latency["avg_latency"] > 0
    assert (throughput["num_requests"], throughput["total_num_tokens"]) == (8, 8 * (64 + 16))
    assert throughput["requests_per_second"] == pytest.approx(8 / throughput["elapsed_time"])
    assert len(raw("offline", found["observed"]["offline"][0]["file"])["latencies"]) == 2
    assert (found["observed"]["restored"], statuses("offline", "benchmark")["restored"]) == (True, "passed")
    assert {figure["name"] for figure in found["observed"]["figures"]} == {
        "Batch latency, mean", "Batch latency, p99", "Offline request throughput", "Offline token throughput"}
    before, after = (result(name, "benchmark")["observed"]["snapshots"][0][SERVICE] for name in ("offline", "images"))
    assert [key for key in before if before[key] != after[key]] == ["started_at"]


def test_service_is_restored_after_a_failed_offline_run():
    observed = result("offline_run_fails", "benchmark")["observed"]
    assert observed["restored"] is True
    assert observed["offline"][0]["exit_code"] == 2
    assert statuses("offline_run_fails", "benchmark")["restored"] == "passed"


def test_only_valid_runs_are_saved_as_baselines():
    (baseline,) = (json.loads(path.read_text("utf-8")) for path in (HOME / "baselines").glob("*.json"))
    runs = measured("baseline")["balancer"]["runs"]
    assert [each["output_throughput"] for each in baseline["repeats"]] == [
        run["metrics"]["output_throughput"] for run in runs]
    assert {run["others"] for run in runs} == {0}


@pytest.mark.parametrize(("name", "reason"), [
    ("second_client", "Inconclusive: the engines had"), ("half_of_the_requests_fail", "an invalid run: completed")])
def test_run_without_a_verdict_fails_if_one_is_required(name, reason):
    (check,) = [check for check in result(name, "benchmark")["checks"] if check["id"] == "benchmark.verdict"]
    assert (check["status"], check["actual"].startswith(reason)) == ("failed", True)
    assert statuses(name, "benchmark")["other_requests"] == ("warned" if name == "second_client" else "passed") or (
        name == "half_of_the_requests_fail")


@pytest.mark.parametrize(("name", "expected"), [("same_speed", None), ("half_as_fast", "failed")])
def test_comparison_of_the_files_has_the_same_verdict(name, expected):
    (baseline,) = (HOME / "baselines").glob("*.json")
    verdict = measured(name)["balancer"]["baseline"]["result"]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "playbooks/compare.yml", "-e", json.dumps({
            "compare_before": str(baseline), "compare_after": str(HOME / "rounds" / name / "node1/benchmark.json")})],
        cwd=PROJECT, capture_output=True, text=True, check=True)
    assert f"{verdict['verdict'].capitalize()}: " in done.stdout
    assert verdict["verdict"] == (expected or verdict["verdict"])
    if expected:
        assert {"median_tpot_ms", "p99_tpot_ms", "median_ttft_ms"} <= {
            row["metric"] for row in verdict["rows"] if row.get("worse")}
    else:
        assert verdict["verdict"] != "failed"


def test_sweep_shows_the_curve_up_to_a_maximum_that_meets_the_objective():
    sweep = measured("real_vllm")[SERVICE]["sweep"]
    assert ([point["value"] for point in sweep["points"]], sweep["best"]) == ([16, 4, 8], 16)


def test_latencies_of_a_healthy_server_are_measured():
    answers = result("real_vllm", "functional")["observed"]["servers"][0]["answers"]
    assert all(answer["latency_s"] > 0 for answer in answers.values())
    assert answers["streaming"]["time_to_first_token_s"] > 0
    assert answers["long_prompt"]["prompt_tokens"] > 29000


def test_wrong_and_missing_keys_are_refused():
    found = statuses("real_vllm", "functional")
    assert {found[check] for check in ("wrong_key", "missing_key", "open_routes")} == {"passed"}
    assert not [path for path in (HOME / "rounds").rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]


def test_client_containers_are_removed(host):
    assert host.check_output("docker ps --all --quiet --filter label=ascend.vllm.benchmark-client") == ""


def test_files_of_ais_bench_are_removed():
    assert list(Path("/var/tmp").glob("ascend-vllm-accuracy-*")) == []


def containers(host):
    """Return the name, start time and number of restarts of each container, by ID."""
    names = host.check_output("docker ps --all --quiet --no-trunc").split()
    found = json.loads(host.check_output("docker inspect %s" % " ".join(names)))
    return {each["Id"]: (each["Name"], each["State"]["StartedAt"], each["RestartCount"]) for each in found}


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def playbook_command(playbook, *arguments, **inputs):
    """Return the command line that runs a playbook with the inputs of this scenario."""
    inputs.update(benchmark_client_image="localhost/vllm-client:full", serving_api_key="sesame-of-the-scenario")
    return [Path(sys.executable).with_name("ansible-playbook"), "-i", HOME / "inventory", f"playbooks/{playbook}",
            *arguments, "--limit", "node1", "-e", json.dumps(inputs, default=str)]


@pytest.mark.parametrize("command", [["site.yml", "--tags", "benchmark"], ["benchmark.yml"]], ids=["site", "playbook"])
def test_measuring_again_changes_nothing_else(host, command, tmp_path):
    folder = shutil.copytree(HOME / "rounds" / "real_vllm", tmp_path / "results")  # with results of other stages
    host.check_output("echo '{}' > /usr/local/Ascend/driver/lib64/vllm-light.json && docker start %s" % SERVICE)
    before, earlier = containers(host), files(folder)
    playbook, *others = command
    done = subprocess.run(
        playbook_command(playbook, *others, report_path=folder, benchmark_num_prompts="3", benchmark_repeats="2",
                         benchmark_max_cv_percent="1000", benchmark_baseline_path=tmp_path / "none"),
        cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert containers(host) == before
    after = files(folder)
    changed = {name for name in {*earlier, *after} if earlier.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith(("node1/benchmark", "node1/observed/benchmark"))} <= {
        "node1/plan.json", "report.json", "report.md"}
    new, old = json.loads(after["node1/benchmark.json"]), json.loads(earlier["node1/benchmark.json"])
    assert new["finished_at"] > old["finished_at"]
    assert new["plan_hash"] == old["plan_hash"] == result("real_vllm", "serving")["plan_hash"]
    assert len(new["observed"]["measurements"][0]["runs"]) == 2  # benchmark_repeats is a string here


def descendants(process):
    """Return the process and its descendants."""
    found = [process]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text("ascii").split())
    return found


def inspected(host, name):
    """Return the output of `docker inspect` for a container, or None if the container does not exist."""
    done = host.run(f"docker inspect {name}")
    return None if done.rc else json.loads(done.stdout)[0]


def running(host, name):
    return bool(inspected(host, name)) and inspected(host, name)["State"]["Running"]


def client(host):
    """Return the ID of the client's container, or an empty string."""
    return host.check_output("docker ps --all --quiet --filter label=ascend.vllm.benchmark-client").strip()


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)
    return condition()


def test_guard_restores_the_service_after_the_controller_is_killed(host, tmp_path):
    """The client continues without the controller. After the client was removed, the node starts the service."""
    host.check_output(f"docker start {SERVICE}")
    before = inspected(host, SERVICE)["Id"]
    with (tmp_path / "log").open("wb") as log:
        controller = subprocess.Popen(
            playbook_command(
                "benchmark.yml", report_path=tmp_path / "results", benchmark_tools=[], serving_npus=[0, 1],
                benchmark_offline=["latency"], benchmark_offline_stop_service=True, benchmark_offline_guard_s=4),
            cwd=PROJECT, stdout=log, stderr=log)
    try:
        assert wait_for(lambda: running(host, client(host)), 60), (tmp_path / "log").read_text("utf-8")
    finally:
        for process in descendants(controller.pid):
            os.kill(process, signal.SIGKILL)
        controller.wait()
    assert running(host, client(host))
    assert not running(host, SERVICE)
    host.check_output(f"docker rm --force {client(host)}")
    assert wait_for(lambda: running(host, SERVICE), 30)
    assert inspected(host, SERVICE)["Id"] == before
    assert wait_for(lambda: host.run("curl --fail http://127.0.0.1:8888/health").rc == 0, 30)
