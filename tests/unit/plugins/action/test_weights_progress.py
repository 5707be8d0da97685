# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action waits until a container exits, and prints its progress meanwhile."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import weights_progress
from ansible_collections.ascend.vllm.plugins.action.weights_progress import Meter, line
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated


@pytest.mark.parametrize(("count", "total", "rate", "expected"), [
    (12_300_000_000, 44_300_000_000, 512e6, "node1: 12.3 of 44.3 GB, 512 MB/s, 1 min 2 s left"),
    (0, 44_300_000_000, 4e6, "node1: 0.0 of 44.3 GB, 4.0 MB/s, 3 h 4 min left"),
    (5_000_000_000, 0, 1e6, "node1: 5.0 GB, 1.0 MB/s"),
    (5_000_000_000, 44_300_000_000, 0, "node1: 5.0 of 44.3 GB, 0.0 MB/s"),
    (44_300_000_000, 44_300_000_000, 1e6, "node1: 44.3 of 44.3 GB, 1.0 MB/s"),
    (3_100_000, 7_200_000, 200e3, "node1: 3.1 of 7.2 MB, 0.2 MB/s, 0 min 20 s left"),
])
def test_progress_line_shows_amount_rate_and_remaining_time(count, total, rate, expected):
    assert line("node1", count, total, rate) == expected


def printed(monkeypatch, terminal=True, ci="", interval_s=10):
    """Return the lines that a meter prints within 30 s at 1 GB/s if it is called every 4 s."""
    monkeypatch.setattr(weights_progress, "ANSIBLE_COLOR", terminal)
    monkeypatch.setenv("CI", ci)
    lines, now = [], [0]
    meter = Meter("node1", 40_000_000_000, interval_s, lines.append, lambda: now[0])
    for now[0] in range(0, 30, 4):
        meter.show(now[0] * 1_000_000_000)
    return lines


def test_one_line_is_printed_per_interval(monkeypatch):
    assert printed(monkeypatch) == [
        "node1: 12.0 of 40.0 GB, 1000 MB/s, 0 min 28 s left",
        "node1: 24.0 of 40.0 GB, 1000 MB/s, 0 min 16 s left",
    ]


@pytest.mark.parametrize("settings", [{"terminal": False}, {"ci": "true"}, {"interval_s": 0}])
def test_nothing_is_printed_without_a_terminal_or_in_ci(monkeypatch, settings):
    assert printed(monkeypatch, **settings) == []


LOST = AnsibleConnectionFailure("ssh: connect to host node1: No route to host")
RUNNING = {"running": True, "bytes": 5}


@pytest.fixture
def wait(monkeypatch):
    """Return a function (results of the polls, duration of a poll in seconds) -> the return value of the action."""
    def run(responses, poll_s=10, **args):
        responses, now = iter(responses), [0]
        monkeypatch.setattr(weights_progress.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(weights_progress.time, "sleep", lambda _seconds: None)

        def execute(name, module_args, task_vars):
            assert name == "ascend.vllm.weights_transfer_info"
            assert validated(name, module_args) == {
                "container": "c", "folder": "/f", "done": "/d", "docker_socket": "/var/run/docker.sock"}
            now[0] += poll_s
            response = next(responses)
            if isinstance(response, Exception):
                raise response
            return dict(response)

        loader = DataLoader()
        task = Mock(args={"container": "c", "folder": "/f", "done": "/d", **args}, async_val=0, check_mode=False)
        templar = Templar(loader=loader, variables={})
        action = weights_progress.ActionModule(task, Mock(), Mock(), loader, templar, Mock())
        action._execute_module, action._display = execute, Mock()
        return action.run(task_vars={"inventory_hostname": "node1", "weights_hub_token": "hunter22"})
    return run


def test_wait_continues_when_a_lost_connection_is_restored(wait):
    found = wait([RUNNING, *[LOST] * 5, RUNNING, *[LOST] * 5, {"running": False, "exit_code": 0}])
    assert "failed" not in found


def test_node_that_stays_unreachable_is_reported_as_failed(wait):
    found = wait([RUNNING, *[LOST] * 99])
    assert found["failed"]
    assert "node1 has not responded for 60 s: ssh: connect to host" in found["msg"]


@pytest.mark.parametrize(("code", "output", "message"), [
    (1, "first\nNo space left on device", "c exited with code 1: No space left on device"),
    (1, "a\nsent hunter22\x1b[2J", "c exited with code 1: sent (redacted)"),
    (137, "", "c exited with code 137 (killed, for example because memory ran out): it printed nothing"),
])
def test_failure_of_the_container_is_explained(wait, code, output, message):
    found = wait([RUNNING, {"running": False, "exit_code": code, "output": output}])
    assert (found["failed"], found["msg"]) == (True, message)
    assert "hunter22" not in str(found)


def test_container_that_exceeds_the_timeout_fails(wait):
    found = wait([RUNNING] * 9, poll_s=10_000)
    assert found["msg"] == "c did not finish within 86400 seconds."
    assert wait([RUNNING] * 9, timeout_s=25)["msg"] == "c did not finish within 25 seconds."
