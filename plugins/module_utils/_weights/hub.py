# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the files of a model on a hub, and build the command with which the client of the hub downloads them.

ModelScope lists the SHA-256 digest of every file. Hugging Face lists the SHA-256 digest of files in LFS, and the git
blob id of other files. An HTTP folder has a file ``SHA256SUMS`` (the output of sha256sum). The API formats are those of
``HubApi.get_model_files`` in modelscope and ``HfApi.model_info(files_metadata=True)`` in huggingface_hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple
from urllib.parse import quote, urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import file_faults, path_fault

MODELSCOPE, HUGGINGFACE, HTTP = "modelscope", "huggingface", "http"

ENDPOINTS = {MODELSCOPE: "https://www.modelscope.cn", HUGGINGFACE: "https://huggingface.co"}
BRANCHES = {MODELSCOPE: "master", HUGGINGFACE: "main", HTTP: ""}
_SUM = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")
# A commit must match this pattern, because it becomes an argument of the hub's client.
_COMMIT = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.]*")
TOKEN_VARIABLES = {MODELSCOPE: "MODELSCOPE_API_TOKEN", HUGGINGFACE: "HF_TOKEN", HTTP: "HTTP_TOKEN"}


class HubError(ValueError):
    """The hub refused a request or sent an unexpected response. The message is one sentence."""


class RemoteFile(NamedTuple):
    """A file of a model. ``size`` is in bytes. At least one of ``sha256`` and ``git_sha1`` (hex) is not None."""

    path: str
    size: int
    sha256: str | None
    git_sha1: str | None


class Listing(NamedTuple):
    """The files of a model at a revision. ``revision`` is the commit if the hub returns it."""

    revision: str
    files: tuple[RemoteFile, ...]


def list_files(source: str, endpoint: str, repository: str, revision: str, get: Callable[[str], str],
               size: Callable[[str], int]) -> Listing:
    """Query the hub for the files of a model.

    :param get: ``get(url) -> str`` returns the body of a response.
    :param size: ``size(url) -> int`` returns the Content-Length of a URL.
    :raises HubError: if the response does not have the format of the hub's API, or if it lists a file without a digest.
    """
    endpoint = (endpoint or ENDPOINTS.get(source, "")).rstrip("/")
    revision = revision or BRANCHES[source]
    if source == HTTP:
        files = parse_sums(get(endpoint + "/SHA256SUMS"), lambda path: size("%s/%s" % (endpoint, quote(path))))
        return Listing(revision, files)
    if source == MODELSCOPE:
        url = "%s/api/v1/models/%s/repo/files?Revision=%s&Recursive=True"
        return parse_modelscope(_json(get(url % (endpoint, quote(repository), quote(revision, safe="")))), revision)
    url = "%s/api/models/%s/revision/%s?blobs=true"
    return parse_huggingface(_json(get(url % (endpoint, quote(repository), quote(revision, safe="")))))


def parse_modelscope(response: dict[str, Any], revision: str) -> Listing:
    """Parse the response of ModelScope to a request for ``repo/files``."""
    if response.get("Code") != 200:
        raise HubError("ModelScope returned the code %s: %s" % (response.get("Code"), response.get("Message")))
    try:
        files = tuple(RemoteFile(entry["Path"], entry.get("Size"), _lower(entry.get("Sha256")), None)
                      for entry in response["Data"]["Files"] if entry["Type"] != "tree")
    except (KeyError, TypeError, AttributeError) as error:
        raise HubError("ModelScope's list of files lacks %s" % error) from error
    return Listing(revision, _model_files(files))


def parse_huggingface(response: dict[str, Any]) -> Listing:
    """Parse the response of Hugging Face to a request for ``/api/models/<id>/revision/<revision>?blobs=true``."""
    try:
        files = tuple(
            # A file in LFS has a SHA-256 digest. Its blob id is that of the LFS pointer.
            RemoteFile(entry["rfilename"], entry.get("size"), _lower(entry["lfs"].get("sha256")), None)
            if entry.get("lfs") else RemoteFile(entry["rfilename"], entry.get("size"), None, _lower(entry["blobId"]))
            for entry in response["siblings"])
        commit = response["sha"]
    except (KeyError, TypeError, AttributeError) as error:
        raise HubError("the response of Hugging Face lacks %s: %s" % (error, response.get("error", ""))) from error
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise HubError("the hub states the commit %r, expected hex digits" % (commit,))
    return Listing(commit, _model_files(files))


