# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import query
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    benchmark,
    current,
    result,
    summary,
)

pytest.importorskip("jmespath", reason="ansible-test installs no jmespath")
GUIDES = pytest.importorskip("guides", reason="ansible-test imports no modules of tests/").GUIDES
DOCUMENTED = re.findall('-e "report_query=(.*)"', (GUIDES / "guide_operations.rst").read_text("utf-8"))


def problem(**inputs):
    return query.problems({"report_query": "", "report_fail_on": ["failed"], **inputs})


def test_documented_queries_find_what_the_guide_says():
    report = summary(result("npu_driver", "node1", ok=False), result("hccl", "node2"), benchmark("node1"),
                     current={"node2": current("ba9876543210")})
    assert [query.lines(query.search(each, report)) for each in DOCUMENTED] == [
        ['["node1", "npu_driver.health", "Replace the card."]'],
        ['["node2", "hccl", "the plan was 0123456789ab and is now ba9876543210."]'],
        ['["node1", "output throughput", 1234.5678]']]
    assert [problem(report_query=each) for each in DOCUMENTED] == [{}, {}, {}]
    assert not any(" " in each for each in DOCUMENTED)  # Ansible ends a value that follows -e at a space.


@pytest.mark.parametrize(("expression", "reason"), [
    ("findings[?status=='failed'].[host,", "Invalid jmespath expression: Incomplete expression"), ("[", "Invalid"),
    ("a b", "Unexpected token: b: Parse error at column 2"), ("'x", "Bad jmespath"), ("length(", "Invalid"),
    ("findings[?no_such(id)].sort(@)", "there is no function no_such")])
def test_invalid_expression_is_one_sentence(expression, reason):
    sentence = problem(report_query=expression)["report_query"]
    assert sentence.startswith(f"report_query must be a JMESPath expression, but is {expression!r} ({reason}"), sentence
    assert sentence.endswith("); remove all spaces from a value that follows -e, or write it as JSON.")
    assert "\n" not in sentence


def test_functions_of_jmespath_are_accepted():
    expression = "sort_by(findings, &id)[].{id: id, hosts: length([host])}"
    assert problem(report_query=expression) == {}
    assert query.search(expression, {"findings": [{"id": "b", "host": "x"}]}) == [{"id": "b", "hosts": 1}]


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(query, "jmespath", None)
    assert problem() == {}
    assert problem(report_query="hosts") == {
        "report_query": "report_query needs the Python package jmespath on the control node; install it there."}


@pytest.mark.parametrize("fail_on", [[], ["stale"], ["not_run", "stale"]])
def test_failed_results_cannot_be_ignored(fail_on):
    assert problem(report_fail_on=fail_on)["report_fail_on"].startswith("report_fail_on must contain failed")


@pytest.mark.parametrize(("found", "expected"), [
    (["a", ["b", 1]], ["a", '["b", 1]']), ("passed", ["passed"]), ({"é": None}, ['{"é": null}']), (0, ["0"]),
    (None, ["report_query finds nothing in the report."]), ([], ["report_query finds nothing in the report."])])
def test_result_of_a_query_is_one_line_per_item(found, expected):
    assert query.lines(found) == expected
