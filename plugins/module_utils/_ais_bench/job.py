# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run AISBench in the background: start a job, poll it, read its results and remove it.

A job is a run of AISBench. Its private folder contains its configuration, output and state. The path of this
folder identifies the job.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import tempfile
import time
from typing import TYPE_CHECKING, cast

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import config, questions, tables
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import PRESETS
from ansible_collections.ascend.vllm.plugins.module_utils._host import background, lease
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import MAX_FILE_BYTES, read_end, read_file
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact
from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    class AisBenchStart(TypedDict):
        """The result of starting a job. If the start failed, ``job`` is None and ``problem`` is the reason."""

        job: str | None
        problem: str | None
        #: ``{name of a dataset: digest of its files}``.
        data: dict[str, str]

    class TaskProgress(TypedDict):
        """The progress of a task as AISBench records it."""

        status: str | None
        finish_count: int | None
        total_count: int | None

    class RequestCount(TypedDict):
        """The number of answered and failed requests of a task."""

        answered: int
        failed: int

    class Performance(TypedDict):
        """The tables of a performance run, as AISBench wrote them. A missing table is None."""

        totals: str | None  # JSON
        latencies: str | None  # CSV

    class AisBenchObservation(TypedDict, total=False):
        """The state of a job. A running job has ``progress``, by task. A job that has ended has all other keys."""

        running: bool
        progress: dict[str, TaskProgress]
        exit_code: int | None
        rows: list[tables.Row]
        answers: dict[str, RequestCount]
        #: ``{task: outcomes}``, with ``1`` for each right answer and ``0`` for every other answer, by question.
        outcomes: dict[str, str]
        performance: Performance
        log: list[str]

JOBS = "/var/tmp/ascend-vllm-accuracy-"
POLL_S = 0.5
# The maximum number of tasks that run at the same time. MMLU and C-Eval have more than fifty tasks, and each starts a
# Python process. AISBench refuses more than 0.8 tasks per processor.
WORKERS = max(1, min(4, int(0.8 * (os.cpu_count() or 1))))
LOG_LINES = 12
LOG_BYTES = 1 << 20
# AISBench logs the details of all questions in one line.
LINE_CHARS = 1000
# The results of a dataset contain its prompts. Larger results are not read, so their datasets have no outcomes.
RESULT_BYTES = 256 << 20
# The number of minutes after which a job that is no longer polled is removed, because it contains the API key.
UNWATCHED_MIN = 15
_RUN = '''echo $$ > pid
( while [ -n "$(find watched -mmin -%d)" ]; do sleep 5; done 2> /dev/null; rm -rf -- "$PWD"; kill -KILL 0 ) &
"$@" < /dev/null > log 2>&1; echo $? > exit.new; mv exit.new exit''' % UNWATCHED_MIN


def start(options: Mapping[str, Any]) -> AisBenchStart:
    """Write the configuration and start AISBench with the options of ``ascend.vllm.ais_bench``."""
    if not os.access(options["executable"], os.X_OK):
        problem = "AISBench was not found at %s; set accuracy_install to true to install it." % options["executable"]
        return {"job": None, "problem": problem, "data": {}}
    folder, prefix = os.path.split(JOBS + lease.run_id())
    job = tempfile.mkdtemp(prefix=prefix, dir=folder)
    try:
        text, arguments, digests = _configure(options, job)
    except questions.BadData as error:
        shutil.rmtree(job)
        return {"job": None, "problem": str(error), "data": {}}
    for name, content in (("config.py", text), ("watched", "")):
        with open(os.path.join(job, name), "w") as stream:
            stream.write(content)
    command = [options["executable"], "config.py", "--work-dir", "out", *arguments]
    # The server belongs to the cluster, so no proxy is used. Nothing is downloaded from a hub.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment.update(NO_PROXY="*", no_proxy="*", TERM="dumb", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1",
                       HOME=job, LC_ALL="C.UTF-8")
    if options["ca"]:
        environment["SSL_CERT_FILE"] = environment["REQUESTS_CA_BUNDLE"] = os.path.join(job, "ca.pem")
        with open(environment["SSL_CERT_FILE"], "w") as file:
            file.write(options["ca"])
    background.start(["/bin/sh", "-c", _RUN, "sh", *command], job, environment)
    return {"job": job, "problem": None, "data": digests}


