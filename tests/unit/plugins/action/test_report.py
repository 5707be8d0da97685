# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results are removed at the beginning of a run, and the report is written at the end."""

from __future__ import annotations

import json
import re
from unittest.mock import Mock

import jsonschema
import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action.report import ActionModule
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.run import RUN_ID
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION

TABLE = (contract.Check("npu_count", contract.CRITICAL, "All NPUs are present", "Insert the missing NPUs."),)
SERVICE = {"name": "vllm", "url": "http://10.0.0.1:8888", "served_name": "qwen"}


def result(stage, host, ok=True, **observed):
    checks = contract.Checks(TABLE)
    checks.expect("npu_count", ok, 8, 8 if ok else 7)
    return contract.stage_result(stage, host, checks.as_list(), observed=observed, started_at="2026-01-01T00:00:00Z",
                                 finished_at="2026-01-01T00:00:01Z", duration_s=1.0,
                                 collection_version=COLLECTION_VERSION)


@pytest.fixture
def act(tmp_path):
    """Return a function (arguments, check_mode, **variables) -> the return value of the action.

    Its attributes ``shown`` and ``warnings`` list what was printed; ``records`` reads and writes the results folder.
    """
    def run(args, check_mode=False, **variables):
        loader = DataLoader()
        action = ActionModule(Mock(args=args, async_val=0, check_mode=check_mode), Mock(), Mock(), loader,
                              Templar(loader=loader, variables={}), Mock())
        action._display = Mock()
        returned = action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path), **variables})
        run.shown = [call.args[0] for call in action._display.display.call_args_list]
        run.warnings = [call.args[0] for call in action._display.warning.call_args_list]
        return returned

    run.records = Records(tmp_path)
    for host in ("node1", "node2", "spare"):
        for stage in ("npu_driver", "hccl", "serving"):
            run.records.write_result(result(stage, host))
    return run


def stages_of(records, host):
    return list(records.read_results(host, contract.STAGES))


@pytest.mark.parametrize(("tags", "stages", "kept"), [
    ({}, list(contract.STAGES), []),
    ({"ansible_run_tags": ["all"], "ansible_skip_tags": ["hccl"]},
     [stage for stage in contract.STAGES if stage != "hccl"], ["hccl"]),
    ({"ansible_run_tags": ["serving", "functional"]}, ["serving", "functional"], ["npu_driver", "hccl"]),
    ({"ansible_run_tags": ["site_network"]}, [], ["npu_driver", "hccl", "serving"]),
])
def test_results_of_the_selected_stages_are_removed_at_the_beginning(act, tags, stages, kept):
    returned = act({"phase": "begin", "hosts": ["node1", "node2"]}, **tags)
    assert (returned["changed"], returned["stages"]) == (False, stages)
    assert [stages_of(act.records, host) for host in ("node1", "node2")] == [kept, kept]
    assert stages_of(act.records, "spare") == ["npu_driver", "hccl", "serving"]


def test_mistyped_stage_is_refused_at_the_beginning(act):
    with pytest.raises(AnsibleActionFail, match=r"--tags names hcl, .* did you mean hccl"):
        act({"phase": "begin", "hosts": ["node1"]}, ansible_run_tags=["serving", "hcl"])
    assert stages_of(act.records, "node1") == ["npu_driver", "hccl", "serving"]


def test_report_covers_the_expected_hosts_and_no_others(act, root):
    act.records.write_result(result("hccl", "node2", ok=False))
    returned = act({"hosts": ["node1", "node2", "lost"]})
    report = act.records.read_report()
    jsonschema.validate(report, json.loads((root / "docs/schemas/report-v2.json").read_text("utf-8")))
    assert report["collection_version"] == COLLECTION_VERSION
    assert {host: cells["hccl"]["status"] for host, cells in report["hosts"].items()} == {
        "node1": "passed", "node2": "failed", "lost": "not_run"}
    stats = returned.pop("ansible_stats")
    assert returned == {"changed": False, "status": "failed", "failing_host": "node2",
                        "msg": "1 of 3 hosts failed: node2 (report_fail_on: failed)",
                        "path": str(act.records.root / "report.md")}
    assert stats == {"per_host": False, "aggregate": False, "data": {"ascend_vllm": {
        "status": "failed", "msg": returned["msg"], "path": returned["path"], "failing_host": "node2",
        "passing_hosts": ["node1"], "failing_hosts": ["node2"], "services": [], "figures": []}}}
    assert "node2" in (act.records.root / "report.md").read_text("utf-8")
    (shown,) = act.shown
    assert shown.splitlines()[1] == "1 of 3 hosts failed: node2"
    assert shown.splitlines()[-1] == f"Report: {act.records.root / 'report.html'}, as text in report.md"


