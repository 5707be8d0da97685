# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import tarfile

from ansible_collections.ascend.vllm.plugins.module_utils._host.collecting import pack
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import bundle, contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.log_files import find_causes

CHECKS = (contract.Check("running", contract.CRITICAL, "The container runs", "Repair the server."),)


def cause(name, time=None, source="containers/vllm.log"):
    return {"cause": name, "evidence": "line *of* " + source, "remedy": "Repair it.", "line": 7, "time": time,
            "process": None, "source": source}


def note(*diagnosis, failure=None, offset=0.0, **problems):
    files = {"host/memory.txt": {"rc": 0, "size": 7, "problem": None},
             **{name: {"rc": None, "size": 0, "problem": problem} for name, problem in problems.items()}}
    return {"files": {} if failure else files, "diagnosis": list(diagnosis), "clock_offset_s": offset,
            "failure": failure}


def failed(host):
    checks = contract.Checks(CHECKS)
    checks.expect("running", False, "running", "exited")
    return {"serving": contract.stage_result("serving", host, checks.as_list(), started_at="", finished_at="",
                                             duration_s=0.0, collection_version="1")}


def test_first_fault_is_determined_across_nodes():
    notes = {"node1": note(cause("link_timeout", "11-20 10:02:00")),
             "node2": note(cause("engine_dead", "11-20 10:00:00", "containers/a.log"),
                           cause("out_of_memory", "11-20 10:00:10"), offset=5.0),
             "node3": note()}
    assert bundle.first_fault_of(notes) == (
        "The first fault is on node2 (11-20 10:00:05): out_of_memory: line *of* containers/vllm.log. Repair it. "
        "Consequences: node1 (link_timeout, 11-20 10:02:00).")
    assert bundle.first_fault_of({"node3": notes["node3"]}) == "The logs do not show a fault."


def test_causes_on_a_node_are_ranked_across_its_logs():
    found = bundle.causes(note(cause("engine_dead"), cause("link_timeout", source="plog/a.log"),
                               cause("out_of_memory"), cause("link_timeout", source="plog/b.log"), cause("unknown")))
    assert [(each["cause"], each["source"]) for each in found] == [
        ("out_of_memory", "containers/vllm.log"), ("link_timeout", "plog/a.log"),
        ("engine_dead", "containers/vllm.log"), ("unknown", "containers/vllm.log")]


def test_index_lists_failed_checks_causes_and_missing_files():
    hung = dict.fromkeys(("npu-smi/1.txt", "npu-smi/2.txt", "npu-smi/3.txt"), "not run, since `npu-smi info` hung")
    lines = bundle.index("Diagnostics of today", {
        "node1": note(cause("out_of_memory", "11-20 10:00:00"), **hung, **{"docker/info.json": "no response"}),
        "node2": note(failure="not reachable")}, {"node1": failed("node1"), "node2": {}, "node3": failed("node3")})
    text = "\n".join(lines)
    assert lines[0] == "# Diagnostics of today"
    assert [line for line in lines if line.startswith("## ")] == [
        "## Failed checks", "## Causes in the logs", "## Missing files", "## Files"]
    assert "- node1: serving.running: expected running, found exited. Repair the server." in lines
    assert "The first fault is on node1 (11-20 10:00:00): out_of_memory: line \\*of\\*" in text
    assert "1. **node1: out_of_memory** (node1/containers/vllm.log, line 7, 11-20 10:00:00)" in lines
    assert lines[lines.index("## Missing files") + 2:lines.index("## Files") - 1] == [
        "- node3: everything except the results, because nothing was collected there",
        "- node1/npu-smi/1.txt and 2 more, up to npu-smi/3.txt: not run, since \\`npu-smi info\\` hung",
        "- node1/docker/info.json: no response",
        "- node2: everything: not reachable"]
    assert lines[-1] == "- node1/host/memory.txt (7 bytes)"


def test_index_states_if_nothing_failed_and_nothing_is_missing():
    lines = bundle.index("x", {"node1": note()}, {})
    for sentence in ("No check failed in the last results.", "The logs do not show a fault.", "Nothing."):
        assert sentence in lines


def write_archive(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content, kind in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type, entry.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_archive_of_a_node_is_not_trusted(tmp_path):
    path = write_archive(
        tmp_path / "a.tar.gz", ("host/a.txt", b"a", tarfile.REGTYPE), ("/etc/a", b"a", tarfile.REGTYPE),
        ("../../a", b"a", tarfile.REGTYPE), ("a/../b", b"a", tarfile.REGTYPE), ("link", b"", tarfile.SYMTYPE),
        ("fifo", b"", tarfile.FIFOTYPE), ("b.txt", b"b" * 9, tarfile.REGTYPE))
    assert list(bundle.members(path, 100)) == [("host/a.txt", "a"), ("b.txt", "b" * 9)]
    assert list(bundle.members(path, 9)) == [("host/a.txt", "a")]
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])
    assert list(bundle.members(path, 100)) in ([], [("host/a.txt", "a")])
    assert list(bundle.members(tmp_path / "missing", 100)) == []
    path.write_bytes(b"")
    assert list(bundle.members(path, 100)) == []


def test_only_the_logs_in_our_archive_are_searched_for_causes(tmp_path):
    """The index and the results in the archive only repeat these causes."""
    path, fault = tmp_path / "a.tar.gz", "RuntimeError: NPU out of memory"
    path.write_bytes(pack([(bundle.INDEX, fault), ("diagnostics/node1/results/serving.json", fault),
                           ("diagnostics/node1/containers/vllm.log", fault)]))
    assert [each["file"] for each in find_causes(path)[0]] == ["a.tar.gz:diagnostics/node1/containers/vllm.log"]