def _configure(options: Mapping[str, Any], job: str) -> tuple[str, list[str], dict[str, str]]:
    """Return the configuration, the arguments with which AISBench runs it, and the digests of the datasets.

    :raises BadData: if data are missing.
    """
    server = cast("config.ServerWithKey", dict(options["server"], api_key=options["api_key"]))
    load = options["load"]
    if load:
        if os.path.isdir(load["file"]):
            (converted,) = config.prepare([{"name": "textvqa", "path": load["file"]}], job)
            load = dict(load, file=converted["file"], pictures=True)
        elif load["file"]:
            load = dict(load, file=config.prepare_prompts(load["file"], load["requests"], job))
        return config.render_performance(server, load), [
            "--mode", "perf", "--num-prompts", str(load["requests"]), "--num-warmups", str(load["warm_up"])], {}
    arguments = ["--merge-ds", "--dump-eval-details", "--max-num-workers", str(WORKERS)]
    if options["num_prompts"]:
        arguments += ["--num-prompts", str(options["num_prompts"])]
    prepared = config.prepare(options["datasets"], job, options["num_prompts"])
    # The converted file of the operator's own questions also contains their pictures.
    digests = {each["name"]: config.digest(each["path"] if each["name"] in PRESETS else each["file"])
               for each in prepared}
    return config.render(server, prepared), arguments, digests


def watch(job: str, wait_s: float, api_key: str = "") -> AisBenchObservation:
    """Return the state of a job when it has ended, or after ``wait_s`` seconds. Secrets in the log are masked."""
    until = time.monotonic() + wait_s
    while _watched(job) and _is_running(job) and time.monotonic() < until:
        time.sleep(POLL_S)
    if _is_running(job):
        return {"running": True, "progress": _progress(job)}
    rows = tables.accuracy(_newest(os.path.join(job, "out", "*", "summary", "summary_*.csv")) or "")
    outcomes = _read_outcomes(job)
    for row in rows:
        if os.path.exists(_questions(job, row["dataset"])) and outcomes.get(row["dataset"]):
            found = outcomes[row["dataset"]]
            row["model"] = "%.2f" % (100 * found.count("1") / len(found))
    load = os.path.join(job, "out", "*", "performances", "model", "load.")  # the only dataset of a performance run
    return {"running": False, "exit_code": read_number(os.path.join(job, "exit")), "rows": rows,
            "answers": _count_requests(job), "outcomes": outcomes, "log": _read_logs(job, rows, api_key),
            "performance": {"totals": _newest(load + "json"), "latencies": _newest(load + "csv")}}


def remove(job: str) -> bool:
    """Stop all processes of a job and remove its folder. Return False if there is no such folder."""
    if not os.path.isdir(job):
        return False
    pid = read_number(os.path.join(job, "pid"))
    if pid and not os.path.exists(os.path.join(job, "exit")):
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(pid, signal_number)
            except OSError:
                break
            time.sleep(1)
    shutil.rmtree(job, ignore_errors=True)
    return True


def read_number(path: str) -> int | None:
    """Return the number in a file, or None if the file does not contain a number."""
    try:
        return int(read_file(path, 100))
    except (OSError, ValueError):
        return None


def _watched(job: str) -> bool:
    """Record that the job was polled. Return False if it does not exist."""
    try:
        os.utime(os.path.join(job, "watched"))
    except OSError:
        return False
    return True


def _is_running(job: str) -> bool:
    if os.path.exists(os.path.join(job, "exit")) or not os.path.isdir(job):
        return False
    pid = read_number(os.path.join(job, "pid"))
    return pid is None or lease.started(pid) is not None  # without a pid, the job was just started


