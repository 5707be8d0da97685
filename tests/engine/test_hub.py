# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in hub implements the protocols of ModelScope and Hugging Face, and can inject faults."""

from __future__ import annotations

import filecmp
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import HUB, built, free_port, send, wait_for

MODEL = "Qwen/Tiny-w8a8"
SHARD = "quant_model_weight_w8a8-00001-of-00002.safetensors"


class Hub:
    """A hub on a free port, on this machine or in an isolated network."""

    def __init__(self, folder: Path, model: Path, network=None) -> None:
        self.faults, self.log, self.model, self.network = folder / "faults.json", folder / "hub.log", model, network
        self.process = None

    def start(self, *options: str) -> Hub:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [str(HUB), "--port", str(self.port), "--faults", str(self.faults), *options, f"{MODEL}={self.model}"]
        with open(self.log, "wb") as log:
            argv = self.network.command(*command) if self.network else command
            self.process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        wait_for(lambda: "hub: serving" in self.log.read_text(), "the hub", 60, self.process)
        return self

    def inject(self, *faults: dict) -> None:
        self.faults.write_text(json.dumps(faults))

    def send(self, path: str, **options):
        return send(self.url + path, **options)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()


@pytest.fixture
def hub(tmp_path, model):
    running = Hub(tmp_path, model).start()
    yield running
    running.stop()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def url_of(api: str, path: str) -> str:
    return {
        "modelscope": f"/api/v1/models/{MODEL}/repo?Revision=master&FilePath={path}",
        "huggingface": f"/{MODEL}/resolve/main/{path}",
        "folder": f"/folders/{MODEL}/{path}",
    }[api]


APIS = pytest.mark.parametrize("api", ["modelscope", "huggingface", "folder"])


# -- metadata


def test_modelscope_lists_sizes_and_digests(hub):
    listing = hub.send(f"/api/v1/models/{MODEL}/repo/files?Revision=master&Recursive=True").json()
    assert listing["Code"] == 200
    listed = {entry["Path"]: (entry["Size"], entry["Sha256"]) for entry in listing["Data"]["Files"]}
    assert listed == {path.name: (path.stat().st_size, sha256(path)) for path in hub.model.iterdir()}


def test_huggingface_lists_sizes_and_digests(hub):
    model = hub.send(f"/api/models/{MODEL}/revision/main?blobs=true").json()
    tree = hub.send(f"/api/models/{MODEL}/tree/{model['sha']}?recursive=true").json()
    config = hub.model / "config.json"
    blob = hashlib.sha1(b"blob %d\0" % config.stat().st_size + config.read_bytes()).hexdigest()
    for entries, name_key, digest_key in ((model["siblings"], "rfilename", "sha256"), (tree, "path", "oid")):
        by_path = {entry[name_key]: entry for entry in entries}
        assert set(by_path) == {path.name for path in hub.model.iterdir()}
        assert by_path[SHARD]["lfs"][digest_key] == sha256(hub.model / SHARD)
        assert "lfs" not in by_path["config.json"]
        assert blob in by_path["config.json"].values()


def test_folder_lists_sha256_sums(hub):
    lines = hub.send(f"/folders/{MODEL}/SHA256SUMS").body.decode().splitlines()
    assert f"{sha256(hub.model / SHARD)}  {SHARD}" in lines
    assert len(lines) == len(list(hub.model.iterdir()))


def test_commit_changes_with_the_files(hub):
    def commit():
        return hub.send(f"/api/models/{MODEL}").json()["sha"]

    first = commit()
    assert commit() == first
    (hub.model / "config.json").write_text("{}")
    assert commit() != first
    assert hub.send(f"/api/models/{MODEL}/revision/{first}").status == 404


# -- files


