# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the files of a model on a hub, and build the command of the hub's client that downloads them.

ModelScope states the SHA-256 of every file, Hugging Face that of files in LFS and the git blob id of the others; an
HTTP folder has a file ``SHA256SUMS`` (the output of sha256sum). API formats: modelscope ``HubApi.get_model_files`` and
huggingface_hub ``HfApi.model_info(files_metadata=True)``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Callable

MODELSCOPE, HUGGINGFACE, HTTP = "modelscope", "huggingface", "http"

ENDPOINTS = {MODELSCOPE: "https://www.modelscope.cn", HUGGINGFACE: "https://huggingface.co"}
BRANCHES = {MODELSCOPE: "master", HUGGINGFACE: "main", HTTP: ""}
TOKEN_VARIABLES = {MODELSCOPE: "MODELSCOPE_API_TOKEN", HUGGINGFACE: "HF_TOKEN", HTTP: "HTTP_TOKEN"}


class HubError(ValueError):
    """The hub refused a request or gave an unexpected answer; the message is a sentence."""


class RemoteFile(NamedTuple):
    """A file of a model. ``size`` is in bytes; a hub states at least one of ``sha256`` and ``git_sha1`` (hex)."""

    path: str
    size: int
    sha256: str | None
    git_sha1: str | None


class Listing(NamedTuple):
    """The files of a model at a revision, which is the commit if the hub states it."""

    revision: str
    files: tuple[RemoteFile, ...]


def list_files(source: str, endpoint: str, repository: str, revision: str, get: Callable[[str], str],
               size: Callable[[str], int]) -> Listing:
    """Query the hub for the files of a model.

    :param get: ``get(url) -> str``, the body of a response.
    :param size: ``size(url) -> int``, the Content-Length of a URL.
    :raises HubError: if the response does not have the format of the hub's API.
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


def parse_modelscope(answer: dict[str, Any], revision: str) -> Listing:
    """Parse the response of ModelScope to ``repo/files``."""
    if answer.get("Code") != 200:
        raise HubError("ModelScope answered code %s: %s" % (answer.get("Code"), answer.get("Message")))
    try:
        files = tuple(
            RemoteFile(entry["Path"], int(entry["Size"]), entry["Sha256"].lower(), None)
            for entry in answer["Data"]["Files"] if entry["Type"] != "tree")
    except (KeyError, TypeError, AttributeError) as error:
        raise HubError("the list of files of ModelScope lacks %s" % error) from error
    return Listing(revision, _model_files(files))


def parse_huggingface(answer: dict[str, Any]) -> Listing:
    """Parse the response of Hugging Face to ``/api/models/<id>/revision/<revision>?blobs=true``."""
    try:
        files = tuple(
            RemoteFile(entry["rfilename"], int(entry["size"]), (entry.get("lfs") or {}).get("sha256"),
                       None if entry.get("lfs") else entry["blobId"])
            for entry in answer["siblings"])
        return Listing(answer["sha"], _model_files(files))
    except (KeyError, TypeError) as error:
        raise HubError("the response of Hugging Face lacks %s: %s" % (error, answer.get("error", ""))) from error


def parse_sums(text: str, size: Callable[[str], int]) -> tuple[RemoteFile, ...]:
    """Parse the output of sha256sum; ``size(path) -> int`` is the size of a file in bytes."""
    files = []
    for line in text.splitlines():
        digest, separator, path = line.partition(" ")
        path = path.lstrip(" *")
        if path.startswith("./"):
            path = path[2:]
        if not separator or len(digest) != 64:
            raise HubError("SHA256SUMS has the line %r, expected '<64 hex digits>  <path>'" % line)
        files.append((path, digest.lower()))
    return _model_files(RemoteFile(path, size(path), digest, None) for path, digest in files)


def download_command(source: str, endpoint: str, repository: str, revision: str, paths: list[str], folder: str,
                     workers: int) -> list[str]:
    """The arguments of ``roles/weights/files/fetch.py`` that download the paths of a model into the folder."""
    if source == HTTP:
        return ["http", endpoint.rstrip("/"), folder, str(workers), *paths]
    if source == MODELSCOPE:
        return ["modelscope", "download", "--model", repository, "--revision", revision, "--local_dir", folder,
                "--max-workers", str(workers), "--include", *paths]
    return ["hf", "download", repository, *paths, "--revision", revision, "--local-dir", folder,
            "--max-workers", str(workers)]


def download_environment(source: str, endpoint: str) -> dict[str, str]:
    """The environment that makes the client use only the mirror."""
    if source == MODELSCOPE:
        mirror = {"MODELSCOPE_ENDPOINT": endpoint, "MODELSCOPE_DOMAIN": urlsplit(endpoint).netloc} if endpoint else {}
        return dict(mirror, MODELSCOPE_CACHE="/tmp/modelscope", TQDM_DISABLE="1")
    if source == HTTP:
        return {}
    # The Xet transfer uses storage hosts of Hugging Face, which a mirror does not replace.
    mirror = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"} if endpoint else {}
    return dict(mirror, HF_HOME="/tmp/huggingface", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")


def login_body(token: str) -> str:
    """The body of ``POST /api/v1/login``, with which ModelScope exchanges a token for the cookies of a session."""
    return json.dumps({"AccessToken": token})


def check_login(text: str) -> None:
    """Raise HubError if the response to a login rejects the token."""
    answer = _json(text)
    if answer.get("Code") != 200:
        raise HubError("ModelScope rejected the token in weights_hub_token: %s" % answer.get("Message"))


def _json(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HubError("the response of the hub is not JSON: %.80r" % text) from error
    if not isinstance(answer, dict):
        raise HubError("the response of the hub is not a JSON object: %.80r" % text)
    return answer


def _model_files(files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The files without hidden ones, sorted; raises HubError for a path that leads out of the folder of the model."""
    kept = []
    for entry in files:
        parts = entry.path.split("/")
        if entry.path.startswith("-") or "" in parts or ".." in parts or "\0" in entry.path:
            raise HubError("the hub lists the file %r, which would be outside the folder of the model" % entry.path)
        if not any(part.startswith(".") for part in parts):
            kept.append(entry)
    if not kept:
        raise HubError("the hub lists no file for this model")
    return tuple(sorted(kept, key=lambda entry: entry.path))
