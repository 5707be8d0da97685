# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, junit
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    IMAGE,
    NOW,
    by_host,
    current,
    image,
    result,
    summary,
)

junitparser, xmlschema, junit2html = (
    pytest.importorskip(name, reason="ansible-test installs no readers of JUnit XML")
    for name in ("junitparser", "xmlschema", "junit2htmlreport.parser"))
ROOT = pytest.importorskip("guides", reason="ansible-test imports no modules of tests/").ROOT
SCHEMA = xmlschema.XMLSchema(ROOT / "tests" / "data" / "junit.xsd")


def outcome(status, message=None, check_id="hccl.link", subject=None):
    return {"id": check_id, "severity": "critical", "status": status, "subject": subject, "title": "It works",
            "expected": "up", "actual": "down", "message": message, "remedy": "Repair it."}


OUTCOMES = [
    outcome("passed", subject="npu 0"), outcome("failed", subject="npu 1"), outcome("warned", check_id="hccl.slow"),
    outcome("waived", "known (found: down)", "hccl.known"), outcome("not_run", "There is no tool.", "hccl.tool"),
    outcome("unsupported", "The chip has none.", "hccl.chip"),
    outcome("failed", "node1 is not reachable", "hccl.node_reachable")]


def xml_of(*results, **options):
    """Return the valid XML of the report on these results."""
    text = junit.to_junit(summary(*results, **options), by_host(*results))
    SCHEMA.validate(text)
    return text


def hccl(checks, **values):
    return {**result("hccl", "node1"), "checks": checks, **values}


def suite_of(text, name):
    (suite,) = [each for each in ElementTree.fromstring(text) if each.get("name") == name]
    return suite


def test_outcomes_become_failures_errors_and_skipped_cases():
    suite = suite_of(xml_of(hccl(OUTCOMES, status="failed")), "node1/hccl")
    found = {case.get("name"): [(each.tag, each.get("message") or each.text) for each in case]
             for case in suite.iter("testcase")}
    assert found == {
        "hccl.link (npu 0)": [],
        "hccl.link (npu 1)": [("failure", "hccl.link (npu 1): expected up, found down. Repair it.")],
        "hccl.slow": [("system-out", "warning: hccl.slow: expected up, found down. Repair it.")],
        "hccl.known": [("skipped", "waived: known (found: down)")],
        "hccl.tool": [("skipped", "not_run: There is no tool.")],
        "hccl.chip": [("skipped", "unsupported: The chip has none.")],
        "hccl.node_reachable": [("error", "hccl.node_reachable: node1 is not reachable. Repair it.")]}
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time", "timestamp")] == [
        "7", "1", "1", "3", "0.100", NOW.rstrip("Z")]


def test_stage_without_a_result_is_skipped():
    (case,) = suite_of(xml_of(), "node2/serving").iter("testcase")
    assert (case.get("name"), case[0].tag, case[0].get("message")) == ("serving", "skipped", "The stage was not run.")


def test_passed_checks_of_a_stale_result_are_skipped():
    suite = suite_of(xml_of(result("hccl", "node1"), current={"node1": current("ba9876543210")}), "node1/hccl")
    assert [each.get("message") for each in suite.iter("skipped")] == [
        "stale: the plan was 0123456789ab and is now ba9876543210."] * 2


def test_suites_have_the_properties_of_their_host():
    driver = result("npu_driver", "node1", observed={"npu_smi": {"driver_version": "25.3.rc1"}})
    text = xml_of({**driver, "release": "v0.11.0rc1", "model": "qwen"}, image("node1"))
    properties = {each.get("name"): each.get("value") for each in suite_of(text, "node1/hccl").iter("property")}
    assert properties == {"release": "v0.11.0rc1", "model": "qwen", "plan": "0123456789ab", "image_digest": IMAGE,
                          "driver": "25.3.rc1"}


def test_two_junit_parsers_find_the_same_cases():
    text = xml_of(hccl(OUTCOMES, status="failed"), result("image", "node2"))
    first = junitparser.JUnitXml.fromstring(text.encode())
    second = junit2html.Junit(xmlstring=text)
    assert len(list(first)) == len(second.suites) == 2 * len(contract.STAGES)
    (suite1,) = [suite for suite in first if suite.name == "node1/hccl"]
    assert (suite1.tests, suite1.failures, suite1.errors, suite1.skipped) == (7, 1, 1, 3)
    assert [case.name for case in suite1 if any(isinstance(each, junitparser.Failure) for each in case.result)] == [
        "hccl.link (npu 1)"]
    (suite2,) = [suite for suite in second.suites if suite.name == "node1/hccl"]
    assert {case.name for case in suite2.failed()} >= {"hccl.link (npu 1)"}
    assert {case.name for case in suite2.skipped()} == {"hccl.known", "hccl.tool", "hccl.chip"}


@pytest.mark.parametrize("hostile", [
    "\x00\x1b[2J\ufffe\uffff\ud800", ']]></failure><x a="', "&lt;&amp;\u202e", "x" * 100_000])
def test_hostile_text_is_valid_xml(hostile):
    checks = [{**outcome("failed", hostile), "id": f"hccl.{hostile}", "subject": hostile, "remedy": hostile},
              outcome("not_run", hostile)]
    text = xml_of({**hccl(checks), "model": hostile, "finished_at": NOW})
    assert len(list(suite_of(text, "node1/hccl").iter("testcase"))) == 2
    assert len(list(ElementTree.parse(io.StringIO(text)).getroot())) == 16


def test_schema_refuses_a_failure_without_a_message():
    text = xml_of(hccl(OUTCOMES, status="failed")).replace('message="hccl.link', 'text="hccl.link')
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        SCHEMA.validate(text)
