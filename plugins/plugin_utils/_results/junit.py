# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JUnit XML, a suite per host and stage and a case per check and subject. See tests/data/junit.xsd."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CheckOutcome
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.report import Cell, Report, Results

# If one of these checks fails, its stage is broken. All other failed checks are failures.
_BROKEN = tuple(f".{check.id}" for check in contract.COMMON)
_COUNTED = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def to_junit(report: Report, results: Results) -> str:
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="ascend.vllm">\n']
    for host, cells in report["hosts"].items():
        properties = _properties(report, host, results)
        for stage, cell in cells.items():
            result = results.get(host, {}).get(stage)
            suite = _suite(host, stage, cell, result["checks"] if result else (), properties)
            indent(suite)
            parts.append(tostring(suite, "unicode") + "\n")
    return "".join([*parts, "</testsuites>\n"])


def _suite(host: str, stage: str, cell: Cell, checks: Iterable[CheckOutcome], properties: Mapping[str, object]
           ) -> Element:
    suite = Element("testsuite", name=_clean(f"{host}/{stage}"), hostname=_clean(host))
    suite.set("time", f"{cell['duration_s'] or 0:.3f}")
    if cell["finished_at"]:
        suite.set("timestamp", _clean(cell["finished_at"].rstrip("Z")))  # UTC; readers expect no time zone
    listed = _add(suite, "properties")
    for name, value in properties.items():
        _add(listed, "property", name=name, value=value)
    for check in checks:
        name = f"{check['id']} ({check['subject']})" if check["subject"] else check["id"]
        _outcome(_add(suite, "testcase", name=name, classname=f"{host}.{stage}", time="0"), check, cell)
    if not checks:
        case = _add(suite, "testcase", name=stage, classname=f"{host}.{stage}", time="0")
        _add(case, "skipped", message="The stage was not run.")
    for attribute, tag in _COUNTED.items():
        suite.set(attribute, str(sum(1 for _each in suite.iter(tag))))
    return suite


def _outcome(case: Element, check: CheckOutcome, cell: Cell) -> None:
    """Add the outcome of a check to its case; a case without one is passed."""
    if check["status"] == contract.FAILED:
        tag = "error" if check["id"].endswith(_BROKEN) else "failure"
        _add(case, tag, type=check["severity"], message=contract.sentence(check)).text = _clean(check["remedy"])
    elif cell["status"] == contract.STALE:
        _add(case, "skipped", message=f"stale: {cell['stale']}")
    elif check["status"] == contract.WARNED:
        _add(case, "system-out").text = _clean(f"warning: {contract.sentence(check)}")
    elif check["status"] != contract.PASSED:
        _add(case, "skipped", message=f"{check['status']}: {check['message']}")


def _properties(report: Report, host: str, results: Results) -> dict[str, object]:
    """Return the properties of a host that are known."""
    stages, deployed = results.get(host, {}), report["deployed"].get(host)
    any_result = next(iter(stages.values()), {"release": None, "model": None, "plan_hash": None})
    smi = stages["npu_driver"]["observed"].get("npu_smi") if "npu_driver" in stages else None
    found = {"release": any_result["release"], "model": any_result["model"],
             "plan": deployed["plan"] if deployed else any_result["plan_hash"],
             **{pin["name"]: pin["value"] for pin in report["pins"] if host in pin["hosts"]},
             "driver": smi.get("driver_version") if isinstance(smi, dict) else None}
    return {name: value for name, value in found.items() if value}


def _add(parent: Element, tag: str, **attributes: object) -> Element:
    return SubElement(parent, tag, {name: _clean(value) for name, value in attributes.items()})


def _clean(text: object) -> str:
    """Return any text on one line, without the characters that XML does not allow."""
    return re.sub("[\ufffe\uffff]", "", _text.one_line(text))
