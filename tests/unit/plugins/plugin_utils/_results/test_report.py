# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, report

TABLE = (contract.Check("health", contract.CRITICAL, "NPUs are well", "Replace the card."),
         contract.Check("warmth", contract.WARNING, "NPUs are cool", "Look at the fans."))
VALIDATE = jsonschema.Draft202012Validator(json.loads(
    (Path(__file__).resolve().parents[5] / "docs/schemas/report-v1.json").read_text("utf-8"))).validate
NOW = "2026-11-23T12:00:00Z"


def result(stage, host, ok=True, warm=True, observed=None):
    checks = contract.Checks(TABLE)
    checks.expect("health", ok, "OK", "Alarm", subject="npu 3")
    checks.expect("warmth", warm, "< 90 °C", "95 °C")
    plan = {"hash": "0123456789ab"}
    return contract.stage_result(stage, host, checks.as_list(), plan, observed, NOW, NOW, 0.1, None, "0.1.0")


def serving(host, state="ready", started="2026-11-23T10:00:00.123Z"):
    return result("serving", host, observed={
        "services": [{"name": "a", "url": "http://192.0.2.12:8888", "served_name": "qwen25_vl"}],
        "instances": [{"name": "a", "state": state, "container": {"started_at": started}}]})


def summary(*found, hosts=("node1", "node2")):
    by_host = {host: {} for host in hosts}
    for item in found:
        by_host[item["host"]][item["stage"]] = item
    return report.summarise(by_host, list(hosts), NOW, "0.1.0")


@pytest.mark.parametrize(("found", "status", "headline"), [
    ([], "not_run", "Nothing was run"),
    ([result("npu_driver", "node1"), result("npu_driver", "node2")], "passed", "1 of 8 stages hold on all 2 hosts"),
    ([result("npu_driver", "node1")], "passed", "0 of 8 stages hold on all 2 hosts"),
    ([result("npu_driver", "node1"), result("npu_driver", "node2", warm=False)], "warned",
     "1 of 8 stages hold on all 2 hosts, with warnings"),
    ([result("npu_driver", "node1", ok=False), result("npu_driver", "node2")], "failed", "1 of 2 hosts failed: node1"),
])
def test_headline_tells_the_truth(found, status, headline):
    made = summary(*found)
    assert (made["status"], report.headline(made)) == (status, headline)


def test_a_stage_without_a_file_is_not_run():
    made = summary(result("npu_driver", "node1"))
    assert made["hosts"]["node2"]["npu_driver"]["status"] == "not_run"
    assert made["hosts"]["node1"]["serving"]["status"] == "not_run"
    assert made["passing_hosts"] == ["node1"]


def test_a_host_without_any_result_is_neither_passing_nor_failing():
    made = summary(result("npu_driver", "node1", ok=False))
    assert (made["passing_hosts"], made["failing_hosts"]) == ([], ["node1"])


def test_markdown_names_host_check_and_remedy():
    text = report.to_markdown(summary(
        result("npu_driver", "node1", ok=False),
        serving("node2"),
        result("benchmark", "node2", observed={"figures": [
            {"name": "output throughput", "value": 1234.5678, "unit": "token/s"}]})))
    assert "- **node1** npu_driver.health (npu 3): expected OK, found Alarm. Replace the card." in text
    assert "- node2 serves qwen25_vl at http://192.0.2.12:8888, since 2026-11-23T10:00:00Z\n" in text
    assert "| node2 | output throughput | 1235 | token/s |" in text
    assert "| node1 | FAILED | not run |" in text


def test_what_does_not_answer_is_no_service():
    assert summary(serving("node2", state="failed"))["services"] == []


@pytest.mark.parametrize(("started", "said"), [
    ("2026-11-23T10:00:00.123Z", ", unchanged since 2026-11-23T10:00:00Z"),
    ("2026-11-23T11:00:00.123Z", ", since 2026-11-23T11:00:00Z"),
])
def test_a_service_that_runs_since_the_last_report_is_unchanged(started, said):
    last = summary(serving("node2"))
    made = report.summarise({"node2": {"serving": serving("node2", started=started)}}, ["node2"], NOW, "0.1.0", last)
    assert report.services(made) == ["node2 serves qwen25_vl at http://192.0.2.12:8888" + said]


def test_a_balancer_is_a_service_once_it_answered():
    url = "http://192.0.2.11:8080"
    checks = contract.Checks([contract.Check("balancer", contract.CRITICAL, "It answers", "Read its journal.")])
    checks.expect("balancer", True, 200, 200, url)
    made = contract.stage_result("serving", "node1", checks.as_list(), {}, {
        "instances": [], "services": [{"name": "balancer on node1", "url": url, "served_name": "m"}]})
    assert report.services(summary(made)) == ["node1 serves m at " + url]


def test_what_several_hosts_share_is_said_once():
    hosts = ("node1", "node2", "node3")
    text = report.to_markdown(summary(
        result("npu_driver", "node1", ok=False, warm=False), result("npu_driver", "node2", ok=False, warm=False),
        result("npu_driver", "node3", warm=False), hosts=hosts))
    assert "- **node1, node2** npu_driver.health (npu 3): expected OK, found Alarm. Replace the card." in text
    assert "- **all 3 hosts** npu_driver.warmth: expected < 90 °C, found 95 °C. Look at the fans." in text
    assert text.count("npu_driver.warmth") == 1


def test_what_was_not_run_says_why_and_not_what_a_failure_would_ask_for():
    text = report.to_markdown(summary(result("npu_driver", "node1", ok=None), hosts=("node1",)))
    assert "- **node1** npu_driver.health (npu 3): expected OK, found Alarm.\n" in text


def test_report_has_the_shape_of_its_schema(root):
    schema = json.loads((root / "docs/schemas/report-v1.json").read_text("utf-8"))
    made = summary(result("npu_driver", "node1", ok=False), result("npu_driver", "node2", warm=False))
    jsonschema.validate(made, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(dict(made, status="fine"), schema)


@pytest.mark.parametrize(("delta", "within", "verdict"), [(-0.5, True, "within the limit"), (-3.0, False, "TOO LOW")])
def test_two_models_on_the_same_data_are_one_table(delta, within, verdict):
    row = {"dataset": "textvqa", "metric": "accuracy", "before": 76.0, "after": 76.0 + delta, "delta": delta,
           "within": within}
    found = result("accuracy", "node1", observed={"comparison": [row], "compared_with": {"model": "bf16"}})
    found["model"] = "w8a8"
    made = summary(found)
    VALIDATE(made)
    assert made["comparisons"] == [dict(row, host="node1", compared_with="bf16", model="w8a8")]
    assert f"| node1 | textvqa, accuracy | bf16 | 76 | w8a8 | {76 + delta:.4g} | {delta:+.4g} | {verdict} |" in (
        report.to_markdown(made))
