# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root does not use the links, pipes and files of another user who can write to the models folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files, folders
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import (
    Folder,
    UnsafePathError,
    open_existing,
    resolve,
)
from ansible_collections.ascend.vllm.plugins.module_utils._weights.observation import observe
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError, hold_lock
from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Source, Staging

OTHER_USER = 65534
CONTENT = {"config.json": b"{}", "sub/model.safetensors": b"tensors"}


@contextlib.contextmanager
def another_user():
    os.setegid(OTHER_USER)
    os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def no_hang():
    """Fail instead of waiting for a program that never writes to a pipe."""
    def fail(_number, _frame):
        raise TimeoutError("the operation does not return")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 20)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


class Hub:
    """A hub that lists two files."""

    def __init__(self):
        self.files = dict(CONTENT)

    def get(self, _url):
        return json.dumps({"Code": 200, "Data": {"Files": [
            {"Path": path, "Type": "blob", "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}
            for path, content in self.files.items()]}})

    size = None


class Node:
    """A node on which all users can write to the models folder, but root's files must not change."""

    def __init__(self, root):
        self.data, self.host = root / "data", root / "host"
        self.hub = Hub()
        for folder, mode in ((self.data, 0o777), (self.host, 0o755)):
            folder.mkdir()
            folder.chmod(mode)
        self.model, self.work = self.data / "model", self.data / ".ascend-vllm" / "model"
        (self.host / "sub").mkdir()
        for name, mode in (("secret", 0o600), ("config.json", 0o600), ("sub/model.safetensors", 0o600)):
            (self.host / name).write_bytes(b"of the host")
            (self.host / name).chmod(mode)
        self.before = self.snapshot()

    def snapshot(self):
        """Return the content, mode and owner of every file in the host folder."""
        return {str(path): (path.read_bytes() if path.is_file() else sorted(os.listdir(path)),
                            path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_nlink)
                for path in [self.host, *self.host.rglob("*")]}

    def staging(self, kind="modelscope", revision=""):
        cache = files.DigestCache.of(str(self.model))
        return Staging(str(self.model), Source(kind, "o/m", revision, "", "s3cret"), cache, 2)

    def prepare(self, **options):
        staging = self.staging(**options)
        with hold_lock(staging.paths, 0, "preparing") as state:
            work = staging.plan(self.hub)
            staging.prepare(work, 0, state)
        return staging, work

    def download(self, work):
        """Write the files as the download client does, which runs as root in its container."""
        for path in work["download"]:
            target = self.work / "staging" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.hub.files[path])

    def stage(self, after_download=None, **options):
        """Stage the model. ``after_download`` is called after the client has downloaded it."""
        staging, work = self.prepare(**options)
        self.download(work)
        if after_download:
            after_download()
        with hold_lock(staging.paths, 0, "publishing") as state:
            return staging.publish("now", state)

    def observe(self):
        return observe(str(self.model), False, 2, files.DigestCache.of(str(self.model)))


