# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of the Docker engine: its version, its security options, and the folder in which images are stored."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class DockerEngineFacts(TypedDict):
        """The properties of the Docker engine that `query` returns."""

        version: str
        architecture: str  # as `uname -m` prints it
        image_root: str  # the folder in which images are stored
        security_options: list[str]  # such as apparmor, seccomp, selinux, userns, rootless


CONTAINERD_CONFIG = "etc/containerd/config.toml"
CONTAINERD_ROOT = "/var/lib/containerd"


def query(docker: engine.DockerEngine, root: str = "/") -> DockerEngineFacts:
    """Return the properties of the Docker engine. Raise DockerError on failure, or if another engine has the socket."""
    other = other_engine(docker.get("/version"))
    if other:
        raise engine.DockerError(engine.OTHER_ENGINE % (other, docker.path))
    info = docker.get("/info") or {}
    try:
        return {
            "version": info["ServerVersion"],
            "architecture": engine.KERNEL_NAMES.get(info["Architecture"], info["Architecture"]),
            "image_root": _image_root(info, root),
            # The options have the form ``name=…``, optionally with more ``key=value`` parts.
            "security_options": sorted(part[5:] for option in info.get("SecurityOptions") or ()
                                       for part in option.split(",") if part.startswith("name=")),
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise engine.DockerError("the Docker engine at %s returns its properties in an unknown format (%r)" % (
            docker.path, error)) from error


def other_engine(version: Any) -> str | None:
    """Return the name and the version of an engine that is not Docker from its ``/version``, or None for Docker."""
    name = re.search(r"podman|isulad", json.dumps(version), re.IGNORECASE)
    if not name:
        return None
    return "%s %s" % ({"podman": "Podman"}.get(name.group().lower(), "iSulad"), version.get("Version"))


def _image_root(info: dict[str, Any], root: str) -> str:
    """Return the folder in which images are stored.

    With the containerd image store, which is the default of new installations since Docker 29, this is the folder of
    containerd. If Docker has started containerd itself, that folder is in the data folder of Docker.
    """
    store = dict(pair for pair in info.get("DriverStatus") or () if len(pair) == 2).get("driver-type", "")
    address = (info.get("Containerd") or {}).get("Address") or ""
    if not store.startswith("io.containerd.snapshotter") or "/docker/" in address:
        return str(info["DockerRootDir"])
    config = read_text(os.path.join(root, CONTAINERD_CONFIG))
    # The top-level keys precede the first table.
    match = re.search(r"^root\s*=\s*[\"']([^\"']+)", config.partition("\n[")[0], re.MULTILINE)
    return match.group(1) if match else CONTAINERD_ROOT
