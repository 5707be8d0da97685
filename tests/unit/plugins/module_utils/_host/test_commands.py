# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands run in parallel, each with a time limit, in English."""

from __future__ import annotations

import os
import time

from ansible_collections.ascend.vllm.plugins.module_utils._host import commands as tools


def test_commands_run_in_parallel_with_a_time_limit():
    commands = {number: ["sleep", "0.4"] for number in range(4)}
    commands["hangs"] = ["sh", "-c", "echo begun; sleep 60 & wait"]
    commands["fails"] = ["sh", "-c", "echo on stdout; echo on stderr >&2; exit 3"]
    commands["is not there"] = ["/nonexistent/npu-smi", "info"]
    started = time.monotonic()
    outcomes = tools.run_all(commands, timeout_s=1, workers=8)
    assert time.monotonic() - started < 1.6
    assert [outcomes[number].rc for number in range(4)] == [0, 0, 0, 0]
    assert outcomes["hangs"].timed_out
    assert outcomes["hangs"].rc is None
    assert outcomes["hangs"].stdout == "begun\n"
    assert outcomes["hangs"].error == "no answer within 1 s"
    assert (outcomes["fails"].rc, outcomes["fails"].output) == (3, "on stdout\non stderr\n")
    assert outcomes["is not there"].rc is None
    assert not outcomes["is not there"].timed_out
    assert "No such file" in outcomes["is not there"].error
    assert list(outcomes) == list(commands)


def test_tools_speak_english():
    os.environ["LC_ALL"] = "zh_CN.UTF-8"
    try:
        assert tools.run(["sh", "-c", "echo $LC_ALL"], 5).stdout == "C\n"
    finally:
        del os.environ["LC_ALL"]
