# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action saves what the module collected from a node, and the report adds it to the archive of the run."""

from __future__ import annotations

import base64
import json
import stat
import time

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.ascend.vllm.plugins.action import diagnostics_bundle, report
from ansible_collections.ascend.vllm.plugins.module_utils._host.collecting import pack
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import bundle, contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import (
    FakeNode,
    displayed,
    new_action,
    warnings,
)

CAUSE = {"cause": "out_of_memory", "evidence": "NPU out of memory", "remedy": "Lower it.", "line": 1, "time": None,
         "process": None, "source": "containers/vllm.log"}


def module_result(texts, **values):
    """Return what the module returns for these files.

    :param texts: ``{file: text}``.
    """
    return {"changed": False, "diagnosis": [], "clock_offset_s": 1.5, **values,
            "archive": base64.b64encode(pack(texts.items())).decode(),
            "files": {name: {"rc": 0, "size": len(text), "problem": None} for name, text in texts.items()}}


@pytest.fixture
def collect(tmp_path):
    """Return a function (host, result of the module) -> the return value of the action.

    Its attributes ``action`` and ``arguments`` are the last action and the arguments of its module call.
    """
    def collect(host, response, **task_vars):
        node = FakeNode(response)
        collect.action = new_action(diagnostics_bundle, {"npus": [0], "limit_s": 9}, node.execute)
        result = collect.action.run(task_vars={"inventory_hostname": host, "report_path": str(tmp_path), **task_vars})
        ((_module, collect.arguments),) = node.requests
        return result
    return collect


@pytest.fixture
def archive(tmp_path):
    """Return a function (hosts) -> (return value of the action, {file in the archive: text}).

    Its attributes ``shown`` and ``path`` are the displayed text and the path of the archive.
    """
    def archive(*hosts, check_mode=False, **task_vars):
        action = new_action(report, {"phase": "diagnostics", "path": str(tmp_path / "bundles"), "hosts": list(hosts)},
                            check_mode=check_mode)
        result = action.run(task_vars={"report_path": str(tmp_path), **task_vars})
        (archive.shown,) = displayed(action)
        path = tmp_path / "bundles" / result["path"].rpartition("/")[2]
        archive.path = path
        return result, dict(bundle.members(path, 1 << 20))
    return archive


def test_archive_contains_the_files_of_several_nodes(collect, archive, tmp_path):
    collect("node1", module_result({"containers/vllm.log": "NPU out of memory\n"}, diagnosis=[CAUSE]))
    collect("node2", module_result({"host/memory.txt": "memory\n"}))
    (tmp_path / "node1" / "plan.json").write_text('{"plan": {"hash": "abc"}}')
    result, texts = archive("node1", "node2")
    assert list(texts) == ["diagnostics/index.md", "diagnostics/node1/containers/vllm.log",
                           "diagnostics/node1/results/plan.json", "diagnostics/node2/host/memory.txt"]
    assert stat.S_IMODE(archive.path.stat().st_mode) == 0o600
    assert result["msg"].startswith("The first fault is on node1: out_of_memory: NPU out of memory.")
    assert result["msg"] in texts["diagnostics/index.md"]
    assert result["msg"] in archive.shown
    assert archive.shown.splitlines()[-1] == f"Diagnostics: {archive.path}"
    assert "memory.txt" not in archive.shown


def test_archive_is_not_returned_and_clocks_are_compared(collect):
    result = collect("node1", module_result({"a": "a"}))
    assert sorted(result) == ["changed", "clock_offset_s", "diagnosis", "failure", "files"]
    assert (result["clock_offset_s"], result["failure"]) == (1.5, None)
    assert collect.arguments["npus"] == [0]
    assert collect.action._task.environment == [{"TMPDIR": "/dev/shm"}], "the disks of the node may be full"
    assert abs(collect.arguments["controller_time_s"] - time.time()) < 60


def test_node_from_a_later_batch_is_added_to_the_archive(collect, archive):
    collect("node1", module_result({"a": "a"}))
    assert list(archive("node1", "node2")[1]) == ["diagnostics/index.md", "diagnostics/node1/a"]
    first = archive.path
    collect("node2", module_result({"b": "b"}))
    assert list(archive("node1", "node2")[1]) == [
        "diagnostics/index.md", "diagnostics/node1/a", "diagnostics/node2/b"]
    assert archive.path == first


