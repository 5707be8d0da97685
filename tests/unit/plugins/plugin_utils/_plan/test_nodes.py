# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployments on a node share its NPUs, and two deployments that overlap are refused."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.nodes import Deployment, overlaps, share_out
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE, DEFAULTS, W8A8

APART = {"plan_model": "qwen3_8b", "plan_node": "atlas", "serving_npus": [4, 5], "serving_port": 9000,
         "serving_hccl_port_base": 61000, "serving_state_path": "/var/lib/ascend-vllm-text"}


@pytest.mark.parametrize(("free", "needed", "growing", "expected"), [
    (range(8), {"a": 4, "b": 2}, [], {"a": [0, 1, 2, 3], "b": [4, 5]}),
    (range(8), {"a": 4, "b": 1}, ["b"], {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}),
    (range(8), {"a": 2, "b": 1}, ["a", "b"], {"a": [0, 1, 2, 3], "b": [4, 5, 6]}),
    (range(7), {"a": 2, "b": 2}, ["a", "b"], {"a": [0, 1], "b": [2, 3]}),
    ([1, 3, 5], {"a": 1, "b": 2}, ["a", "b"], {"a": [1], "b": [3, 5]}),
    (range(8), {"a": 0, "b": 2}, ["a"], {"a": [], "b": [0, 1]})])
def test_deployments_share_the_free_npus(free, needed, growing, expected):
    assert share_out(list(free), needed, growing) == expected


def deployment(host, address="192.0.2.11 port 22", **inputs):
    plan = resolve(CATALOGUE, {**DEFAULTS, **inputs}, host)
    assert plan["refusals"] == []
    return Deployment(host, plan, address)


def refusals(changes=None, other_changes=None, **options):
    """Return the refusals of two deployments on a node, which only overlap because of the changes to their inputs."""
    first = deployment("atlas", plan_model=W8A8, serving_npus=[0, 1], **(changes or {}))
    return list(overlaps("atlas", first, deployment("text", **{**APART, **(other_changes or {})}, **options)))


def test_deployments_that_share_nothing_are_not_refused():
    assert refusals() == []


@pytest.mark.parametrize(("changes", "variable", "problem"), [
    ({"serving_npus": [1]}, "serving_npus", "both use NPU 1; change serving_npus of atlas, or serving_npus of text."),
    ({"serving_port": 8888}, "serving_port", "both use port 8888; change serving_port of atlas"),
    ({"serving_hccl_port_base": ""}, "serving_hccl_port_base", "both use port 60000-60015; change serving_hccl_port"),
    ({"serving_hccl_port_base": 60010}, "serving_hccl_port_base", "both use port 60010-60015;"),
    ({"serving_port": 60003}, "serving_hccl_port_base",
     "both use port 60003; change serving_hccl_port_base of atlas, or serving_port of text."),
    ({"serving_state_path": "/var/lib/ascend-vllm"}, "serving_state_path", "keep their state in /var/lib/ascend-vllm;"),
    ({"serving_state_path": "/var/lib/ascend-vllm/text"}, "serving_state_path", "in /var/lib/ascend-vllm/text;"),
    ({"serving_container_name": "vllm-ascend-qwen25-vl"}, "serving_container_name", "container vllm-ascend-qwen25-vl;"),
    ({"serving_container_name": "vllm-ascend-qwen25-vl-2"}, "serving_container_name", "vllm-ascend-qwen25-vl-2;"),
    ({"plan_hardware": "atlas_800i_a2"}, "plan_hardware", "their hardware differs;"),
    ({"address": "192.0.2.12 port 22"}, "plan_node",
     "Ansible connects to 192.0.2.11 port 22 and to 192.0.2.12 port 22; change plan_node of atlas, or ansible_host")])
def test_overlap_names_both_hosts_and_inputs(changes, variable, problem):
    (found,) = refusals(other_changes=changes)
    assert found["id"] == variable
    assert found["message"].startswith("atlas and text are on the same node (plan_node is atlas), but ")
    assert problem in found["message"]


def test_instances_of_both_deployments_need_different_hccl_ports_of_the_npus():
    (found,) = refusals({"serving_hccl_port_base": 62000})
    assert "HCCL port of the NPUs 17000-17015; change serving_hccl_npu_port_base of atlas" in found["message"]


def test_ports_of_a_group_are_compared():
    members = {name: {**DEFAULTS, "serving_topology": "data_parallel", "serving_hosts": ["atlas", "other"],
                      "serving_group_address": f"192.0.2.{number}", "serving_npus": [0, 1]}
               for number, name in enumerate(("atlas", "other"), 1)}
    group = Deployment("atlas", resolve(CATALOGUE, members["atlas"], "atlas", members), "192.0.2.11 port 22")
    (found,) = overlaps("atlas", group, deployment("text", **{**APART, "serving_port": 13389}))
    assert "both use port 13389; change serving_group_port of atlas, or serving_port of text." in found["message"]


def test_two_models_in_the_same_folder_are_refused():
    overlay = {**CATALOGUE["models"]["qwen3_8b"], "directory": "Qwen2.5-VL-32B-Instruct-w8a8"}
    catalogue = {**CATALOGUE, "models": {**CATALOGUE["models"], "qwen3_8b": overlay}}
    one = deployment("atlas", plan_model=W8A8, serving_npus=[0, 1])
    two = Deployment("text", resolve(catalogue, {**DEFAULTS, **APART}, "text"), one.address)
    (found,) = overlaps("atlas", one, two)
    assert "/data/Qwen2.5-VL-32B-Instruct-w8a8; change weights_path of atlas, or weights_path of" in found["message"]
