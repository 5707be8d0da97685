# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.log_files import find_causes

MEMORY = "RuntimeError: NPU out of memory. Tried to allocate 260.00 MiB"
LINK = "EI0006: [PID: 7] Getting socket times out"


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    (folder / "node2").mkdir(parents=True)
    (folder / "a.log").write_text(f"x\n{LINK}\n")
    (folder / "node2" / "b.log").write_text(f"{'y' * 9000}\nz\n{MEMORY} --api-key=sk-123456789\n")
    (folder / "c.bin").write_bytes(b"\0\1" + MEMORY.encode())
    (folder / "healthy.log").write_text("INFO:     Application startup complete.\n")
    (folder / "link.log").symlink_to(folder / "a.log")
    with gzip.open(folder / "d.log.gz", "wt") as stream:
        stream.write("ValueError: which is new\n")
    return folder


def shown(found):
    return [(cause["cause"], cause["file"], cause["line"]) for cause in found[0]]


def test_causes_in_a_folder_are_ranked_across_all_files(logs):
    found = find_causes(logs)
    assert shown(found) == [("out_of_memory", "node2/b.log", 3), ("link_timeout", "a.log", 2),
                            ("unknown", "d.log.gz", 1)]
    assert found[1] == ["a.log", "d.log.gz", "healthy.log", "node2/b.log"]
    assert "sk-123456789" not in found[0][0]["evidence"]


@pytest.mark.parametrize("form", ["gztar", "tar", "zip"])
def test_archive_is_read_like_the_folder(logs, tmp_path, form):
    (logs / "d.log.gz").unlink()
    (logs / "link.log").unlink()
    path = shutil.make_archive(str(tmp_path / "packed"), form, logs)
    assert [(cause, re.split("[:/]", file)[-1], line) for cause, file, line in shown(find_causes(Path(path)))] == [
        ("out_of_memory", "b.log", 3), ("link_timeout", "a.log", 2)]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["logs", Path(path).name])


def test_single_file_is_read(logs):
    assert shown(find_causes(logs / "a.log")) == [("link_timeout", "a.log", 2)]


def test_path_that_does_not_exist_is_named(logs):
    with pytest.raises(AnsibleActionFail, match=r"missing does not exist; set diagnostics_from"):
        find_causes(logs / "missing")


def test_damaged_file_does_not_prevent_the_others_from_being_read(logs):
    complete = (logs / "d.log.gz").read_bytes()
    (logs / "truncated.log.gz").write_bytes(complete[:-9])
    (logs / "wrong.gz").write_bytes(b"not gzip")
    causes, _names, unreadable = find_causes(logs)
    assert causes[0]["cause"] == "out_of_memory"
    assert [entry.partition(":")[0] for entry in unreadable] == ["truncated.log.gz", "wrong.gz"]
