# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of the report page. tests/browser shows the page in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import html
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import regression
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import drift
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    NOW,
    benchmark,
    result,
    serving,
    summary,
    weights,
)


@pytest.fixture(scope="module")
def assets(root):
    return {name: (root / "roles" / "report" / "files" / name).read_text("utf-8") for name in html.ASSETS}


@pytest.fixture
def page(assets):
    """Return a function (*results, plans) -> (the page, its data)."""
    def make(*results, hosts=("node1", "node2"), plans=None, runs=(), facts=drift.facts):
        found = {host: {} for host in hosts}
        for each in results:
            found[each["host"]][each["stage"]] = each
        text = html.page(summary(*results, hosts=hosts), found, plans or {}, facts, list(runs), assets)
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
        return text, json.loads(data)
    return make


def blocks(data, section):
    return next((each["blocks"] for each in data["sections"] if each["id"] == section), [])


def table(data, section, start):
    return next(each for each in blocks(data, section) if each.get("caption", "").startswith(start))


def port(switch="leaf-0", rx=1.0, **values):
    return {"lldp": {"tlvs": {"System Name TLV": switch}, "ifname": "1"}, "optical": {
        "present": True, "Rx Power0": 2.0, "Rx Power1": rx, "RxPower Low Thres": 0.1, "Media SNR Lane0": 20.0,
        **values}}


def hccl(host, matrix=None, npus=None, *checks):
    found = result("hccl", host, observed={"ping": {"matrix": matrix or {}}, "npus": npus or {}})
    return {**found, "checks": [*found["checks"], *checks]}


def suspect(check, subject, status="failed"):
    return {"id": f"hccl.{check}", "severity": "critical", "status": status, "subject": subject, "title": "t",
            "expected": 1, "actual": 2, "message": "the suspect", "remedy": "r"}


def test_page_without_results_has_only_its_verdict(page):
    text, data = page()
    assert "<h1>Nothing was run</h1>" in text
    assert (data["sections"], data["findings"], data["unreadable"]) == ([], [], [])


def test_policy_allows_the_embedded_scripts_and_styles_by_digest_and_nothing_else(page):
    text, _data = page(result("hccl", "node1", ok=False))
    policy = re.search('Content-Security-Policy" content="([^"]+)"', text)[1]
    embedded = re.findall("<(?:script|style)>(.*?)</(?:script|style)>", text, re.DOTALL)
    digests = ["'sha256-%s'" % base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()
               for each in [*embedded, *html.CHART_STYLES]]
    assert len(embedded) == 3
    assert sorted(re.findall("'sha256-[^']+'", policy)) == sorted(digests)
    assert re.sub(" 'sha256-[^']+'", "", policy) == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; script-src; style-src 'unsafe-hashes'")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:|//)""", text.replace(embedded[1], ""))


def test_data_and_text_are_escaped(page):
    hostile = "</script><script>x\u2028&{{page.js}}"
    text, data = page({**result("hccl", hostile, ok=False), "model": hostile}, hosts=(hostile,))
    assert text.count("</script>") == 3
    assert data["hosts"][0][0] == hostile
    assert "<h1>1 of 1 hosts failed: &lt;/script&gt;&lt;script&gt;x &amp;{{page.js}}</h1>" in text


def test_equal_findings_are_merged_and_the_most_urgent_is_first(page):
    text, data = page(result("hccl", "node1", cool=False), result("hccl", "node2", cool=False),
                      result("image", "node2", ok=False))
    assert [(each["id"], each["hosts"]) for each in data["findings"]] == [
        ("image.health", ["node2"]), ("hccl.temperature", ["node1", "node2"])]
    assert re.findall("<li>(image.*?)</li>", text) == [
        "image.health (npu 3): expected OK, found Alarm. Replace the card."]
    assert data["hosts"][1][1][1][:3] == ["warned", NOW, {"passed": 1, "warned": 1}]


def test_unexpected_observations_are_named_and_do_not_prevent_the_page(page):
    text, data = page(result("npu_driver", "node1", observed={"npu_smi": {"chips": 5}}),
                      hccl("node2", {"0": {"node1": ["x"]}}, {"0": port()}), plans={"node1": {"hash": "h"}})
    assert "<h1>" in text
    assert data["unreadable"] == ["node1/npu_driver.json", "node2/hccl.json", "the section Plan as deployed"]
    assert len(table(data, "fabric", "Rails")["rows"]) == 1


