# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands run in parallel, each with a timeout, and print English messages."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import commands as tools


def test_commands_run_in_parallel_with_a_time_limit():
    commands = {number: ["sleep", "1"] for number in range(4)}
    commands["hangs"] = ["sh", "-c", "echo begun; sleep 60 & wait"]
    commands["fails"] = ["sh", "-c", "echo on stdout; echo on stderr >&2; exit 3"]
    commands["missing"] = ["/nonexistent/npu-smi", "info"]
    started = time.monotonic()
    outcomes = tools.run_all(commands, timeout_s=3)
    assert time.monotonic() - started < 6  # 7 s if they ran in sequence
    assert [outcomes[number].rc for number in range(4)] == [0, 0, 0, 0]
    assert outcomes["hangs"].timed_out
    assert outcomes["hangs"].rc is None
    assert outcomes["hangs"].stdout == "begun\n"
    assert outcomes["hangs"].error == "no answer within 3 s"
    assert (outcomes["fails"].rc, outcomes["fails"].output) == (3, "on stdout\non stderr\n")
    assert outcomes["missing"].rc is None
    assert not outcomes["missing"].timed_out
    assert "No such file" in outcomes["missing"].error
    assert list(outcomes) == list(commands)


def test_tools_print_english_messages():
    os.environ["LC_ALL"] = "zh_CN.UTF-8"
    try:
        assert tools.run(["sh", "-c", "echo $LC_ALL"], 5).stdout == "C\n"
    finally:
        del os.environ["LC_ALL"]


@pytest.fixture
def unkillable(monkeypatch):
    """Make processes survive SIGKILL, as they do in an uninterruptible sleep; they are killed after the test."""
    groups, kill = [], os.killpg
    monkeypatch.setattr(tools.os, "killpg", lambda group, _signal: groups.append(group))
    yield groups
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            kill(group, signal.SIGKILL)


def test_run_does_not_wait_for_a_command_that_cannot_be_killed(unkillable):
    started = time.monotonic()
    outcome = tools.run(["sh", "-c", "echo begun; exec sleep 60"], 2)
    assert time.monotonic() - started < 10
    assert unkillable, "the process was not killed"
    assert (outcome.rc, outcome.timed_out, outcome.hung, outcome.stdout) == (None, True, True, "begun\n")
    assert outcome.error == "no answer within 2 s, and the process cannot be killed: it hangs in the kernel"


def test_command_that_exits_shortly_after_it_was_killed_does_not_hang(monkeypatch):
    kill = os.killpg
    monkeypatch.setattr(tools.os, "killpg", lambda *signaled: threading.Timer(0.2, kill, signaled).start())
    outcome = tools.run(["sleep", "60"], 0.2)
    assert (outcome.timed_out, outcome.hung) == (True, False)


def test_run_does_not_wait_for_a_program_that_cannot_be_started_in_time(monkeypatch):
    blocked = threading.Event()

    def start(*_args, **_options):
        blocked.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(tools.subprocess, "Popen", start)
    started = time.monotonic()
    try:
        outcome = tools.run(["npu-smi"], 0.3)
    finally:
        blocked.set()
    assert time.monotonic() - started < 20
    assert outcome.hung


def test_call_is_abandoned_after_the_time_limit():
    released = threading.Event()
    started = time.monotonic()
    with pytest.raises(socket.timeout, match=r"within 0\.3 s"):
        tools.within(0.3, lambda: released.wait(30))
    released.set()
    assert time.monotonic() - started < 20
    assert tools.within(30, lambda: 5) == 5
    with pytest.raises(KeyError, match="x"):
        tools.within(30, lambda: {}["x"])


def test_output_is_read_up_to_a_limit():
    started = time.monotonic()
    outcome = tools.run(["yes"], 30, max_bytes=1 << 20)
    assert time.monotonic() - started < 10
    assert (outcome.rc, outcome.timed_out) == (None, False)
    assert outcome.error == "the command printed more than 1048576 bytes"
    assert len(outcome.stdout) == 1 << 20


def test_grandchild_that_keeps_the_output_open_does_not_exceed_the_time_limit():
    outcome = tools.run(["sh", "-c", "sleep 60 & echo done"], 0.5)
    assert (outcome.stdout, outcome.timed_out, outcome.hung) == ("done\n", True, False)


@pytest.mark.parametrize(("script", "stdout", "rc"), [
    ("exec >&- 2>&-; sleep 0.2; exit 4", "", 4), (r"printf '\377\376'", "\ufffd\ufffd", 0), ("true", "", 0),
    ("kill -9 $$", "", -9), ("head -c 300000 /dev/zero | tr '\\0' x; echo >&2 y", "x" * 300000, 0)])
def test_unusual_output_is_returned(script, stdout, rc):
    outcome = tools.run(["sh", "-c", script], 20)
    assert (outcome.stdout, outcome.rc, outcome.error) == (stdout, rc, None)


def test_path_on_a_hung_file_system_is_reported(monkeypatch, tmp_path):
    # `hung_paths` starts Python processes to access the paths. This stand-in for Python hangs for one path.
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *hung*) sleep 60;; esac\n')
    python.chmod(0o755)
    monkeypatch.setattr(tools.sys, "executable", str(python))
    found = tools.hung_paths(["/hung/model", "/data", "/hung/model", "/none"], 1)
    assert found == {"/hung/model": "/hung/model is on a file system that does not respond within 1 s"}


def test_paths_on_healthy_file_systems_are_tested_by_one_process(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "run_all", None)
    assert tools.hung_paths([str(tmp_path), "/nonexistent", "/proc/self", "a\nb"], 20) == {}
