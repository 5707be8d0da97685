# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that all actions of the stages share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the option plan."""

    DOCUMENTATION = r"""
options:
  plan: {type: dict, description: "The plan of the node. Set this option to use a plan that differs from the inventory,
    for example when an upgrade is rolled back. By default, the plan saved earlier in this run is used. If no plan has
    been saved yet, or if inputs have changed since then, the plan is resolved from the inventory."}
"""
