# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs are converted to their types; a refusal names the variable, the expected type and the value."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs


def read(method, value, *arguments):
    """Return (the value that Inputs returns, messages of the refusals)."""
    findings = Findings()
    found = getattr(Inputs({"name": value}, findings), method)("name", *arguments)
    return found, [refusal["message"] for refusal in findings.refusals]


@pytest.mark.parametrize(("method", "value", "arguments", "found"), [
    ("text", " a ", (), "a"), ("text", None, (), ""), ("text", 7, (), "7"),
    ("is_auto", "auto", (), True), ("is_auto", [1], (), False),
    ("integer", 3, (1, 5), 3), ("integer", "3", (1, 5), 3),
    ("boolean", True, (), True), ("boolean", "False", (), False), ("boolean", "yes", (), True),
    ("choice", "b", (("a", "b"),), "b"),
    ("path", "/a/", (), "/a"), ("path", "/", (), "/"),
    ("mapping", {"a": 1}, (), {"a": 1}), ("mapping", None, (), {}), ("mapping", "", (), {}),
    ("items", [1], (), [1]), ("items", None, (), []),
])
def test_valid_value_is_converted(method, value, arguments, found):
    assert read(method, value, *arguments) == (found, [])


@pytest.mark.parametrize(("method", "value", "arguments", "replacement", "message"), [
    ("text", ["a"], (), "", "name must be a string, but is ['a']."),
    ("integer", "http", (1, 9), 1, "name must be an integer from 1 to 9, but is 'http'."),
    ("integer", 10, (1, 9), 1, "name must be an integer from 1 to 9, but is 10."),
    ("integer", True, (0, 9), 0, "name must be an integer from 0 to 9, but is True."),
    ("integer", None, (1, 9), 1, "name must be an integer from 1 to 9, but is None."),
    ("boolean", "maybe", (), False, "name must be true or false, but is 'maybe'."),
    ("choice", "c", (("a", "b"),), "a", "name must be one of a, b, but is 'c'."),
    ("path", "models", (), "/", "name must be an absolute path without a colon, but is 'models'."),
    ("path", "/a:b", (), "/", "name must be an absolute path without a colon, but is '/a:b'."),
    ("mapping", "a", (), {}, "name must be a mapping of names to values, but is 'a'."),
    ("items", "a", (), [], "name must be a list, but is 'a'."),
])
def test_refused_value_is_replaced_by_a_harmless_one(method, value, arguments, replacement, message):
    assert read(method, value, *arguments) == (replacement, [message])


def test_repeated_finding_is_recorded_once():
    findings = Findings()
    for _time in range(2):
        findings.warn("one", "%s is %d.", "a", 1)
    assert findings.warnings == [{"id": "one", "message": "a is 1."}]
    assert findings.refusals == []
