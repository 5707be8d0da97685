# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import shutil

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import open_existing

SETTLED_S = weights._SETTLED_S


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Trust the timestamps of files even if they were just written."""
    monkeypatch.setattr(weights, "_SETTLED_S", -1)


def write_files(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def listed(folder):
    with open_existing(str(folder)) as opened:
        return weights.list_model(opened)


def links_to_outside(folder):
    with open_existing(str(folder)) as opened:
        return weights.list_outside(opened, weights.list_model(opened))


def digests(folder, cache, full=False):
    with open_existing(str(folder)) as opened:
        stats = weights.list_model(opened)
        return weights.digest_files(opened, stats, stats, cache, full, 4)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    write_files(folder, {"a": b"alpha", "b": b"", "sub/c": bytes(3 << 20)})
    return folder


def cache_of(tmp_path):
    return weights.DigestCache.of(str(tmp_path / "model"), str(tmp_path / "cache"))


def test_hidden_files_and_dangling_links_are_excluded(model):
    write_files(model, {".gitattributes": b"", ".cache/huggingface/x": b"1", "sub/.tmp": b"2"})
    (model / "gone").symlink_to("nowhere")
    (model / "link").symlink_to("a")
    assert set(listed(model)) == {"a", "b", "link", "sub/c"}


def test_digests_are_sha256_and_hashed_bytes_are_counted(model, tmp_path):
    found = digests(model, cache_of(tmp_path))
    assert found.sha256 == {name: hashlib.sha256((model / name).read_bytes()).hexdigest()
                            for name in ("a", "b", "sub/c")}
    assert found.hashed_bytes == 5 + (3 << 20)


def test_unchanged_file_is_hashed_once(model, tmp_path):
    first = digests(model, cache_of(tmp_path))
    second = digests(model, cache_of(tmp_path))
    assert second.sha256 == first.sha256
    assert second.hashed_bytes == 0
    assert digests(model, cache_of(tmp_path), full=True).hashed_bytes == first.hashed_bytes


@pytest.mark.parametrize("change", ["content", "copy", "timestamps restored"])
def test_changed_file_is_hashed_again(model, tmp_path, change):
    digests(model, cache_of(tmp_path))
    before = (model / "a").stat()
    if change == "copy":
        (model / "copy").write_bytes(b"ALPHA")
        (model / "copy").replace(model / "a")
    else:
        (model / "a").write_bytes(b"ALPHA")
    if change == "timestamps restored":
        os.utime(model / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (model / "a").stat().st_mtime_ns == before.st_mtime_ns
    found = digests(model, cache_of(tmp_path))
    assert found.sha256["a"] == hashlib.sha256(b"ALPHA").hexdigest()
    assert found.hashed_bytes == 5


def test_digest_of_a_recently_changed_file_is_not_cached(model, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_SETTLED_S", SETTLED_S)
    os.utime(model / "a", (1_600_000_000, 1_600_000_000))
    digests(model, cache_of(tmp_path))
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 5 + (3 << 20)
    monkeypatch.setattr(weights.time, "time", lambda: (model / "a").stat().st_ctime + SETTLED_S + 1)
    digests(model, cache_of(tmp_path))
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 0


def test_keys_written_by_earlier_versions_are_removed_from_the_cache(model, tmp_path):
    digests(model, cache_of(tmp_path))
    path = next((tmp_path / "cache").iterdir())
    content = weights.read_json(str(path))
    weights.write_json(str(path), dict(content, **{"5:1600000000:12:34": "0" * 64}))
    (model / "a").write_bytes(b"ALPHA")
    digests(model, cache_of(tmp_path))
    assert {key.count(":") for key in weights.read_json(str(path))} == {4}


def test_damaged_cache_is_replaced(model, tmp_path):
    first = digests(model, cache_of(tmp_path))
    next((tmp_path / "cache").iterdir()).write_bytes(b"{")
    assert digests(model, cache_of(tmp_path))[:2] == (first.sha256, first.hashed_bytes)
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 0


def test_cache_that_cannot_be_written_is_ignored(model, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 5 + (3 << 20)


@pytest.mark.parametrize(("target", "outside"), [
    ("a", False), ("sub/../a", False), ("../blob", True), ("{model}/a", False), ("{root}/blob", True),
    ("{root}/other/a", True)])
def test_links_out_of_the_folder_are_found(model, tmp_path, target, outside):
    (tmp_path / "blob").write_bytes(b"1")
    (tmp_path / "other").symlink_to(model)
    (model / "link").symlink_to(target.format(model=model, root=tmp_path))
    assert links_to_outside(model) == (["link"] if outside else [])


def test_identity_is_the_same_only_on_the_same_file_system(model, tmp_path):
    shutil.copytree(model, tmp_path / "copy")
    (tmp_path / "mount").symlink_to(model)
    identities = {name: weights.identify(listed(tmp_path / name)) for name in ("model", "mount", "copy")}
    assert identities["model"] == identities["mount"] != identities["copy"]


def test_only_hashing_all_files_finds_silent_corruption(model, tmp_path):
    before = digests(model, cache_of(tmp_path))
    path = next((tmp_path / "cache").iterdir())
    # This simulates a disk that returns other bytes under the same timestamps.
    weights.write_json(str(path), dict.fromkeys(weights.read_json(str(path)), "0" * 64))
    assert set(digests(model, cache_of(tmp_path)).sha256.values()) == {"0" * 64}
    assert digests(model, cache_of(tmp_path), full=True).sha256 == before.sha256


def test_read_only_cache_is_not_written(model, tmp_path):
    digests(model, weights.DigestCache.of(str(model), str(tmp_path / "cache"), write=False))
    assert not (tmp_path / "cache").exists()


def test_digest_of_a_model_is_computed_from_its_sorted_sha256sums():
    sums = {"b": "2" * 64, "a": "1" * 64}
    text = "%s  a\n%s  b\n" % ("1" * 64, "2" * 64)
    assert weights.model_digest(sums) == hashlib.sha256(text.encode()).hexdigest()


def test_compare_reports_every_fault(model, tmp_path):
    found = digests(model, cache_of(tmp_path)).sha256
    expected = [
        {"path": "a", "size": 5, "sha256": found["a"]},
        {"path": "b", "size": 1, "sha256": "0" * 64},
        {"path": "sub/c", "size": 3 << 20, "sha256": "0" * 64},
        {"path": "d", "size": 7, "sha256": "0" * 64},
    ]
    faults = weights.compare(expected, listed(model), found)
    assert [(fault["path"], fault["fault"]) for fault in faults] == [
        ("b", "size"), ("sub/c", "sha256"), ("d", "missing")]
    assert [weights.fault_sentence(fault) for fault in faults] == [
        "b has 0 bytes, expected 1",
        "sub/c has the SHA-256 %s, expected %s" % (found["sub/c"], "0" * 64),
        "d is missing; it should have 7 bytes",
    ]


def test_git_blob_id_is_computed_as_git_does(tmp_path):
    (tmp_path / "f").write_bytes(b"hello\n")
    with open_existing(str(tmp_path)) as folder:
        assert weights.git_blob_sha1("f", folder) == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_write_json_keeps_the_old_file_if_it_fails(tmp_path):
    path = tmp_path / "x.json"
    weights.write_json(str(path), {"a": 1})
    with pytest.raises(TypeError):
        weights.write_json(str(path), {"a": object()})
    assert weights.read_json(str(path)) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


MANIFEST = {
    "schema": weights.MANIFEST_SCHEMA, "source": "modelscope", "repository": "o/m", "revision": None,
    "recorded_at": "2026-11-29T12:00:00Z", "bytes": 2, "digest": weights.model_digest({"a": "1" * 64}),
    "files": [{"path": "a", "size": 2, "sha256": "1" * 64, "sha256_from": "hub", "written": True}],
    "asked": {"source": "modelscope", "repository": "o/m", "endpoint": None, "revision": None},
}


def test_valid_manifest_is_returned_unchanged():
    assert weights.check_manifest(MANIFEST) == MANIFEST


@pytest.mark.parametrize(("change", "reason"), [
    ({"schema": "other"}, "not a manifest"),
    ({"files": None}, "no list of files"),
    ({"files": ["a"]}, "no list of files"),
    ({"digest": "0" * 64}, "digest does not match its files"),
    ({"files": [{"path": "../../x", "size": 2, "sha256": "1" * 64, "written": True}]}, "outside the folder"),
    ({"files": [{"path": "/etc/passwd", "size": 2, "sha256": "1" * 64}]}, "outside the folder"),
    *(({"files": [{"path": path, "size": 2, "sha256": "1" * 64}]}, "control character, a backslash or a wildcard")
      for path in ("a\n", "a\x7f", "a*", "a?", "[a]", "a\\b")),
    ({"files": [{"path": "a\udcff", "size": 2, "sha256": "1" * 64}]}, "not valid Unicode"),
    ({"files": [{"path": "a", "size": -1, "sha256": "1" * 64}]}, "size -1"),
    ({"files": [{"path": "a", "size": 2, "sha256": ""}]}, "64 hex digits"),
    # Only a hub's list of files can contain a git blob ID instead.
    ({"files": [{"path": "a", "size": 2, "sha256": None, "git_sha1": "1" * 40}]}, "64 hex digits"),
])
def test_invalid_manifest_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        weights.check_manifest(dict(MANIFEST, **change))


@pytest.mark.parametrize("content", [None, [], "x", 5])
def test_manifest_that_is_not_an_object_is_refused(content):
    with pytest.raises(ValueError, match="not a manifest"):
        weights.check_manifest(content)


def test_model_folder_is_summarized(tmp_path):
    assert weights.folder_summary(str(tmp_path / "none")) == {"folder": False, "config": False, "shards": 0}
    for name in ("config.json", "a-1.safetensors", "a-2.safetensors", "a.safetensors.index.json"):
        (tmp_path / name).touch()
    assert weights.folder_summary(str(tmp_path)) == {"folder": True, "config": True, "shards": 2}
