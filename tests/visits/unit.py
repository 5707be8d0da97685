# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record which checks judges return in this process, and with which inputs plans and judges are called."""

from __future__ import annotations

import functools

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import resolve
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages import judging, registry
from visits import record


def wrap() -> None:
    """Wrap the functions that every test of a plan or a judge calls."""
    add, begin, planned = contract.Checks._add, judging.Context.__init__, resolve._resolve
    stages = {frozenset(check.id for check in contract.COMMON + tuple(judge.CHECKS)): stage
              for stage, judge in registry.JUDGES.items()}

    @functools.wraps(add)
    def recorded_add(self, check_id, status, *arguments):
        stage = stages.get(frozenset(self._table))
        if stage:
            record.write("check", by="unit", id=f"{stage}.{check_id}", status=status)
        return add(self, check_id, status, *arguments)

    @functools.wraps(begin)
    def recorded_begin(self, *arguments, **fields):
        begin(self, *arguments, **fields)
        for name in record.changed(self.inputs):
            record.write("input", name=name)

    @functools.wraps(planned)
    def recorded_plan(catalogue, inputs, *arguments, **named):
        for name in record.changed(inputs):
            record.write("input", name=name)
        return planned(catalogue, inputs, *arguments, **named)

    contract.Checks._add = recorded_add
    judging.Context.__init__ = recorded_begin
    resolve._resolve = recorded_plan
