# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that look like inputs are found. tests/unit/plugins/action/test_plan.py has a table of them."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.renamed_inputs import RENAMED
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.unknown_names import unknown_names
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_variables, role_defaults, roles


def test_no_input_and_no_old_name_is_unknown():
    inputs = {name for role in roles() for name in role_defaults(role)}
    assert inputs <= set(known_variables())
    assert unknown_names([*known_variables(), *inputs, *RENAMED]) == []


def test_prefix_of_a_role_is_sufficient():
    (found,) = unknown_names(["weights_zzzzzzzzzzzzzzzzzz"])
    assert found["id"] == "unknown.weights_zzzzzzzzzzzzzzzzzz"
    assert "no input has a similar name" in found["message"]


def test_names_are_reported_in_alphabetical_order():
    assert [found["id"] for found in unknown_names(["serving_prot", "plan_modell"])] == [
        "unknown.plan_modell", "unknown.serving_prot"]
