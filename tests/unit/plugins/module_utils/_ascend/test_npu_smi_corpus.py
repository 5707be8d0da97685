# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real npu-smi output and real version files match their labels, if the machine has a corpus of them."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool, npu_smi, version_files
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._ascend.npu_smi_listings import parse_listing


def differences(expected, actual, path=""):
    """Return the paths at which `actual` differs from `expected`; additional keys are allowed."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return [found for key, value in expected.items()
                for found in differences(value, actual.get(key, "missing"), "%s.%s" % (path, key))]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [found for number, value in enumerate(expected)
                for found in differences(value, actual[number], "%s[%d]" % (path, number))]
    return [] if expected == actual else ["%s: expected %r, got %r" % (path, expected, actual)]


def parse_file(text):
    """Parse a file into the format of its label. The collection itself reads neither rank tables nor toolkit files."""
    if text.startswith("{"):
        return {"kind": "ranktable", "fields": json.loads(text)}
    if "address_0=" in text:
        return dict(hccn_tool.parse_conf(text), kind="hccn_conf")
    parsed = version_files.parse(text)
    toolkit = "toolkit" in parsed["fields"].get("package_name", "")
    return dict(parsed, kind="toolkit_install") if toolkit else parsed


@pytest.mark.parametrize(("folder", "parse"), [
    ("npu-smi-info", npu_smi.parse_info),
    ("npu-smi-other", parse_listing),
    ("files", parse_file),
])
def test_every_real_sample_matches_its_label(corpus, folder, parse):
    samples = sorted((corpus / folder).glob("*.txt"))
    found = {}
    for sample in samples:
        expected = json.loads(sample.with_suffix(".expected.json").read_text("utf-8"))
        with open(sample, encoding="utf-8", newline="") as stream:
            found[sample.name] = differences(expected, parse(stream.read()))
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert len(found) > 10
