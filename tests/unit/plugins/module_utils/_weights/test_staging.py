# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

"""Staging on a real folder; what a hub's client would write into the staging folder is written by hand."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError, hold_lock
from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Source, Staging

FILES = {"config.json": b"{}", "sub/model.safetensors": b"tensors"}


class Hub:
    """The list of files of ModelScope; counts the requests."""

    def __init__(self, files=None):
        self.files = dict(FILES if files is None else files)
        self.asked = 0

    def get(self, url):
        self.asked += 1
        assert "/api/v1/models/o/m/repo/files" in url
        return json.dumps({"Code": 200, "Data": {"Files": [
            {"Path": path, "Type": "blob", "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}
            for path, content in self.files.items()]}})

    size = None


class Site:
    """One node: the staging of /data/model, and a client that fetches from the hub."""

    def __init__(self, root):
        self.hub = Hub()
        self.model = root / "data" / "model"
        self.state = root / "data" / ".ascend-vllm" / "model"
        self._cache = root / "cache"

    def staging(self, kind="modelscope", repository="o/m", token="", environment=()):
        source = Source(kind, repository, "", "", token, 0, dict(environment))
        return Staging(str(self.model), source, weights.DigestCache.of(str(self.model), str(self._cache)), 2)

    def fetch(self, path, content=None):
        target = self.state / "staging" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.hub.files[path] if content is None else content)

    def stage(self, **options):
        """Do the same as the role: plan, prepare, download with the client, publish."""
        staging = self.staging(**options)
        work = staging.plan(self.hub)
        if work["changed"]:
            staging.prepare(work, 0)
            for path in work["download"]:
                self.fetch(path)
            staging.publish("now")
        return work

    def content(self):
        files = [path for path in self.model.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.model)): path.read_bytes() for path in files}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_model_is_published_with_its_manifest(site):
    work = site.stage()
    assert work["download"] == sorted(FILES)
    assert work["bytes"] == 9
    assert site.content() == FILES
    manifest = weights.read_json(str(site.state / "manifest.json"))
    assert [entry["sha256_from"] for entry in manifest["files"]] == ["hub", "hub"]
    assert (manifest["source"], manifest["repository"], manifest["revision"]) == ("modelscope", "o/m", "master")
    assert {path.name for path in site.state.iterdir()} == {"manifest.json"}
    assert stat.S_IMODE(site.model.stat().st_mode) == 0o755


def test_a_second_run_sends_no_request_and_changes_nothing(site):
    site.stage()
    asked = site.hub.asked
    assert site.stage()["changed"] is False
    assert site.hub.asked == asked


def test_other_files_of_the_client_are_not_published(site):
    staging = site.staging()
    staging.prepare(staging.plan(site.hub), 0)
    for path in FILES:
        site.fetch(path)
    for leftover in (".cache/huggingface/x.lock", ".msc", "partial.incomplete"):
        site.fetch(leftover, b"x")
    staging.publish("now")
    assert site.content() == FILES


def test_an_incomplete_download_is_not_published(site):
    staging = site.staging()
    staging.prepare(staging.plan(site.hub), 0)
    site.fetch("config.json")
    with pytest.raises(StagingError, match=r"sub/model.safetensors is missing"):
        staging.publish("now")
    assert not site.model.exists()
    assert site.stage()["download"] == sorted(FILES)
    assert site.content() == FILES


def test_a_damaged_file_is_named_and_downloaded_again(site):
    staging = site.staging()
    staging.prepare(staging.plan(site.hub), 0)
    site.fetch("config.json")
    site.fetch("sub/model.safetensors", b"tensorz")
    with pytest.raises(StagingError, match=r"sub/model.safetensors has the SHA-256"):
        staging.publish("now")
    assert not site.model.exists()
    assert not (site.state / "staging/sub/model.safetensors").exists()
    assert (site.state / "staging/config.json").exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_only_wrong_files_are_repaired(site, damage):
    site.stage()
    victim, other = site.model / "sub/model.safetensors", site.model / "config.json"
    before = other.stat().st_ino
    if damage == "delete":
        victim.unlink()
    else:
        victim.write_bytes(b"tensorz" if damage == "flip" else b"ten")
    (site.model / "notes.txt").write_bytes(b"not ours")
    work = site.stage()
    assert work["download"] == ["sub/model.safetensors"]
    assert site.content() == dict(FILES, **{"notes.txt": b"not ours"})
    assert other.stat().st_ino == before


def test_a_repair_without_a_download_is_an_error(site):
    site.stage()
    (site.model / "config.json").write_bytes(b"[]")
    staging = site.staging()
    staging.prepare(staging.plan(site.hub), 0)
    with pytest.raises(StagingError, match=r"config.json has the SHA-256"):
        staging.publish("now")


def test_an_existing_model_is_adopted(site):
    for path, content in FILES.items():
        (site.model / path).parent.mkdir(parents=True, exist_ok=True)
        (site.model / path).write_bytes(content)
    work = site.stage()
    assert (work["changed"], work["download"]) == (True, [])
    assert site.stage()["changed"] is False


def test_another_repository_is_another_model(site):
    site.stage()
    site.hub.files["config.json"] = b"{ }"
    staging = site.staging(repository="o/m")
    assert staging.plan(site.hub)["changed"] is False
    staging.source = staging.source._replace(revision="v2")
    assert staging.plan(site.hub)["download"] == ["config.json"]


def test_huggingface_blob_ids_are_verified(site, monkeypatch):
    sha = hashlib.sha1(b"blob 2\0{}").hexdigest()
    answer = json.dumps({"sha": "c0ffee", "siblings": [{"rfilename": "config.json", "size": 2, "blobId": sha}]})
    monkeypatch.setattr(site.hub, "get", lambda url: answer)
    staging = site.staging("huggingface")
    staging.prepare(staging.plan(site.hub), 0)
    site.fetch("config.json", b"[]")
    with pytest.raises(StagingError, match=r"config.json has the git blob id"):
        staging.publish("now")
    site.fetch("config.json", b"{}")
    manifest = staging.publish("now")
    assert manifest["revision"] == "c0ffee"
    assert manifest["files"][0]["sha256_from"] == "staging"


def test_a_local_model_gets_its_own_manifest(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    staging = site.staging("local", "")
    assert staging.plan(None)["changed"] is True
    manifest = staging.publish("now")
    assert [entry["sha256_from"] for entry in manifest["files"]] == ["staging"]
    assert staging.plan(None)["changed"] is False


def test_a_local_model_that_does_not_exist(site):
    with pytest.raises(StagingError, match=r"weights_source is local and there is no model in .*/data/model; copy"):
        site.staging("local", "").plan(None)


def test_a_hub_without_repository(site):
    with pytest.raises(StagingError, match="set weights_repository"):
        site.staging(repository="").plan(site.hub)


def test_a_password_in_the_address_is_refused_without_repeating_it(site):
    staging = site.staging("http")
    staging.source = staging.source._replace(endpoint="https://me:s3cret@web.example/model")
    with pytest.raises(StagingError, match="put a token in weights_hub_token") as caught:
        staging.plan(site.hub)
    assert "s3cret" not in str(caught.value)


def test_too_little_space_is_reported_before_anything_is_written(site):
    staging = site.staging()
    work = staging.plan(site.hub)
    with pytest.raises(StagingError, match=r"GiB free; .*weights_free_space_gib reserves 1048576.0 GiB"):
        staging.prepare(work, 2**50)
    assert not site.state.exists()


def test_the_token_is_only_readable_by_root_and_is_removed(site):
    staging = site.staging(token="it's secret")
    work = staging.plan(site.hub)
    assert "secret" not in json.dumps(work)
    staging.prepare(work, 0)
    credentials = site.state / "credentials"
    assert json.loads(credentials.read_text()) == {"MODELSCOPE_API_TOKEN": "it's secret"}
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    for path in FILES:
        site.fetch(path)
    staging.publish("now")
    assert not credentials.exists()


def test_variables_of_the_client_are_in_the_same_file(site):
    proxy = {"HTTPS_PROXY": "http://someone:hunter22@proxy:3128"}
    staging = site.staging(environment=proxy)
    work = staging.plan(site.hub)
    assert "hunter22" not in json.dumps(work)
    staging.prepare(work, 0)
    assert json.loads((site.state / "credentials").read_text()) == proxy


def test_only_hashing_all_files_finds_a_damaged_model(site):
    site.stage()
    for path in FILES:
        os.utime(site.model / path, (1_600_000_000, 1_600_000_000))
    assert site.staging().held()["holds"] is True
    (site.model / "sub/model.safetensors").write_bytes(b"tensorz")
    os.utime(site.model / "sub/model.safetensors", (1_600_000_000, 1_600_000_000))
    assert site.staging().held()["holds"] is True
    assert site.staging().held(full=True)["holds"] is False
    assert site.staging().held()["holds"] is False


@pytest.mark.parametrize("kind", ["modelscope", "local"])
def test_a_model_from_another_node_needs_no_token(site, tmp_path, kind):
    site.stage()
    manifest = weights.read_json(str(site.state / "manifest.json"))
    other = Site(tmp_path / "other")
    staging = other.staging(kind, token="it's secret")
    staging.prepare(staging.plan(None, manifest=manifest), 0)
    assert not (other.state / "credentials").exists()


def test_two_runs_do_not_stage_one_model(site):
    first, second = site.staging(), site.staging()
    reason = r"another run is staging .*\(preparing since 20"
    with hold_lock(first.paths, 0, "preparing"), pytest.raises(StagingError, match=reason), \
            hold_lock(second.paths, 0.1, "preparing"):
        pytest.fail("both runs hold the lock")
    with hold_lock(second.paths, 0, "preparing"):
        assert Path(second.paths.lock).read_text().startswith("preparing since")


MADE = {"quant_model_description.json": b"{}", "quant_model_weight_w8a8.safetensors": b"shard", "config.json": b"{}"}


def quantize(site, files=None):
    """Do the same as the role with the source quantize; the tool writes the files."""
    staging = site.staging("quantize", "")
    work = staging.plan(None)
    if work["pending"]:
        staging.prepare(work, 0)
        for path, content in (MADE if files is None else files).items():
            site.fetch(path, content)
        staging.publish("now")
    return work


def test_the_files_of_the_quantization_become_the_model(site):
    assert quantize(site)["pending"] is True
    assert site.content() == MADE
    manifest = weights.read_json(str(site.state / "manifest.json"))
    assert {entry["sha256_from"] for entry in manifest["files"]} == {"staging"}
    assert quantize(site)["pending"] is False


@pytest.mark.parametrize("missing", sorted(set(MADE) - {"config.json"}))
def test_an_incomplete_quantization_is_not_published(site, missing):
    with pytest.raises(StagingError, match="quantization wrote 2 files, among them"):
        quantize(site, {path: content for path, content in MADE.items() if path != missing})
    assert not site.model.exists()


def test_a_damaged_model_is_quantized_again_without_stray_shards(site):
    quantize(site)
    (site.model / "quant_model_weight_w8a8.safetensors").write_bytes(b"SHARD")
    (site.model / "notes.txt").write_bytes(b"not ours")
    again = {"quant_model_description.json": b"{}", "quant_model_weights.safetensors": b"shard", "config.json": b"{}"}
    assert quantize(site, again)["pending"] is True
    assert site.content() == dict(again, **{"notes.txt": b"not ours"})


def test_a_foreign_model_is_not_replaced_by_a_quantized_one(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    with pytest.raises(StagingError, match="has a model that this role did not quantize"):
        quantize(site)


def test_a_model_from_another_node(site, tmp_path):
    site.stage()
    manifest = weights.read_json(str(site.state / "manifest.json"))
    other = Site(tmp_path / "other")
    staging = other.staging()
    work = staging.plan(None, manifest=manifest)
    assert (work["download"], work["command"]) == (sorted(FILES), None)
    staging.prepare(work, 0)
    for path, content in FILES.items():
        other.fetch(path, content)
    assert staging.publish("now")["digest"] == manifest["digest"]
    assert staging.plan(None, manifest=manifest)["changed"] is False
    assert staging.held()["holds"] is True


def test_a_node_holds_a_model_if_it_is_complete_and_from_this_source(site):
    assert site.staging().held() == {"holds": False, "files": 0, "manifest": None, "folder": str(site.state)}
    site.stage()
    assert site.staging().held()["holds"] is True
    assert site.staging("huggingface").held()["holds"] is False
    assert site.staging("local", "").held()["holds"] is True
    (site.model / "config.json").unlink()
    assert site.staging().held() == {"holds": False, "files": 1, "manifest": None, "folder": str(site.state)}


def test_a_foreign_file_is_not_replaced(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"[1]")
    with pytest.raises(StagingError, match=r"files from another source: config.json has 3 bytes, expected 2; move"):
        site.stage()
    assert site.content() == {"config.json": b"[1]"}


def test_an_adopted_file_is_restored_but_not_removed(site):
    for path, content in FILES.items():
        (site.model / path).parent.mkdir(parents=True, exist_ok=True)
        (site.model / path).write_bytes(content)
    site.stage()
    (site.model / "config.json").write_bytes(b"[]")
    assert site.stage()["download"] == ["config.json"]
    assert site.content() == FILES
    site.hub.files = {"config.json": b"{ }", "new": b"1"}
    source = Source("modelscope", "o/m", "v2", "", "")
    for _again in range(2):  # It was written by the repair, so the next revision may replace it.
        staging = Staging(str(site.model), source, site.staging()._cache, 2)
        work = staging.plan(site.hub)
        if work["changed"]:
            staging.prepare(work, 0)
            for path in work["download"]:
                site.fetch(path)
            staging.publish("now")
    assert site.content() == dict(site.hub.files, **{"sub/model.safetensors": b"tensors"})


def test_files_of_another_revision_are_removed_if_the_role_wrote_them(site):
    site.stage()
    del site.hub.files["sub/model.safetensors"]
    staging = site.staging()
    staging.source = staging.source._replace(revision="v2")
    staging.prepare(staging.plan(site.hub), 0)
    staging.publish("now")
    assert site.content() == {"config.json": b"{}"}


def test_a_model_behind_a_link_is_staged_where_the_link_points(site, tmp_path):
    disk = tmp_path / "disk"
    (disk / "there").mkdir(parents=True)
    site.model.parent.mkdir()
    site.model.symlink_to(disk / "there")
    site.state = disk / ".ascend-vllm" / "there"
    site.stage()
    assert site.content() == FILES
    assert site.model.is_symlink()
    assert {path.name for path in site.model.parent.iterdir()} == {"model"}
    assert site.stage()["changed"] is False


def test_links_out_of_the_folder_are_refused(site, tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / "1").write_bytes(b"{}")
    site.model.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (site.model / name).symlink_to(blobs / "1")
    with pytest.raises(StagingError, match=r"config.json in .* and 1 other files are links out of the folder.*cp -rL"):
        site.staging("local", "").plan(None)


@pytest.fixture
def read_only(site, monkeypatch, tmp_path):
    """A model on a mount that this node only reads."""
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    monkeypatch.setattr(weights, "STATE_FOLDER", str(tmp_path / "state"))
    monkeypatch.setattr(weights, "read_only", lambda folder: folder.startswith(str(site.model.parent)))
    return site


def test_a_model_on_a_read_only_mount_is_recorded_on_the_node(read_only, tmp_path):
    staging = read_only.staging("local", "")
    staging.prepare(staging.plan(None), 0)
    with hold_lock(staging.paths, 0, "publishing"):
        staging.publish("now")
    assert read_only.staging("local", "").plan(None)["changed"] is False
    assert {path.name for path in read_only.model.parent.iterdir()} == {"model"}
    assert staging.paths.manifest.startswith(str(tmp_path / "state"))
    assert staging.create_marker() is None


def test_nothing_is_downloaded_to_a_read_only_mount(read_only):
    staging = read_only.staging()
    work = staging.plan(read_only.hub)
    with pytest.raises(StagingError, match=r"is read-only on this node.*weights_source to local"):
        staging.prepare(work, 0)


def test_a_mount_point_is_refused(site, monkeypatch):
    staging = site.staging()
    monkeypatch.setattr("os.path.ismount", lambda path: path == str(site.model))
    with pytest.raises(StagingError, match="is a mount point"):
        staging.prepare(staging.plan(site.hub), 0)


def test_marker_file_is_in_the_state_folder(site):
    site.stage()
    marker = Path(site.staging().create_marker())
    assert marker.parent == site.state


def test_a_damaged_manifest_is_named(site):
    site.stage()
    (site.state / "manifest.json").write_bytes(b"")
    with pytest.raises(StagingError, match=r"manifest.json is damaged .*; remove it"):
        site.staging().plan(site.hub)


def test_names_with_spaces_and_files_without_bytes(site):
    site.hub.files = {"a b.json": b"{}", "empty": b""}
    site.stage()
    assert site.content() == site.hub.files
    assert site.stage()["changed"] is False
