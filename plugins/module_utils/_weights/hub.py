# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hub says about the files of a model, and how its own client is called to fetch them.

ModelScope states SHA-256 for every file, Hugging Face for what lies in LFS and the git blob id for the rest; a folder
over HTTP states them in its ``SHA256SUMS`` (the output of sha256sum). API shapes: modelscope ``HubApi.get_model_files``
and huggingface_hub ``HfApi.model_info(files_metadata=True)``.
"""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import quote, urlsplit

MODELSCOPE, HUGGINGFACE, HTTP = "modelscope", "huggingface", "http"

ENDPOINTS = {MODELSCOPE: "https://www.modelscope.cn", HUGGINGFACE: "https://huggingface.co"}
BRANCHES = {MODELSCOPE: "master", HUGGINGFACE: "main", HTTP: ""}
TOKEN_VARIABLES = {MODELSCOPE: "MODELSCOPE_API_TOKEN", HUGGINGFACE: "HF_TOKEN", HTTP: "HTTP_TOKEN"}


class HubError(ValueError):
    """The hub did not give what was asked; the message is a sentence."""


class RemoteFile(NamedTuple):
    """A file of a model. ``sha256`` and ``git_sha1`` are hex or None; a hub states at least one of them."""

    path: str
    size: int
    sha256: str
    git_sha1: str


class Listing(NamedTuple):
    """The files of a model at a revision, the hub's commit where it tells it."""

    revision: str
    files: tuple


def list_files(source, endpoint, repository, revision, get, size):
    """Ask the hub for the files of a model.

    :param get: ``get(url) -> str`` the body of an answer. :param size: ``size(url) -> int`` Content-Length of a URL.
    :raises HubError: when the answer is not what the hub's API promises.
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


def parse_modelscope(answer, revision):
    """The Listing in ModelScope's answer to ``repo/files``."""
    if answer.get("Code") != 200:
        raise HubError("ModelScope answered code %s: %s" % (answer.get("Code"), answer.get("Message")))
    try:
        files = tuple(
            RemoteFile(entry["Path"], int(entry["Size"]), entry["Sha256"].lower(), None)
            for entry in answer["Data"]["Files"] if entry["Type"] != "tree")
    except (KeyError, TypeError, AttributeError) as error:
        raise HubError("ModelScope's list of files lacks %s" % error) from error
    return Listing(revision, _model_files(files))


def parse_huggingface(answer):
    """The Listing in Hugging Face's answer to ``/api/models/<id>/revision/<revision>?blobs=true``."""
    try:
        files = tuple(
            RemoteFile(entry["rfilename"], int(entry["size"]), (entry.get("lfs") or {}).get("sha256"),
                       None if entry.get("lfs") else entry["blobId"])
            for entry in answer["siblings"])
        return Listing(answer["sha"], _model_files(files))
    except (KeyError, TypeError) as error:
        raise HubError("Hugging Face's answer lacks %s: %s" % (error, answer.get("error", ""))) from error


def parse_sums(text, size):
    """The files in the output of sha256sum; ``size(path) -> int`` bytes."""
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


def download_command(source, endpoint, repository, revision, paths, folder, workers):
    """The arguments of ``roles/weights/files/fetch.py`` that fetch the paths of a model into the folder."""
    if source == HTTP:
        return ["http", endpoint.rstrip("/"), folder, str(workers), *paths]
    if source == MODELSCOPE:
        return ["modelscope", "download", "--model", repository, "--revision", revision, "--local_dir", folder,
                "--max-workers", str(workers), "--include", *paths]
    return ["hf", "download", repository, *paths, "--revision", revision, "--local-dir", folder,
            "--max-workers", str(workers)]


def download_environment(source, endpoint):
    """The environment that sends the client to a mirror, and keeps it from any other place."""
    if source == MODELSCOPE:
        mirror = {"MODELSCOPE_ENDPOINT": endpoint, "MODELSCOPE_DOMAIN": urlsplit(endpoint).netloc} if endpoint else {}
        return dict(mirror, MODELSCOPE_CACHE="/tmp/modelscope", TQDM_DISABLE="1")
    if source == HTTP:
        return {}
    # The Xet transfer goes to storage hosts of Hugging Face that a mirror does not stand for.
    mirror = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"} if endpoint else {}
    return dict(mirror, HF_HOME="/tmp/huggingface", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")


def login_body(token):
    """The body of ``POST /api/v1/login``, by which ModelScope turns a token into a session's cookies."""
    return json.dumps({"AccessToken": token})


def check_login(text):
    """:raises HubError: when the answer to a login says that the token is not good."""
    answer = _json(text)
    if answer.get("Code") != 200:
        raise HubError("ModelScope refused the token in weights_hub_token: %s" % answer.get("Message"))


def _json(text):
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise HubError("the hub's answer is not JSON: %.80r" % text) from error
    if not isinstance(answer, dict):
        raise HubError("the hub's answer is not a JSON object: %.80r" % text)
    return answer


def _model_files(files):
    """The files without what is hidden, sorted; a path that leads out of the model's folder is an error."""
    kept = []
    for entry in files:
        parts = entry.path.split("/")
        if entry.path.startswith("-") or "" in parts or ".." in parts or "\0" in entry.path:
            raise HubError("the hub lists the file %r, which would lie outside the model's folder" % entry.path)
        if not any(part.startswith(".") for part in parts):
            kept.append(entry)
    if not kept:
        raise HubError("the hub lists no file for this model")
    return tuple(sorted(kept, key=lambda entry: entry.path))
