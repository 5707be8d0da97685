# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

"""Models are staged in real folders. The tests write the files that a hub's client would download."""

import contextlib
import hashlib
import json
import re
import stat
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import Folder
from ansible_collections.ascend.vllm.plugins.module_utils._weights.observation import observe
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import (
    StagingError,
    hold_lock,
    open_work_folder,
)
from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Source, Staging

FILES = {"config.json": b"{}", "sub/model.safetensors": b"tensors"}


class Hub:
    """A fake ModelScope that lists files and counts requests."""

    def __init__(self, files=None):
        self.files = dict(FILES if files is None else files)
        self.requests = 0

    def get(self, url):
        self.requests += 1
        assert "/api/v1/models/o/m/repo/files" in url
        return json.dumps({"Code": 200, "Data": {"Files": [
            {"Path": path, "Type": "blob", "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}
            for path, content in self.files.items()]}})

    size = None


class Site:
    """A node that stages a model, and a client that downloads files from the hub."""

    def __init__(self, root):
        self.hub = Hub()
        self.model = root / "data" / "model"
        self.work = root / "data" / ".ascend-vllm" / "model"
        self._root, self._cache = root, root / "cache"

    @property
    def state(self):
        with self.on_this_node():
            return Path(weights.model_paths(str(self.model)).state)

    @contextlib.contextmanager
    def on_this_node(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weights, "STATE_FOLDER", str(self._root / "state"))
            yield

    def staging(self, kind="modelscope", repository="o/m", token="", environment=(), run=""):
        source = Source(kind, repository, "", "", token, 0, dict(environment))
        with self.on_this_node():
            return Staging(str(self.model), source, weights.DigestCache.of(str(self.model), str(self._cache)), 2, run)

    def manifest(self):
        return json.loads((self.state / "manifest.json").read_text())

    def fetch(self, path, content=None):
        target = self.work / "staging" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.hub.files[path] if content is None else content)

    def stage(self, **options):
        """Stage the model as the role does: plan, prepare, download with the client, publish."""
        staging = self.staging(**options)
        work = staging.plan(self.hub)
        if work["changed"]:
            prepare(staging, work)
            for path in work["download"]:
                self.fetch(path)
            publish(staging)
        return work

    def content(self):
        files = [path for path in self.model.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.model)): path.read_bytes() for path in files}


def prepare(staging, work, free_space_bytes=0):
    with hold_lock(staging.paths, 0, "preparing") as state:
        staging.prepare(work, free_space_bytes, state)


def publish(staging):
    with hold_lock(staging.paths, 0, "publishing") as state:
        return staging.publish("now", state)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_model_is_published_with_its_manifest(site):
    work = site.stage()
    assert work["download"] == sorted(FILES)
    assert work["bytes"] == 9
    assert site.content() == FILES
    manifest = site.manifest()
    assert [entry["sha256_from"] for entry in manifest["files"]] == ["hub", "hub"]
    assert (manifest["source"], manifest["repository"], manifest["revision"]) == ("modelscope", "o/m", "master")
    assert {path.name for path in site.state.iterdir()} == {"manifest.json", "lock"}
    assert {path.name for path in site.work.iterdir()} == {"lock"}
    assert stat.S_IMODE(site.model.stat().st_mode) == 0o755


def test_second_run_sends_no_request_and_changes_nothing(site):
    site.stage()
    requests = site.hub.requests
    assert site.stage()["changed"] is False
    assert site.hub.requests == requests


def test_files_of_the_client_that_do_not_belong_to_the_model_are_not_published(site):
    staging = site.staging()
    prepare(staging, staging.plan(site.hub))
    for path in FILES:
        site.fetch(path)
    for leftover in (".cache/huggingface/x.lock", ".msc", "partial.incomplete"):
        site.fetch(leftover, b"x")
    publish(staging)
    assert site.content() == FILES


def test_incomplete_download_is_not_published(site):
    staging = site.staging()
    prepare(staging, staging.plan(site.hub))
    site.fetch("config.json")
    with pytest.raises(StagingError, match=r"sub/model.safetensors is missing"):
        publish(staging)
    assert not site.model.exists()
    assert site.stage()["download"] == sorted(FILES)
    assert site.content() == FILES


