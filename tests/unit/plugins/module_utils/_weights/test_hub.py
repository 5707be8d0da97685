# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights import hub

SHA = "ab" * 32

MODELSCOPE = {"Code": 200, "Data": {"Files": [
    {"Path": "sub", "Name": "sub", "Type": "tree", "Size": 0},
    {"Path": "sub/x.safetensors", "Type": "blob", "Size": 12, "Sha256": SHA.upper(), "Revision": "c1"},
    {"Path": ".gitattributes", "Type": "blob", "Size": 1, "Sha256": SHA},
    {"Path": "config.json", "Type": "blob", "Size": 2, "Sha256": SHA},
]}}

HUGGINGFACE = {"id": "o/m", "sha": "c0ffee", "siblings": [
    {"rfilename": "model.safetensors", "size": 12, "blobId": "11" * 20,
     "lfs": {"sha256": SHA, "size": 12, "pointerSize": 1}},
    {"rfilename": "config.json", "size": 2, "blobId": "22" * 20},
    {"rfilename": ".gitattributes", "size": 2, "blobId": "33" * 20},
]}


def query(source, response, **options):
    """Return the listing, and the requested URLs."""
    urls = []

    def get(url):
        urls.append(url)
        return response if isinstance(response, str) else json.dumps(response)

    listing = hub.list_files(source, options.get("endpoint", ""), "o/m", options.get("revision", ""), get, len)
    return listing, urls


def test_modelscope_lists_sizes_and_sha256_digests():
    listing, urls = query("modelscope", MODELSCOPE)
    assert urls == ["https://www.modelscope.cn/api/v1/models/o/m/repo/files?Revision=master&Recursive=True"]
    assert listing == ("master", (("config.json", 2, SHA, None), ("sub/x.safetensors", 12, SHA, None)))


def test_huggingface_lists_sha256_for_lfs_and_blob_ids_for_other_files():
    listing, urls = query("huggingface", HUGGINGFACE, endpoint="http://mirror:8090/", revision="v1/x")
    assert urls == ["http://mirror:8090/api/models/o/m/revision/v1%2Fx?blobs=true"]
    assert listing == ("c0ffee", (("config.json", 2, None, "22" * 20), ("model.safetensors", 12, SHA, None)))


def test_web_server_lists_the_files_in_sha256sums():
    listing, urls = query("http", "%s  ./a b.bin\n%s *c\n%s  .x\n" % (SHA, SHA, SHA), endpoint="http://h/m")
    assert urls == ["http://h/m/SHA256SUMS"]
    assert listing.files == (("a b.bin", len("http://h/m/a%20b.bin"), SHA, None), ("c", len("http://h/m/c"), SHA, None))


@pytest.mark.parametrize(("source", "response", "reason"), [
    ("modelscope", "<html>", "not JSON"),
    ("modelscope", "[]", "not a JSON object"),
    ("modelscope", {"Code": 10010205001, "Message": "no such model"}, "10010205001: no such model"),
    ("modelscope", {"Code": 200, "Data": {"Files": [{"Type": "blob", "Size": 1}]}}, "lacks 'Path'"),
    ("modelscope", {"Code": 200, "Data": {"Files": []}}, "no file"),
    ("huggingface", {"error": "Repository not found"}, "Repository not found"),
    ("http", "no sums here", "expected '<64 hex digits>"),
    ("http", SHA + "  ../../etc/passwd", "outside"),
    ("http", SHA + "  /etc/passwd", "outside"),
    ("http", "", "no file"),
])
def test_unexpected_response_is_an_error(source, response, reason):
    with pytest.raises(hub.HubError, match=reason):
        query(source, response)


def listing(source, entries):
    """Return a hub's response that lists files ``(path, size, digest)``. For Hugging Face, digests are git blob IDs."""
    if source == "modelscope":
        return {"Code": 200, "Data": {"Files": [
            {"Path": path, "Type": "blob", "Size": size, "Sha256": digest} for path, size, digest in entries]}}
    return {"sha": "c0ffee", "siblings": [
        {"rfilename": path, "size": size, "blobId": digest} for path, size, digest in entries]}


@pytest.mark.parametrize("path", [
    "../../etc/cron.d/x", "/etc/passwd", "a/../../b", "--token", "", "./a", "a//b", None, 5])
@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_path_from_a_hub_that_leads_out_of_the_folder_is_refused(source, path):
    with pytest.raises(hub.HubError, match="outside"):
        query(source, listing(source, [(path, 2, SHA if source == "modelscope" else "22" * 20)]))


DIGESTS = {"modelscope": SHA, "huggingface": "22" * 20}
NAMES = "control character, a backslash or a wildcard"


