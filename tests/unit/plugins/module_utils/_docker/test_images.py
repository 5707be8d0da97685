# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import images as image
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError

INSPECTION = {"Id": "sha256:1", "RepoDigests": ["quay.io/ascend/vllm-ascend@sha256:2"], "RepoTags": None,
              "Architecture": "arm64", "Size": 10, "Created": "2025-11-10T00:00:00Z"}


def test_image_is_described_or_none(docker):
    docker.images["quay.io/ascend/vllm-ascend:v1"] = INSPECTION
    client = DockerEngine(docker.path)
    assert image.inspect(client, "quay.io/ascend/vllm-ascend:v1") == {
        "id": "sha256:1", "digests": ["quay.io/ascend/vllm-ascend@sha256:2"], "tags": [], "architecture": "aarch64",
        "size_bytes": 10, "created": "2025-11-10T00:00:00Z"}
    assert image.inspect(client, "other") is None
    docker.images["odd"] = {"Id": "sha256:1"}
    with pytest.raises(DockerError, match="the image odd in an unknown format"):
        image.inspect(client, "odd")


@pytest.mark.parametrize(("text", "message"), [
    ("exec format error", "did not print versions, but: exec format error"),
    ('{"python": "3.11"}', "did not print versions"),
])
def test_malformed_probe_output_is_an_error(text, message):
    with pytest.raises(image.ImageError, match=message):
        image.describe_probe(text)


def test_output_before_the_probe_result_is_ignored():
    versions = {"architecture": "aarch64", "python": "3.11.13", "cann": "8.3.RC1", "packages": {"vllm": "0.11.0+empty"}}
    assert image.describe_probe("WARNING: x\n" + json.dumps(versions) + "\n") == versions
    assert image.describe_probe("") is None


@pytest.mark.parametrize(("reference", "digest", "mirror", "name"), [
    ("quay.io/ascend/vllm-ascend:v1", "", "", "quay.io/ascend/vllm-ascend:v1"),
    ("quay.io/ascend/vllm-ascend:v1", "sha256:a", "", "quay.io/ascend/vllm-ascend@sha256:a"),
    ("quay.io/ascend/vllm-ascend:v1", "", "quay.mirror.example/", "quay.mirror.example/ascend/vllm-ascend:v1"),
    ("quay.io/ascend/vllm-ascend:v1", "sha256:a", "10.0.0.1:5000/q", "10.0.0.1:5000/q/ascend/vllm-ascend@sha256:a"),
    ("ascend/vllm-ascend:v1", "", "10.0.0.1:5000", "10.0.0.1:5000/ascend/vllm-ascend:v1"),
    ("10.0.0.9:5000/vllm-ascend:v1", "", "10.0.0.1:5000", "10.0.0.1:5000/vllm-ascend:v1"),
])
def test_pull_name_contains_the_digest_and_the_mirror(reference, digest, mirror, name):
    assert image.pull_name(reference, digest, mirror) == name


@pytest.mark.parametrize(("found", "digest", "expected"), [
    (None, "", False),
    ({"id": "sha256:1", "digests": []}, "", True),
    ({"id": "sha256:1", "digests": []}, "sha256:1", True),
    ({"id": "sha256:1", "digests": ["q/a@sha256:2"]}, "sha256:2", True),
    ({"id": "sha256:1", "digests": ["q/a@sha256:2"]}, "sha256:3", False),
])
def test_image_is_compared_with_the_pinned_digest(found, digest, expected):
    assert image.holds(found, digest) is expected


MANIFEST = {"Descriptor": {"digest": "sha256:2"}, "Platforms": [
    {"architecture": "arm64", "os": "linux"}, {"architecture": "amd64", "os": "linux"}, {"architecture": "", "os": ""}]}


def test_registry_is_queried_through_docker(docker):
    name = "10.0.0.1:5000/ascend/vllm-ascend@sha256:2"
    docker.responses[f"/distribution/{name}/json"] = 200, MANIFEST
    found = image.query_registry(DockerEngine(docker.path), name, "bG9naW4=")
    assert found == {"digest": "sha256:2", "architectures": ["aarch64", "x86_64"], "error": None}
    assert docker.requests == [("GET", f"/distribution/{name}/json")]
    assert docker.headers["X-Registry-Auth"] == "bG9naW4="


@pytest.mark.parametrize(("status", "body", "message"), [
    (403, {"message": "denied: requested access"}, "denied: requested access"),
    (404, {"message": "manifest unknown"}, "the registry has no a:1"),
    (200, b"<html>", "did not return JSON for"),
    (200, {}, "unknown format"),
    (500, [], "returned 500 for"),
])
def test_registry_error_is_returned(docker, status, body, message):
    docker.responses["/distribution/a:1/json"] = status, body
    found = image.query_registry(DockerEngine(docker.path), "a:1")
    assert message in found["error"]
    assert found["architectures"] == []


