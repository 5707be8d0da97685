# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action import log_triage


@pytest.fixture
def run(tmp_path):
    """Return a function (text of a log) -> (the return value of the action, the printed text)."""
    def run(text, name="a.log", **task_vars):
        (tmp_path / "a.log").write_text(text)
        action = log_triage.ActionModule(Mock(args={"path": str(tmp_path / name)}, async_val=0), Mock(), Mock(), Mock(),
                                         Templar(loader=DataLoader(), variables={}), Mock())
        action._display = Mock()
        result = action.run(task_vars=task_vars)
        return result, action._display.display.call_args.args[0]
    return run


def test_causes_are_printed_with_file_line_and_remedy(run):
    result, text = run("x\n2026-11-20 10:00:00 RuntimeError: NPU out of memory\n")
    assert [cause["cause"] for cause in result["diagnosis"]] == ["out_of_memory"]
    assert "1. out_of_memory (a.log, line 2, 11-20 10:00:00)" in text
    assert "serving_args" in text
    assert "docs/checks.md" in text


def test_absence_of_faults_is_reported(run):
    result, text = run("INFO: Application startup complete.")
    assert (result["diagnosis"], result["files"]) == ([], ["a.log"])
    assert "No fault was found (files read: 1)." in text


def test_known_secrets_are_masked(run):
    result, text = run("RuntimeError: NPU out of memory for hunter22\n", serving_api_key=["first", "hunter22"])
    assert result["diagnosis"][0]["evidence"] == "RuntimeError: NPU out of memory for (redacted)"
    assert "hunter22" not in text


def test_path_that_does_not_exist_is_named(run):
    with pytest.raises(AnsibleActionFail, match=r"missing\.log does not exist"):
        run("", "missing.log")


def test_folder_without_logs_is_named(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnsibleActionFail, match=r"empty does not contain a text file\."):
        run("", "empty")