def test_service_is_compared_with_the_last_report(act):
    container = {"started_at": "2026-01-01T08:00:00.5Z"}
    act.records.write_result(result("serving", "node1", services=[SERVICE], instances=[
        {"name": "vllm", "state": "ready", "container": container}]))
    line = "node1 serves qwen at http://10.0.0.1:8888, since 2026-01-01T08:00:00Z"
    act({"hosts": ["node1"]})
    assert line in act.shown[0]
    act({"hosts": ["node1"]})
    assert line.replace("since", "unchanged since") in act.shown[0]


def test_every_form_is_written_and_names_the_nodes_that_are_left_out(act):
    act({"hosts": ["node1"]}, groups={"npu_nodes": ["node1", "node2", "lost"]})
    assert {path.name for path in act.records.root.iterdir() if path.is_file()} - {".lock"} == {
        "report.html", "report.json", "report.md", "junit.xml", "report.prom", "hosts_passed.txt"}
    assert act.records.read_report()["coverage"]["left_out"] == ["node2", "lost"]
    assert "2 of 3 hosts are not in this report (--limit)." in act.shown[0]


def test_results_of_another_plan_are_stale_and_fail_the_run_if_requested(act):
    act.records.write_result({**result("hccl", "node1"), "plan_hash": "0123456789ab"})
    Records(act.records.root, run_id="earlier").write_plan("node1", {"hash": "ba9876543210"}, {})
    assert "failing_host" not in act({"hosts": ["node2", "node1"]})
    assert "STALE hccl on node1: the plan was 0123456789ab and is now ba9876543210." in act.shown[0]
    returned = act({"hosts": ["node2", "node1"]}, report_fail_on=["failed", "stale"])
    assert (returned["failing_host"], returned["status"]) == ("node1", "stale")
    assert returned["msg"].endswith(" (report_fail_on: stale)")


def test_result_of_this_run_is_marked(act):
    act.records.write_result({**result("hccl", "node1"), "run_id": RUN_ID})
    act({"hosts": ["node1"]})
    assert "This run covered hccl on node1. All other results are " in act.shown[0]


def test_query_is_printed_and_returned(act):
    act.records.write_result(result("hccl", "node2", ok=False))
    returned = act({"hosts": ["node1", "node2"]}, report_query="findings[].[host, id]")
    assert act.shown[-1] == '["node2", "hccl.npu_count"]'
    stats = returned["ansible_stats"]["data"]["ascend_vllm"]
    assert returned["query"] == stats["query"] == [["node2", "hccl.npu_count"]]


def test_query_that_cannot_be_evaluated_causes_a_warning(act):
    returned = act({"hosts": ["node1"]}, report_query="length(max_age_h)")
    assert "query" not in returned
    assert ["report_query cannot be evaluated: " in warning for warning in act.warnings] == [True]
    assert (act.records.root / "report.md").exists()


@pytest.mark.parametrize(("variables", "message"), [
    ({"report_query": "a["}, "report_query must be a JMESPath"), ({"report_fail_on": []}, "must contain failed"),
    ({"report_max_age_h": "x"}, "report_max_age_h must be a number")])
def test_wrong_inputs_are_refused_before_a_report_is_written(act, variables, message):
    with pytest.raises(AnsibleActionFail, match=message):
        act({"hosts": ["node1"]}, **variables)
    assert not (act.records.root / "report.md").exists()


@pytest.mark.parametrize("damage", ["", '{"schema": ', "[]"])
def test_damaged_files_do_not_prevent_the_report_and_are_named(act, root, damage):
    for path in (act.records.root / "node1" / "serving.json", act.records.root / "report.json"):
        path.write_text(damage)
    act({"hosts": ["node1"]})
    report = json.loads((act.records.root / "report.json").read_text("utf-8"))
    jsonschema.validate(report, json.loads((root / "docs/schemas/report-v2.json").read_text("utf-8")))
    assert {stage: report["hosts"]["node1"][stage]["status"] for stage in ("hccl", "serving")} == {
        "hccl": "passed", "serving": "not_run"}
    assert "node1/serving.json" in (act.records.root / "report.md").read_text("utf-8")
    assert ["report.json" in warning for warning in act.warnings] == [True]