def test_damaged_download_is_an_error_and_is_removed(site):
    staging = site.staging()
    prepare(staging, staging.plan(site.hub))
    site.fetch("config.json")
    site.fetch("sub/model.safetensors", b"tensorz")
    with pytest.raises(StagingError, match=r"sub/model.safetensors has the SHA-256"):
        publish(staging)
    assert not site.model.exists()
    assert not (site.work / "staging/sub/model.safetensors").exists()
    assert (site.work / "staging/config.json").exists()


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


def test_repair_without_a_download_is_an_error(site):
    site.stage()
    (site.model / "config.json").write_bytes(b"[]")
    staging = site.staging()
    prepare(staging, staging.plan(site.hub))
    with pytest.raises(StagingError, match=r"config.json has the SHA-256"):
        publish(staging)


def test_existing_model_is_adopted(site):
    for path, content in FILES.items():
        (site.model / path).parent.mkdir(parents=True, exist_ok=True)
        (site.model / path).write_bytes(content)
    work = site.stage()
    assert (work["changed"], work["download"]) == (True, [])
    assert site.stage()["changed"] is False


def test_another_revision_is_another_model(site):
    site.stage()
    site.hub.files["config.json"] = b"{ }"
    staging = site.staging(repository="o/m")
    assert staging.plan(site.hub)["changed"] is False
    staging.source = staging.source._replace(revision="v2")
    assert staging.plan(site.hub)["download"] == ["config.json"]


def test_huggingface_blob_ids_are_verified(site, monkeypatch):
    sha = hashlib.sha1(b"blob 2\0{}").hexdigest()
    response = json.dumps({"sha": "c0ffee", "siblings": [{"rfilename": "config.json", "size": 2, "blobId": sha}]})
    monkeypatch.setattr(site.hub, "get", lambda url: response)
    staging = site.staging("huggingface")
    prepare(staging, staging.plan(site.hub))
    site.fetch("config.json", b"[]")
    with pytest.raises(StagingError, match=r"config.json has the git blob id"):
        publish(staging)
    site.fetch("config.json", b"{}")
    manifest = publish(staging)
    assert manifest["revision"] == "c0ffee"
    assert manifest["files"][0]["sha256_from"] == "staging"


