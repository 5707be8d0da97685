# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs are started, watched and removed. Instead of AISBench, a shell script writes their files."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import job as ais_bench_job
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease

DONE = """\
mkdir -p out/1/summary out/1/predictions/model/tmp out/1/logs/infer/model
printf 'dataset,version,metric,mode,model\\nown,1a,accuracy,gen,%s\\n' "$SCORE" > out/1/summary/summary_1.csv
printf '{"success": true}\\n{"success": true}\\n' > out/1/predictions/model/own.jsonl
printf '{"success": false}\\n' > out/1/predictions/model/own_failed.jsonl
printf '{"success": false}\\n' > out/1/predictions/model/tmp/part.jsonl
printf 'why it failed\\n' > out/1/logs/infer/model/own.out
env; printf '\\033[31mred\\033[0m 1%%\\r2%%\\n'; exit 3
"""
RUNNING = """\
mkdir -p out/1/status_tmp
cd out/1/status_tmp
printf '{"task_name": "model/own", "status": "inferencing", "finish_count": 1, "total_count": 9}' > a.json
printf '{"task_name": ' > half.json
cd ../../..
sleep 600 & echo $! > child; wait
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that starts a job that runs a script. All jobs are removed after the test."""
    monkeypatch.setattr(ais_bench_job, "JOBS", str(tmp_path / "job-"))
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    data = tmp_path / "own.jsonl"
    data.write_text('{"question": "?", "answer": "!"}\n')
    jobs = []

    def run(script, **options):
        program = tmp_path / "program"
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)
        started = ais_bench_job.start(dict({
            "executable": str(program), "datasets": [{"name": "own", "path": str(data)}], "num_prompts": 0,
            "api_key": "secret", "ca": None, "load": None,
            "server": {"url": "http://h:1", "model": "m", "concurrency": 1, "maximum_tokens": 1}}, **options))
        jobs.append(started["job"])
        return started

    yield run
    for job in filter(None, jobs):
        ais_bench_job.remove(job)


def test_finished_run_returns_rows_counts_and_logs(start, monkeypatch):
    monkeypatch.setenv("SCORE", "-")
    found = ais_bench_job.watch(start(DONE)["job"], 20)
    assert (found["running"], found["exit_code"]) == (False, 3)
    assert found["rows"] == [{"dataset": "own", "version": "1a", "metric": "accuracy", "mode": "gen", "model": "-"}]
    assert found["answers"] == {"own": {"answered": 2, "failed": 1}}
    assert found["log"][-3:] == ["red 1%", "2%", "why it failed"]


def test_task_logs_are_read_only_if_a_score_is_missing(start, monkeypatch):
    monkeypatch.setenv("SCORE", "50.00")
    assert "why it failed" not in ais_bench_job.watch(start(DONE)["job"], 20)["log"]


def test_secrets_in_the_logs_are_masked(start):
    job = start("echo key secret; echo 'Authorization: Bearer s3cret-value'")["job"]
    assert ais_bench_job.watch(job, 20, "secret")["log"] == ["key (redacted)", "Authorization: (redacted)"]


def test_both_http_clients_of_ais_bench_trust_the_ca(start, monkeypatch):
    """aiohttp uses OpenSSL's verify paths, which SSL_CERT_FILE replaces; requests reads REQUESTS_CA_BUNDLE."""
    monkeypatch.setenv("SSL_CERT_FILE", "/system.pem")
    script = 'echo $(cat "$SSL_CERT_FILE") $(cat "$REQUESTS_CA_BUNDLE")'
    assert ais_bench_job.watch(start(script, ca="pem-of-the-ca")["job"], 20)["log"] == ["pem-of-the-ca pem-of-the-ca"]
    assert ais_bench_job.watch(start('echo "<$SSL_CERT_FILE>"')["job"], 20)["log"] == ["</system.pem>"]


