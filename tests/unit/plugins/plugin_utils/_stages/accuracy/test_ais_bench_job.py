# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AISBench run is started, watched until its end or timeout, and always removed."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import ais_bench_job
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated

JOB = "/var/tmp/ascend-vllm-accuracy-x"
STARTED = {"job": JOB, "problem": None, "data": {"own": "5ha"}}
ARGUMENTS = {"api_key": "hunter22", "executable": "/bin/ais_bench",
             "datasets": [{"name": "own", "path": "/own.jsonl"}],
             "server": {"url": "http://10.0.0.1:8888", "model": "m", "concurrency": 4, "maximum_tokens": 16}}
RESULTS = {"exit_code": 0, "rows": [{"dataset": "own"}], "answers": {"own": {"answered": 10, "failed": 0}},
           "outcomes": {"own": "1111111100"}, "performance": {"totals": None, "latencies": None}, "log": ["the end"]}
FINISHED = {"running": False, "changed": False, **RESULTS}


def running(finish_count=None):
    """Return the result of the module while the run is in progress."""
    return {"running": True, "progress": {} if finish_count is None else {
        "own": {"status": "inferring", "finish_count": finish_count, "total_count": 10}}}


class Host:
    """A host on which the module returns ``started``, and then the items of ``watched``, each after ``wait_s``."""

    def __init__(self, monkeypatch, started, *watched):
        self.started, self.watched, self.calls, self.printed, self.now = started, list(watched), [], [], 0.0
        monkeypatch.setattr(ais_bench_job.time, "monotonic", lambda: self.now)

    def call(self, name, **arguments):
        assert name == "ascend.vllm.ais_bench"
        arguments = validated(name, arguments)
        self.calls.append((arguments["state"], arguments["job"], arguments["wait_s"]))
        if arguments["state"] == "started":
            assert arguments.items() >= ARGUMENTS.items()
            return self.started
        if arguments["state"] == "absent":
            return {"changed": True}
        assert arguments["api_key"] == "hunter22"  # the module masks it in the log
        self.now += arguments["wait_s"]
        result = self.watched.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def run(self, timeout_s=100):
        return ais_bench_job.run_job(self.call, self.printed.append, ARGUMENTS, timeout_s, "accuracy_timeout_s")


def test_results_are_returned_and_the_job_is_removed(monkeypatch):
    host = Host(monkeypatch, STARTED, running(), FINISHED)
    assert host.run() == {"problem": None, "data": {"own": "5ha"}, **RESULTS}
    assert host.calls == [("started", None, 0), ("watched", JOB, 20), ("watched", JOB, 20), ("absent", JOB, 0)]


def test_unchanged_progress_is_printed_once(monkeypatch):
    host = Host(monkeypatch, STARTED, running(), running(1), running(1), running(7), FINISHED)
    host.run()
    assert host.printed == ["own: inferring, 1 of 10", "own: inferring, 7 of 10"]


def test_run_that_exceeds_the_timeout_is_removed(monkeypatch):
    host = Host(monkeypatch, STARTED, *[running()] * 4)
    assert host.run(50) == {"problem": "AISBench took longer than accuracy_timeout_s (50 s)", "data": {"own": "5ha"}}
    assert host.calls[1:] == [*[("watched", JOB, wait_s) for wait_s in (20, 20, 10, 0)], ("absent", JOB, 0)]


def test_run_that_cannot_be_started_is_not_watched(monkeypatch):
    host = Host(monkeypatch, {"job": None, "problem": "gsm8k lacks test.jsonl", "data": {}})
    assert host.run() == {"problem": "gsm8k lacks test.jsonl", "data": {}}
    assert host.calls == [("started", None, 0)]


def test_job_is_removed_if_watching_it_fails(monkeypatch):
    host = Host(monkeypatch, STARTED, RuntimeError("the host is not reachable"))
    with pytest.raises(RuntimeError):
        host.run()
    assert host.calls[-1] == ("absent", JOB, 0)
