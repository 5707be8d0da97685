# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import shutil

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights

LONG_AGO = 1_600_000_000


def fill(folder, files):
    """Files with content, old enough for their timestamp to be trusted."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))


def digests(folder, cache, full=False):
    return weights.digest_files(str(folder), weights.list_model(str(folder)), cache, full, 4)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    fill(folder, {"a": b"alpha", "b": b"", "sub/c": bytes(3 << 20)})
    return folder


def cache_of(tmp_path):
    return weights.DigestCache.of(str(tmp_path / "model"), str(tmp_path / "cache"))


def test_hidden_files_and_dangling_links_are_excluded(model):
    fill(model, {".gitattributes": b"", ".cache/huggingface/x": b"1", "sub/.tmp": b"2"})
    (model / "gone").symlink_to("nowhere")
    (model / "link").symlink_to("a")
    assert set(weights.list_model(str(model))) == {"a", "b", "link", "sub/c"}


def test_digests_are_those_of_sha256sum(model, tmp_path):
    found = digests(model, cache_of(tmp_path))
    assert found.sha256 == {name: hashlib.sha256((model / name).read_bytes()).hexdigest()
                            for name in ("a", "b", "sub/c")}
    assert found.hashed_bytes == 5 + (3 << 20)


def test_an_unchanged_file_is_hashed_once(model, tmp_path):
    first = digests(model, cache_of(tmp_path))
    second = digests(model, cache_of(tmp_path))
    assert second.sha256 == first.sha256
    assert second.hashed_bytes == 0
    assert digests(model, cache_of(tmp_path), full=True).hashed_bytes == first.hashed_bytes


@pytest.mark.parametrize("change", ["content", "copy"])
def test_a_changed_file_is_hashed_again(model, tmp_path, change):
    digests(model, cache_of(tmp_path))
    if change == "content":
        (model / "a").write_bytes(b"ALPHA")
    else:
        copy = model / "copy"
        copy.write_bytes(b"ALPHA")
        os.utime(copy, (LONG_AGO, LONG_AGO))
        copy.replace(model / "a")
    found = digests(model, cache_of(tmp_path))
    assert found.sha256["a"] == hashlib.sha256(b"ALPHA").hexdigest()
    assert found.hashed_bytes == 5


def test_a_file_written_just_now_is_not_cached(model, tmp_path):
    (model / "a").write_bytes(b"fresh")
    digests(model, cache_of(tmp_path))
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 5


def test_a_timestamp_from_the_future_is_cached(model, tmp_path):
    os.utime(model / "sub/c", (4_000_000_000, 4_000_000_000))
    digests(model, cache_of(tmp_path))
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 0


def test_a_damaged_cache_is_replaced(model, tmp_path):
    first = digests(model, cache_of(tmp_path))
    next((tmp_path / "cache").iterdir()).write_bytes(b"{")
    assert digests(model, cache_of(tmp_path))[:2] == (first.sha256, first.hashed_bytes)
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 0


def test_a_cache_that_cannot_be_written_is_ignored(model, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert digests(model, cache_of(tmp_path)).hashed_bytes == 5 + (3 << 20)


@pytest.mark.parametrize(("target", "outside"), [
    ("a", False), ("sub/../a", False), ("../blob", True), ("{model}/a", False), ("{root}/blob", True),
    ("{root}/other/a", True)])
def test_links_out_of_the_folder(model, tmp_path, target, outside):
    (tmp_path / "blob").write_bytes(b"1")
    (tmp_path / "other").symlink_to(model)
    (model / "link").symlink_to(target.format(model=model, root=tmp_path))
    assert weights.list_outside(str(model), weights.list_model(str(model))) == (["link"] if outside else [])


def test_only_the_same_file_system_has_the_same_identity(model, tmp_path):
    shutil.copytree(model, tmp_path / "copy")
    (tmp_path / "mount").symlink_to(model)
    of = {name: weights.identify(weights.list_model(str(tmp_path / name))) for name in ("model", "mount", "copy")}
    assert of["model"] == of["mount"] != of["copy"]


def test_only_hashing_all_files_finds_silent_corruption(model, tmp_path):
    before = digests(model, cache_of(tmp_path))
    with (model / "sub/c").open("r+b") as stream:
        stream.write(b"\1")
    os.utime(model / "sub/c", (LONG_AGO, LONG_AGO))
    assert digests(model, cache_of(tmp_path)).sha256 == before.sha256
    assert digests(model, cache_of(tmp_path), full=True).sha256["sub/c"] != before.sha256["sub/c"]


def test_a_cache_that_is_only_read_is_not_written(model, tmp_path):
    digests(model, weights.DigestCache.of(str(model), str(tmp_path / "cache"), write=False))
    assert not (tmp_path / "cache").exists()


def test_the_digest_of_a_model_is_that_of_its_sha256sums():
    sums = {"b": "2" * 64, "a": "1" * 64}
    text = "%s  a\n%s  b\n" % ("1" * 64, "2" * 64)
    assert weights.model_digest(sums) == hashlib.sha256(text.encode()).hexdigest()


def test_compare_names_what_is_wrong(model, tmp_path):
    found = digests(model, cache_of(tmp_path)).sha256
    expected = [
        {"path": "a", "size": 5, "sha256": found["a"]},
        {"path": "b", "size": 1, "sha256": "0" * 64},
        {"path": "sub/c", "size": 3 << 20, "sha256": "0" * 64},
        {"path": "d", "size": 7, "sha256": "0" * 64},
    ]
    faults = weights.compare(expected, weights.list_model(str(model)), found)
    assert [(fault["path"], fault["fault"]) for fault in faults] == [
        ("b", "size"), ("sub/c", "sha256"), ("d", "missing")]
    assert [weights.fault_sentence(fault) for fault in faults] == [
        "b has 0 bytes, expected 1",
        "sub/c has the SHA-256 %s, expected %s" % (found["sub/c"], "0" * 64),
        "d is missing; it should have 7 bytes",
    ]


def test_the_git_blob_id(tmp_path):
    (tmp_path / "f").write_bytes(b"hello\n")
    assert weights.git_blob_sha1(str(tmp_path / "f")) == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_write_json_keeps_the_old_file_if_it_fails(tmp_path):
    path = tmp_path / "x.json"
    weights.write_json(str(path), {"a": 1})
    with pytest.raises(TypeError):
        weights.write_json(str(path), {"a": object()})
    assert weights.read_json(str(path)) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_model_folder(tmp_path):
    assert weights.folder_summary(str(tmp_path / "none")) == {"folder": False, "config": False, "shards": 0}
    for name in ("config.json", "a-1.safetensors", "a-2.safetensors", "a.safetensors.index.json"):
        (tmp_path / name).touch()
    assert weights.folder_summary(str(tmp_path)) == {"folder": True, "config": True, "shards": 2}
