# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accuracy of a group is measured once, at its head: the other nodes say so and run nothing."""

from __future__ import annotations

import json
from unittest.mock import Mock

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import accuracy
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.from_inventory import input_digests
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid_group


def test_other_nodes_measure_nothing(tmp_path):
    loader = DataLoader()
    action = accuracy.ActionModule(Mock(args={}, async_val=0, check_mode=False), Mock(), Mock(), loader,
                                   Templar(loader=loader, variables={}), Mock())
    action._execute_module = Mock(side_effect=AssertionError("a module was run"))
    variables = {"inventory_dir": str(tmp_path), "inventory_hostname": "node2", "accuracy_enabled": True,
                 "report_path": str(tmp_path)}
    Records(tmp_path).write_plan("node2", valid_group("data_parallel")["node2"], input_digests(variables))
    outcome = action.run(task_vars=variables)
    result = json.loads((tmp_path / "node2" / "accuracy.json").read_text("utf-8"))
    assert outcome["status"] == result["status"] == "not_run"
    assert result["observed"]["not_run"] == "node1 serves for the whole group and is tested there"
