# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every stage has a judge that implements the full interface, and the module that it names accepts its request."""

from __future__ import annotations

import inspect
import re

import pytest

from ansible_collections.ascend.vllm.plugins.filter.serving import FilterModule
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, STAGES
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Judge
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.registry import JUDGES
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import validated
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults

INTERFACE = sorted(name for name in vars(Judge) if not name.startswith("_"))
PICTURE = str(ROOT / "roles/functional/files/illustration.png")


def test_every_stage_has_a_judge():
    assert tuple(JUDGES) == STAGES
    assert INTERFACE == ["CHECKS", "RETURNED", "check_inputs", "judge", "request", "survey"]


@pytest.mark.parametrize("stage", STAGES)
def test_judge_implements_the_full_interface(stage):
    assert [name for name in INTERFACE if not hasattr(JUDGES[stage], name)] == []


@pytest.mark.parametrize("stage", ["npu_driver", "hccl"])
def test_critical_checks_name_the_source_of_their_limit(stage):
    assert [check.id for check in JUDGES[stage].CHECKS if check.severity == CRITICAL and not check.source] == []


@pytest.mark.parametrize("stage", STAGES)
def test_judge_returns_what_the_tasks_of_the_role_use(stage):
    tasks = "".join(path.read_text("utf-8") for path in sorted((ROOT / "roles" / stage / "tasks").glob("*.yml")))
    assert set(re.findall(r"observed\.(\w+)", tasks)) <= set(JUDGES[stage].RETURNED)


def test_serving_judge_returns_what_the_filters_use():
    sources = {name: inspect.getsource(each) for name, each in FilterModule().filters().items()
               if "observed" in inspect.signature(each).parameters}
    used = {name: set(re.findall(r'observed\["(\w+)"\]', source)) for name, source in sources.items()}
    assert used["replacement_reasons"]
    assert used["container_environment"]
    assert set().union(*used.values()) <= set(JUDGES["serving"].RETURNED)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("phase", ["", "before"])
def test_request_is_accepted_by_the_module(stage, phase):
    inputs = {**defaults(stage), "functional_image": PICTURE, "functional_api_key": ""}
    request = JUDGES[stage].request(context(valid(), {"phase": phase}, inputs))
    if stage in ("accuracy", "benchmark"):
        assert request is None  # these stages measure with their own action plugins
    else:
        validated(request.module, request.arguments)