@pytest.fixture
def node(no_hang, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("root and another user are needed")
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # fsync is slow, and this test does not need it.
    # Another user has access to this folder, but not to tmp_path.
    root = Path(tempfile.mkdtemp(prefix="ascend-vllm-"))
    root.chmod(0o755)
    monkeypatch.setattr(files, "STATE_FOLDER", str(root / "state"))
    monkeypatch.setattr(files, "DIGEST_CACHE", str(root / "state" / "digests"))
    monkeypatch.setattr(files.DigestCache.of.__func__, "__defaults__", (str(root / "state" / "digests"), True))
    yield Node(root)
    shutil.rmtree(root)


def forged_manifest(**change):
    """Return an earlier version's manifest that claims that the role wrote a file outside the folder."""
    entries = [{"path": path, "size": 2, "sha256": "0" * 64, "sha256_from": "hub", "written": True}
               for path in ("../../host/secret", "config.json")]
    return json.dumps({"schema": files.MANIFEST_SCHEMA, "source": "modelscope", "repository": "o/m",
                       "revision": "master", "recorded_at": "now", "bytes": 4, "files": entries,
                       "digest": files.model_digest({entry["path"]: entry["sha256"] for entry in entries}),
                       "asked": {"source": "modelscope", "repository": "o/m", "endpoint": None, "revision": None},
                       **change})


def create_work_folder(node):
    node.work.mkdir(parents=True)


def lock_link(node):
    create_work_folder(node)
    (node.work / "lock").symlink_to(node.host / "secret")


def lock_pipe(node):
    create_work_folder(node)
    os.mkfifo(node.work / "lock")


def work_link(node):
    (node.data / ".ascend-vllm").symlink_to(node.host)


def model_link(node):
    node.model.symlink_to(node.host)


def manifest(content):
    def prepare(node):
        create_work_folder(node)
        (node.work / "manifest.json").write_text(content)
    return prepare


def manifest_pipe(node):
    create_work_folder(node)
    os.mkfifo(node.work / "manifest.json")


WRITABLE_BY_OTHERS = "can be written by users other than root"


@pytest.mark.parametrize(("prepare", "reason"), [
    (create_work_folder, WRITABLE_BY_OTHERS),
    (lock_link, WRITABLE_BY_OTHERS),
    (lock_pipe, WRITABLE_BY_OTHERS),
    (work_link, "is not a folder; remove it"),
    (model_link, "is a link that belongs to the user id 65534"),
    (manifest(forged_manifest()), WRITABLE_BY_OTHERS),
    (manifest_pipe, WRITABLE_BY_OTHERS),
])
def test_files_that_another_user_prepared_before_the_first_run_are_refused(node, prepare, reason):
    with another_user():
        prepare(node)
    with pytest.raises((StagingError, UnsafePathError), match=reason):
        node.stage()
    assert node.snapshot() == node.before


@pytest.mark.parametrize("prepare", [
    create_work_folder, lock_link, lock_pipe, work_link, manifest(forged_manifest()), manifest("{"), manifest_pipe])
def test_local_model_does_not_use_files_that_another_user_prepared(node, prepare):
    (node.model / "sub").mkdir(parents=True)
    for path, content in CONTENT.items():
        (node.model / path).write_bytes(content)
    with another_user():
        prepare(node)
    node.stage(kind="local")
    assert node.observe()["faults"] == []
    assert node.snapshot() == node.before


def replace_work_folder(node):
    """All users can write to the models folder, so they can rename root's folders in it."""
    (node.data / ".ascend-vllm").rename(node.data / "moved")
    (node.work / "staging").mkdir(parents=True)
    for path in CONTENT:
        (node.work / "staging" / path).parent.mkdir(exist_ok=True)
        (node.work / "staging" / path).symlink_to(node.host / path)


def replace_work_folder_with_a_link(node):
    (node.data / ".ascend-vllm").rename(node.data / "moved")
    (node.data / ".ascend-vllm").symlink_to(node.host)


def replace_model_with_a_link(node):
    if node.model.exists():
        node.model.rename(node.data / "moved-model")
    node.model.symlink_to(node.host)


def replace_model_with_links(node):
    """Replace the model with one whose `sub` links to a host folder that contains a file of the same name."""
    if node.model.exists():
        node.model.rename(node.data / "moved-model")
    node.model.mkdir()
    (node.model / "sub").symlink_to(node.host / "sub")


@pytest.mark.parametrize("replace", [
    replace_work_folder, replace_work_folder_with_a_link, replace_model_with_a_link, replace_model_with_links])
def test_folders_that_another_user_replaces_during_the_download_are_refused(node, replace):
    def after_download():
        with another_user():
            replace(node)

    manifest = Path(node.staging().paths.manifest)
    with pytest.raises((StagingError, OSError)):
        node.stage(after_download)
    assert node.snapshot() == node.before
    assert not manifest.exists()


def test_obsolete_file_is_not_removed_through_a_link(node):
    node.stage()
    del node.hub.files["sub/model.safetensors"]
    with another_user():
        replace_model_with_links(node)
    # The model now belongs to another user, so its content is undefined. But no file outside it may be removed.
    node.stage(revision="v2")
    assert node.snapshot() == node.before


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_only_regular_files_from_the_client_are_published(node, kind):
    path = node.work / "staging" / "config.json"

    def after_download():
        path.unlink()
        if kind == "link":
            path.symlink_to(node.host / "config.json")
        elif kind == "hard link":
            (node.host / "config.json").write_bytes(CONTENT["config.json"])
            node.before = node.snapshot()
            os.link(node.host / "config.json", path)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()

    with pytest.raises(StagingError, match=r"config\.json"):
        node.stage(after_download)
    path.rmdir() if kind == "folder" else path.unlink()
    assert node.snapshot() == node.before
    assert not node.model.exists()
    node.stage()
    assert (node.model / "config.json").read_bytes() == CONTENT["config.json"]


def test_list_of_files_is_not_read_from_the_work_folder(node):
    """The client's container can write to the work folder."""
    def after_download():
        (node.work / "staging" / "config.json").write_bytes(b"[]")
        (node.work / "wanted.json").write_text(json.dumps({
            "revision": "master", "download": ["config.json"],
            "files": [{"path": "config.json", "size": 2, "sha256": hashlib.sha256(b"[]").hexdigest()}]}))

    with pytest.raises(StagingError, match=r"config.json has the SHA-256"):
        node.stage(after_download)
    assert not node.model.exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_observation_reads_only_regular_files_in_the_folder(node, kind):
    node.stage()
    with another_user():
        node.model.rename(node.data / "moved-model")
        node.model.mkdir()
        if kind == "link":
            (node.model / "config.json").symlink_to(node.host / "secret")
        else:
            os.mkfifo(node.model / "config.json")
    found = node.observe()
    assert next(fault["fault"] for fault in found["faults"]) in ("size", "sha256", "missing")
    assert hashlib.sha256(b"of the host").hexdigest() not in json.dumps(found)
    assert found["outside"] == (["config.json"] if kind == "link" else [])
    assert found["content_faults"] == (
        ["config.json cannot be read: config.json is a link out of the folder"] if kind == "link" else [])


def test_only_root_has_access_to_trusted_files(node):
    node.stage()
    staging, _work = node.prepare(revision="v2")
    state = Path(staging.paths.state)
    for path in (state, *state.rglob("*")):
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode) & 0o077) == (0, 0), path
    with another_user(), pytest.raises(PermissionError):
        (state / "manifest.json").read_text()
    assert {path.name for path in node.work.iterdir()} <= {"lock", "staging"}


