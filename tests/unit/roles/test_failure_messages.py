# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failure is recorded with its reason, even if a task with a loop failed, whose message does not contain it."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT
from ansible_collections.ascend.vllm.tests.unit.roles.role_case import rendered

LOOP = {"msg": "One or more items failed", "failed": True, "results": [
    {"msg": "", "failed": False}, {"msg": "python3.13 is missing", "failed": True}]}


@pytest.mark.parametrize(("role", "file", "task"), [
    ("accuracy", "main", "Record the failure"), ("benchmark", "ais_bench", "ais_bench | Record the failure"),
    ("image", "archive", "archive | Record why the archive cannot be read"), ("image", "main", "Record the failure"),
    ("serving", "main", "Record the failure"), ("weights", "main", "Record the failure")])
def test_message_of_the_failed_item_is_recorded(role, file, task):
    where = (file, task, "ascend.vllm.stage", "failure")
    assert rendered(role, where, {}, {"ansible_failed_result": LOOP}) == "python3.13 is missing"
    assert rendered(role, where, {}, {"ansible_failed_result": {"msg": "no space"}}) == "no space"


def test_every_role_gets_the_reason_from_the_filter():
    found = [(path.name, line) for path in ROOT.glob("roles/*/tasks/*.yml")
             for line in path.read_text("utf-8").splitlines() if "ansible_failed_result" in line]
    assert len(found) >= 8
    assert [each for each in found if "ansible_failed_result | ascend.vllm.failure_message" not in each[1]] == []
