#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: offline
short_description: Download files that hosts need at a site without internet access
version_added: 0.9.0
description:
  - Downloads the files of one part, such as a model or an image, to a folder of a machine with internet access. Hosts
    at a site without internet access use these files. The content of each file is verified. An interrupted download is
    resumed, and files that are already in the folder are not downloaded again.
  - The file C(manifest.json) in the folder lists the files of each part, and C(SHA256SUMS) lists their digests.
extends_documentation_fragment: [ascend.vllm._attributes]
options:
  path: {type: path, required: true, description: "The folder for the downloads."}
  part: {type: dict, required: true, description: "The part to download, an item of
    RV(ascend.vllm.plan#module:parts)."}
  token: {type: str, default: "", description: "The token for the hub."}
attributes: {check_mode: {support: none}}
seealso: [{module: ascend.vllm.plan}]
"""

EXAMPLES = r"""
# ascend.vllm.plan returns all parts that the hosts need. The playbook ascend.vllm.offline collects them in a loop.
- name: Collect a dataset
  ascend.vllm.offline:
    path: /srv/offline
    part:
      {name: datasets/gsm8k, kind: dataset, commands: [[cp, --recursive, /data/datasets/gsm8k, "{folder}"]],
       requirements: [], reference: "", pinned: false}
"""

RETURN = r"""
new: {type: list, elements: str, returned: success, description: "The files that are new in the folder, or changed."}
id: {type: str, returned: for an image, description: "The id of the image."}
"""

import hashlib
import importlib.util
import io
import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import images
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands
from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import last_line
from ansible_collections.ascend.vllm.plugins.module_utils._weights import hub
from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import git_blob_sha1, hash_stream
from ansible_collections.ascend.vllm.plugins.module_utils._weights.hub_requests import HubRequests
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError

SCHEMA = "ascend.vllm/offline/v1"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
PARTIAL = ".part"
COMMAND_S = 12 * 3600
MAX_FILE = 256 << 20


class OfflineError(Exception):
    """A part cannot be collected. The message is one sentence without a period."""


class Bundle:
    """The folder with the downloads, which has a folder for each part. ``parts`` is the content of the manifest."""

    def __init__(self, root: str) -> None:
        self.root = root
        os.makedirs(root, exist_ok=True)
        self.parts: dict[str, Any] = json.loads(_read(self.path(MANIFEST)))["parts"] if os.path.exists(
            self.path(MANIFEST)) else {}

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def intact(self, name: str, key: str) -> bool:
        """Return whether a part was collected for the key, and its files have not changed since then."""
        part = self.parts.get(name)
        return part is not None and part["key"] == key and all(
            entry["sha256"] == file_digest(self.path(path)) for path, entry in part["files"].items())

    def record(self, name: str, key: str, keep: Callable[[str, str | None], bool]) -> dict[str, Any]:
        """Record the files of a part in the manifest, and return which of them are new.

        :param keep: ``keep(path in the part, SHA-256)`` returns whether a file belongs to the part. Others are removed.
        """
        before = self.parts.get(name, {"files": {}})["files"]
        files: dict[str, dict[str, Any]] = {}
        for parent, _folders, names in os.walk(self.path(name)):
            for path in (os.path.join(parent, each) for each in sorted(names)):
                digest = file_digest(path)
                if keep(os.path.relpath(path, self.path(name)), digest):
                    files[os.path.relpath(path, self.root)] = {"size": os.path.getsize(path), "sha256": digest}
                else:
                    os.unlink(path)
        self.parts[name] = {"key": key, "files": files}
        sums = {path: entry["sha256"] for part in self.parts.values() for path, entry in part["files"].items()}
        self.write(SUMS, "".join("%s  %s\n" % (sums[path], path) for path in sorted(sums)))
        self.write(MANIFEST, json.dumps({"schema": SCHEMA, "parts": self.parts}, indent=1, sort_keys=True) + "\n")
        return {"changed": files != before, "new": [path for path in files if before.get(path) != files[path]]}

    def write(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        with open(self.path(name + PARTIAL), "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(self.path(name + PARTIAL), self.path(name))


def weights(bundle: Bundle, part: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Collect the files of a model, with a file ``SHA256SUMS`` as weights_source http needs it."""
    where, name = (part["source"], part["endpoint"], part["repository"]), part["name"]
    headers, requests = hub.token_headers(part["source"], token), HubRequests(part["source"], token)
    listing = hub.list_files(*where, part["revision"], requests.get, requests.size)
    wanted = {each.path: each for each in listing.files if each.path != SUMS}
    with redirect_stdout(io.StringIO()), ThreadPoolExecutor(part["workers"]) as pool:  # only the result is printed
        list(pool.map(lambda each: _download(
            part["fetch"], hub.file_url(*where, listing.revision, each.path), bundle.path(name, each.path), each,
            headers), wanted.values()))
    result = bundle.record(name, listing.revision, lambda path, _digest: path in wanted)
    bundle.write(os.path.join(name, SUMS), "".join("%s  %s\n" % (
        entry["sha256"], os.path.relpath(path, name)) for path, entry in bundle.parts[name]["files"].items()))
    return result


def command(bundle: Bundle, part: Mapping[str, Any], _token: str) -> dict[str, Any]:
    """Collect the files that the commands of a part write.

    If the part has lists of packages, files whose hash is not listed are removed. In the commands, ``{folder}`` is the
    folder of the part, and ``{work}`` an empty folder.
    """
    texts, folder = [_read(path) for path in part["requirements"]], bundle.path(part["name"])
    key = hashlib.sha256(json.dumps([part, texts], sort_keys=True).encode()).hexdigest()
    if not (part["pinned"] and bundle.intact(part["name"], key)):
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            for argv in part["commands"]:
                argv = [word.replace("{folder}", folder).replace("{work}", work) for word in argv]
                outcome = commands.run(argv, COMMAND_S)
                if outcome.rc != 0:
                    reason = last_line(outcome.output) or outcome.error or "exit code %s" % outcome.rc
                    raise OfflineError("%s was not collected, because `%s` failed: %s" % (
                        part["name"], " ".join(argv), reason))
    image = None
    if part["reference"]:
        archive = os.path.join(folder, "image.tar")
        image = images.choose_from_archive(images.describe_archive(archive), part["reference"])
        if image is None or image["architecture"] != part["architecture"]:
            raise OfflineError("%s does not contain only %s for %s; set plan_architecture to that of the image, or "
                               "choose another image" % (archive, part["reference"], part["architecture"]))
    result = bundle.record(part["name"], key, lambda path, digest: (
        not texts or path.endswith(".txt") or str(digest) in "".join(texts)))
    return dict(result, id=image["id"]) if image else result


def file_digest(path: str) -> str | None:
    """Return the SHA-256 of a file in hex, or None if there is no file."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as stream:
            hash_stream(digest, stream)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def _holds(path: str, wanted: hub.RemoteFile) -> bool:
    if not os.path.exists(path):
        return False
    return git_blob_sha1(path) == wanted.git_sha1 if wanted.sha256 is None else file_digest(path) == wanted.sha256


def _download(program: str, url: str, path: str, wanted: hub.RemoteFile, headers: dict[str, str]) -> None:
    """Download a file with ``roles/weights/files/fetch.py``, unless a file with the expected content exists."""
    if _holds(path, wanted):
        return
    spec = importlib.util.spec_from_file_location("fetch", program)
    fetch = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(fetch)  # type: ignore[union-attr]
    try:
        fetch.fetch(url, path + PARTIAL, headers, wanted.size)
    except SystemExit as error:
        raise OfflineError("%s; run again, which resumes the download" % error) from error
    if not _holds(path + PARTIAL, wanted):
        os.unlink(path + PARTIAL)
        raise OfflineError("%s has another digest than its source states, so it was removed; run again, or choose "
                           "another source" % url)
    os.replace(path + PARTIAL, path)


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read(MAX_FILE)


def main() -> None:
    module = AnsibleModule(argument_spec={
        "path": {"type": "path", "required": True}, "part": {"type": "dict", "required": True},
        "token": {"type": "str", "default": "", "no_log": True}})
    path, part, token = (module.params[name] for name in ("path", "part", "token"))
    try:
        module.exit_json(**(weights if part["kind"] == "weights" else command)(Bundle(path), part, token))
    except (OfflineError, StagingError, images.ImageError) as error:
        module.fail_json(msg="%s." % str(error).rstrip("."))
    except (OSError, ValueError, LookupError) as error:
        module.fail_json(msg="%s cannot be collected in %s: %s" % (part["name"], path, error))


if __name__ == "__main__":
    main()