@pytest.mark.parametrize(("mode", "group", "refused"), [
    (0o777, 0, True), (0o775, OTHER_USER, True), (0o775, 0, False), (0o755, OTHER_USER, False)])
def test_state_folder_that_others_can_write_to_is_refused(node, mode, group, refused):
    state = Path(node.staging().paths.state)
    state.mkdir(parents=True)
    state.parent.chmod(mode)
    os.chown(state.parent, 0, group)
    with pytest.raises(StagingError, match=WRITABLE_BY_OTHERS) if refused else contextlib.nullcontext():
        node.stage()


# -- folders


def test_path_is_resolved_through_links_that_root_created(tmp_path):
    (tmp_path / "disk" / "model").mkdir(parents=True)
    (tmp_path / "data").symlink_to("disk")
    assert resolve(str(tmp_path / "data" / "model" / "new" / "folder")) == str(
        tmp_path / "disk" / "model" / "new" / "folder")
    assert resolve(str(tmp_path / "data" / ".." / "x")) == str(tmp_path / "x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        resolve(str(tmp_path / "loop"))


def test_mode_applies_only_to_the_last_of_the_folders_that_are_created(tmp_path):
    with Folder.open(str(tmp_path / "a" / "b" / "c"), 0o700):
        assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b", "a/b/c")] == [
            0o755, 0o755, 0o700]


@pytest.mark.parametrize(("target", "inside"), [
    ("a", True), ("sub/../a", True), ("./a", True), ("{folder}/a", True), ("sub/back/a", True), ("dir/b", True),
    ("../folder/a", False), ("{root}/host", False), ("../host", False), ("sub/../../host", False), ("..", False),
    ("sub", False), ("pipe", False)])