def test_data_from_an_earlier_run_is_not_archived(collect, archive, tmp_path):
    collect("node1", module_result({"a": "a"}))
    note = tmp_path / "node1" / "observed" / "diagnostics.note.json"
    note.write_text(note.read_text().replace(Records(tmp_path).run_id, "earlier"))
    assert list(archive("node1")[1]) == ["diagnostics/index.md"]
    Records(tmp_path).write_result(contract.no_result("serving", "node1", "the file is damaged"))
    _result, texts = archive("node1", "node2")
    assert list(texts) == ["diagnostics/index.md", "diagnostics/node1/results/serving.json"]
    line = "- node1: everything except the results, because nothing was collected there"
    assert line in texts["diagnostics/index.md"]


@pytest.mark.parametrize(("response", "reason"), [
    (AnsibleConnectionFailure("no route"), "no route"),
    ({"failed": True, "msg": "no Python"}, "The module failed: no Python"),
    (RuntimeError("odd"), "odd"),
    ({"files": {}}, "'diagnosis'"),
    ({"files": {}, "diagnosis": [{}], "clock_offset_s": 0}, "'source'"),
])
def test_node_that_cannot_be_examined_is_named_in_the_index(collect, archive, response, reason):
    result = collect("node1", response)
    assert not result.get("failed")
    assert result["failure"] == reason
    assert reason in warnings(collect.action)[0]
    _result, texts = archive("node1")
    assert list(texts) == ["diagnostics/index.md"]
    assert f"- node1: everything: {reason}" in texts["diagnostics/index.md"].splitlines()


def test_hung_node_does_not_stop_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnostics_bundle, "EXTRA_S", 1)
    action = new_action(diagnostics_bundle, {"limit_s": 0}, lambda *_args, **_keywords: time.sleep(30))
    result = action.run(task_vars={"inventory_hostname": "node1", "report_path": str(tmp_path)})
    assert result["failure"] == "The module did not return within 1 s"


def test_known_secrets_are_masked_in_every_file(collect, archive, tmp_path):
    key = "hunter22"
    result = collect("node1", module_result({"host/a.txt": f"key {key}\n"}, diagnosis=[
        {**CAUSE, "evidence": f"memory {key}"}]), serving_api_key=key)
    assert key not in str(result) + (tmp_path / "node1" / "observed" / "diagnostics.note.json").read_text("utf-8")
    (tmp_path / "node1" / "plan.json").write_text(json.dumps({"a": key, "b": "HF_TOKEN=s3cret-vAlue"}))
    _result, texts = archive("node1", serving_api_key=key)
    assert [name for name, text in texts.items() if key in text or "s3cret" in text] == []
    assert key not in archive.shown
    collect("node1", {"failed": True, "msg": f"bad {key}"}, serving_api_key=key)
    assert key not in archive("node1", serving_api_key=key)[1]["diagnostics/index.md"]


def test_check_mode_shows_the_causes_and_writes_no_archive(collect, archive, tmp_path):
    collect("node1", module_result({"a": "a"}, diagnosis=[CAUSE]))
    _result, texts = archive("node1", check_mode=True)
    assert texts == {}
    assert not (tmp_path / "bundles").exists()
    assert "out_of_memory" in archive.shown


def test_files_saved_on_the_controller_are_private(collect, tmp_path):
    collect("node1", module_result({"a": "a"}))
    for path in (tmp_path / "node1" / "observed").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_recordings_of_all_nodes_are_anonymized_consistently(collect, archive, tmp_path):
    raw = json.dumps({"names": ["pluto17"], "kernel": "5.10.0", "files": {}, "devices": [0], "commands": [
        {"argv": ["hccn_tool"], "rc": 0, "stdout": "ipaddr:10.20.1.17 of node2 and pluto17", "stderr": ""}]})
    collect("node1", module_result({"recording.json": raw}))
    collect("node2", module_result({"recording.json": raw}))
    _result, texts = archive("node1", "node2")
    first, second = (json.loads(texts[f"diagnostics/{host}/recording.json"]) for host in ("node1", "node2"))
    assert first == second
    assert not any(each in json.dumps(texts) for each in ("10.20.1.17", "pluto17"))
    assert first["commands"][0]["stdout"].startswith("ipaddr:24")
