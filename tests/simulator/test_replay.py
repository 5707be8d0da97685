# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of a node is recorded, anonymized and replayed, and the modules read the same values as before."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ascend_simulator import replay

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import (
    hccn_query,
    hccn_tool,
    observation,
    version_files,
)
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine
from ansible_collections.ascend.vllm.plugins.module_utils._host import collecting, commands
from ansible_collections.ascend.vllm.plugins.modules import diagnostics_bundle
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.anonymize import Anonymizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule" / "testbed"))

from harness import recordings
from harness.machine import BedError

# The values that are anonymized in what the modules read.
ANONYMIZED = {"address", "gateway", "netdetect", "Serial Number", "Chassis ID TLV", "System Name TLV",
              "System Description TLV", "Management Address TLV"}


def record(node, monkeypatch):
    """Return the anonymized recording of a simulated node."""
    tools = ("usr/local/bin", "usr/local/Ascend/driver/tools")
    monkeypatch.setenv("PATH", ":".join([*(str(node.root / path) for path in tools), "/usr/bin", "/bin"]))
    monkeypatch.setattr(diagnostics_bundle, "COMMANDS", {"npu-smi/info.txt": ["npu-smi", "info"]})
    monkeypatch.setattr(diagnostics_bundle, "FILES", {
        name: str(node.root) + path for name, path in diagnostics_bundle.FILES.items()
        if path.startswith("/etc") and path != diagnostics_bundle.DAEMON} | {
        "versions/driver.txt": "%s/version.info", "versions/firmware.txt": "%s/../firmware/version.info"})
    monkeypatch.setattr(hccn_query, "device_npus", lambda _names: [0, 1])
    options = {"cards": [0, 1], "npus": [0, 1], "driver_path": f"{node.root}/usr/local/Ascend/driver", "timeout_s": 9,
               "size_limit_mb": 64, "log_lines": 1, "state_path": str(node.root / "state"), "limit_s": 300}
    run = collecting.Commands(60)
    sources = diagnostics_bundle.sources(DockerEngine("/missing", 1), [], [], run, options)
    found = collecting.collect({name: source for name, source in sources.items()
                                if name.startswith(("npu-smi/", "hccn_tool/", "versions/", "host/hccn"))}, 60, 300)
    text = Anonymizer(["node1"]).recording(diagnostics_bundle.recording(run, found, options)[""].text)
    return recordings.check(text.encode().replace(str(node.root).encode(), b""), "node1")


def observe(node):
    """Return what npu_info and hccn_info read on a node."""
    def run_all(queries):
        return commands.run_all(queries, 60)
    npu_smi = observation.query(run_all, str(node.root / "usr/local/bin/npu-smi"))[0]
    tool = str(node.root / "usr/local/Ascend/driver/tools/hccn_tool")
    files = {path: version_files.parse(node.read(path)) for path in replay.FILES[:2]}
    return {"npu_smi": {**npu_smi, "path": None}, "files": files,
            "conf": hccn_tool.parse_conf(node.read("etc/hccn.conf"))["devices"],
            "npus": hccn_query.query_npus(hccn_query.run_bounded, tool, [0, 1], 60)}


