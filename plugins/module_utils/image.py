# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Docker says of an image and of itself, as plain facts."""

from __future__ import annotations

import json

# The names that Docker gives to what the kernel calls otherwise.
KERNEL_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


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
        # The first part is a registry when it looks like a host; the image of Docker Hub has none.
        named = separator and ("." in first or ":" in first or first == "localhost")
        repository = "%s/%s" % (mirror.rstrip("/"), rest if named else repository)
    return "%s@%s" % (repository, digest) if digest else "%s:%s" % (repository, tag)
