# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers that run action plugins on a fake node."""

from __future__ import annotations

import copy
from unittest.mock import Mock

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import COLLECTION, validated


class FakeNode:
    """A node that returns prepared module results in order. A result that is an exception is raised.

    ``requests`` lists the module calls as (module, arguments).
    """

    def __init__(self, *results):
        self.results, self.requests = list(results), []

    def execute(self, name, module_args, task_vars):
        self.requests.append((name, copy.deepcopy(module_args)))
        if name.startswith(COLLECTION):
            validated(name, module_args)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


def new_action(plugin, args, execute=None, check_mode=False):
    """Return an action that calls modules through ``execute``. `displayed` and `warnings` return its output."""
    loader = DataLoader()
    task = Mock(args=args, async_val=0, check_mode=check_mode, environment=[])
    action = plugin.ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
    action._execute_module, action._display = execute, Mock()
    return action


class HostVars(dict):
    """The variables of all hosts before templating, with the method of Ansible's HostVars that the plugins call."""

    raw_get = dict.__getitem__


def displayed(action):
    """Return the lines that an action displayed."""
    return [call.args[0] for call in action._display.display.call_args_list]


def warnings(action):
    """Return the warnings that an action displayed."""
    return [call.args[0] for call in action._display.warning.call_args_list]
