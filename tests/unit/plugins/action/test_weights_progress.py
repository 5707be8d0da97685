# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

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
