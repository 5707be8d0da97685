# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about images on the node, in a registry and in an archive."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import posixpath
import tarfile
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import KERNEL_NAMES, DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact
from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import last_line

if TYPE_CHECKING:
    from typing import Any, Collection, Iterable, Iterator, Mapping, Sequence, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine_facts import DockerEngineFacts

    class ImageFacts(TypedDict):
        """An image on the node."""

        id: str
        digests: list[str]  # <repository>@sha256:…
        tags: list[str]
        architecture: str  # as `uname -m` prints it
        size_bytes: int
        created: str | None  # None if the image has no creation time (omitted since Docker 25)

    class RegistryFacts(TypedDict):
        """The facts about an image in a registry that `query_registry` returns."""

        digest: str | None
        architectures: list[str]  # as `uname -m` prints them
        error: str | None

    class DockerEngineWithSpace(DockerEngineFacts):
        """The Docker engine, and the free space in the folder in which images are stored."""

        free_bytes: int

    class FolderFacts(TypedDict):
        """The folder for a copy of an archive, and whether it is on the same disk as Docker's images."""

        path: str
        free_bytes: int
        same_disk: bool

    class ImageObservation(TypedDict):
        """The return values of ``ascend.vllm.image_info``."""

        reference: str
        source: str
        image: ImageFacts | None
        docker_engine: DockerEngineWithSpace
        needed: bool
        registry: RegistryFacts | None
        folder: FolderFacts | None

    class ArchivedImage(TypedDict):
        """An image in a ``docker save`` archive."""

        id: str
        digests: list[str]  # the digests of the manifests, which are the image ids in containerd's image store
        tags: list[str]
        architecture: str

    class ArchiveObservation(TypedDict):
        """The return values of ``ascend.vllm.image_archive_info``."""

        path: str
        size_bytes: int
        images: list[ArchivedImage]

    class ProbedVersions(TypedDict):
        """The versions that the probe printed in a container of the image."""

        architecture: str
        python: str
        cann: str | None
        packages: dict[str, str]


_SMALL_BYTES = 4 << 20
_ALL_SMALL_BYTES = 256 << 20


class ImageError(ValueError):
    """An archive or the output of the probe cannot be read. The message is one sentence."""


def inspect(docker: DockerEngine, reference: str) -> ImageFacts | None:
    """Return the image that has this name on the node, or None if there is none. Raise DockerError on failure."""
    image = docker.get("/images/%s/json" % quote(reference, safe=""))
    if image is None:
        return None
    try:
        return {"id": image["Id"], "digests": sorted(image.get("RepoDigests") or ()),
                "tags": sorted(image.get("RepoTags") or ()),
                "architecture": KERNEL_NAMES.get(image["Architecture"], image["Architecture"]),
                "size_bytes": image["Size"], "created": image.get("Created") or None}
    except (LookupError, TypeError) as error:
        raise DockerError("the Docker engine returns the image %s in an unknown format (%r)" % (
            reference, error)) from error


def holds(image: Mapping[str, Any] | None, digest: str | None) -> bool:
    """Return whether an image exists and, if a digest is pinned, has this digest.

    An image that was loaded from an archive has no registry digest, so its id can be pinned instead.
    """
    return image is not None and (
        not digest or digest in [found.rpartition("@")[2] for found in image["digests"]] + [image["id"]])


def query_registry(docker: DockerEngine, name: str, login: str | None = None) -> RegistryFacts:
    """Query a registry for an image by its name. The Docker engine sends the request and does not pull the image.

    ``login`` comes from `registry_login`. On failure, ``error`` is one sentence, and the other values are unknown.
    """
    found: RegistryFacts = {"digest": None, "architectures": [], "error": None}
    try:
        content = docker.get("/distribution/%s/json" % quote(name, safe="/:@"),
                             {"X-Registry-Auth": login} if login else None)
        if content is None:
            return {**found, "error": "the registry has no %s" % name}
        return {**found, "digest": content["Descriptor"]["digest"], "architectures": sorted({
            KERNEL_NAMES.get(entry["architecture"], entry["architecture"])
            for entry in content.get("Platforms") or () if entry["architecture"]})}
    except DockerError as error:
        return {**found, "error": str(error)}
    except (LookupError, TypeError) as error:
        return {**found, "error": "the registry responded in an unknown format (%r)" % error}


def registry_login(config: str | None, name: str) -> str | None:
    """Return the header for logging in to the registry of an image, or None without a login.

    :param config: the content of Docker's ``config.json``, or None. Credential helpers are not used.
    """
    first, separator, _rest = name.partition("/")
    has_registry = separator and _is_host(first)
    try:
        logins = json.loads(config or "{}").get("auths") or {}
        login = logins.get(first if has_registry else "https://index.docker.io/v1/") or {}
        user, _separator, password = base64.b64decode(login.get("auth") or "").decode("utf-8").partition(":")
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    fields = {"identitytoken": login["identitytoken"]} if login.get("identitytoken") else {
        "username": user, "password": password}
    if not any(fields.values()):
        return None
    return base64.urlsafe_b64encode(json.dumps(dict(fields, serveraddress=first)).encode()).decode()