def test_heat_map_marks_the_suspect_and_counts_pairs(page):
    matrices = {"node1": {"0": {"node2": [0.0, 100.0]}, "1": {"node2": [33.0, -1]}},
                "node2": {"1": {"node1": [0.0, None]}}}
    _text, data = page(hccl("node1", matrices["node1"], None, suspect("optics_margin", "npu 0")),
                       hccl("node2", matrices["node2"], None, suspect("ping_mesh", "npu 1")))
    heat = next(each for each in blocks(data, "fabric") if each["kind"] == "heat")
    assert heat["ends"] == [["node1", 0], ["node1", 1], ["node2", 0], ["node2", 1]]
    assert heat["losses"] == [[None, None, 0, 100], [None, None, 33, 100], [None] * 4, [0, None, None, None]]
    assert heat["suspects"] == [3]
    assert heat["text"] == "5 pairs were tested: 2 got no reply, 1 lost packets."


def test_heat_map_of_a_large_mesh_shows_the_hosts_with_the_most_bad_pairs(page):
    hosts = [f"node{number}" for number in range(12)]
    results = [hccl(host, {"0": {other: [100.0 if {host, other} == {"node3", "node7"} else 0.0]
                                 for other in hosts if other != host}}) for host in hosts]
    results[7]["checks"].append(suspect("ping_mesh", None))
    _text, data = page(*results, hosts=hosts)
    heat = next(each for each in blocks(data, "fabric") if each["kind"] == "heat")
    assert len(heat["ends"]) == html.HEAT_HOSTS
    assert ["node3", 0] in heat["ends"]
    assert [heat["ends"][index] for index in heat["suspects"]] == [["node7", 0]]
    assert "132 pairs were tested: 2 got no reply" in heat["text"]
    assert "shows the 8 hosts" in heat["text"]


def test_rails_and_optics_mark_what_differs(page):
    usual = {"0": port("leaf-0", 1.0)}
    _text, data = page(
        hccl("node1", None, usual), hccl("node3", None, usual),
        hccl("node2", None, {"0": port("leaf-1", 0.2)}, suspect("optics_margin", "npu 0", "warned")),
        hosts=("node1", "node2", "node3"))
    assert table(data, "fabric", "Rails")["rows"] == [
        [0, ["leaf-1", "warned"], 1, "node2"], [0, "leaf-0", 2, "node1, node3"]]
    rows = table(data, "fabric", "Optical")["rows"]
    assert rows[0] == ["node2", ["0", "warned"], 0.2, 3.0, None, None, 20.0, None, None]
    assert rows[1][3] == 10.0  # 10 log10(1.0 mW / 0.1 mW)


def test_weights_name_sources_and_rate(page):
    manifest = {"digest": "d", "source": "modelscope", "repository": "a/b", "revision": None, "bytes": 3 << 30,
                "recorded_at": NOW, "files": [{"path": "x", "size": 2 << 30, "sha256_from": "hub"},
                                              {"path": "y", "size": 1 << 30, "sha256_from": "file"}]}
    found = weights("node1")
    found.update(observed={"manifest": manifest, "fetched": ["x"], "hashed_bytes": 1 << 30}, duration_s=100.0)
    _text, data = page(found, weights("node2"))
    assert table(data, "weights", "Manifests")["rows"] == [["d", "modelscope a/b", 2, 3.0, 1, "node1"]]
    assert table(data, "weights", "Staging")["rows"] == [["node1", "modelscope", 2.0, 1.0, 100.0, 21.5, NOW]]


def test_facts_that_differ_come_first(page):
    _text, data = page(*(result("npu_driver", f"node{number}", observed={"kernel": kernel, "npu_smi": {"chips": []}})
                         for number, kernel in enumerate("565", 1)), hosts=("node1", "node2", "node3"),
                       facts=lambda observed: {"os": "a", "kernel": observed["kernel"]})
    assert blocks(data, "versions")[0]["rows"] == [
        ["kernel", ["6", "warned"], 1, "node2"], ["os", "a", 3, "all"], ["kernel", "5", 2, "node1, node3"]]


def measured(**values):
    return {"name": "a", "runs": [{}], "summary": {"output_throughput": {"median": 100.04}}, "baseline": None,
            "sweep": None, **values}


def compared(before, after, repeats=5):
    """Return a baseline as the stage records it, after its comparison."""
    sides = ([{"output_throughput": value}] * repeats for value in (before, after))
    return {"result": regression.judge({"a": regression.Pair(*sides, 0.95)})["a"]}


