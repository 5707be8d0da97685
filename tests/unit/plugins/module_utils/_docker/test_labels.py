# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan and the serving role set the names and labels for which the modules search."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels

pytest.importorskip("ansible.errors", reason="ansible-test runs tests of modules without the code of the controller")

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid


def test_planned_instances_have_the_names_and_the_label():
    plan = valid(serving_replicas=3)
    assert [instance["labels"] for instance in plan["instances"]] == [
        {labels.INSTANCE: instance["hash"]} for instance in plan["instances"]]
    names = [instance["name"] for instance in plan["instances"]]
    assert names == [labels.instance_name(names[0], index) for index in range(3)]
    assert all(labels.is_instance(name, names[0]) for name in names)


def test_every_label_starts_with_the_prefix():
    assert all(label.startswith(labels.PREFIX) for label in (labels.INSTANCE, labels.SECRETS, labels.BENCHMARK_CLIENT))


def test_serving_role_sets_the_secrets_label():
    assert f"'{labels.SECRETS}':" in (ROOT / "roles/serving/tasks/containers.yml").read_text("utf-8")


@pytest.mark.parametrize(("name", "ours"), [
    ("a.b", True), ("a.b-1", True), ("a.b-12", True), ("a.b-x", False), ("a.b2", False), ("aXb", False),
    ("a.b-1-previous", False), ("x-a.b", False), ("a.b\n", False)])
def test_instance_is_recognized_by_its_name(name, ours):
    assert labels.is_instance(name, "a.b") is ours


@pytest.mark.parametrize(("name", "base"), [("a", "a"), ("a-1-previous", "a-1"), ("a-previous-1", "a-previous-1")])
def test_base_name_omits_the_suffix_of_a_previous_container(name, base):
    assert labels.base_name(name) == base