def test_only_the_end_of_a_large_log_is_read(start, monkeypatch):
    monkeypatch.setattr(ais_bench_job, "LOG_BYTES", 1000)
    job = start("head -c 100000 /dev/zero | tr '\\0' x; echo; echo the end")["job"]
    log = ais_bench_job.watch(job, 20)["log"]
    assert log[-1] == "the end"
    assert sum(map(len, log)) <= 1000


def test_long_lines_of_a_log_are_shortened(start):
    job = start("head -c 5000 /dev/zero | tr '\\0' x; echo; echo the end")["job"]
    assert ais_bench_job.watch(job, 20)["log"] == ["x" * 1000, "the end"]


def test_no_proxy_is_used(start, monkeypatch):
    monkeypatch.setenv("SCORE", "1")
    job = start(DONE)["job"]
    ais_bench_job.watch(job, 20)
    with open(os.path.join(job, "log")) as log:
        environment = log.read()
    assert "https_proxy=" not in environment
    assert "no_proxy=*" in environment


def test_run_is_removed_with_all_its_processes(start):
    job = start(RUNNING)["job"]
    assert os.stat(job).st_mode & 0o077 == 0
    until = time.monotonic() + 20
    while not os.path.exists(os.path.join(job, "child")) and time.monotonic() < until:
        time.sleep(0.05)
    found = ais_bench_job.watch(job, 0)
    assert found == {"running": True, "progress": {
        "model/own": {"status": "inferencing", "finish_count": 1, "total_count": 9}}}
    child = ais_bench_job.read_number(os.path.join(job, "child"))
    ais_bench_job.remove(job)
    assert not os.path.exists(job)
    with pytest.raises(OSError, match="No such process"):
        os.kill(child, 0)


@pytest.mark.parametrize("state", ["not watched", "removed"])
def test_job_of_a_lost_controller_is_removed_with_all_its_processes(start, monkeypatch, state):
    job = start(RUNNING)["job"]
    until = time.monotonic() + 20
    while not os.path.exists(os.path.join(job, "child")) and time.monotonic() < until:
        time.sleep(0.05)
    child = ais_bench_job.read_number(os.path.join(job, "child"))
    if state == "removed":
        shutil.rmtree(job)  # as the next run does when it takes over the lease
    else:
        ais_bench_job.watch(job, 0)
        long_ago = time.time() - 60 * ais_bench_job.UNWATCHED_MIN - 60
        os.utime(os.path.join(job, "watched"), (long_ago, long_ago))
    while time.monotonic() < until and (os.path.exists(job) or os.path.exists(f"/proc/{child}")):
        time.sleep(0.2)
    assert not os.path.exists(job)
    assert not os.path.exists(f"/proc/{child}")
    assert ais_bench_job.watch(job, 20)["exit_code"] is None


def test_job_that_is_watched_is_kept(start):
    job = start("sleep 1.5")["job"]
    long_ago = time.time() - 60 * ais_bench_job.UNWATCHED_MIN - 60
    os.utime(os.path.join(job, "watched"), (long_ago, long_ago))
    assert ais_bench_job.watch(job, 20)["exit_code"] == 0
    assert time.time() - os.stat(os.path.join(job, "watched")).st_mtime < 20


def test_name_of_a_job_folder_contains_the_run_id(start, monkeypatch):
    monkeypatch.setenv(lease.VARIABLE, '{"run": "20260102T030405Z-1a2b3c4d"}')
    assert "job-20260102T030405Z-1a2b3c4d" in start("true")["job"]


MEASURED = """\
mkdir -p out/1/performances/model
printf '{"Total Requests": {"total": 2}}' > out/1/performances/model/load.json
printf 'Performance Parameters,Stage,Average\\nTTFT,total,1 ms\\n' > out/1/performances/model/load.csv
echo "$@" > arguments
"""
LOAD = {"requests": 3, "input_tokens": 8, "output_tokens": 2, "request_rate": 0, "statistics": ["Average"],
        "tokenizer": "/t", "file": "", "warm_up": 1}