def test_hostile_host_name_is_refused_at_the_beginning_and_harmless_at_the_end(act):
    before = sorted(act.records.root.parent.rglob("[!.]*"))
    with pytest.raises(AnsibleActionFail, match="rename the host"):
        act({"phase": "begin", "hosts": ["node1", "../../x"]})
    assert sorted(act.records.root.parent.rglob("[!.]*")) == before
    act({"hosts": ["node1", "../../x", "a\x1b[2J\nb"]})
    assert "\x1b" not in act.shown[0] + (act.records.root / "report.md").read_text("utf-8")


def test_reports_do_not_contain_known_secrets(act):
    act.records.write_result(result("hccl", "node1", ok=False, figures=[
        {"name": "hunter22", "value": 1.0, "unit": "hunter22"}]))
    act({"hosts": ["node1"]}, serving_api_key="hunter22")
    texts = [act.shown[0], *((act.records.root / name).read_text("utf-8")
                             for name in ("report.html", "report.md", "report.json"))]
    assert ["hunter22" in text for text in texts] == [False] * 4


def test_page_has_the_plan_of_an_earlier_run_without_secrets_and_the_history(act, root):
    plan = json.loads((root / "tests/data/results/plan.json").read_text("utf-8"))["plan"]
    plan["instances"][0]["command"].append("--key=hunter<22>")
    Records(act.records.root, run_id="earlier").write_plan("node1", plan, {})
    act.records.write_result({**result("hccl", "node1"), "run_id": RUN_ID})
    for _run in range(2):
        act({"hosts": ["node1"]}, serving_api_key="hunter<22>")
    page = (act.records.root / "report.html").read_text("utf-8")
    assert "vllm serve /data/Qwen2.5-VL-32B-Instruct-w8a8" in page
    assert not re.search(r"hunter(<|&lt;|\\u003c)22", page)
    (entry,) = (act.records.root / "history").iterdir()
    assert json.loads(entry.read_text("utf-8"))["covered"] == ["hccl"]


@pytest.mark.parametrize("args", [{"phase": "begin", "hosts": ["node1"]}, {"hosts": ["node1"]}])
def test_check_mode_writes_and_removes_nothing(act, args):
    before = sorted(act.records.root.rglob("[!.]*"))
    act(args, check_mode=True)
    assert sorted(act.records.root.rglob("[!.]*")) == before
    assert not (act.records.root / ".lease.json").exists()
    assert not [text for text in act.shown if "Report" in text]


@pytest.mark.parametrize(("args", "message"), [
    ({}, "hosts"),
    ({"hosts": ["node1"], "phase": "middle"}, "value of phase must be one of: begin, end"),
])
def test_invalid_arguments_are_refused(act, args, message):
    with pytest.raises(AnsibleActionFail, match=message):
        act(args)


@pytest.mark.parametrize(("ok", "verdict", "exit_code"), [(True, "healthy", 0), (False, "failed", 2)])
def test_verdict_depends_on_the_results_of_this_run(act, tmp_path, ok, verdict, exit_code):
    """The results of the fixture belong to no run, so that they count as missing."""
    task = {"phase": "verify", "hosts": ["node1"], "stages": ["hccl"], "path": str(tmp_path / "verify.json")}
    returned = act(task)
    assert (returned["failed"], returned["reasons"]) == (True, ["node1: hccl wrote no result"])
    act.records.write_result({**result("hccl", "node1", ok), "run_id": RUN_ID})
    returned = act(task)
    assert (returned["failed"], returned["verdict"], returned["exit_code"]) == (not ok, verdict, exit_code)
    assert act.shown == [returned["msg"]]
    written = json.loads((tmp_path / "verify.json").read_text("utf-8"))
    assert written == {key: returned[key] for key in ("verdict", "exit_code", "reasons", "report")}


def test_verdict_is_not_written_in_check_mode(act, tmp_path):
    act({"phase": "verify", "hosts": ["node1"], "stages": ["hccl"], "path": str(tmp_path / "v")}, check_mode=True)
    assert not (tmp_path / "v").exists()


def test_results_of_the_listed_stages_are_removed_at_the_beginning(act):
    act({"phase": "begin", "hosts": ["node1"], "stages": ["hccl"]}, ansible_run_tags=["all"])
    assert stages_of(act.records, "node1") == ["npu_driver", "serving"]
