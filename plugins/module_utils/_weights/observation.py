# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe the model in a folder: its files, their digests, the differences from its manifest, and its content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import inspect
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import open_existing

if TYPE_CHECKING:
    from typing import TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import Content
    from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import Fault, Manifest

    class ModelFile(TypedDict):
        """A file in the folder of the model. ``size`` is in bytes. ``sha256`` is None if the file was not hashed."""

        path: str
        size: int
        sha256: str | None

    class ModelFolder(Content):
        """The content of a folder with a model."""

        path: str
        files: list[ModelFile]
        bytes: int
        outside: list[str]
        identity: str
        digest: str
        hashed_bytes: int
        manifest: Manifest | None
        manifest_path: str
        faults: list[Fault]

    class WeightsObservation(ModelFolder):
        """The return values of ``ascend.vllm.weights_info``."""

        draft: ModelFolder | None


def observe(path: str, full: bool, workers: int, cache: files.DigestCache) -> ModelFolder:
    """Observe the model in the folder ``path``.

    :param full: whether to also hash the files whose digests are in the cache.
    :param workers: the number of files that are hashed at the same time.
    :raises OSError: if a file cannot be read.
    """
    paths = files.model_paths(path)
    manifest, damage = None, []
    try:
        manifest = files.read_manifest(paths)
    except ValueError as error:
        damage = ["%s is damaged: %s" % (paths.manifest, error)]
    with open_existing(path) as model:
        stats = files.list_model(model)
        # Only the files in the manifest belong to the model.
        listed = {entry["path"] for entry in manifest["files"]} if manifest else set(stats)
        digests = files.digest_files(
            model, {name: stats[name] for name in stats if name in listed}, cache, full, workers)
        content = inspect(model, stats)
        outside = files.list_outside(model, stats)
    return {
        "path": path, "manifest": manifest, "manifest_path": paths.manifest,
        "files": [{"path": name, "size": stats[name].st_size, "sha256": digests.sha256.get(name) or None}
                  for name in sorted(stats)],
        "bytes": sum(stat.st_size for stat in stats.values()), "outside": outside,
        "identity": files.identify(stats), "digest": files.model_digest(digests.sha256),
        "hashed_bytes": digests.hashed_bytes,
        "faults": files.compare(manifest["files"], stats, digests.sha256) if manifest else [],
        **content, "content_faults": damage + content["content_faults"],
    }
