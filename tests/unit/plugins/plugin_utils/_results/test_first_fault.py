# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.first_fault import describe, faults_in_order

LINK = "[ERROR] HCCL(7,vllm):2026-11-20-10:%s.000.000 [x.cc:1] wait socket establish timeout, role[1] rank[12]"
HEARTBEAT = "[ERROR] HCCL(7,vllm):2026-11-20-10:%s.000.000 [x.cc:1] ExceptionType:[Heartbeat Lost Occurred]"
MEMORY = "(Worker_TP3 pid=9) ERROR 11-20 10:%s [x.py:1] torch.OutOfMemoryError: NPU out of memory. Tried to allocate."
HEALTHY = "INFO:     Application startup complete."


def node(host, line, time="", offset=0.0):
    return {"host": host, "causes": diagnose(line % time if time else line), "clock_offset_s": offset}


@pytest.mark.parametrize(("case", "nodes", "expected"), [
    ("peers that time out are consequences, though they log it with an earlier time of their clock",
     [node("node1", LINK, "02:00", -600.0), node("node2", MEMORY, "01:00")],
     [("node2", "out_of_memory", False), ("node1", "link_timeout", True)]),
    ("of two faults the earlier", [node("node1", MEMORY, "02:00"), node("node2", MEMORY, "01:00")],
     [("node2", "out_of_memory", False), ("node1", "out_of_memory", False)]),
    ("the offset of the clocks counts", [node("node1", MEMORY, "02:00", 90.0), node("node2", MEMORY, "01:00", 0.0)],
     [("node1", "out_of_memory", False), ("node2", "out_of_memory", False)]),
    ("if all wait, the first one to give up", [node("node1", LINK, "02:00"), node("node2", HEARTBEAT, "01:00")],
     [("node2", "heartbeat_lost", False), ("node1", "link_timeout", True)]),
    ("a node without a time comes after one with it",
     [node("node1", "EI0006: x"), node("node2", HEARTBEAT, "01:00")],
     [("node2", "heartbeat_lost", False), ("node1", "link_timeout", True)]),
    ("healthy nodes have no fault", [node("node1", HEALTHY), node("node2", "all is well")], []),
    ("of several logs of a node the first fault", [node("node1", LINK, "00:30"), node("node1", MEMORY, "01:00")],
     [("node1", "out_of_memory", False)]),
    ("an unknown exception explains nothing",
     [node("node1", "ValueError: x"), node("node2", MEMORY, "01:00")],
     [("node2", "out_of_memory", False), ("node1", "unknown", True)]),
])
def test_order(case, nodes, expected):
    found = [(fault["host"], fault["cause"]["cause"], fault["is_consequence"]) for fault in faults_in_order(nodes)]
    assert found == expected, case


def test_description_names_node_process_time_and_consequences():
    text = describe(faults_in_order([node("node1", LINK, "02:00"), node("node2", MEMORY, "01:00", 10.0)]))
    assert text.startswith("The first fault is on node2 (Worker_TP3 pid=9, 11-20 10:00:50): out_of_memory: (Worker_TP3")
    assert text.endswith(" Consequences of it: node1 (link_timeout, 11-20 10:02:00).")
    assert describe([]) == ""
