# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs with an old name are refused, and the message contains the new name."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.renamed_inputs import RENAMED, renamed
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

INPUTS = {name for path in (ROOT / "roles").glob("*/defaults/main.yml")
          for name in yaml.safe_load(path.read_text("utf-8")) or ()}


@pytest.mark.parametrize(("variables", "sentences"), [
    ([], []),
    (["hccl_enabled", "site_serving_balancer_enabled", "ansible_host"], []),
    (["hccl_record_baseline"], [
        "The variable hccl_record_baseline is now named hccl_baseline_save; rename it in the inventory."]),
])
def test_message_contains_the_old_and_the_new_name(variables, sentences):
    assert [refusal["message"] for refusal in renamed(variables)] == sentences


def test_order_of_the_messages_does_not_depend_on_the_inventory():
    old = ["serving_balancer_port", "hccl_record_baseline", "serving_balancer_enabled"]
    assert renamed(old) == renamed(reversed(old))
    assert [refusal["id"] for refusal in renamed(dict.fromkeys(old))] == sorted(old)


def test_new_names_are_not_old_names():
    assert not RENAMED.keys() & set(RENAMED.values())


# balancer_* are inputs only if the role balancer exists.
@pytest.mark.parametrize("old", [old for old, new in RENAMED.items()
                                 if not new.startswith("balancer_") or (ROOT / "roles" / "balancer").is_dir()])
def test_new_name_is_an_input_and_the_old_name_is_not(old):
    assert RENAMED[old] in INPUTS
    assert old not in INPUTS
