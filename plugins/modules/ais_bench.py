#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: ais_bench
short_description: Score or measure a served model with AISBench
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Runs AISBench apart from this module's connection, so that a run of hours can be watched and survives a lost one.
  - Configuration, key and predictions are in a folder that only the user can read, and go with it.
  - AISBench's exit code is returned and proves nothing; the scores and the counts of requests do.
options:
  state:
    description: >-
      C(started) starts a run and returns its job, C(watched) tells how far it is or what it gave, C(absent) ends it and
      removes its folder.
    type: str
    choices: [started, watched, absent]
    required: true
  job:
    description: The job, as C(started) returned it.
    type: path
  executable:
    description: The program C(ais_bench) in its own Python environment.
    type: path
  server:
    description: C(url), C(model), C(concurrency) and C(maximum_tokens).
    type: dict
  api_key:
    description: The key of the server.
    type: str
    default: ""
  datasets:
    description: The data sets, with C(name) and C(path).
    type: list
    elements: dict
    default: []
  load:
    description: >-
      Measure the performance with this load instead of scoring answers - C(requests), C(input_tokens),
      C(output_tokens), C(request_rate) with 0 for all at once, C(statistics), C(tokenizer), C(file) and C(warm_up).
    type: dict
  num_prompts:
    description: Only so many questions of each data set. 0 is all.
    type: int
    default: 0
  wait:
    description: Seconds to wait for the end of the run.
    type: float
    default: 0
attributes:
  check_mode:
    support: none
    description: A measurement is made or not; check mode makes none.
"""

EXAMPLES = r"""
- name: Start a run
  ascend.vllm.ais_bench:
    state: started
    executable: /var/lib/ascend-vllm/ais_bench/bin/ais_bench
    server: {url: "http://10.0.0.1:8888", model: qwen25_vl, concurrency: 32, maximum_tokens: 2048}
    datasets:
      - {name: gsm8k, path: /data/datasets/gsm8k}
"""

RETURN = r"""
job:
  description: The folder of the run; null when its data are not there.
  type: str
  returned: started
problem:
  description: What is wrong with the data or the program, or null.
  type: str
  returned: started
data:
  description: By the name of each data set a digest of its files.
  type: dict
  returned: started
running:
  description: Whether the run goes on.
  type: bool
  returned: watched
progress:
  description: By the name of each task C(status), C(finish_count) and C(total_count), as AISBench keeps them.
  type: dict
  returned: watched
exit_code:
  description: The exit code of AISBench.
  type: int
  returned: watched, at the end
rows:
  description: The summary, its cells as written; a score that is none is C(-).
  type: list
  elements: dict
  returned: watched, at the end
answers:
  description: By the name of each task how many requests were C(answered) and how many C(failed).
  type: dict
  returned: watched, at the end
performance:
  description: The text of the tables C(totals) and C(latencies) of a performance run; null where it left none.
  type: dict
  returned: watched, at the end
log:
  description: The end of the log, and of the log of each task that left no score.
  type: list
  elements: str
  returned: watched, at the end
