# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, report

TABLE = (contract.Check("health", contract.CRITICAL, "NPUs are healthy", "Replace the card."),
         contract.Check("temperature", contract.WARNING, "NPUs are cool", "Check the fans."))
SCHEMA = json.loads((Path(__file__).resolve().parents[5] / "docs/schemas/report-v1.json").read_text("utf-8"))
NOW = "2026-11-23T12:00:00Z"
SERVICE = "node2 serves qwen25_vl at http://192.0.2.12:8888"


def result(stage, host, ok=True, cool=True, observed=None):
    checks = contract.Checks(TABLE)
    checks.expect("health", ok, "OK", "Alarm", subject="npu 3")
    checks.expect("temperature", cool, "< 90 °C", "95 °C")
    plan = {"hash": "0123456789ab"}
    return contract.stage_result(stage, host, checks.as_list(), plan, observed, NOW, NOW, 0.1, None, "0.1.0")


def serving(host, state="ready", started="2026-11-23T10:00:00.123Z"):
    return result("serving", host, observed={
        "services": [{"name": "a", "url": "http://192.0.2.12:8888", "served_name": "qwen25_vl"}],
        "instances": [{"name": "a", "state": state, "container": {"started_at": started}}]})


def accuracy(host, delta=-0.5, within=True):
    row = {"dataset": "textvqa", "metric": "accuracy", "before": 76.0, "after": 76.0 + delta, "delta": delta,
           "within": within}
    observed = {"comparison": [row], "compared_with": {"model": "bf16"}}
    return {**result("accuracy", host, observed=observed), "model": "w8a8"}


def benchmark(host):
    return result("benchmark", host, observed={"figures": [
        {"name": "output throughput", "value": 1234.5678, "unit": "token/s"}]})


def summary(*results, hosts=("node1", "node2"), last=None):
    found = {host: {} for host in hosts}
    for each in results:
        found[each["host"]][each["stage"]] = each
    return report.summarize(found, list(hosts), NOW, "0.1.0", last)


@pytest.mark.parametrize(("results", "status", "headline"), [
    ([], "not_run", "Nothing was run"),
    ([result("npu_driver", "node1"), result("npu_driver", "node2")], "passed", "1 of 8 stages passed on all 2 hosts"),
    ([result("npu_driver", "node1")], "passed", "0 of 8 stages passed on all 2 hosts"),
    ([result("npu_driver", "node1"), result("npu_driver", "node2", cool=False)], "warned",
     "1 of 8 stages passed on all 2 hosts, with warnings"),
    ([result("npu_driver", "node1", ok=False), result("npu_driver", "node2")], "failed", "1 of 2 hosts failed: node1"),
])
def test_headline_summarizes_the_results(results, status, headline):
    found = summary(*results)
    assert (found["status"], report.headline(found)) == (status, headline)


def test_headline_names_a_single_host():
    found = summary(result("npu_driver", "node1"), hosts=("node1",))
    assert report.headline(found) == "1 of 8 stages passed on node1"


def test_stage_without_a_result_is_not_run():
    found = summary(result("npu_driver", "node1"))
    assert found["hosts"]["node2"]["npu_driver"]["status"] == "not_run"
    assert found["hosts"]["node1"]["serving"]["status"] == "not_run"
    assert found["passing_hosts"] == ["node1"]


def test_host_without_results_is_neither_passing_nor_failing():
    found = summary(result("npu_driver", "node1", ok=False))
    assert (found["passing_hosts"], found["failing_hosts"]) == ([], ["node1"])


def test_markdown_contains_host_check_and_remedy():
    text = report.to_markdown(summary(result("npu_driver", "node1", ok=False), serving("node2"), benchmark("node2")))
    assert "- **node1** npu_driver.health (npu 3): expected OK, found Alarm. Replace the card." in text
    assert f"- {SERVICE}, since 2026-11-23T10:00:00Z\n" in text
    assert "| node2 | output throughput | 1235 | token/s |" in text
    assert "| node1 | FAILED | not run |" in text


def test_server_that_does_not_respond_is_not_listed():
    assert summary(serving("node2", state="failed"))["services"] == []


@pytest.mark.parametrize(("started", "expected"), [
    ("2026-11-23T10:00:00.123Z", ", unchanged since 2026-11-23T10:00:00Z"),
    ("2026-11-23T11:00:00.123Z", ", since 2026-11-23T11:00:00Z"),
])
def test_service_that_has_run_since_the_last_report_is_unchanged(started, expected):
    last = summary(serving("node2"))
    assert report.services(summary(serving("node2", started=started), last=last)) == [SERVICE + expected]


def test_balancer_that_responded_is_listed_as_a_service():
    url = "http://192.0.2.11:8080"
    checks = contract.Checks([contract.Check("balancer", contract.CRITICAL, "It responds", "Read its journal.")])
    checks.expect("balancer", True, 200, 200, url)
    balancer = contract.stage_result("serving", "node1", checks.as_list(), {}, {
        "instances": [], "services": [{"name": "balancer on node1", "url": url, "served_name": "m"}]})
    assert report.services(summary(balancer)) == ["node1 serves m at " + url]


def test_finding_of_several_hosts_is_listed_once():
    hosts = ("node1", "node2", "node3")
    text = report.to_markdown(summary(
        result("npu_driver", "node1", ok=False, cool=False), result("npu_driver", "node2", ok=False, cool=False),
        result("npu_driver", "node3", cool=False), hosts=hosts))
    assert "- **node1, node2** npu_driver.health (npu 3): expected OK, found Alarm. Replace the card." in text
    assert "- **all 3 hosts** npu_driver.temperature: expected < 90 °C, found 95 °C. Check the fans." in text
    assert text.count("npu_driver.temperature") == 1