def describe_archive(path: str) -> list[ArchivedImage]:
    """Return all images in a ``docker save`` archive without unpacking it.

    Docker loads the images in ``manifest.json``, or with containerd's image store, the images in ``index.json``.

    :raises ImageError: if the file is not such an archive, or if Docker could load other images than those returned.
    """
    small: dict[str, bytes] = {}
    members: set[str] = set()
    remaining_bytes = _ALL_SMALL_BYTES
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                # Docker unpacks the archive and uses the last file with a name, or the target of a link.
                if name in members and not member.isdir():
                    raise ImageError("%s has the file %.200s twice, so it is unclear which image Docker loads; save "
                                     "the image again: docker save" % (path, name))
                members.add(name)
                # Small files are manifests and configurations. The layers are skipped.
                content = archive.extractfile(member) if member.isfile() and member.size < _SMALL_BYTES else None
                if content:
                    small[name] = content.read(_SMALL_BYTES)
                    remaining_bytes -= member.size
                if remaining_bytes < 0:
                    raise ValueError("more than %d bytes of small files" % _ALL_SMALL_BYTES)
        images = [_archived(small[posixpath.normpath(entry["Config"])], entry.get("RepoTags") or ())
                  for entry in json.loads(small["manifest.json"].decode("utf-8"))]
        if "index.json" in members:
            known = {image["id"]: image for image in images}
            for manifest, config, tags in _indexed(small, members, json.loads(small["index.json"].decode("utf-8"))):
                image = known.setdefault("sha256:" + hashlib.sha256(config).hexdigest(), _archived(config, tags))
                image["digests"].append(manifest)
                image["tags"] = sorted({*image["tags"], *tags})
            images = list(known.values())
        return images
    except (tarfile.TarError, EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError, zlib.error,
            lzma.LZMAError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError("%s is not a complete docker save archive (%s: %s)" % (
            path, type(error).__name__, error)) from error


def _archived(config: bytes, tags: Iterable[str]) -> ArchivedImage:
    architecture = json.loads(config.decode("utf-8"))["architecture"]
    return {"id": "sha256:" + hashlib.sha256(config).hexdigest(), "tags": sorted(tags), "digests": [],
            "architecture": KERNEL_NAMES.get(architecture, architecture)}


def _indexed(small: Mapping[str, bytes], members: Collection[str], index: Mapping[str, Any],
             names: Sequence[str] | None = None) -> Iterator[tuple[str, bytes, Sequence[str]]]:
    """Yield the digest, the configuration and the names of each image in an OCI index of an archive.

    :param members: the files in the archive. An index can also list images for other architectures, without files.
    :param names: the names of a nested index, or None for ``index.json``. A nested index can contain attestations.
    """
    for entry in index["manifests"]:
        annotations = entry.get("annotations") or {}
        attestation = annotations.get("vnd.docker.reference.type") == "attestation-manifest"
        if (attestation and names is not None) or _blob_path(entry["digest"]) not in members:
            continue
        name = annotations.get("io.containerd.image.name")
        for prefix in ("docker.io/library/", "docker.io/"):  # the names in manifest.json do not have the prefix
            name = name[len(prefix):] if name and name.startswith(prefix) else name
        tags = [name] if name else names or []
        manifest = json.loads(_blob(small, entry["digest"]).decode("utf-8"))
        if "manifests" in manifest:
            yield from _indexed(small, members, manifest, tags)
        else:
            yield entry["digest"], _blob(small, manifest["config"]["digest"]), tags


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)


def _blob(small: Mapping[str, bytes], digest: str) -> bytes:
    content = small[_blob_path(digest)]
    if "sha256:" + hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("the content of the file %s does not have this digest" % digest)
    return content


def choose_from_archive(images: Sequence[ArchivedImage], reference: str) -> ArchivedImage | None:
    """Return the planned image in an archive, or None if the archive does not contain exactly one suitable image.

    Docker loads all images of an archive, and removes their names from other images on the node. Therefore, the archive
    must not contain other images, and the image must not have other names. Instead of the planned name, the image can
    have one other name, such as its name on a mirror.
    """
    if len(images) != 1 or len(set(images[0]["tags"]) - {reference}) > (reference not in images[0]["tags"]):
        return None
    return images[0]


def describe_probe(output: str | None) -> ProbedVersions | None:
    """Return the versions that the probe printed as JSON in the last line of the output. Without output, return None.

    :raises ImageError: if the last line does not contain the versions.
    """
    line = last_line(output or "")
    if line is None:
        return None
    try:
        found = json.loads(line)
        return {"architecture": found["architecture"], "python": found["python"], "cann": found["cann"],
                "packages": dict(found["packages"])}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ImageError("the probe in the image did not print versions, but: %.200s" % redact(line)) from error


def pull_name(reference: str, digest: str, mirror: str) -> str:
    """Return the name for pulling an image: with the digest instead of the tag, and with the mirror, if set."""
    repository, _separator, tag = reference.rpartition(":")
    first, separator, rest = repository.partition("/")
    if mirror:
        # The name of an image on Docker Hub has no registry.
        repository = "%s/%s" % (mirror.rstrip("/"), rest if separator and _is_host(first) else repository)
    return "%s@%s" % (repository, digest) if digest else "%s:%s" % (repository, tag)


def _is_host(text: str) -> bool:
    """Return whether the first part of an image name is a registry."""
    return "." in text or ":" in text or text == "localhost"
