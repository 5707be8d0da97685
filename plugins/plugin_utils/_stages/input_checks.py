# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the inputs of a stage. The plan does this for all stages before it contacts a node, and each stage again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import role_defaults, typed
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.registry import JUDGES


def checked(stage: str, context: Context) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the inputs of a stage in their types, and ``{variable or text: sentence}`` for its mistakes.

    :param context: the plan, the inputs and the catalogue; a plan with refusals may have no instances.
    """
    values, mistakes = typed(stage, context.inputs)
    # Values of a wrong type are replaced by the defaults, so that the judge of the stage finds the other mistakes.
    defaults = {name: role_defaults(stage)[name] for name in mistakes}
    inputs = {**context.inputs, **values, **defaults}
    judge = JUDGES[stage]
    found = dict(mistakes)
    if judge.check_inputs:
        found.update({sentence: sentence for sentence in judge.check_inputs(replace(context, inputs=inputs))})
    try:
        contract.apply_waivers([], inputs[f"{stage}_waive"], stage, judge.CHECKS)
    except contract.UnknownCheck as mistake:
        found[f"{stage}_waive"] = str(mistake) if str(mistake).endswith("?") else f"{mistake}."
    except (TypeError, KeyError, AttributeError):
        found[f"{stage}_waive"] = f"{stage}_waive must be a list of ids of checks, or of mappings with id and reason."
    return {**context.inputs, **values}, found
