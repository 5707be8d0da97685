# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the offline folder are verified and recorded, and interrupted downloads are resumed."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import KERNEL_NAMES
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError
from ansible_collections.ascend.vllm.plugins.modules import offline

FETCH = str(Path(__file__).resolve().parents[4] / "roles" / "weights" / "files" / "fetch.py")
SHARD, CONFIG = bytes(range(256)) * 40, b"{}\n"


class Web(BaseHTTPRequestHandler):
    """Sends ``files``, and records (method, path, first byte, Authorization or Cookie) of each request."""

    files, requests = {}, []

    def do_GET(self):
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.requests.append((self.command, self.path, start, self.headers["Authorization"] or self.headers["Cookie"]))
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[start:])

    do_HEAD = do_GET

    def log_message(self, *_values):
        pass


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def web(monkeypatch):
    """A web server with a model; ``url`` is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(Web, "files", {
        "/SHA256SUMS": f"{sha256(SHARD)}  sub/shard\n{sha256(CONFIG)}  config.json\n".encode(),
        "/sub/shard": SHARD, "/config.json": CONFIG})
    monkeypatch.setattr(Web, "requests", [])
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def weights(web, tmp_path):
    """Return a function that collects the model of the web server."""
    def run(token="", **values):
        part = {"name": "weights/m", "kind": "weights", "source": "http", "repository": "", "revision": "",
                "endpoint": web.url, "workers": 2, "fetch": FETCH, **values}
        return offline.weights(offline.Bundle(str(tmp_path / "offline")), part, token)
    return run


def fetched():
    """Return the paths of files of the model that were requested since the last call."""
    found = sorted(path for method, path, _start, _token in Web.requests if method == "GET" and path != "/SHA256SUMS")
    Web.requests.clear()
    return found


def test_second_run_downloads_nothing(weights, tmp_path):
    assert weights() == {"changed": True, "new": ["weights/m/config.json", "weights/m/sub/shard"]}
    assert fetched() == ["/config.json", "/sub/shard"]
    assert weights() == {"changed": False, "new": []}
    assert fetched() == []
    folder = tmp_path / "offline"
    for listed in (folder, folder / "weights" / "m"):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=listed, check=True)
    entry = json.loads((folder / "manifest.json").read_text())["parts"]["weights/m"]["files"]["weights/m/sub/shard"]
    assert entry == {"size": len(SHARD), "sha256": sha256(SHARD)}
    assert not list(folder.rglob("*.part"))


def test_damaged_file_is_replaced_and_a_file_of_an_earlier_revision_is_removed(weights, tmp_path, monkeypatch):
    weights()
    fetched()
    shard = tmp_path / "offline" / "weights" / "m" / "sub" / "shard"
    shard.write_bytes(SHARD[:-1] + b"x")
    (shard.parent / "rest").write_text("of an earlier revision")
    weights()
    assert fetched() == ["/sub/shard"]
    assert shard.read_bytes() == SHARD
    assert not (shard.parent / "rest").exists()
    monkeypatch.setattr(Web, "files", {**Web.files, "/SHA256SUMS": f"{sha256(CONFIG)}  config.json\n".encode()})
    assert weights() == {"changed": True, "new": []}
    assert not shard.exists()


def test_interrupted_download_is_resumed(weights, tmp_path):
    partial = tmp_path / "offline" / "weights" / "m" / "sub" / "shard.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(SHARD[:1000])
    weights()
    assert ("GET", "/sub/shard", 1000, None) in Web.requests


def test_file_with_another_digest_is_refused_and_removed(weights, web, tmp_path):
    Web.files["/sub/shard"] = SHARD[:-1] + b"x"
    with pytest.raises(offline.OfflineError, match=f"^{web.url}/sub/shard has another digest than its source states"):
        weights()
    assert list((tmp_path / "offline" / "weights" / "m").rglob("shard*")) == []
    assert not (tmp_path / "offline" / "manifest.json").exists()


def test_missing_file_fails_with_a_hint(weights, monkeypatch):
    del Web.files["/sub/shard"]
    with pytest.raises(StagingError, match=r"sub/shard failed: HTTP error 404"):
        weights()
    monkeypatch.setattr(offline.HubRequests, "size", lambda _self, url: len(SHARD if "shard" in url else CONFIG))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(offline.OfflineError, match=r"could not be downloaded: .*; run again, which resumes"):
        weights()


def test_token_is_sent_to_the_hub(weights):
    weights(token="t0k3n")
    assert {token for *_request, token in Web.requests} == {"Bearer t0k3n"}


def test_files_are_downloaded_from_both_hubs(weights, web):
    blob = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
    Web.files["/api/models/o/n/revision/main?blobs=true"] = json.dumps({"sha": "c0ffee", "siblings": [
        {"rfilename": "config.json", "size": len(CONFIG), "blobId": blob},
        {"rfilename": "sub/shard", "size": len(SHARD), "blobId": "", "lfs": {"sha256": sha256(SHARD)}}]}).encode()
    Web.files.update({"/o/n/resolve/c0ffee/config.json": CONFIG, "/o/n/resolve/c0ffee/sub/shard": SHARD})
    assert weights("t0k3n", source="huggingface", repository="o/n", endpoint=web.url + "/")["changed"]
    Web.files["/api/v1/models/o/n/repo/files?Revision=v%2F1&Recursive=True"] = json.dumps({"Code": 200, "Data": {
        "Files": [{"Path": "sub/shard", "Type": "blob", "Size": len(SHARD), "Sha256": sha256(SHARD)}]}}).encode()
    Web.files["/api/v1/models/o/n/repo?Revision=v%2F1&FilePath=sub%2Fshard"] = SHARD
    Web.requests.clear()
    assert weights("t0k3n", source="modelscope", repository="o/n", revision="v/1", name="weights/n")["changed"]
    assert {token for *_request, token in Web.requests} == {"m_session_id=t0k3n"}


@pytest.fixture
def command(tmp_path):
    """Return a function that collects a part with commands."""
    def run(*commands, **values):
        part = {"name": "part", "kind": "x", "reference": "", "commands": list(commands), "requirements": [],
                "pinned": False, **values}
        return offline.command(offline.Bundle(str(tmp_path / "offline")), part, "")
    return run


def count(tmp_path):
    """Return a command that appends a line to a file outside of the folder."""
    return ["sh", "-c", f"echo run >> {tmp_path}/runs"]


def test_commands_with_package_lists_run_once_and_only_listed_files_are_kept(command, tmp_path):
    package_list = tmp_path / "list.txt"
    package_list.write_text(f"a==1 --hash=sha256:{sha256(b'good')}\n")
    write = ["sh", "-c", "printf good > $0/a.whl; printf bad > $0/b.whl; cp $1 $0/requirements.txt; test -d {work}",
             "{folder}", str(package_list)]
    arguments = {"requirements": [str(package_list)], "pinned": True}
    assert command(count(tmp_path), write, **arguments)["new"] == ["part/a.whl", "part/requirements.txt"]
    assert command(count(tmp_path), write, **arguments) == {"changed": False, "new": []}
    assert (tmp_path / "runs").read_text() == "run\n"
    (tmp_path / "offline" / "part" / "a.whl").write_text("bad")
    assert command(count(tmp_path), write, **arguments) == {"changed": False, "new": []}
    assert (tmp_path / "offline" / "part" / "a.whl").read_text() == "good"
    package_list.write_text(package_list.read_text() + "# new\n")
    assert command(count(tmp_path), write, **arguments)["new"] == ["part/requirements.txt"]
    assert (tmp_path / "runs").read_text() == "run\n" * 3


def test_commands_without_package_lists_always_run(command, tmp_path):
    for _run in range(2):
        command(count(tmp_path), ["cp", "/etc/hostname", "{folder}"])
    assert (tmp_path / "runs").read_text() == "run\n" * 2


@pytest.mark.parametrize(("argv", "reason"), [
    (["sh", "-c", "echo no index >&2; exit 3"], "failed: no index"), (["false"], "failed: exit code 1"),
    (["/nowhere/pip"], "failed: .*No such file")])
def test_failed_command_is_shown(command, argv, reason, tmp_path):
    with pytest.raises(offline.OfflineError, match=f"^part was not collected, because `.*` {reason}"):
        command(argv)
    assert not (tmp_path / "offline" / "manifest.json").exists()


def test_image_must_be_for_the_architecture(command, tmp_path):
    config = json.dumps({"architecture": "arm64"}).encode()
    files = {"c.json": config, "manifest.json": json.dumps([{"Config": "c.json", "RepoTags": ["r:1"]}]).encode()}
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    save = ["cp", str(tmp_path / "image.tar"), "{folder}"]
    assert command(save, reference="r:1", architecture=KERNEL_NAMES["arm64"])["id"] == f"sha256:{sha256(config)}"
    with pytest.raises(offline.OfflineError, match=r"image\.tar does not contain only r:1 for x86_64; set plan_arch"):
        command(save, reference="r:1", architecture="x86_64")


def test_parts_are_independent(command, tmp_path):
    command(["cp", "/etc/hostname", "{folder}"], name="one")
    command(["cp", "/etc/hosts", "{folder}"], name="two")
    assert sorted(line.split()[1] for line in (tmp_path / "offline" / "SHA256SUMS").read_text().splitlines()) == [
        "one/hostname", "two/hosts"]


@pytest.mark.parametrize(("part", "expected"), [
    ({"commands": [["cp", "/etc/hosts", "{folder}"]]}, {"changed": True, "new": ["part/hosts"]}),
    ({"commands": [["false"]]}, {"msg": "part was not collected, because `false` failed: exit code 1."}),
    ({"requirements": ["/nowhere"]}, {"msg": "part cannot be collected in {path}: [Errno 2] No such file or directory: "
                                             "'/nowhere'"})])
def test_module_returns_what_is_new_or_why_it_failed(part, expected, monkeypatch, tmp_path):
    results = []

    class Module:
        params = {"path": str(tmp_path / "offline"), "token": "", "part": {
            "name": "part", "kind": "x", "reference": "", "commands": [], "requirements": [], "pinned": False, **part}}

        def __init__(self, argument_spec):
            assert argument_spec["token"]["no_log"]

        def exit_json(self, **result):
            results.append(result)

        def fail_json(self, msg):
            results.append({"msg": msg.replace(self.params["path"], "{path}")})

    monkeypatch.setattr(offline, "AnsibleModule", Module)
    offline.main()
    assert results == [expected]
