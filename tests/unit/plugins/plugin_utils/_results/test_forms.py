# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import forms
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    by_host,
    result,
    summary,
)


def test_every_form_has_a_file():
    results = [result("hccl", "node1", ok=False), result("hccl", "node2")]
    found = dict(forms.forms(summary(*results), by_host(*results)))
    assert json.loads(found["report.json"])["schema"] == "ascend.vllm/report/v2"
    assert found["report.md"].startswith("# 1 of 2 hosts failed: node1\n")
    assert found["junit.xml"].startswith("<?xml")
    assert found["report.prom"].startswith("# TYPE")
    assert (found["hosts_passed.txt"], found["hosts_failed.txt"]) == ("node2\n", "node1\n")


def test_list_without_hosts_is_empty_so_that_no_file_is_written():
    assert dict(forms.forms(summary(), by_host()))["hosts_failed.txt"] == ""


@pytest.mark.parametrize(("hosts", "expected"), [("node2\n", ["node2"]), ("node1\nnode2\n", ["node1", "node2"])])
def test_ansible_limits_a_run_to_the_hosts_in_a_list(tmp_path, hosts, expected):
    (tmp_path / "list.txt").write_text(hosts)
    inventory = InventoryManager(loader=DataLoader(), sources="node1,node2,node3,")
    inventory.subset(f"@{tmp_path}/list.txt")
    assert [host.name for host in inventory.get_hosts("all")] == expected