def test_missing_docker_engine_is_returned_as_a_registry_error(tmp_path):
    assert "No such file" in image.query_registry(DockerEngine(str(tmp_path / "none.sock")), "a:1")["error"]


def encoded(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(("config", "name", "expected"), [
    (None, "quay.io/a:1", None),
    ("not JSON", "quay.io/a:1", None),
    ('{"auths": {"quay.io": {}}, "credsStore": "x"}', "quay.io/a:1", None),
    (json.dumps({"auths": {"quay.io": {"auth": encoded("me:a:b")}}}), "quay.io/a:1",
     {"username": "me", "password": "a:b", "serveraddress": "quay.io"}),
    (json.dumps({"auths": {"quay.io": {"auth": encoded("me:x")}}}), "10.0.0.1:5000/a:1", None),
    (json.dumps({"auths": {"r:5000": {"identitytoken": "t"}}}), "r:5000/a:1",
     {"identitytoken": "t", "serveraddress": "r:5000"}),
])
def test_registry_login_is_read_from_the_docker_configuration(config, name, expected):
    found = image.registry_login(config, name)
    assert (json.loads(base64.urlsafe_b64decode(found)) if found else None) == expected


def save(path, images, mode="w", manifest=True):
    """Write an archive as ``docker save`` does, with the manifest last."""
    with tarfile.open(path, mode) as archive:
        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        entries = []
        for at, (tags, architecture) in enumerate(images):
            config = json.dumps({"architecture": architecture, "tags": tags}).encode()
            name = hashlib.sha256(config).hexdigest() + ".json"
            add(f"layer{at}/layer.tar", bytes(5 << 20))
            add(name, config)
            entries.append({"Config": name, "RepoTags": tags, "Layers": [f"layer{at}/layer.tar"]})
        if manifest:
            add("manifest.json", json.dumps(entries).encode())


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_all_images_in_an_archive_are_described(tmp_path, mode):
    save(tmp_path / "a.tar", [(["q/a:1"], "arm64"), (None, "amd64")], mode)
    found = image.describe_archive(str(tmp_path / "a.tar"))
    assert [(entry["tags"], entry["architecture"]) for entry in found] == [(["q/a:1"], "aarch64"), ([], "x86_64")]
    assert len(found[0]["id"]) == len("sha256:") + 64


@pytest.mark.parametrize(("limit", "message"), [
    ("_SMALL_BYTES", "manifest.json"),
    ("_ALL_SMALL_BYTES", "more than 10 bytes"),
])
def test_small_files_of_an_archive_are_limited(tmp_path, monkeypatch, limit, message):
    save(tmp_path / "a.tar", [(["q/a:1"], "arm64")], "w")
    monkeypatch.setattr(image, limit, 10)
    with pytest.raises(image.ImageError, match=message):
        image.describe_archive(str(tmp_path / "a.tar"))


@pytest.mark.parametrize("damage", ["truncated", "text", "no_manifest"])
def test_damaged_archive_is_an_error(tmp_path, damage):
    path = tmp_path / "a.tar"
    save(path, [(["q/a:1"], "arm64")], "w:gz" if damage == "truncated" else "w", manifest=damage != "no_manifest")
    if damage != "no_manifest":
        path.write_bytes(path.read_bytes()[:-200] if damage == "truncated" else b"not an archive")
    with pytest.raises(image.ImageError, match=r"a\.tar is not a complete docker save archive"):
        image.describe_archive(str(path))


class Layout:
    """An archive in the format of Docker 25 and newer: an OCI index, and blobs that are named by their SHA-256."""

    def __init__(self):
        self.files = {}

    def blob(self, content):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = hashlib.sha256(raw).hexdigest()
        self.files["blobs/sha256/" + digest] = raw
        return "sha256:" + digest

    def image(self, architecture, name=None, kind=None):
        """Return the entry of an image for an index."""
        config = self.blob({"architecture": architecture, "name": name})
        annotations = {"io.containerd.image.name": name} if name else {}
        if kind:
            annotations["vnd.docker.reference.type"] = kind
        return {"digest": self.blob({"config": {"digest": config}, "layers": []}), "annotations": annotations}

    def config_of(self, entry):
        path = "blobs/sha256/" + entry["digest"][7:]
        return json.loads(self.files[path])["config"]["digest"]

    def write(self, path, listed, index, more=()):
        """Write ``listed`` (entry, names) to manifest.json, ``index`` to index.json, and ``more`` files."""
        self.files["manifest.json"] = json.dumps([
            {"Config": "blobs/sha256/" + self.config_of(entry)[7:], "RepoTags": names, "Layers": []}
            for entry, names in listed]).encode()
        self.files["index.json"] = json.dumps({"manifests": index}).encode()
        with tarfile.open(path, "w") as archive:
            for name, content in [*self.files.items(), *more]:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return str(path)


@pytest.mark.parametrize("name", ["q/a:1", "docker.io/q/a:1"])
def test_image_in_an_archive_with_an_index_is_described_once(tmp_path, name):
    layout = Layout()
    planned = layout.image("arm64", name)
    found = image.describe_archive(layout.write(tmp_path / "a.tar", [(planned, ["q/a:1"])], [planned]))
    assert found == [{"id": layout.config_of(planned), "tags": ["q/a:1"], "digests": [planned["digest"]],
                      "architecture": "aarch64"}]


def test_only_the_saved_image_of_a_multi_architecture_index_is_described(tmp_path):
    """Docker saves the registry's index, but only the image for the architecture that it pulled."""
    layout = Layout()
    planned, attestation = layout.image("arm64"), layout.image("unknown", kind="attestation-manifest")
    missing = {"digest": "sha256:" + "0" * 64}
    index = {"digest": layout.blob({"manifests": [planned, attestation, missing]}),
             "annotations": {"io.containerd.image.name": "q/a:1"}}
    found = image.describe_archive(layout.write(tmp_path / "a.tar", [(planned, ["q/a:1"])], [index]))
    assert [entry["id"] for entry in found] == [layout.config_of(planned)]
    assert image.choose_from_archive(found, "q/a:1") == found[0]


@pytest.mark.parametrize("fault", [
    "another image", "another name", "nested", "attestation", "too large", "other content"])
def test_index_cannot_hide_an_image(tmp_path, fault):
    """Docker with containerd's image store loads the images of index.json, not those of manifest.json."""
    layout, more = Layout(), []
    planned = layout.image("arm64", "q/a:1")
    index = [planned]
    if fault == "another image":
        index.append(layout.image("arm64", "haproxy:latest"))
    elif fault == "another name":
        index.append(dict(planned, annotations={"io.containerd.image.name": "docker.io/library/haproxy:latest"}))
    elif fault == "nested":
        index.append({"digest": layout.blob({"manifests": [layout.image("arm64")]})})
    elif fault == "attestation":
        index.append(layout.image("arm64", "haproxy:latest", "attestation-manifest"))
    elif fault == "too large":
        index.append({"digest": layout.blob(b" " * (5 << 20) + json.dumps({
            "config": {"digest": layout.blob({"architecture": "arm64"})}}).encode())})
    else:
        more = [("blobs/sha256/" + "0" * 64, b"{}")]
        index.append({"digest": "sha256:" + "0" * 64})
    path = layout.write(tmp_path / "a.tar", [(planned, ["q/a:1"])], index, more)
    if fault in ("too large", "other content"):
        with pytest.raises(image.ImageError, match="is not a complete docker save archive"):
            image.describe_archive(path)
    else:
        assert image.choose_from_archive(image.describe_archive(path), "q/a:1") is None


@pytest.mark.parametrize("name", ["manifest.json", "./manifest.json", "index.json", "x/../manifest.json"])
def test_archive_that_contains_a_file_twice_is_refused(tmp_path, name):
    """Docker unpacks the archive, so it uses the last file of this name."""
    layout = Layout()
    planned = layout.image("arm64", "q/a:1")
    path = layout.write(tmp_path / "a.tar", [(planned, ["q/a:1"])], [planned], [(name, b"[]")])
    with pytest.raises(image.ImageError, match=r"a\.tar has the file .* twice, so it is unclear which image"):
        image.describe_archive(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_manifest_that_is_a_link_is_refused(tmp_path, kind):
    path = tmp_path / "a.tar"
    save(path, [(["q/a:1"], "arm64")], manifest=False)
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.type, member.linkname = kind, "other.json"
        archive.addfile(member)
    with pytest.raises(image.ImageError, match="is not a complete docker save archive"):
        image.describe_archive(str(path))


@pytest.mark.parametrize(("tags", "expected"), [
    ([["q/a:1"]], 0), ([["q/a:2"]], 0), ([[]], 0), ([["x:1"], ["q/a:1"]], None), ([["x:1"], ["x:2"]], None), ([], None),
    # When Docker loads the image, it assigns these names to it and removes them from other images.
    ([["q/a:1", "x:1"]], None), ([["q/a:2", "x:1"]], None)])
def test_archive_must_contain_only_the_planned_image(tags, expected):
    images = [{"tags": names} for names in tags]
    found = image.choose_from_archive(images, "q/a:1")
    assert found is (None if expected is None else images[expected])
