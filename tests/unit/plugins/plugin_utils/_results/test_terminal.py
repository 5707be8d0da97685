# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, terminal
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    NOW,
    current,
    result,
    summary,
)

MESSAGE = "HOST cannot start node1234, says HOST (expected a start, found an error)"
HOSTS = tuple(f"node{number:04}" for number in range(1000))


def unique(host):
    """Return a result whose message names its host."""
    checks = contract.Checks([contract.Check("start", contract.CRITICAL, "It starts", "Repair Docker.")])
    checks.expect("start", False, "a start", "an error", message=f"{host} cannot start node1234, says {host}.")
    return contract.stage_result("serving", host, checks.as_list(), {}, finished_at=NOW)


def lines_of(*results, **options):
    return terminal.end_of_run(summary(*results, **options))


def test_failed_check_is_two_lines_with_hosts_expected_found_and_remedy():
    lines = lines_of(result("npu_driver", "node1", ok=False), result("npu_driver", "node2", ok=False))
    start = lines.index("FAILED npu_driver.health on all 2 hosts (npu 3): expected OK, found Alarm")
    assert lines[start + 1] == "       Replace the card."
    assert sum("npu_driver.health" in line for line in lines) == 1


def test_message_is_printed_with_expected_and_found():
    assert f"FAILED serving.start on node1: {MESSAGE.replace('HOST', 'node1')}" in lines_of(unique("node1"))


def test_messages_that_differ_only_in_the_name_of_the_host_are_merged():
    lines = lines_of(*map(unique, HOSTS), hosts=HOSTS)
    assert [line for line in lines if line.startswith("FAILED")] == [
        f"FAILED serving.start on all 1000 hosts: {MESSAGE.replace('HOST', 'node0000')}"]


def test_subjects_are_named_per_host_if_they_differ():
    found = [{**each, "subject": f"npu {number}"} for number, host in enumerate(("node1", "node2"))
             for each in result("npu_driver", host, ok=False)["checks"][:1]]
    pair = [{**result("npu_driver", host), "checks": [check]} for host, check in zip(("node1", "node2"), found)]
    assert "FAILED npu_driver.health on node1 (npu 0), node2 (npu 1): expected OK, found Alarm" in lines_of(*pair)


def test_list_of_many_different_findings_is_truncated():
    results = [{**unique(host), "checks": [{**unique(host)["checks"][0], "message": f"error {number}"}]}
               for number, host in enumerate(HOSTS[:10])]
    lines = lines_of(*results, hosts=HOSTS[:10])
    assert len([line for line in lines if line.startswith("FAILED")]) == 3
    assert "       serving.start: 7 more findings on " + ", ".join(HOSTS[3:10]) + ", see report.md" in lines


def test_warnings_are_counted_by_kind():
    results = [result("image", HOSTS[0], cool=False), *(result("hccl", host, cool=False) for host in HOSTS[:9])]
    lines = lines_of(*results, hosts=HOSTS[:10])
    assert "Warnings: hccl.temperature on 9 hosts, image.temperature on node0000" in lines


def test_table_has_one_row_for_hosts_that_do_not_differ():
    results = [result("hccl", host, ok=host != "node0500") for host in HOSTS]
    table = terminal.table(summary(*results, hosts=HOSTS))
    assert len(table) == 3
    assert table[1].startswith("node0000, node0001, node0002 and 996 more  not run     passed 0 s ")
    assert table[2].startswith("node0500                                   not run     FAILED 0 s ")


def test_output_for_a_thousand_hosts_with_faults_is_short():
    results = [result(stage, host, ok=number % 7 > 0, cool=number % 5 > 0)
               for number, host in enumerate(HOSTS) for stage in contract.STAGES]
    lines = lines_of(*results, hosts=HOSTS)
    assert len(lines) < 40
    assert max(map(len, lines)) <= 400


def test_stale_results_are_grouped_by_change():
    results = [result(stage, host) for stage in ("image", "hccl") for host in ("node1", "node2")]
    lines = lines_of(*results, current={"node1": current("ba9876543210"), "node2": current()})
    start = lines.index("STALE hccl, image on node1: the plan was 0123456789ab and is now ba9876543210.")
    assert lines[start + 1] == "      Run playbooks/site.yml --tags hccl,image."
    assert len([line for line in lines if line.startswith("STALE")]) == 1


def test_old_results_are_named():
    old = {**result("hccl", "node1"), "finished_at": "2026-11-15T12:00:00Z"}
    assert "Older than 24 h (report_max_age_h): hccl on node1" in lines_of(old, result("hccl", "node2"))
    assert not [line for line in lines_of(old, max_age_h=200) if line.startswith("Older")]
    assert "hccl" in lines_of(old, max_age_h=200)[4]
    assert "passed 8 d" in lines_of(old)[5]