def parse_sums(text: str, size: Callable[[str], int]) -> tuple[RemoteFile, ...]:
    """Parse the output of sha256sum. ``size(path) -> int`` returns the size of a file in bytes."""
    files = []
    for line in text.splitlines():
        found = _SUM.fullmatch(line)
        if not found:
            raise HubError("SHA256SUMS has the line %.200r, expected '<64 hex digits>  <path>'" % line)
        digest, path = found.groups()
        path = path[2:] if path.startswith("./") else path
        files.append(RemoteFile(path, 0, digest.lower(), None))
    # The paths are checked before their sizes are requested.
    return _model_files(entry._replace(size=size(entry.path)) for entry in _model_files(files))


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def download_command(source: str, endpoint: str, repository: str, revision: str, paths: list[str], folder: str,
                     workers: int) -> list[str]:
    """Return the arguments with which ``roles/weights/files/fetch.py`` downloads files of a model to a folder."""
    if source == HTTP:
        return ["http", endpoint.rstrip("/"), folder, str(workers), *paths]
    if source == MODELSCOPE:
        return ["modelscope", "download", "--model", repository, "--revision", revision, "--local_dir", folder,
                "--max-workers", str(workers), "--include", *paths]
    return ["hf", "download", repository, *paths, "--revision", revision, "--local-dir", folder,
            "--max-workers", str(workers)]


def download_environment(source: str, endpoint: str) -> dict[str, str]:
    """Return the environment of the client, which makes it use only the mirror if ``endpoint`` is not empty."""
    if source == MODELSCOPE:
        mirror = {"MODELSCOPE_ENDPOINT": endpoint, "MODELSCOPE_DOMAIN": urlsplit(endpoint).netloc} if endpoint else {}
        return dict(mirror, MODELSCOPE_CACHE="/tmp/modelscope", TQDM_DISABLE="1")
    if source == HTTP:
        return {}
    # The Xet transfer uses storage hosts of Hugging Face, which a mirror does not replace.
    mirror = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"} if endpoint else {}
    return dict(mirror, HF_HOME="/tmp/huggingface", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")


def file_url(source: str, endpoint: str, repository: str, revision: str, path: str) -> str:
    """Return the URL from which the client of the hub downloads a file of a model."""
    endpoint = (endpoint or ENDPOINTS.get(source, "")).rstrip("/")
    if source == HTTP:
        return "%s/%s" % (endpoint, quote(path))
    if source == MODELSCOPE:
        return "%s/api/v1/models/%s/repo?Revision=%s&FilePath=%s" % (
            endpoint, quote(repository), quote(revision, safe=""), quote(path, safe=""))
    return "%s/%s/resolve/%s/%s" % (endpoint, quote(repository), quote(revision, safe=""), quote(path))


def token_headers(source: str, token: str) -> dict[str, str]:
    """Return the headers of a request with a token. ModelScope's client sends the token as a session cookie."""
    if not token:
        return {}
    return {"Cookie": "m_session_id=" + token} if source == MODELSCOPE else {"Authorization": "Bearer " + token}


def _json(text: str) -> dict[str, Any]:
    try:
        response = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HubError("the response of the hub is not JSON: %.80r" % text) from error
    if not isinstance(response, dict):
        raise HubError("the response of the hub is not a JSON object: %.80r" % text)
    return response


def _model_files(files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """Return the sorted files, without hidden files. Raise HubError if a file is not valid or has no digest."""
    kept = []
    for entry in files:
        if path_fault(entry.path):
            raise HubError("the hub lists the file %.200r, %s" % (entry.path, path_fault(entry.path)))
        if not any(part.startswith(".") for part in entry.path.split("/")):
            kept.append(entry)
    if not kept:
        raise HubError("the hub lists no file for this model")
    faults = file_faults(entry._asdict() for entry in kept)
    if faults:
        raise HubError("the hub lists the file %s%s" % (
            faults[0], " (%d files are not valid)" % len(faults) if len(faults) > 1 else ""))
    return tuple(sorted(kept, key=lambda entry: entry.path))
