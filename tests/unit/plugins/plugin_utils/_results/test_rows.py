# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, wording
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    IMAGE,
    MODEL,
    SERVICE,
    accuracy,
    image,
    result,
    serving,
    summary,
    weights,
)

SCHEMA = json.loads((Path(__file__).resolve().parents[5] / "docs/schemas/report-v2.json").read_text("utf-8"))


def test_server_that_does_not_respond_is_not_listed():
    assert summary(serving("node2", state="failed"))["services"] == []


@pytest.mark.parametrize(("started", "expected"), [
    ("2026-11-23T10:00:00.123Z", ", unchanged since 2026-11-23T10:00:00Z"),
    ("2026-11-23T11:00:00.123Z", ", since 2026-11-23T11:00:00Z"),
])
def test_service_that_has_run_since_the_last_report_is_unchanged(started, expected):
    last = summary(serving("node2"))
    assert wording.services(summary(serving("node2", started=started), last=last)) == [SERVICE + expected]


def test_balancer_that_responded_is_listed_as_a_service():
    url = "http://192.0.2.11:8080"
    checks = contract.Checks([contract.Check("balancer", contract.CRITICAL, "It responds", "Read its journal.")])
    checks.expect("balancer", True, 200, 200, url)
    balancer = contract.stage_result("serving", "node1", checks.as_list(), {}, {
        "instances": [], "services": [{"name": "balancer on node1", "url": url, "served_name": "m"}]})
    assert wording.services(summary(balancer)) == ["node1 serves m at " + url]


@pytest.mark.parametrize(("results", "expected"), [
    ([], []),
    ([image("node1"), image("node2"), weights("node1"), weights("node2")], [
        ("image_digest", IMAGE, ["node1", "node2"]), ("weights_digest", MODEL, ["node1", "node2"])]),
    ([image("node1", digests=["mirror.example/a/b@sha256:" + "8" * 64])], [
        ("image_digest", "sha256:" + "8" * 64, ["node1"])]),
    # An image loaded from an archive has no registry digest.
    ([image("node1", digests=[])], [("image_digest", "sha256:" + "9" * 64, ["node1"])]),
    ([image("node1"), image("node2", digests=[])], [
        ("image_digest", IMAGE, ["node1"]), ("image_digest", "sha256:" + "9" * 64, ["node2"])]),
    ([image("node1", ok=False), weights("node1", ok=False)], []),
    ([weights("node1", digest="`x`\n"), weights("node2", digest=None), result("image", "node1", observed={})], []),
])
def test_only_digests_from_stages_that_passed_are_pinned(results, expected):
    found = summary(*results)
    assert [(pin["name"], pin["value"], pin["hosts"]) for pin in found["pins"]] == expected
    jsonschema.validate(found, SCHEMA)


@pytest.mark.parametrize("observed", [{"image": "x"}, {"image": {"digests": [5]}}, {"image": {"digests": 7}}])
def test_image_observation_in_an_unknown_format_is_not_pinned(observed):
    found = summary(result("image", "node1", observed=observed), weights("node1"))
    assert [(pin["name"], pin["hosts"]) for pin in found["pins"]] == [("weights_digest", ["node1"])]
    assert [(finding["id"], finding["host"], finding["status"]) for finding in found["findings"]
            if "cannot show" in (finding["message"] or "")] == [("image.observation", "node1", "not_run")]


def test_comparison_in_an_unknown_format_is_reported():
    damaged = accuracy("node1")
    damaged["observed"]["comparison"][0]["before"] = "76"
    found = summary(damaged)
    assert found["comparisons"] == []
    (finding,) = [each for each in found["findings"] if each["status"] == "not_run"]
    assert (finding["id"], finding["host"]) == ("accuracy.observation", "node1")
    assert "'76' is not a number" in finding["message"]


@pytest.mark.parametrize(("planned", "names"), [
    (450000, {"KV cache of a": 458752, "planned KV cache of a": 450000}), (None, {"KV cache of a": 458752})])
def test_kv_cache_of_the_engine_is_listed_with_the_planned_one(planned, names):
    found = serving("node2")
    found["observed"]["planned_kv_cache_tokens"] = planned
    assert summary(found)["figures"] == []
    found["observed"]["instances"][0]["kv_cache_tokens"] = 458752
    assert {row["name"]: row["value"] for row in summary(found)["figures"]} == names