@APIS
def test_whole_files_and_ranges_are_served(hub, api):
    content = (hub.model / SHARD).read_bytes()
    whole = hub.send(url_of(api, SHARD))
    assert (whole.status, whole.body) == (200, content)
    part = hub.send(url_of(api, SHARD), headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    rest = hub.send(url_of(api, SHARD), headers={"Range": "bytes=10-"})
    assert rest.body == content[10:]
    beyond = hub.send(url_of(api, SHARD), headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")


def test_huggingface_returns_digest_size_and_commit_for_head(hub):
    response = hub.send(url_of("huggingface", SHARD), method="HEAD")
    assert response.headers["X-Linked-Etag"] == f'"{sha256(hub.model / SHARD)}"'
    assert response.headers["X-Linked-Size"] == str((hub.model / SHARD).stat().st_size)
    assert len(response.headers["X-Repo-Commit"]) == 40
    assert response.body == b""


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/models/Qwen/Other", "RepoNotFound"),
        (f"/api/models/{MODEL}/revision/v9", "RevisionNotFound"),
        (f"/{MODEL}/resolve/main/other.json", "EntryNotFound"),
        ("/api/v1/models/Qwen/Other/repo/files?Revision=master", "RepoNotFound"),
        (f"/api/v1/models/{MODEL}/repo?Revision=v9&FilePath=config.json", "RevisionNotFound"),
        ("/etc/passwd", "EntryNotFound"),
        (f"/folders/{MODEL}/../../etc/passwd", "EntryNotFound"),
    ],
)
def test_unknown_path_is_not_found(hub, path, code):
    response = hub.send(path)
    assert (response.status, response.headers["X-Error-Code"]) == (404, code)


def test_hub_requires_its_token(tmp_path, model):
    hub = Hub(tmp_path, model).start("--token", "sesame")
    try:
        path = f"/api/models/{MODEL}"
        assert hub.send(path).status == 401
        assert hub.send(path, headers={"Authorization": "Bearer wrong"}).status == 401
        assert hub.send(path, headers={"Authorization": "Bearer sesame"}).status == 200
        assert hub.send("/api/v1/login", body={"AccessToken": "wrong"}).json()["Success"] is False
        cookie = hub.send("/api/v1/login", body={"AccessToken": "sesame"}).headers["Set-Cookie"]
        assert hub.send(path, headers={"Cookie": cookie.partition(";")[0]}).status == 200
        assert "sesame" not in hub.log.read_text()
    finally:
        hub.stop()