def test_links_are_followed_only_inside_the_folder(tmp_path, no_hang, target, inside):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("a")
    (folder / "sub" / "b").write_text("b")
    (folder / "sub" / "back").symlink_to("..")
    (folder / "dir").symlink_to("sub")
    os.mkfifo(folder / "pipe")
    (tmp_path / "host").write_text("of the host")
    (folder / "link").symlink_to(target.format(folder=folder, root=tmp_path))
    with open_existing(str(folder)) as opened:
        assert opened.is_inside("link") is inside
        if inside:
            with open("link", opener=opened.opener) as stream:
                assert stream.read() == (folder / "link").resolve().read_text()
        with pytest.raises(UnsafePathError):  # file() does not follow links at all
            opened.file("link")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".", "..", ""])
@pytest.mark.parametrize("use", ["file", "unlink", "move"])
def test_paths_that_lead_out_of_a_folder_are_refused(tmp_path, use, path):
    (tmp_path / "folder" / "a").mkdir(parents=True)
    (tmp_path / "x").write_text("x")
    with Folder.open(str(tmp_path / "folder")) as folder:
        act = {"file": folder.file, "unlink": folder.unlink, "move": lambda it: folder.move(it, folder, "y")}[use]
        with pytest.raises(UnsafePathError, match="leads out of its folder"):
            act(path)
    assert (tmp_path / "x").exists()


def test_no_descriptor_is_left_open(tmp_path):
    def count():
        return len(os.listdir("/proc/self/fd"))

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("a")
    (tmp_path / "link").symlink_to("nowhere")
    before = count()
    with Folder.open(str(tmp_path), trusted=True) as folder:
        folder.files(True)
        folder.write_json("x.json", {})
        folder.read_json("x.json")
        folder.move("x.json", folder, "new/y.json")
        folder.unlink("new/y.json")
        folder.remove_tree("sub")
        for path in ("none", "link", "new/none", "new", "new/../x"):
            with contextlib.suppress(OSError):
                folder.file(path)
            with contextlib.suppress(OSError):
                folder.opener(path, os.O_RDONLY)
            with contextlib.suppress(OSError):
                folder.folder(path + "/none")
    for path in ("none", "link"):
        with contextlib.suppress(OSError):
            Folder.open(str(tmp_path / path))
    os.chmod(tmp_path / "new", 0o777)
    with pytest.raises(UnsafePathError):
        Folder.open(str(tmp_path / "new"), trusted=True)
    assert count() == before


def test_failed_write_keeps_the_old_file(tmp_path):
    with Folder.open(str(tmp_path)) as folder:
        folder.write_json("x.json", {"a": 1})
        with pytest.raises(TypeError):
            folder.write_json("x.json", {"a": object()})
        assert folder.read_json("x.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_folder_on_a_file_system_that_maps_root_to_another_user_is_accepted(tmp_path, monkeypatch):
    """On NFS with root_squash, the folders that root creates belong to another user."""
    (tmp_path / "work").mkdir()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with Folder.open(str(tmp_path)) as parent:
        with parent.own_folder("work", False) as folder:
            assert folder.path == str(tmp_path / "work")
        monkeypatch.setattr(Folder, "_uid_of_new_folders", lambda _self: user + 2)
        with pytest.raises(UnsafePathError, match=WRITABLE_BY_OTHERS):
            parent.own_folder("work", False)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


@pytest.mark.parametrize(("content", "message"), [
    ("[" * 100_000, "nested too deeply"), ("[" + " " * 100 + "]", "Unterminated|Expecting"), ("{broken", "Expecting")])
def test_state_file_that_is_too_large_or_damaged_is_an_error(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(folders, "MAX_JSON_CHARACTERS", 50 if " " in content else 1 << 20)
    (tmp_path / "x.json").write_text(content)
    with Folder.open(str(tmp_path)) as folder, pytest.raises(ValueError, match=message):
        folder.read_json("x.json")
