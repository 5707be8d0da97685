# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of the log triage is consistent, and every signature matches its example."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import CAUSES, WARNING
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.cause_case import (
    EXAMPLES,
    SIGNATURES,
    effects_of,
    signature_hits,
)


def test_every_cause_has_a_signature_and_ids_are_unique():
    ids = [cause.id for cause in CAUSES]
    assert len(set(ids)) == len(ids)
    assert all(cause.signatures for cause in CAUSES)
    assert {name for cause in CAUSES for name in cause.effects} <= set(ids)
    assert [text for cause in CAUSES for text in cause.weak if text not in cause.signatures] == []


def test_no_cause_produces_itself():
    assert [cause.id for cause in CAUSES if cause.id in effects_of(cause)] == []


INPUT = re.compile(r"(?<![\w./])(?:serving|npu_driver|hccl|image|weights|plan|functional)_[a-z_]+\b")
CHECK = re.compile(r"(?<![\w./])(?:serving|npu_driver|hccl|image|weights)\.[a-z_0-9]+\b")


@pytest.mark.parametrize("cause", [cause for cause in CAUSES if cause.level <= WARNING], ids=lambda cause: cause.id)
def test_remedy_names_only_inputs_checks_and_playbooks_that_exist(cause, root):
    specs = "\n".join(path.read_text("utf-8") for path in root.glob("roles/*/meta/argument_specs.yml"))
    checks = (root / "docs" / "checks.md").read_text("utf-8")
    named = [*INPUT.findall(cause.remedy), *CHECK.findall(cause.remedy)]
    playbooks = re.findall(r"playbooks/\w+\.yml", cause.remedy)
    assert named or playbooks
    assert [name for name in named if not re.search(r"^ +%s:" % name, specs, re.MULTILINE) and (
        "`%s`" % name not in checks)] == []
    assert [path for path in playbooks if not (root / path).exists()] == []


def test_every_signature_has_an_example():
    assert {name: len(examples) for name, examples in EXAMPLES.items()} == {
        cause.id: len(cause.signatures) for cause in CAUSES}


@pytest.mark.parametrize(("cause", "pattern", "example"), SIGNATURES)
def test_every_signature_matches_its_example(cause, pattern, example):
    with_one_signature = cause._replace(signatures=(pattern,))
    assert signature_hits([with_one_signature], "before\n%s\nafter" % example) == [example.split("\n")[-1].strip()]


@pytest.mark.parametrize(("cause", "pattern", "example"), SIGNATURES)
def test_every_example_shows_its_cause(cause, pattern, example):
    assert diagnose("before\n%s\nafter" % example)[0]["cause"] == cause.id
