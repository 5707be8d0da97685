# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accuracy of a group is measured once, at its head: the other nodes say so and run nothing."""

from __future__ import annotations

from unittest.mock import Mock

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import accuracy
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_settings
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid_group


def test_other_nodes_measure_nothing(tmp_path):
    loader = DataLoader()
    variables = {"inventory_dir": str(tmp_path), "inventory_hostname": "node2", "accuracy_enabled": True}
    found = role_settings(Templar(loader=loader, variables={}), variables, "accuracy")
    settings = {name[len("accuracy_"):]: value for name, value in found.items()}
    action = accuracy.ActionModule(Mock(check_mode=False), Mock(), Mock(), loader, None, Mock())
    action._execute_module = Mock(side_effect=AssertionError("a module was run"))
    context = {"host": "node2", "plan": valid_group("data_parallel")["node2"], "settings": settings}
    observed = action._observe(None, context, {}, Mock(), variables)
    assert observed["not_run"] == "node1 serves for the whole group and is tested there"