@pytest.mark.parametrize(("entries", "reason"), [
    ([("a", 2, "")], "'a', with the .* '', expected"),
    ([("a", 2, "ab" * 10)], "'a', with the .*, expected"),
    ([("a", 2, "xy" * 32)], "'a', with the .*, expected"),
    ([("a", 2, "ab" * 32 + "\n")], "'a', with the .*, expected"),
    ([("a", 2, None)], "'a', with the .* None, expected"),
    ([("a", 2, 5)], "'a', with the .* 5, expected"),
    ([("ok", 1, "ok"), ("a", -1, "ok")], "'a', with the size -1"),
    ([("a", None, "ok")], "'a', with the size None"),
    ([("a", "2", "ok")], "'a', with the size '2'"),
    ([("a", 1.5, "ok")], "'a', with the size 1.5"),
    ([("a", True, "ok")], "'a', with the size True"),
    ([("a", 2, "ok"), ("a", 2, "ok")], "'a', more than once"),
    ([("a", 2, "ok"), ("a/b", 2, "ok")], "'a', which is also a folder"),
    ([("*.json", 2, "ok")], NAMES),
    ([("a?", 2, "ok")], NAMES),
    ([("[a]", 2, "ok")], NAMES),
    ([("a\nb", 2, "ok")], NAMES),
    ([("a\x1b[2J", 2, "ok")], NAMES),
    ([("a\\b", 2, "ok")], NAMES),
    ([("\ud800", 2, "ok")], "not valid Unicode"),
    ([("a", 2, ""), ("b", -1, "ok")], "2 files are not valid"),
])
@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_file_that_cannot_be_verified_is_refused(source, entries, reason):
    entries = [(path, size, DIGESTS[source] if digest == "ok" else digest) for path, size, digest in entries]
    with pytest.raises(hub.HubError, match=reason):
        query(source, listing(source, entries))


@pytest.mark.parametrize("lfs", [{}, {"sha256": None}, {"sha256": ""}, {"sha256": "12"}, {"size": 3}, ["sha256"], "x"])
def test_file_in_lfs_needs_a_sha256(lfs):
    """The listed blob ID belongs to the LFS pointer, so it cannot verify the content."""
    entry = {"rfilename": "model.safetensors", "size": 12, "blobId": "11" * 20, "lfs": lfs}
    if lfs == {}:  # It is not in LFS.
        assert query("huggingface", dict(HUGGINGFACE, siblings=[entry]))[0].files[0].git_sha1 == "11" * 20
        return
    with pytest.raises(hub.HubError, match=r"'model.safetensors', with the SHA-256|lacks"):
        query("huggingface", dict(HUGGINGFACE, siblings=[entry]))


@pytest.mark.parametrize("commit", ["--token", "", None, 5, "a b", "x\n"])
def test_invalid_commit_is_refused(commit):
    with pytest.raises(hub.HubError, match="states the commit"):
        query("huggingface", dict(HUGGINGFACE, sha=commit))


@pytest.mark.parametrize("line", [
    "xy" * 32 + "  a", "ab" * 31 + "  a", "\\" + SHA + "  a\\nb", f"{SHA}  a\n{SHA}  a", f"{SHA}  *.json", f"{SHA}  "])
def test_invalid_line_of_sha256sums_is_refused(line):
    with pytest.raises(hub.HubError, match=r"SHA256SUMS has the line|the hub lists the file|with the SHA-256"):
        query("http", line, endpoint="http://h/m")


def test_negative_length_is_refused():
    with pytest.raises(hub.HubError, match="'a', with the size -5"):
        hub.parse_sums(SHA + "  a", lambda _path: -5)


def test_no_request_is_sent_for_a_path_that_is_refused():
    requested = []
    with pytest.raises(hub.HubError, match="outside"):
        hub.parse_sums(f"{SHA}  a\n{SHA}  ../b", requested.append)
    assert requested == []


@pytest.mark.parametrize(("source", "url", "headers"), [
    ("http", "http://m/a%20b/c", {"Authorization": "Bearer t"}),
    ("huggingface", "http://m/o/n/resolve/v%2F1/a%20b/c", {"Authorization": "Bearer t"}),
    ("modelscope", "http://m/api/v1/models/o/n/repo?Revision=v%2F1&FilePath=a%20b%2Fc", {"Cookie": "m_session_id=t"})])
def test_url_and_headers_of_a_file(source, url, headers):
    assert hub.file_url(source, "http://m/", "o/n", "v/1", "a b/c") == url
    assert hub.token_headers(source, "t") == headers
    assert hub.token_headers(source, "") == {}


def test_files_are_downloaded_from_the_hub_itself_without_a_mirror():
    assert hub.file_url("huggingface", "", "o/n", "main", "a") == "https://huggingface.co/o/n/resolve/main/a"


@pytest.mark.parametrize("source", ["modelscope", "huggingface", "http"])
def test_token_is_not_in_argv_or_environment_of_the_client(source):
    command = hub.download_command(source, "http://mirror:8090", "o/m", "r", ["a", "b"], "/data/x", 3)
    environment = hub.download_environment(source, "http://mirror:8090")
    assert "--token" not in command
    assert not set(environment) & set(hub.TOKEN_VARIABLES.values())
    assert set(command) > {"a", "b", "3", "/data/x"}
    assert "http://mirror:8090" in [*environment.values(), *command]


@pytest.mark.parametrize(("source", "expected"), [
    ("modelscope", ["modelscope", "download", "--model", "o/m", "--revision", "r", "--local_dir", "/data/x",
                    "--max-workers", "3", "--include", "a", "b"]),
    ("huggingface", ["hf", "download", "o/m", "a", "b", "--revision", "r", "--local-dir", "/data/x", "--max-workers",
                     "3"]),
    ("http", ["http", "http://mirror", "/data/x", "3", "a", "b"]),
])
def test_download_command_is_built_for_each_client(source, expected):
    assert hub.download_command(source, "http://mirror/", "o/m", "r", ["a", "b"], "/data/x", 3) == expected