@pytest.mark.parametrize("text", ["Qwen/Tiny", "Tiny=/tmp", "Qwen/Tiny=/no/such/folder"])
def test_invalid_argument_is_refused(text):
    done = subprocess.run([HUB, text], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert text.partition("=")[0] in done.stderr


# -- faults


@APIS
def test_fault_flips_one_byte(hub, api):
    hub.inject({"path": "*.safetensors", "flip": 40})
    sent, original = hub.send(url_of(api, SHARD)).body, (hub.model / SHARD).read_bytes()
    assert [offset for offset, (a, b) in enumerate(zip(sent, original)) if a != b] == [40]
    assert hub.send(url_of(api, SHARD), headers={"Range": "bytes=41-"}).body == original[41:]
    assert hub.send(url_of(api, "config.json")).body == (hub.model / "config.json").read_bytes()


@APIS
def test_fault_truncates_a_file(hub, api):
    hub.inject({"path": SHARD, "truncate": 50})
    response = hub.send(url_of(api, SHARD))
    assert (response.status, response.body) == (200, (hub.model / SHARD).read_bytes()[:50])


def test_fault_drops_a_connection_once(hub):
    hub.inject({"path": SHARD, "drop_after": 20, "times": 1})
    with pytest.raises(http.client.IncompleteRead) as dropped:
        hub.send(url_of("folder", SHARD))
    assert dropped.value.partial == (hub.model / SHARD).read_bytes()[:20]
    assert hub.send(url_of("folder", SHARD)).status == 200


def test_fault_refuses_one_file(hub):
    hub.inject({"path": SHARD, "status": 401})
    assert hub.send(url_of("huggingface", SHARD)).status == 401
    assert hub.send(url_of("huggingface", "config.json")).status == 200


def test_fault_slows_down_a_file(hub):
    hub.inject({"path": SHARD, "bytes_per_s": 1000})
    size = (hub.model / SHARD).stat().st_size
    started = time.monotonic()
    hub.send(url_of("folder", SHARD))
    assert time.monotonic() - started >= size / 1000


# -- the real clients


@pytest.fixture(scope="session")
def clients() -> Path:
    """A folder with the official clients of both hubs."""
    return built("clients")[0]


@pytest.fixture
def isolated_hub(tmp_path, model, network):
    """A stand-in hub in the isolated network."""
    running = Hub(tmp_path, model, network).start()
    yield running
    running.stop()


def download(hub: Hub, clients: Path, client: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Download the model with the official client of a hub, in the stand-in hub's network."""
    module, function, arguments = {
        "modelscope": ("modelscope_hub.cli.main", "run_cmd", ["--model", MODEL, "--local_dir", str(folder)]),
        "hf": ("huggingface_hub.cli.hf", "main", [MODEL, "--local-dir", str(folder)]),
    }[client]
    program = f"import sys; sys.argv[0] = {client!r}; from {module} import {function}; sys.exit({function}())"
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder.parent / "home"),
        "PYTHONPATH": str(clients),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MODELSCOPE_ENDPOINT": hub.url,
        "MODELSCOPE_DOMAIN": hub.url.removeprefix("http://"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **variables,
    }
    return hub.network.run(sys.executable, "-c", program, "download", *arguments, env=variables)


def has_same_files(folder: Path, original: Path) -> bool:
    """Return whether a folder has the files of the original folder, with the same content."""
    names = [path.name for path in original.iterdir()]
    return filecmp.cmpfiles(folder, original, names, shallow=False)[0] == names


CLIENTS = pytest.mark.parametrize("client", ["modelscope", "hf"])


@pytest.mark.engine
@CLIENTS
def test_client_downloads_a_model(isolated_hub, clients, client, tmp_path):
    done = download(isolated_hub, clients, client, tmp_path / "model2")
    assert done.returncode == 0, done.stderr
    assert has_same_files(tmp_path / "model2", isolated_hub.model)


@pytest.mark.engine
@CLIENTS
def test_client_needs_the_token(tmp_path, model, network, clients, client):
    hub = Hub(tmp_path, model, network).start("--token", "sesame")
    try:
        assert download(hub, clients, client, tmp_path / "refused").returncode != 0
        token = {"MODELSCOPE_API_TOKEN": "sesame", "HF_TOKEN": "sesame"}
        done = download(hub, clients, client, tmp_path / "accepted", **token)
        assert done.returncode == 0, done.stderr
        assert has_same_files(tmp_path / "accepted", model)
    finally:
        hub.stop()


@pytest.mark.engine
@CLIENTS
def test_client_resumes_an_interrupted_download(isolated_hub, clients, client, tmp_path):
    """The clients write 1 MB (ModelScope) and 10 MB (Hugging Face) at a time: the file must be larger than that."""
    (isolated_hub.model / "big.safetensors").write_bytes(os.urandom(24 * 2**20))
    isolated_hub.inject({"path": "big.safetensors", "drop_after": 21 * 2**20, "times": 1})
    done = download(isolated_hub, clients, client, tmp_path / "model2")
    assert done.returncode == 0, done.stderr
    assert has_same_files(tmp_path / "model2", isolated_hub.model)
    assert re.search(r"big\.safetensors HTTP/1\.1\" 206 - bytes=[1-9]\d+-$", isolated_hub.log.read_text(), re.MULTILINE)


@pytest.mark.engine
def test_modelscope_client_refuses_a_flipped_byte(isolated_hub, clients, tmp_path):
    isolated_hub.inject({"path": SHARD, "flip": 40})
    done = download(isolated_hub, clients, "modelscope", tmp_path / "model2")
    assert done.returncode != 0
    assert not (tmp_path / "model2" / SHARD).exists()


@pytest.mark.engine
def test_hf_client_does_not_notice_a_flipped_byte(isolated_hub, clients, tmp_path):
    """This is why the weights stage compares digests itself."""
    isolated_hub.inject({"path": SHARD, "flip": 40})
    assert download(isolated_hub, clients, "hf", tmp_path / "model2").returncode == 0
    assert sha256(tmp_path / "model2" / SHARD) != sha256(isolated_hub.model / SHARD)