"""

import glob
import json
import os
import re
import shutil
import signal
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import tables
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.config import (
    BadData,
    digest,
    prepare,
    prepare_prompts,
    render,
    render_performance,
)
from ansible_collections.ascend.vllm.plugins.module_utils._host import background

JOBS = "/var/tmp/ascend-vllm-accuracy-"
POLL_S = 0.5
# Tasks at a time: MMLU and C-Eval are scored in more than fifty, each of which starts a Python. AISBench refuses more
# than 0.8 of the processors.
WORKERS = max(1, min(4, int(0.8 * (os.cpu_count() or 1))))
LOG_LINES = 12
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")
_RUN = 'echo $$ > pid; "$@" < /dev/null > log 2>&1; echo $? > exit.new; mv exit.new exit'


def start(options):
    """Write the configuration and start; nothing is started for data that are not there."""
    if not os.access(options["executable"], os.X_OK):
        return {"job": None, "problem": "AISBench is not at %s; accuracy_install installs it." % options["executable"],
                "data": {}}
    folder, prefix = os.path.split(JOBS)
    job = tempfile.mkdtemp(prefix=prefix, dir=folder)
    try:
        text, arguments = configure(options, dict(options["server"], api_key=options["api_key"]), job)
    except BadData as error:
        shutil.rmtree(job)
        return {"job": None, "problem": str(error), "data": {}}
    with open(os.path.join(job, "config.py"), "w") as config:
        config.write(text)
    command = [options["executable"], "config.py", "--work-dir", "out", *arguments]
    # The server is the cluster's own: no proxy is on the way to it. Nothing is asked of a hub.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment.update(NO_PROXY="*", no_proxy="*", TERM="dumb", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1",
                       HOME=job, LC_ALL="C.UTF-8")
    background.start(["/bin/sh", "-c", _RUN, "sh", *command], job, environment)
    return {"job": job, "problem": None, "data": {dataset["name"]: digest(dataset) for dataset in options["datasets"]}}


def configure(options, server, job):
    """The text of the configuration, and the arguments that belong to it. :raises BadData: for data that are none."""
    load = options["load"]
    if load:
        if load["file"]:
            load = dict(load, file=prepare_prompts(load["file"], load["requests"], job))
        return render_performance(server, load), [
            "--mode", "perf", "--num-prompts", str(load["requests"]), "--num-warmups", str(load["warm_up"])]
    arguments = ["--merge-ds", "--max-num-workers", str(WORKERS)]
    if options["num_prompts"]:
        arguments += ["--num-prompts", str(options["num_prompts"])]
    return render(server, prepare(options["datasets"], job)), arguments


def watch(job, wait):
    """How far the run is, or all that it gave."""
    until = time.monotonic() + wait
    while is_running(job) and time.monotonic() < until:
        time.sleep(POLL_S)
    if is_running(job):
        return {"running": True, "progress": progress(job)}
    rows, answers = read_summary(job), count_answers(job)
    return {"running": False, "exit_code": read_number(os.path.join(job, "exit")), "rows": rows, "answers": answers,
            "performance": read_performance(job), "log": read_logs(job, rows)}


def is_running(job):
    if os.path.exists(os.path.join(job, "exit")):
        return False
    process = read_number(os.path.join(job, "pid"))
    if process is None:
        return True  # just started
    try:
        with open("/proc/%d/stat" % process) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def read_number(path):
    try:
        with open(path) as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return None


def progress(job):
    """What AISBench notes about its tasks, of the files that are whole at this moment."""
    found = {}
    for path in glob.glob(os.path.join(job, "out", "*", "status_tmp", "*.json")):
        try:
            with open(path) as stream:
                notes = json.load(stream)
        except (OSError, ValueError):
            continue
        for note in notes if isinstance(notes, list) else [notes]:
            if isinstance(note, dict) and note.get("task_name"):
                found[note["task_name"]] = {key: note.get(key) for key in ("status", "finish_count", "total_count")}
    return found


def read_summary(job):
    summaries = sorted(glob.glob(os.path.join(job, "out", "*", "summary", "summary_*.csv")))
    if not summaries:
        return []
    with open(summaries[-1], encoding="utf-8") as stream:
        found = tables.parse(stream.read())
    return found["rows"] if found else []


def read_performance(job):
    """The tables of the only data set of a performance run, as written."""
    found = {}
    for name, ending in (("totals", "json"), ("latencies", "csv")):
        paths = glob.glob(os.path.join(job, "out", "*", "performances", "model", "load." + ending))
        found[name] = None
        if paths:
            with open(sorted(paths)[-1], encoding="utf-8") as stream:
                found[name] = stream.read()
    return found


def count_answers(job):
    """Answered requests stand in ``<task>.jsonl``, failed ones in ``<task>_failed.jsonl``."""
    counts = {}
    for path in sorted(glob.glob(os.path.join(job, "out", "*", "predictions", "*", "*.jsonl"))):
        name, failed = os.path.basename(path)[:-len(".jsonl")], False
        if name.endswith("_failed"):
            name, failed = name[:-len("_failed")], True
        count = counts.setdefault(name, {"answered": 0, "failed": 0})
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                answered = not failed and json.loads(line).get("success", False)
                count["answered" if answered else "failed"] += 1
    return counts


def read_logs(job, rows):
    """The end of the log; and of the tasks' own logs when a score is missing."""
    paths = [os.path.join(job, "log")]
    if not rows or any(score["score"] is None for score in tables.scores(rows)):
        paths += sorted(glob.glob(os.path.join(job, "out", "*", "logs", "*", "*", "*.out")))
    lines = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                text = _CONTROL.sub("", stream.read().replace("\r", "\n"))
        except OSError:
            continue
        lines += [line for line in text.splitlines() if line.strip()][-LOG_LINES:]
    return lines


def remove(job):
    """End the run, all of its processes, and leave nothing."""
    process = read_number(os.path.join(job, "pid"))
    if process and not os.path.exists(os.path.join(job, "exit")):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process, number)
            except OSError:
                break
            time.sleep(1)
    shutil.rmtree(job, ignore_errors=True)


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "watched", "absent"], "required": True},
            "job": {"type": "path"},
            "executable": {"type": "path"},
            "server": {"type": "dict"},
            "api_key": {"type": "str", "default": "", "no_log": True},
            "datasets": {"type": "list", "elements": "dict", "default": []},
            "load": {"type": "dict"},
            "num_prompts": {"type": "int", "default": 0},
            "wait": {"type": "float", "default": 0},
        },
        required_if=[("state", "started", ["executable", "server"]), ("state", "watched", ["job"]),
                     ("state", "absent", ["job"])])
    options = module.params
    if options["job"] and not options["job"].startswith(JOBS):
        module.fail_json(msg="job has to be what state=started returned, but is %s." % options["job"])
    if options["state"] == "started":
        module.exit_json(changed=False, **start(options))
    if options["state"] == "watched":
        module.exit_json(changed=False, **watch(options["job"], options["wait"]))
    remove(options["job"])
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