def test_check_that_was_not_run_has_no_remedy():
    text = report.to_markdown(summary(result("npu_driver", "node1", ok=None), hosts=("node1",)))
    assert "- **node1** npu_driver.health (npu 3): expected OK, found Alarm.\n" in text


IMAGE, MODEL = "sha256:" + "1" * 64, "2" * 64


def image(host, ok=True, **facts):
    observed = {"reference": "quay.io/a/b:v1", "image": {"id": "sha256:" + "9" * 64, "digests": [
        "mirror.example/a/b@sha256:" + "8" * 64, "quay.io/a/b@" + IMAGE], **facts}}
    return result("image", host, ok=ok, observed=observed)


def weights(host, ok=True, digest=MODEL):
    return result("weights", host, ok=ok, observed={"digest": digest})


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


def test_pins_can_be_copied_to_the_inventory():
    text = report.to_markdown(summary(image("node1"), image("node2"), weights("node1")))
    block = text.partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(block) == {"image_digest": IMAGE, "weights_digest": MODEL}
    assert f'image_digest: "{IMAGE}"  # all 2 hosts\nweights_digest: "{MODEL}"  # node1\n' in text


def test_report_matches_its_schema():
    found = summary(result("npu_driver", "node1", ok=False), result("npu_driver", "node2", cool=False))
    jsonschema.validate(found, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(dict(found, status="fine"), SCHEMA)


def test_types_have_the_same_keys_as_the_report_and_its_schema():
    found = summary(result("npu_driver", "node1", ok=False), serving("node2"), accuracy("node1"), benchmark("node1"))
    jsonschema.validate(found, SCHEMA)
    parts = SCHEMA["properties"]
    for kind, data, schema in [
            (report.Report, found, SCHEMA),
            (report.Cell, found["hosts"]["node1"]["npu_driver"],
             parts["hosts"]["additionalProperties"]["additionalProperties"]),
            (report.Finding, found["findings"][0], parts["findings"]["items"]),
            (report.Service, found["services"][0], parts["services"]["items"]),
            (report.Figure, found["figures"][0], parts["figures"]["items"]),
            (report.Comparison, found["comparisons"][0], parts["comparisons"]["items"])]:
        assert sorted(kind.__annotations__) == sorted(data), kind
        assert set(schema["required"]) <= set(data), kind


@pytest.mark.parametrize(("delta", "within", "verdict"), [(-0.5, True, "within the limit"), (-3.0, False, "TOO LOW")])
def test_scores_of_two_models_are_compared_in_a_table(delta, within, verdict):
    found = summary(accuracy("node1", delta, within))
    jsonschema.validate(found, SCHEMA)
    (row,) = found["comparisons"]
    assert row == {"host": "node1", "dataset": "textvqa", "metric": "accuracy", "compared_with": "bf16", "before": 76.0,
                   "model": "w8a8", "after": 76.0 + delta, "delta": delta, "within": within}
    assert f"| node1 | textvqa, accuracy | bf16 | 76 | w8a8 | {76 + delta:.4g} | {delta:+.4g} | {verdict} |" in (
        report.to_markdown(found))


HOSTILE = ["a\x1b[2Jb", "a\r\n\n# All passed", "a | b | c", "<script>alert(1)</script>", "[x](http://evil)", "**x**",
           "a\u202eb", "a\ud800b", "`x`", "x" * 100_000]


def with_hostile(data, hostile, path=()):
    """Yield copies of the data, each with one string or one host name replaced with the hostile text."""
    if isinstance(data, dict):
        for key, value in data.items():
            for changed in with_hostile(value, hostile, (*path, key)):
                yield {**data, key: changed}
            if path == ("hosts",):
                yield {hostile if name == key else name: each for name, each in data.items()}
    elif isinstance(data, list):
        for at, value in enumerate(data):
            for changed in with_hostile(value, hostile, (*path, at)):
                yield [*data[:at], changed, *data[at + 1:]]
    elif isinstance(data, str) and path[-1] not in ("status", "severity"):  # fixed values of this collection
        yield hostile


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_any_field_does_not_change_the_structure(hostile):
    """Even if one of its strings is hostile, the report keeps its lines and columns, and no line is forged."""
    good = summary(result("npu_driver", "node1", ok=False), result("hccl", "node1", cool=False), serving("node2"),
                   accuracy("node1"), benchmark("node1"))
    lines = report.to_markdown(good).split("\n")
    count = 0
    for changed in with_hostile(good, hostile):
        count += 1
        markdown = report.to_markdown(changed)
        found = markdown.split("\n")
        # A finding that two hosts share is one line, and becomes two lines if one host differs.
        assert abs(len(found) - len(lines)) <= 1
        assert [line for line in found if line.startswith("##")] == [line for line in lines if line.startswith("##")]
        assert [line for line in found if line.startswith("# ")] == found[:1]
        assert {line[:2] for line in found if line[:2] not in ("- ", "| ", "##", "# ")} <= {"", "Th"}
        columns = {line.replace(r"\|", "").count("|") for line in lines}
        assert {line.replace(r"\|", "").count("|") for line in found} <= columns
        assert "<script" not in markdown
        assert "](http" not in markdown
        assert max(map(len, found)) < 10_000
        shown = [*report.table(changed), *report.services(changed), report.headline(changed)]
        assert len(report.table(changed)) == len(report.table(good))
        for line in [*found, *shown]:
            assert line.isprintable(), line
    assert count > 30
