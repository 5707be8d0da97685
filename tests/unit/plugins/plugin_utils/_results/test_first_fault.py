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
    ("a timeout while waiting for a peer is a consequence, even if its node's clock is slow",
     [node("node1", LINK, "02:00", -600.0), node("node2", MEMORY, "01:00")],
     [("node2", "out_of_memory", False), ("node1", "link_timeout", True)]),
    ("the earlier of two faults is the first", [node("node1", MEMORY, "02:00"), node("node2", MEMORY, "01:00")],
     [("node2", "out_of_memory", False), ("node1", "out_of_memory", False)]),
    ("the offsets of the clocks are subtracted",
     [node("node1", MEMORY, "02:00", 90.0), node("node2", MEMORY, "01:00", 0.0)],
     [("node1", "out_of_memory", False), ("node2", "out_of_memory", False)]),
    ("if all nodes wait for each other, the first timeout is the first fault",
     [node("node1", LINK, "02:00"), node("node2", HEARTBEAT, "01:00")],
     [("node2", "heartbeat_lost", False), ("node1", "link_timeout", True)]),
    ("a fault without a time comes after a fault with a time",
     [node("node1", "EI0006: x"), node("node2", HEARTBEAT, "01:00")],
     [("node2", "heartbeat_lost", False), ("node1", "link_timeout", True)]),
    ("healthy nodes have no fault", [node("node1", HEALTHY), node("node2", "INFO: ready")], []),
    ("each node has at most one fault", [node("node1", LINK, "00:30"), node("node1", MEMORY, "01:00")],
     [("node1", "out_of_memory", False)]),
    ("an unknown exception is a consequence",
     [node("node1", "ValueError: x"), node("node2", MEMORY, "01:00")],
     [("node2", "out_of_memory", False), ("node1", "unknown", True)]),
])
def test_faults_are_ordered_by_kind_and_time(case, nodes, expected):
    found = [(fault["host"], fault["cause"]["cause"], fault["is_consequence"]) for fault in faults_in_order(nodes)]
    assert found == expected, case


def test_description_names_node_process_time_and_consequences():
    text = describe(faults_in_order([node("node1", LINK, "02:00"), node("node2", MEMORY, "01:00", 10.0)]))
    assert text.startswith("The first fault is on node2 (Worker_TP3 pid=9, 11-20 10:00:50): out_of_memory: (Worker_TP3")
    assert text.endswith(" Consequences: node1 (link_timeout, 11-20 10:02:00).")
    assert describe([]) == ""
