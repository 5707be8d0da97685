# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
import tarfile
import threading
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import collecting
from ansible_collections.ascend.vllm.plugins.module_utils._host.collecting import Collected

TEXT = {"": Collected("text")}


@pytest.fixture
def forever():
    """A function that does not return before the test ends."""
    ended = threading.Event()
    yield lambda: ended.wait() and TEXT
    ended.set()


def test_only_the_parts_of_hung_and_failed_sources_are_missing(forever, monkeypatch):
    monkeypatch.setattr(collecting, "WORK_S", 0.1)
    found = collecting.collect({**{f"hung{number}": forever for number in range(10)}, "failed": lambda: 1 / 0,
                                "folder/": lambda: {"a.log": Collected("a"), "b.log": Collected("b")},
                                "good": lambda: TEXT}, 0.2, 20)
    assert (found["good"].text, found["folder/a.log"].text, found["folder/b.log"].text) == ("text", "a", "b")
    assert found["failed"] == Collected("", None, "division by zero (ZeroDivisionError)")
    assert all("timed out" in found[f"hung{number}"].problem for number in range(10))


def test_time_for_all_sources_is_limited(forever):
    started = time.monotonic()
    found = collecting.collect({str(number): forever for number in range(20)}, 60, 0.5)
    assert time.monotonic() - started < 20
    assert len(found) == 20
    assert {each.problem for each in found.values() if "timed out" not in each.problem} == {
        "not collected: the limit of 0.5 s was reached"}


def test_program_that_hung_is_not_started_again(tmp_path):
    commands = collecting.Commands(0.3)
    assert "no answer within 0.3 s" in commands.run(["sleep", "60"])[""].problem
    assert commands.run(["sleep", "61"])[""] == Collected("", None, "not run, since `sleep 60` hung")
    assert commands.run(["sh", "-c", "echo out; echo error >&2; exit 3"])[""] == Collected(
        "out\nerror\n", 3, "exit code 3")
    assert commands.run(["echo", "a"])[""] == Collected("a\n", 0, None)
    assert "No such file" in commands.run([str(tmp_path / "none")])[""].problem


def test_file_is_read_or_a_missing_file_is_an_error(tmp_path):
    (tmp_path / "a").write_text("a\n")
    assert collecting.file(str(tmp_path / "a"))[""] == Collected("a\n")
    with pytest.raises(OSError, match="No such file"):
        collecting.file(str(tmp_path / "b"))


@pytest.mark.parametrize("read", [collecting.file, lambda path: list(collecting.folder(path, 9))])
def test_file_system_that_does_not_respond_is_not_touched(monkeypatch, tmp_path, read):
    (tmp_path / "a").write_text("a\n")
    monkeypatch.setattr(collecting.commands, "hung_paths", lambda paths: dict.fromkeys(paths, "hangs"))
    with pytest.raises(OSError, match="hangs"):
        read(str(tmp_path))


def test_ends_of_the_newest_files_in_a_folder_are_read_without_links(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of root")
    folder = tmp_path / "plog"
    for age, name in enumerate(("run/new.log", "big.log", "middle.log", "old.log", "oldest.log")):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{'x' * (1000 if name == 'big.log' else 0)}{name:>10}")
        os.utime(file, (1000 - age, 1000 - age))
    (folder / "link.log").symlink_to(secret)
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    found = collecting.newest(collecting.folder(str(folder), 20), 49, 20)
    assert found == {
        "run/new.log": Collected("run/new.log"),
        "big.log": Collected("x" * 10 + "   big.log"[-10:], 0, "only the last 20 of 1010 bytes"),
        "middle.log": Collected("middle.log"),
        "(older files)": Collected("", None, "older files were left out: 2")}
    assert collecting.newest(collecting.folder(str(tmp_path / "none"), 9), 9, 9) == {}


def test_file_that_became_a_link_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("of root")
    (tmp_path / "plog").mkdir()
    (tmp_path / "plog" / "a.log").symlink_to(tmp_path / "secret")
    monkeypatch.setattr(collecting.os, "lstat", os.stat)  # as if it became a link afterwards
    assert collecting.newest(collecting.folder(str(tmp_path / "plog"), 9), 9, 9) == {}


def test_newest_files_of_an_unordered_stream_are_kept_if_it_breaks():
    def files():
        for name, modified in (("old", 1.0), ("new", 3.0), ("middle", 2.0), ("ancient", 0.5)):
            yield name, modified, 4 + len(name), io.BytesIO(b"0123" + name.encode())
        raise OSError("the rest is missing")

    assert collecting.newest(files(), 7, 3) == {
        "new": Collected("new", 0, "only the last 3 of 7 bytes"),
        "middle": Collected("dle", 0, "only the last 3 of 10 bytes"),
        "(older files)": Collected("", None, "the rest is missing; older files were left out: 2")}


def test_total_size_is_limited_and_each_text_to_a_quarter_of_it():
    found = collecting.bounded({"a": Collected("0123456789"), "b": Collected("é" * 10, 1, "exit code 1"),
                                "c": Collected("0123456789"), "d": Collected("01234567"), "e": Collected("01234567"),
                                "f": Collected("", None, "missing")}, 32)
    assert found == {
        "a": Collected("23456789", 0, "only the last 8 of 10 bytes"),
        "b": Collected("é" * 4, 1, "exit code 1; only the last 8 of 20 bytes"),
        "c": Collected("23456789", 0, "only the last 8 of 10 bytes"), "d": Collected("01234567"),
        "e": Collected("", 0, "only the last 0 of 8 bytes"), "f": Collected("", None, "missing")}


def test_files_in_the_archive_are_readable_only_by_their_owner():
    with tarfile.open(fileobj=io.BytesIO(collecting.pack([("b", "text"), ("a", "")]))) as archive:
        assert [(each.name, each.mode, archive.extractfile(each).read()) for each in archive] == [
            ("b", 0o600, b"text"), ("a", 0o600, b"")]