def differences(one, other, path=()):
    """Yield (path, value, other value) of what differs in two nested structures of the same form."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
    if isinstance(one, (dict, list)):
        assert len(one) == len(other), path
        for key in one if isinstance(one, dict) else range(len(one)):
            yield from differences(one[key], other[key], (*path, key))
    elif one != other:
        yield path, one, other


@pytest.mark.parametrize("faults", [(), ("npu=1 health=Alarm code=0x80E01801", "npu=0 link=down")])
def test_replayed_node_is_read_like_the_recorded_one(make_node, monkeypatch, faults):
    node = make_node()
    for fault in faults:
        node.fault("set", *fault.split())
    recording = record(node, monkeypatch)
    before = observe(node)
    replay.install(str(node.root), str(Path(replay.__file__).parents[1]), recording)
    after = observe(node)
    changed = list(differences(before, after))
    assert {path[-1] for path, _before, _after in changed if path[-1] != "current_time"} <= ANONYMIZED
    pairs = {(one, other) for path, one, other in changed if path[-1] in ANONYMIZED}
    assert len(pairs) == len(dict(pairs)), "a value has several replacements"
    assert {"address", "Serial Number"} <= {path[-1] for path, _before, _after in changed}
    text = json.dumps(recording)
    assert not any(str(one) in text for path, one, _other in changed if path[-1] in ANONYMIZED)


@pytest.fixture
def replayed(make_node):
    """Return a function (commands, files) -> a node that replays them."""
    def make(*found, files=None):
        node = make_node()
        recording = {"commands": [dict(zip(("argv", "rc", "stdout", "stderr"), each)) for each in found],
                     "files": files or {}, "devices": [0], "kernel": "", "architecture": "aarch64"}
        replay.install(str(node.root), str(Path(replay.__file__).parents[1]), recording)
        return node
    return make


def test_exit_code_and_both_streams_are_replayed(replayed):
    node = replayed((["npu-smi", "info"], 3, "out\n", "error\n"), (["npu-smi", "-v"], -9, "", ""))
    done = node.npu_smi("info")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "error\n")
    assert node.npu_smi("-v").returncode == 137


def test_command_that_was_not_recorded_fails(replayed):
    done = replayed((["npu-smi", "info"], 0, "", "")).npu_smi("info", "-t", "topo")
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr == "npu-smi: this output is not in the recording: npu-smi info -t topo\n"


def test_command_that_hung_in_the_recording_hangs(replayed):
    node = replayed((["npu-smi", "info"], None, "half a table\n", ""))
    with pytest.raises(subprocess.TimeoutExpired) as hung:
        subprocess.run([node.root / "usr/local/bin/npu-smi", "info"], capture_output=True, timeout=3, check=False)
    assert hung.value.stdout == b"half a table\n"


def test_tools_and_files_that_the_recording_lacks_are_removed(replayed):
    node = replayed((["npu-smi", "info"], 0, "", ""),
                    files={"/opt/Ascend/driver/version.info": "Version=1\n", "/etc/shadow": "x", "../../x": "x"})
    assert node.read("usr/local/Ascend/driver/version.info") == "Version=1\n"
    assert not (node.root / "usr/local/Ascend/driver/tools/hccn_tool").exists()
    assert not (node.root / "etc/hccn.conf").exists()
    assert not (node.root / "etc/shadow").exists()


def archive(path, **texts):
    with tarfile.open(path, "w:gz") as bundle:
        for name, text in texts.items():
            entry = tarfile.TarInfo(f"diagnostics/{name}/recording.json")
            entry.size = len(text)
            bundle.addfile(entry, io.BytesIO(text.encode()))
    return path


VALID = {"commands": [{"argv": ["npu-smi"], "rc": 0, "stdout": "", "stderr": ""}], "files": {}, "devices": [0],
         "kernel": "", "architecture": ""}


def test_recordings_are_read_from_a_bundle_and_from_a_file(tmp_path):
    (tmp_path / "issue.json").write_text(json.dumps(VALID))
    assert recordings.read(tmp_path / "issue.json") == {"issue": VALID}
    bundle = archive(tmp_path / "a.tar.gz", node1=json.dumps(VALID), node2=json.dumps(VALID))
    assert recordings.read(bundle) == {"node1": VALID, "node2": VALID}


@pytest.mark.parametrize("changes", [
    {"commands": [{}]}, {"commands": [{"argv": [], "rc": 0, "stdout": "", "stderr": ""}]}, {"devices": [-1]},
    {"devices": ["0"]}, {"files": {"a": 1}}, {"kernel": None}, {"commands": {}},
    {"commands": [{"argv": ["npu-smi"], "rc": "0", "stdout": "", "stderr": ""}]}])
def test_recording_in_another_format_is_refused(tmp_path, changes):
    with pytest.raises(BedError, match="node1 is not a recording of the collection's diagnostics"):
        recordings.read(archive(tmp_path / "a.tar.gz", node1=json.dumps({**VALID, **changes})))


def test_bundle_without_recording_is_refused(tmp_path):
    with pytest.raises(BedError, match=r"has no recording\.json; record with"):
        recordings.read(archive(tmp_path / "a.tar.gz"))
    with pytest.raises(BedError, match="cannot be read"):
        recordings.read(tmp_path / "missing.tar.gz")