def _progress(job: str) -> dict[str, TaskProgress]:
    """Return the progress by task. State files that AISBench has not completely written yet are ignored."""
    found: dict[str, TaskProgress] = {}
    for path in glob.glob(os.path.join(job, "out", "*", "status_tmp", "*.json")):
        try:
            states = json.loads(read_file(path))
        except (OSError, ValueError, RecursionError):
            continue
        for state in states if isinstance(states, list) else [states]:
            if isinstance(state, dict) and state.get("task_name"):
                found[state["task_name"]] = {"status": state.get("status"), "finish_count": state.get("finish_count"),
                                             "total_count": state.get("total_count")}
    return found


def _newest(pattern: str) -> str | None:
    """Return the content of the newest file that matches a pattern, or None. The names sort by time."""
    paths = sorted(glob.glob(pattern))
    return read_file(paths[-1]) if paths else None


def _count_requests(job: str) -> dict[str, RequestCount]:
    """Count the requests of each task. Failed requests are in ``<task>_failed.jsonl``, others in ``<task>.jsonl``."""
    counts: dict[str, RequestCount] = {}
    for path in sorted(glob.glob(os.path.join(job, "out", "*", "predictions", "*", "*.jsonl"))):
        name, failed = os.path.basename(path)[:-len(".jsonl")], False
        if name.endswith("_failed"):
            name, failed = name[:-len("_failed")], True
        count = counts.setdefault(name, {"answered": 0, "failed": 0})
        with open(path, encoding="utf-8", errors="replace") as stream:
            # A line can be long, because it contains a whole response of the model.
            for line in iter(lambda: stream.readline(MAX_FILE_BYTES), ""):
                answered = not failed and _is_success(line)
                count["answered" if answered else "failed"] += 1
    return counts


def _questions(job: str, name: str) -> str:
    return os.path.join(job, "questions", name + ".jsonl")


def _read_outcomes(job: str) -> dict[str, str]:
    """Return the outcomes by task. A task whose answers AISBench did not score has no outcomes."""
    found: dict[str, str] = {}
    for path in sorted(glob.glob(os.path.join(job, "out", "*", "results", "*", "*.json"))):
        name = os.path.basename(path)[:-len(".json")]
        try:
            if os.path.exists(_questions(job, name)):
                found[name] = questions.outcomes(_questions(job, name), _read_answers(job, name))
            else:
                details = json.loads(read_file(path, RESULT_BYTES))["details"]
                found[name] = "".join("01"[_is_right(details[str(index)])] for index in range(len(details)))
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
    return found


def _is_right(detail: Mapping[str, Any]) -> bool:
    """Return whether AISBench scored an answer as right. Some evaluators only record the answer and the reference."""
    if "correct" in detail:
        correct = detail["correct"]
        return bool(correct[0] if isinstance(correct, list) else correct)
    return bool(detail["predictions"] == detail["references"])


def _read_answers(job: str, name: str) -> dict[int, str]:
    """Return ``{index of the question: answer}`` of the operator's own questions, without failed requests."""
    found: dict[int, str] = {}
    for path in glob.glob(os.path.join(job, "out", "*", "predictions", "*", name + ".jsonl")):
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                if _is_success(line):
                    answer = json.loads(line)
                    found[answer["id"]] = str(answer["prediction"])
    return found


def _is_success(line: str) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.get("success", False))


def _read_logs(job: str, rows: list[tables.Row], api_key: str) -> list[str]:
    """Return the last lines of the log, with secrets masked. If a score is missing, the logs of the tasks follow."""
    paths = [os.path.join(job, "log")]
    if not rows or any(score["score"] is None for score in tables.scores(rows)):
        paths += sorted(glob.glob(os.path.join(job, "out", "*", "logs", "*", "*", "*.out")))
    lines: list[str] = []
    for path in paths:
        try:
            text = redact(plain(read_end(path, LOG_BYTES)), [api_key])
        except OSError:
            continue
        lines += [line[:LINE_CHARS] for line in text.splitlines() if line.strip()][-LOG_LINES:]
    return lines
