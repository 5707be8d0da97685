# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ascend.vllm.plugins.action import weights_progress
from ansible_collections.ascend.vllm.plugins.action.weights_progress import Meter, line


@pytest.mark.parametrize(("count", "total", "rate", "expected"), [
    (12_300_000_000, 44_300_000_000, 512e6, "node1: 12.3 of 44.3 GB, 512 MB/s, 1 min 2 s left"),
    (0, 44_300_000_000, 4e6, "node1: 0.0 of 44.3 GB, 4.0 MB/s, 3 h 4 min left"),
    (5_000_000_000, 0, 1e6, "node1: 5.0 GB, 1.0 MB/s"),
    (5_000_000_000, 44_300_000_000, 0, "node1: 5.0 of 44.3 GB, 0.0 MB/s"),
    (44_300_000_000, 44_300_000_000, 1e6, "node1: 44.3 of 44.3 GB, 1.0 MB/s"),
    (3_100_000, 7_200_000, 200e3, "node1: 3.1 of 7.2 MB, 0.2 MB/s, 0 min 20 s left"),
])
def test_a_line(count, total, rate, expected):
    assert line("node1", count, total, rate) == expected


def printed(monkeypatch, terminal=True, ci="", interval_s=10):
    """What a meter prints for 1 GB a second, asked every 4 seconds for 30 seconds."""
    monkeypatch.setattr(weights_progress, "ANSIBLE_COLOR", terminal)
    monkeypatch.setenv("CI", ci)
    lines, now = [], [0]
    meter = Meter("node1", 40_000_000_000, interval_s, lines.append, lambda: now[0])
    for now[0] in range(0, 30, 4):
        meter.show(now[0] * 1_000_000_000)
    return lines


def test_lines_come_no_faster_than_asked_for(monkeypatch):
    assert printed(monkeypatch) == [
        "node1: 12.0 of 40.0 GB, 1000 MB/s, 0 min 28 s left",
        "node1: 24.0 of 40.0 GB, 1000 MB/s, 0 min 16 s left",
    ]


@pytest.mark.parametrize("quiet", [{"terminal": False}, {"ci": "true"}, {"interval_s": 0}])
def test_quiet_without_a_terminal_and_in_ci(monkeypatch, quiet):
    assert printed(monkeypatch, **quiet) == []


class Waiting(weights_progress.ActionModule):
    """The action over a node that answers what ``answers`` says, one poll after the other; each takes ten seconds."""

    def __init__(self, answers, monkeypatch):
        self.answers, self.now, self._display = iter(answers), 0, self
        monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
        monkeypatch.setattr(weights_progress.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(weights_progress.time, "sleep", lambda _seconds: None)

    def display(self, _line):
        pass

    def validate_argument_spec(self, argument_spec):
        defaults = {name: spec.get("default") for name, spec in argument_spec.items()}
        return None, dict(defaults, container="c", folder="/f")

    def _execute_module(self, *_arguments, **_options):
        self.now += 10
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


LOST = AnsibleConnectionFailure("ssh: connect to host node1: No route to host")
RUNNING = {"running": True, "bytes": 5}


def waited(answers, monkeypatch):
    return Waiting(answers, monkeypatch).run(task_vars={"inventory_hostname": "node1"})


def test_a_connection_that_comes_back_is_taken_up_again(monkeypatch):
    found = waited([RUNNING, *[LOST] * 5, RUNNING, *[LOST] * 5, {"running": False, "exit_code": 0}], monkeypatch)
    assert "failed" not in found


def test_a_lost_node_is_told_and_not_only_unreachable(monkeypatch):
    found = waited([RUNNING, *[LOST] * 99], monkeypatch)
    assert found["failed"]
    assert "node1 has not answered for 60 s: ssh: connect to host" in found["msg"]


@pytest.mark.parametrize(("code", "output", "message"), [
    (1, "first\nNo space left on device", "c ended with exit code 1: No space left on device"),
    (137, "", "c ended with exit code 137 (killed, as the kernel does for lack of memory): it printed nothing"),
])
def test_a_container_that_failed(monkeypatch, code, output, message):
    found = waited([RUNNING, {"running": False, "exit_code": code, "output": output}], monkeypatch)
    assert (found["failed"], found["msg"]) == (True, message)


def test_it_is_given_up_in_the_end(monkeypatch):
    found = waited([RUNNING] * 9000, monkeypatch)
    assert found["msg"] == "c did not end within 86400 seconds."
