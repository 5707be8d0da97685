# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Docker says of an image and of itself, as plain facts."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
from http.client import HTTPConnection
from urllib.parse import quote

# The names that Docker gives to what the kernel calls otherwise.
KERNEL_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


REGISTRY_TIMEOUT_S = 30
_SMALL_BYTES = 4 << 20


class ImageError(ValueError):
    """An answer is not what Docker promises; the message is a sentence."""


def describe_image(inspection):
    """The facts in the answer to ``docker image inspect <one name>``.

    :param inspection: JSON text, a list with one object.
    :returns: ``{"id", "digests": ["<repository>@sha256:…"], "tags", "architecture" (as uname -m), "size_bytes",
        "created"}``.
    :raises ImageError:
    """
    try:
        image = json.loads(inspection)[0]
        return {
            "id": image["Id"],
            "digests": sorted(image.get("RepoDigests") or ()),
            "tags": sorted(image.get("RepoTags") or ()),
            "architecture": KERNEL_NAMES.get(image["Architecture"], image["Architecture"]),
            "size_bytes": image["Size"],
            "created": image["Created"],
        }
    except (ValueError, LookupError, TypeError) as error:
        raise ImageError("docker image inspect answered in an unknown form (%r)" % error) from error


def describe_engine(info):
    """The facts in the answer to ``docker info --format '{{json .}}'``.

    :returns: ``{"version", "architecture" (as uname -m), "data_root"}``.
    :raises ImageError: also when the engine did not answer.
    """
    try:
        engine = json.loads(info)
        if engine.get("ServerErrors"):
            raise ImageError("the Docker engine does not answer: %s" % engine["ServerErrors"][0])
        architecture = engine["Architecture"]
        return {
            "version": engine["ServerVersion"],
            "architecture": KERNEL_NAMES.get(architecture, architecture),
            "data_root": engine["DockerRootDir"],
        }
    except (ValueError, LookupError, TypeError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError("docker info answered in an unknown form (%r)" % error) from error


def holds(image, digest):
    """Whether an image (of ``describe_image``, or None) is the one that a digest pins; without a pin any is.

    An image that was loaded from an archive has no digest of a registry; its id is as binding.
    """
    return image is not None and (
        not digest or digest in [found.rpartition("@")[2] for found in image["digests"]] + [image["id"]])


def ask_registry(name, connect, login=None):
    """What the registry would give for a name, as the Docker engine finds out without pulling it.

    :param connect: ``connect(HTTPConnection) -> connected socket`` to the engine. :param login: of ``registry_login``.
    :returns: ``{"digest", "architectures" (as uname -m), "error"}``; with an error (the engine's sentence) no more is
        known.
    """
    connection = HTTPConnection("docker", timeout=REGISTRY_TIMEOUT_S)
    try:
        connection.sock = connect(connection)
        headers = {"X-Registry-Auth": login} if login else {}
        connection.request("GET", "/distribution/%s/json" % quote(name, safe="/:@"), headers=headers)
        answer = connection.getresponse()
        content = json.loads(answer.read().decode("utf-8", "replace"))
        if answer.status != 200:
            return {"digest": None, "architectures": [], "error": content["message"]}
        return {
            "digest": content["Descriptor"]["digest"],
            "architectures": sorted({KERNEL_NAMES.get(entry["architecture"], entry["architecture"])
                                     for entry in content.get("Platforms") or () if entry["architecture"]}),
            "error": None,
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        return {"digest": None, "architectures": [], "error": "the engine could not ask the registry: %s" % error}
    finally:
        connection.close()


def registry_login(config, name):
    """The header by which the engine logs in to the registry of an image, from Docker's ``config.json``, or None.

    :param config: its content, None when there is none. What a credential helper keeps is not known here.
    """
    first, separator, _rest = name.partition("/")
    named = separator and _is_host(first)
    try:
        logins = json.loads(config or "{}").get("auths") or {}
        login = logins.get(first if named else "https://index.docker.io/v1/") or {}
        user, _separator, password = base64.b64decode(login.get("auth") or "").decode("utf-8").partition(":")
    except (ValueError, AttributeError):
        return None
    fields = {"identitytoken": login["identitytoken"]} if login.get("identitytoken") else {
        "username": user, "password": password}
    if not any(fields.values()):
        return None
    return base64.urlsafe_b64encode(json.dumps(dict(fields, serveraddress=first)).encode()).decode()


def describe_archive(path):
    """The images in an archive of ``docker save``, read without unpacking it: ``[{"id", "tags", "architecture"}]``.

    :raises ImageError: when it is no such archive.
    """
    small = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                # Manifest and configurations; the layers are skipped.
                if member.isfile() and member.size < _SMALL_BYTES:
                    small[member.name] = archive.extractfile(member).read()
        images = []
        for entry in json.loads(small["manifest.json"].decode("utf-8")):
            config = small[entry["Config"]]
            architecture = json.loads(config.decode("utf-8"))["architecture"]
            images.append({"id": "sha256:" + hashlib.sha256(config).hexdigest(),
                           "tags": sorted(entry.get("RepoTags") or ()),
                           "architecture": KERNEL_NAMES.get(architecture, architecture)})
        return images
    except (tarfile.TarError, EOFError, ValueError, LookupError, TypeError) as error:
        raise ImageError("%s is no whole archive of docker save (%s: %s)" % (
            path, type(error).__name__, error)) from error


def choose_from_archive(images, reference):
    """The image of the archive that is the planned one: that of its name, or the only one, or None."""
    named = [image for image in images if reference in image["tags"]]
    return named[0] if named else images[0] if len(images) == 1 else None


def describe_probe(output):
    """The versions that the probe printed inside the image, its last line being JSON, or None for no output.

    :raises ImageError: when the output holds no such line.
    """
    lines = [line for line in (output or "").splitlines() if line.strip()]
    if not lines:
        return None
    try:
        found = json.loads(lines[-1])
        return {"architecture": found["architecture"], "python": found["python"], "cann": found["cann"],
                "packages": dict(found["packages"])}
    except (ValueError, LookupError, TypeError) as error:
        raise ImageError("the probe in the image printed no versions, but: %.200s" % lines[-1]) from error


def pull_name(reference, digest, mirror):
    """The name by which the image ``<repository>:<tag>`` is pulled: by digest where pinned, from a mirror where set."""
    repository, _separator, tag = reference.rpartition(":")
    first, separator, rest = repository.partition("/")
    if mirror:
        # The image of Docker Hub names no registry.
        repository = "%s/%s" % (mirror.rstrip("/"), rest if separator and _is_host(first) else repository)
    return "%s@%s" % (repository, digest) if digest else "%s:%s" % (repository, tag)


def _is_host(text):
    """Whether the first part of an image's name is a registry."""
    return "." in text or ":" in text or text == "localhost"