@pytest.mark.parametrize(("after", "repeats", "limit", "change", "verdict"), [
    (100.0, 5, 118.75, -20.0, ["beyond the limit", "failed"]), (124.0, 5, 118.75, -0.8, "within the limit"),
    (100.0, 1, None, -20.0, "inconclusive"),
])
def test_benchmark_shows_the_verdict_on_each_metric(page, after, repeats, limit, change, verdict):
    found = benchmark("node1")
    found["observed"]["measurements"] = [measured(baseline=compared(125.0, after, repeats))]
    assert table(page(found)[1], "benchmark", "Compared")["rows"] == [
        ["node1", "a", "Output token throughput", 125.0, after, limit, "tok/s", change, verdict]]


def test_baseline_without_a_comparison_is_not_shown(page):
    found = benchmark("node1")
    found["observed"]["measurements"] = [measured(baseline={"repeats": []})]
    _text, data = page(found)
    assert [each["caption"] for each in blocks(data, "benchmark")] == ["Medians over the repeats"]
    assert data["unreadable"] == []


def test_benchmark_shows_load_and_objective(page):
    points = [{"value": 2.0, "run": {"metrics": {"p99_ttft_ms": 30.0, "output_throughput": 9.0}}},
              {"value": 1.0, "run": {"metrics": {"p99_ttft_ms": 10.0, "output_throughput": 5.0}}}]
    found = benchmark("node1")
    found["observed"]["measurements"] = [measured(sweep={
        "variable": "request_rate", "objective": {"p99_ttft_ms": 20.0}, "points": points, "best": 1.0,
        "knee": 2.0, "earlier": [[1.0, {"p99_ttft_ms": 5.0, "output_throughput": 7.0}]], "earlier_name": "m, v1"})]
    _text, data = page(found)
    assert table(data, "benchmark", "Medians")["rows"][0][:5] == ["node1", "a", 1, None, 100.0]
    charts = {each["title"]: each["series"] for each in blocks(data, "benchmark") if each["kind"] == "lines"}
    assert charts["Time to first token of a by load"] == [
        {"name": "p99", "points": [[1.0, 10.0], [2.0, 30.0]], "limit": False},
        {"name": "p99 of m, v1", "points": [[1.0, 5.0]], "limit": False},
        {"name": "objective, p99", "points": [[1.0, 20.0], [2.0, 20.0]], "limit": True}]
    assert [(each["name"], each["points"]) for each in charts["Output throughput of a by load"]] == [
        ("output tokens", [[1.0, 5.0], [2.0, 9.0]]), ("of m, v1", [[1.0, 7.0]]), ("knee", [[2.0, 9.0]]),
        ("highest load within the objective", [[1.0, 5.0]])]
    assert "node1, a: a load of up to 1 requests/s meets the objective, and the knee of the curve is at 2." in [
        each.get("text") for each in blocks(data, "benchmark")]


def test_history_shows_figures_baselines_and_runs(page):
    runs = [{"at": f"2026-11-{number:02d}T00:00:00Z", "headline": "ok", "failing_hosts": [], "releases": ["v1"],
             "plan_hashes": ["p"], "covered": ["benchmark"], "figures": [
                 {"host": "node1", "name": "Output token throughput", "unit": "tok/s", "at": str(number),
                  "value": 100.0 if number < 4 else 50.0}]} for number in range(1, 6)]
    found = benchmark("node1")
    found["observed"]["measurements"] = [measured(baseline=compared(90.0, 50.0))]
    _text, data = page(found, runs=runs)
    assert table(data, "history", "Figures")["rows"] == [
        ["node1", "Output token throughput", 100.0, 50.0, "tok/s", -50.0, "2026-11-04T00:00:00Z", None]]
    (chart,) = (each for each in blocks(data, "history") if each["kind"] == "lines")
    assert [series["points"][-1] for series in chart["series"]] == [[5, 50.0], [5, 90.0]]
    assert [row[0] for row in table(data, "history", "Runs")["rows"]] == [5, 4, 3, 2, 1]
    assert blocks(page(found, runs=runs[:1])[1], "history") == []


def test_many_services_are_counted(page):
    hosts = [f"node{number}" for number in range(10)]
    text, _data = page(*(serving(host) for host in hosts), hosts=hosts)
    assert len(re.findall("<li>node.*? serves ", text)) == 8
    assert "<li>and 2 more services</li>" in text