def test_local_model_gets_its_own_manifest(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    staging = site.staging("local", "")
    assert staging.plan(None)["changed"] is True
    manifest = publish(staging)
    assert [entry["sha256_from"] for entry in manifest["files"]] == ["staging"]
    assert staging.plan(None)["changed"] is False


def test_missing_local_model_is_an_error(site):
    with pytest.raises(StagingError, match=r"weights_source is local and there is no model in .*/data/model; copy"):
        site.staging("local", "").plan(None)


def test_hub_without_a_repository_is_refused(site):
    with pytest.raises(StagingError, match="set weights_repository"):
        site.staging(repository="").plan(site.hub)


def test_password_in_the_address_is_refused_without_repeating_it(site):
    staging = site.staging("http")
    staging.source = staging.source._replace(endpoint="https://me:s3cret@web.example/model")
    with pytest.raises(StagingError, match="put a token in weights_hub_token") as caught:
        staging.plan(site.hub)
    assert "s3cret" not in str(caught.value)


def test_too_little_space_is_reported_before_anything_is_written(site):
    staging = site.staging()
    work = staging.plan(site.hub)
    with pytest.raises(StagingError, match=r"GiB free; .*weights_free_space_gib reserves 1048576.0 GiB"):
        prepare(staging, work, 2**50)
    assert not site.work.exists()


def test_token_is_only_readable_by_root_and_is_removed(site):
    staging = site.staging(token="it's secret")
    work = staging.plan(site.hub)
    assert "secret" not in json.dumps(work)
    prepare(staging, work)
    credentials = Path(work["environment"]["STAGING_CREDENTIALS"])
    assert credentials.parent == site.state / "transfer"
    assert json.loads(credentials.read_text()) == {"MODELSCOPE_API_TOKEN": "it's secret"}
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    for path in FILES:
        site.fetch(path)
    publish(staging)
    assert not credentials.exists()


def test_environment_variables_of_the_client_are_in_the_same_file(site):
    proxy = {"HTTPS_PROXY": "http://someone:hunter22@proxy:3128"}
    staging = site.staging(environment=proxy)
    work = staging.plan(site.hub)
    assert "hunter22" not in json.dumps(work)
    prepare(staging, work)
    assert json.loads(Path(work["environment"]["STAGING_CREDENTIALS"]).read_text()) == proxy


def test_only_hashing_all_files_finds_a_damaged_model(site, monkeypatch):
    site.stage()
    (site.model / "sub/model.safetensors").write_bytes(b"tensorz")
    # This simulates a disk that returns other bytes under the same timestamps.
    monkeypatch.setattr(weights.DigestCache, "get", lambda _self, stat: {
        len(content): hashlib.sha256(content).hexdigest() for content in FILES.values()}[stat.st_size])
    assert site.staging().held()["holds"] is True
    assert site.staging().held(full=True)["holds"] is False


@pytest.mark.parametrize("kind", ["modelscope", "local"])
def test_model_from_another_node_needs_no_token(site, tmp_path, kind):
    site.stage()
    manifest = site.manifest()
    other = Site(tmp_path / "other")
    staging = other.staging(kind, token="it's secret")
    prepare(staging, staging.plan(None, manifest=manifest))
    assert list((other.state / "transfer").iterdir()) == []


def test_two_runs_do_not_stage_the_same_model_at_once(site):
    first, second = site.staging(), site.staging()
    reason = r"Another run is staging .*\(preparing since 20"
    with hold_lock(first.paths, 0, "preparing"), pytest.raises(StagingError, match=reason), \
            hold_lock(second.paths, 0.1, "preparing"):
        pytest.fail("both runs hold the lock")
    with hold_lock(second.paths, 0, "preparing"):
        assert Path(second.paths.lock).read_text().startswith("preparing since")


QUANTIZED_FILES = {
    "quant_model_description.json": b"{}", "quant_model_weight_w8a8.safetensors": b"shard", "config.json": b"{}"}


def quantize(site, files=None):
    """Quantize the model as the role does. ``files`` are the files that the tool writes."""
    staging = site.staging("quantize", "")
    work = staging.plan(None)
    if work["pending"]:
        prepare(staging, work)
        for path, content in (QUANTIZED_FILES if files is None else files).items():
            site.fetch(path, content)
        publish(staging)
    return work


def test_files_that_the_quantization_wrote_become_the_model(site):
    assert quantize(site)["pending"] is True
    assert site.content() == QUANTIZED_FILES
    manifest = site.manifest()
    assert {entry["sha256_from"] for entry in manifest["files"]} == {"staging"}
    assert quantize(site)["pending"] is False


@pytest.mark.parametrize("missing", sorted(set(QUANTIZED_FILES) - {"config.json"}))
def test_incomplete_quantization_is_not_published(site, missing):
    with pytest.raises(StagingError, match="The quantization did not write a whole model"):
        quantize(site, {path: content for path, content in QUANTIZED_FILES.items() if path != missing})
    assert not site.model.exists()


def test_damaged_model_is_quantized_again_without_stray_shards(site):
    quantize(site)
    (site.model / "quant_model_weight_w8a8.safetensors").write_bytes(b"SHARD")
    (site.model / "notes.txt").write_bytes(b"not ours")
    files = {"quant_model_description.json": b"{}", "quant_model_weights.safetensors": b"shard", "config.json": b"{}"}
    assert quantize(site, files)["pending"] is True
    assert site.content() == dict(files, **{"notes.txt": b"not ours"})


def test_foreign_model_is_not_replaced_by_a_quantized_one(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    with pytest.raises(StagingError, match="has a model that this role did not quantize"):
        quantize(site)


def test_model_is_copied_from_another_node(site, tmp_path):
    site.stage()
    manifest = site.manifest()
    other = Site(tmp_path / "other")
    staging = other.staging()
    work = staging.plan(None, manifest=manifest)
    assert (work["download"], work["command"]) == (sorted(FILES), None)
    prepare(staging, work)
    for path, content in FILES.items():
        other.fetch(path, content)
    assert publish(staging)["digest"] == manifest["digest"]
    assert staging.plan(None, manifest=manifest)["changed"] is False
    assert staging.held()["holds"] is True


def test_node_holds_a_model_if_it_is_complete_and_from_this_source(site):
    def incomplete(files, identity):
        return {"holds": False, "files": files, "manifest": None, "identity": identity, "state": str(site.state),
                "folder": str(site.work)}

    assert site.staging().held() == incomplete(0, None)
    site.stage()
    assert site.staging().held()["holds"] is True
    assert site.staging("huggingface").held()["holds"] is False
    assert site.staging("local", "").held()["holds"] is True
    (site.model / "config.json").unlink()
    found = site.model.stat()
    assert site.staging().held() == incomplete(1, f"{found.st_dev}:{found.st_ino}")


def test_foreign_file_is_not_replaced(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"[1]")
    with pytest.raises(StagingError, match=r"files from another source: config.json has 3 bytes, expected 2; move"):
        site.stage()
    assert site.content() == {"config.json": b"[1]"}


def test_adopted_file_is_restored_but_not_removed(site):
    for path, content in FILES.items():
        (site.model / path).parent.mkdir(parents=True, exist_ok=True)
        (site.model / path).write_bytes(content)
    site.stage()
    (site.model / "config.json").write_bytes(b"[]")
    assert site.stage()["download"] == ["config.json"]
    assert site.content() == FILES
    site.hub.files = {"config.json": b"{ }", "new": b"1"}
    source = Source("modelscope", "o/m", "v2", "", "")
    for _again in range(2):  # The repair wrote config.json, so the next revision can replace it.
        staging = site.staging()
        staging.source = source
        work = staging.plan(site.hub)
        if work["changed"]:
            prepare(staging, work)
            for path in work["download"]:
                site.fetch(path)
            publish(staging)
    assert site.content() == dict(site.hub.files, **{"sub/model.safetensors": b"tensors"})


def test_files_of_another_revision_are_removed_if_the_role_wrote_them(site):
    site.stage()
    del site.hub.files["sub/model.safetensors"]
    staging = site.staging()
    staging.source = staging.source._replace(revision="v2")
    prepare(staging, staging.plan(site.hub))
    publish(staging)
    assert site.content() == {"config.json": b"{}"}


def test_model_behind_a_link_is_staged_where_the_link_points(site, tmp_path):
    disk = tmp_path / "disk"
    (disk / "target").mkdir(parents=True)
    site.model.parent.mkdir()
    site.model.symlink_to(disk / "target")
    site.work = disk / ".ascend-vllm" / "target"
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
    with pytest.raises(StagingError, match=r"has links out of the folder \(2, first: config\.json\).*cp -rL"):
        site.staging("local", "").plan(None)


@pytest.fixture
def read_only(site, monkeypatch, tmp_path):
    """A node with a model on a read-only mount."""
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    monkeypatch.setattr(weights, "STATE_FOLDER", str(tmp_path / "state"))
    monkeypatch.setattr(weights, "read_only", lambda folder: folder.startswith(str(site.model.parent)))
    return site


def test_model_on_a_read_only_mount_is_recorded_on_the_node(read_only, tmp_path):
    staging = read_only.staging("local", "")
    prepare(staging, staging.plan(None))
    publish(staging)
    assert read_only.staging("local", "").plan(None)["changed"] is False
    assert {path.name for path in read_only.model.parent.iterdir()} == {"model"}
    assert staging.paths.manifest.startswith(str(tmp_path / "state"))
    assert staging.create_marker() is None


def test_nothing_is_downloaded_to_a_read_only_mount(read_only):
    staging = read_only.staging()
    work = staging.plan(read_only.hub)
    with pytest.raises(StagingError, match=r"is read-only on this node.*weights_source to local"):
        prepare(staging, work)


def test_model_folder_that_is_a_mount_point_is_refused(site, monkeypatch):
    staging = site.staging()
    monkeypatch.setattr("os.path.ismount", lambda path: path == str(site.model))
    with pytest.raises(StagingError, match="is a mount point"):
        prepare(staging, staging.plan(site.hub))


def test_each_run_has_its_own_marker_in_the_work_folder(site):
    site.stage()
    runs = [site.staging(run=run) for run in ("a", "b")]
    assert [run.create_marker() for run in runs] == [str(site.work / "mark-a"), str(site.work / "mark-b")]
    runs[0].remove_marker()
    assert {path.name for path in site.work.iterdir()} == {"lock", "mark-b"}
    assert "/credentials-a" in runs[0].credentials


@pytest.mark.parametrize("content", [b"", b"{\"files\": [", b"[]", b"{}", b"\xff"])
def test_damaged_manifest_counts_as_missing_and_causes_a_warning(site, content):
    site.stage()
    (site.state / "manifest.json").write_bytes(content)
    staging = site.staging()
    assert staging.held()["holds"] is False
    assert f"{site.state}/manifest.json is damaged" in staging.warning
    site.stage()
    assert site.staging().held()["holds"] is True
    assert site.staging().warning is None


def test_damaged_manifest_is_reported_as_a_fault_of_the_model(site):
    site.stage()
    (site.state / "manifest.json").write_bytes(b"")
    with site.on_this_node():
        observed = observe(str(site.model), False, 1, site.staging()._cache)
    assert observed["manifest"] is None
    assert f"{site.state}/manifest.json is damaged" in observed["content_faults"][0]


def test_files_with_spaces_in_their_names_and_empty_files_are_staged(site):
    site.hub.files = {"a b.json": b"{}", "empty": b""}
    site.stage()
    assert site.content() == site.hub.files
    assert site.stage()["changed"] is False


# -- manifests of earlier versions and of other nodes


def record_like_an_earlier_version(site, change=None, **options):
    """Stage a model and move its manifest to where an earlier version stored it. ``change`` alters its files."""
    site.stage(**options)
    manifest = site.manifest()
    (site.state / "manifest.json").unlink()
    if change:
        manifest["files"] = change(manifest["files"])
        sums = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
        manifest["digest"] = weights.model_digest(sums)
    site.work.mkdir(parents=True, exist_ok=True)
    (site.work / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def test_source_is_queried_again_after_an_upgrade_but_nothing_is_downloaded(site):
    record_like_an_earlier_version(site)
    requests = site.hub.requests
    assert site.staging().held()["holds"] is False
    work = site.stage()
    assert (work["changed"], work["download"], site.hub.requests) == (True, [], requests + 1)
    assert [entry["sha256_from"] for entry in site.manifest()["files"]] == ["hub", "hub"]
    assert {path.name for path in site.work.iterdir()} == {"lock"}
    assert site.stage()["changed"] is False


def test_files_that_an_earlier_version_wrote_are_replaced_by_a_later_revision(site):
    record_like_an_earlier_version(site)
    (site.model / "notes.txt").write_bytes(b"not ours")
    site.stage()
    assert [entry["written"] for entry in site.manifest()["files"]] == [True, True]
    site.hub.files = {"config.json": b"{ }"}
    staging = site.staging()
    staging.source = staging.source._replace(revision="v2")
    prepare(staging, staging.plan(site.hub))
    site.fetch("config.json")
    publish(staging)
    assert site.content() == {"config.json": b"{ }", "notes.txt": b"not ours"}


@pytest.mark.parametrize("change", [
    lambda files: [dict(entry, sha256="0" * 64) for entry in files],
    lambda files: [dict(entry, path="notes.txt") for entry in files[:1]]])
def test_manifest_of_an_earlier_version_cannot_claim_other_files(site, change):
    record_like_an_earlier_version(site, change)
    (site.model / "notes.txt").write_bytes(b"not ours")
    site.stage()
    assert {entry["path"]: entry["written"] for entry in site.manifest()["files"]} == dict.fromkeys(FILES, False)
    site.stage()
    assert (site.model / "notes.txt").exists()


def test_tampered_model_with_a_matching_manifest_is_not_trusted(site):
    record_like_an_earlier_version(site)
    (site.model / "config.json").write_bytes(b"[]")
    manifest = json.loads((site.work / "manifest.json").read_text())
    manifest["files"][0]["sha256"] = hashlib.sha256(b"[]").hexdigest()
    manifest["digest"] = weights.model_digest({entry["path"]: entry["sha256"] for entry in manifest["files"]})
    (site.work / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StagingError, match=r"config.json has the SHA-256"):
        site.stage()


def local_model(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    (site.model / "model.safetensors").write_bytes(b"tensors")


def test_local_model_is_compared_with_the_manifest_of_an_earlier_version(site):
    local_model(site)
    record_like_an_earlier_version(site, kind="local", repository="")
    assert site.stage(kind="local", repository="")["changed"] is True
    assert not (site.work / "manifest.json").exists()
    assert {entry["path"] for entry in site.manifest()["files"]} == {"config.json", "model.safetensors"}
    assert site.stage(kind="local", repository="")["changed"] is False


def test_local_model_that_was_changed_since_an_earlier_version_is_refused(site):
    local_model(site)
    record_like_an_earlier_version(site, kind="local", repository="")
    (site.model / "config.json").write_bytes(b"[]")
    with pytest.raises(StagingError, match=r"config.json has the SHA-256 .*according to the manifest of an earlier"):
        site.stage(kind="local", repository="")
    (site.work / "manifest.json").unlink()
    assert site.stage(kind="local", repository="")["changed"] is True


def test_manifest_of_an_earlier_version_cannot_hide_files(site):
    local_model(site)
    record_like_an_earlier_version(site, lambda files: files[:1], kind="local", repository="")
    site.stage(kind="local", repository="")
    assert len(site.manifest()["files"]) == 2


def test_model_quantized_by_an_earlier_version_is_kept_if_all_files_match(site):
    quantize(site)
    manifest = site.manifest()
    (site.state / "manifest.json").unlink()
    (site.work / "manifest.json").write_text(json.dumps(manifest))
    assert quantize(site, {})["download"] == []
    assert {entry["written"] for entry in site.manifest()["files"]} == {False}
    assert quantize(site)["pending"] is False


@pytest.mark.parametrize("change", ["content", "another file"])
def test_model_quantized_by_an_earlier_version_is_refused_if_it_differs(site, change):
    quantize(site)
    manifest = site.manifest()
    (site.state / "manifest.json").unlink()
    (site.work / "manifest.json").write_text(json.dumps(manifest))
    (site.model / ("config.json" if change == "content" else "extra.safetensors")).write_bytes(b"[]")
    with pytest.raises(StagingError, match="has a model that this role did not quantize"):
        quantize(site)


def test_manifest_of_the_node_that_stages_a_shared_folder_is_recorded(site, tmp_path):
    site.stage()
    manifest = site.manifest()
    other = Site(tmp_path / "other")
    other.model = site.model
    for expected in (True, False):
        with hold_lock(other.staging().paths, 0, "recording") as state:
            assert other.staging().record(manifest, state) is expected
    assert other.staging().held()["holds"] is True
    assert other.manifest()["digest"] == manifest["digest"]
    # This node must not remove files that another node wrote.
    assert {entry["written"] for entry in other.manifest()["files"]} == {False}


@pytest.mark.parametrize("use", ["plan", "record"])
def test_manifest_of_another_node_is_checked(site, use):
    manifest = {"schema": weights.MANIFEST_SCHEMA, "source": "modelscope", "digest": "0" * 64, "bytes": 1,
                "files": [{"path": "../../x", "size": 1, "sha256": "1" * 64, "sha256_from": "hub", "written": True}]}
    staging = site.staging()
    with pytest.raises(StagingError, match=r"of the node that has the model is not valid: .*outside the folder"):
        staging.plan(None, manifest=manifest) if use == "plan" else staging.record(manifest, None)


def test_staging_waits_for_another_node_that_stages_in_the_same_folder(site, tmp_path):
    """Each node has its own lock, and all nodes share the lock in the work folder."""
    other = Site(tmp_path / "other")
    other.model = site.model
    staging = site.staging()
    site.model.parent.mkdir()
    reason = "Another run is staging .* increase weights_lock_wait_s"
    with open_work_folder(other.staging().paths, 0), pytest.raises(StagingError, match=reason):
        prepare(staging, staging.plan(site.hub))
    assert site.stage()["changed"] is True


def test_file_that_is_changed_during_publication_is_an_error(site, monkeypatch):
    """A file that is changed between its verification and its rename must not be recorded as verified."""
    staging = site.staging()
    site.model.mkdir(parents=True)
    prepare(staging, staging.plan(site.hub))
    for path in FILES:
        site.fetch(path)
    move = Folder.move

    def tampered(self, path, target, target_path):
        if path == "config.json":
            (site.work / "staging" / path).write_bytes(b"[]")
        move(self, path, target, target_path)

    monkeypatch.setattr(Folder, "move", tampered)
    with pytest.raises(StagingError, match=r"was changed while it was published .config.json has the SHA-256"):
        publish(staging)
    assert not (site.state / "manifest.json").exists()


def test_web_server_without_an_address_is_refused(site):
    with pytest.raises(StagingError, match="weights_source is http and weights_hub_endpoint is empty; set it"):
        site.staging("http", "").plan(site.hub)


def test_local_model_with_an_invalid_file_name_is_refused(site):
    site.model.mkdir(parents=True)
    (site.model / "config.json").write_bytes(b"{}")
    (site.model / "a\nb.json").write_bytes(b"{}")
    with pytest.raises(StagingError, match=r"The model has the file 'a\\nb.json', .*; rename it\."):
        publish(site.staging("local", ""))


def test_error_names_the_state_folder_that_cannot_be_created(site):
    staging = site.staging()
    path = Path(staging.paths.state)
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.write_text("a file instead of the folder")
    with pytest.raises(StagingError, match=f"{re.escape(str(path))} cannot be written: "), \
            hold_lock(staging.paths, 0, "preparing"):
        pytest.fail("the lock is in no folder")
