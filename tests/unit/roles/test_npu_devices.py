# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles that use all NPUs of a node take their numbers from the plan, even if an NPU has several chips."""

from __future__ import annotations

import yaml
from ansible import template
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid

A3 = valid(plan_release="v0.18.0", plan_hardware="atlas_800_a3")


def tasks(path):
    return yaml.safe_load((ROOT / "roles" / path).read_text("utf-8"))


def render(expression, **variables):
    templar = Templar(loader=DataLoader(), variables=variables)
    return templar.template(getattr(template, "trust_as_template", str)(expression))


def test_diagnostics_query_every_card_and_every_network_port():
    (bundle,) = [task["ascend.vllm.diagnostics_bundle"] for task in tasks("diagnostics/tasks/main.yml")
                 if "ascend.vllm.diagnostics_bundle" in task]
    assert render(bundle["npus"], __plan_resolved={"plan": A3}) == list(range(16))
    assert render(bundle["cards"], __plan_resolved={"plan": A3}) == list(range(8))


def test_quantization_uses_every_npu():
    (block,) = tasks("weights/tasks/quantize.yml")
    (start,) = [task for task in block["block"] if "vars" in task and "__weights_npu_devices" in task["vars"]]
    devices = render(start["vars"]["__weights_npu_devices"], __weights_hardware=A3["hardware"])
    assert devices == [f"/dev/davinci{number}" for number in range(16)]
    visible = start["vars"]["__weights_npu_environment"]["ASCEND_RT_VISIBLE_DEVICES"]
    assert render(visible, __weights_hardware=A3["hardware"]) == ",".join(map(str, range(16)))
