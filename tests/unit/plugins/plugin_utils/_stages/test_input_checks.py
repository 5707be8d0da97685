# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The default inputs of every stage have no mistakes, and a wrong type does not hide other mistakes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import STAGES
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.input_checks import checked
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE, ROOT, valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults

PICTURE = {"functional_image": str(ROOT / "roles/functional/files/illustration.png")}


def check(stage, **inputs):
    return checked(stage, replace(context(valid(), inputs={**defaults(stage), **PICTURE, **inputs}),
                                  catalogue=CATALOGUE))


@pytest.mark.parametrize("stage", STAGES)
def test_defaults_have_no_mistakes(stage):
    assert check(stage)[1] == {}


def test_values_are_converted():
    assert check("benchmark", benchmark_repeats="3")[0]["benchmark_repeats"] == 3


def test_wrong_type_does_not_hide_other_mistakes():
    found = check("benchmark", benchmark_repeats="many", benchmark_request_rate="fast", benchmark_waive=["tokns"])[1]
    assert len(found) == 3
    assert found["benchmark_repeats"] == "benchmark_repeats must be an integer, but is 'many'."
    assert found["benchmark_waive"].endswith("did you mean 'tokens'?")