def test_performance_run_returns_its_tables(start):
    job = start(MEASURED, load=LOAD, datasets=[])["job"]
    found = ais_bench_job.watch(job, 20)
    assert found["performance"]["totals"] == '{"Total Requests": {"total": 2}}'
    assert found["performance"]["latencies"].splitlines()[1] == "TTFT,total,1 ms"
    with open(os.path.join(job, "arguments")) as arguments:
        assert arguments.read().split() == ["config.py", "--work-dir", "out", "--mode", "perf", "--num-prompts", "3",
                                            "--num-warmups", "1"]


def test_missing_tables_of_a_performance_run_are_none(start, monkeypatch):
    monkeypatch.setenv("SCORE", "1")
    assert ais_bench_job.watch(start(DONE, load=LOAD, datasets=[])["job"], 20)["performance"] == {
        "totals": None, "latencies": None}


def test_killed_run_is_not_reported_as_running(start):
    job = start("kill -9 $PPID; kill -9 $$")["job"]
    found = ais_bench_job.watch(job, 20)
    assert (found["running"], found["exit_code"], found["rows"]) == (False, None, [])


@pytest.mark.parametrize(("options", "problem"), [
    ({"executable": "/none/ais_bench"}, "AISBench was not found at /none/ais_bench"),
    ({"datasets": [{"name": "gsm8k", "path": "/none"}]}, "gsm8k lacks train.jsonl"),
])
def test_nothing_is_started_without_executable_or_data(start, tmp_path, options, problem):
    started = start(DONE, **options)
    assert started["job"] is None
    assert problem in started["problem"]
    assert not list(tmp_path.glob("job-*"))


RESULTS = """\
mkdir -p out/1/summary out/1/predictions/model out/1/results/model
printf 'dataset,version,metric,mode,model\\nown,1a,accuracy,gen,0.00\\ngsm8k,2b,accuracy,gen,50.00\\n' \
  > out/1/summary/summary_1.csv
printf '{"success": true, "id": 2, "prediction": "b!"}\\n{"success": true, "id": 0, "prediction": "A"}\\n' \
  > out/1/predictions/model/own.jsonl
printf '{"success": false, "id": 1}\\n' > out/1/predictions/model/own_failed.jsonl
printf '{"accuracy": 0}' > out/1/results/model/own.json
printf '{"details": {"0": {"correct": [true]}, "1": {"correct": [false]}, "2": {"correct": true}}}' > \
  out/1/results/model/gsm8k.json
printf '{"details": {"0": {"predictions": "B", "references": "B"}, "1": {"predictions": "A", "references": "B"}}}' > \
  out/1/results/model/mmlu_law.json
printf '{"accuracy": 50}' > out/1/results/model/without_details.json
printf '{"deta' > out/1/results/model/truncated.json
"""


def test_outcomes_are_in_the_order_of_the_questions(start, tmp_path):
    (tmp_path / "three.jsonl").write_text("".join('{"question": "?", "answer": "%s"}\n' % each for each in "abb"))
    job = start(RESULTS, datasets=[{"name": "own", "path": str(tmp_path / "three.jsonl")}])["job"]
    found = ais_bench_job.watch(job, 20)
    assert found["outcomes"] == {"own": "101", "gsm8k": "101", "mmlu_law": "10"}
    assert [row["model"] for row in found["rows"]] == ["66.67", "50.00"]  # AISBench compares with the JSON of the rule


def test_digest_of_own_questions_depends_on_their_pictures(start, tmp_path):
    (tmp_path / "own.jsonl").write_text('{"question": "?", "answer": "x", "image": "1.png"}\n')
    digests = []
    for content in (b"\x89PNG1", b"\x89PNG1", b"\x89PNG2"):
        (tmp_path / "1.png").write_bytes(content)
        digests.append(start("true", datasets=[{"name": "own", "path": str(tmp_path / "own.jsonl")}])["data"]["own"])
    assert digests[0] == digests[1] != digests[2]
