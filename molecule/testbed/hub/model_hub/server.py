# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three protocols of the hub over HTTP/1.1.

ModelScope     /api/v1/models/OWNER/NAME[/revisions | /repo/files | /repo], /api/v1/login
Hugging Face   /api/models/OWNER/NAME[/revision/REV][/tree/REV], /OWNER/NAME/resolve/REV/PATH
Web server     /folders/OWNER/NAME[@REV]/PATH, with a SHA256SUMS of all files
"""

from __future__ import annotations

import hmac
import json
import re
import sys
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from .faults import Fault, Faults
from .repository import File, Repositories, Snapshot, Unknown, timestamp

BLOCK = 64 * 2**10
NAME = r"(?P<name>[^/]+/[^/@]+)"
REVISION = r"(?P<revision>[^/]+)"
RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], repositories: Repositories, token: str, faults: Path | None) -> None:
        super().__init__(address, Handler)
        self.repositories, self.token, self.faults = repositories, token, Faults(faults)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hub"
    sys_version = ""
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self.route("GET")

    def do_HEAD(self) -> None:
        self.route("HEAD")

    def do_POST(self) -> None:
        self.route("POST")

    def route(self, method: str) -> None:
        address = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(address.path)
        try:
            for allowed, pattern, respond in ROUTES:
                match = pattern.fullmatch(path)
                if match and method in allowed:
                    if respond is not Handler.login and not self.authorized():
                        return self.refuse(401, "Repo", "a valid token is required")
                    return respond(self, **match.groupdict())
            self.refuse(404, "Entry", f"the hub has no route {method} {path}")
        except Unknown as error:
            self.refuse(404, error.what, str(error))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def authorized(self) -> bool:
        """Return whether the request has the token, in a header (both hubs) or in ModelScope's session cookie."""
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("m_session_id")
        header = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return not self.server.token or any(
            hmac.compare_digest(text.encode(), self.server.token.encode())
            for text in (header, cookie.value if cookie else "")
        )

    # -- responses

    def json(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.head(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, what: str, message: str) -> None:
        """Send an error in the formats of both hubs."""
        code = "GatedRepo" if status == 401 else f"{what}NotFound"
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.json(status, {"Code": status, "Success": False, "Message": message, "error": message}, headers)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *values: object) -> None:
        line = f"{self.client_address[0]} {format % values} {self.headers.get('Range', '')}".rstrip()
        sys.stdout.write(line + "\n")  # in one call, because requests are handled in parallel
        sys.stdout.flush()

    # -- ModelScope

    def login(self) -> None:
        token = json.loads(self.body or "{}").get("AccessToken", "")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self.json(200, {"Code": 10010205010, "Success": False, "Message": "invalid access token"})
            return
        data = {"AccessToken": token, "GitToken": token, "Username": "tester", "Email": "tester@example.com"}
        cookie = f"m_session_id={token}; Path=/; HttpOnly"
        self.json(200, {"Code": 200, "Success": True, "Data": data}, {"Set-Cookie": cookie})

    def ms_model(self, name: str) -> None:
        snapshot = self.server.repositories.snapshot(name, self.query.get("Revision") or self.first_revision(name))
        owner, _slash, short = name.partition("/")
        data = {"Path": owner, "Name": short, "Revision": snapshot.commit, "LastUpdatedTime": snapshot.modified_s}
        self.json(200, {"Code": 200, "Success": True, "Data": data})

    def ms_revisions(self, name: str) -> None:
        branches = [
            {"Revision": revision, "CreatedAt": self.server.repositories.snapshot(name, revision).modified_s}
            for revision in self.server.repositories.revisions(name)
        ]
        data = {"RevisionMap": {"Branches": branches, "Tags": []}}
        self.json(200, {"Code": 200, "Success": True, "Data": data})

    def ms_files(self, name: str) -> None:
        snapshot = self.server.repositories.snapshot(name, self.query.get("Revision", "master"))
        root = self.query.get("Root", "").strip("/")
        files = [file for file in snapshot.files.values() if file.path.startswith(root)]
        folders = sorted({str(parent) for file in files for parent in Path(file.path).parents} - {"."})
        entries = [ms_folder(path, snapshot) for path in folders] + [ms_file(file, snapshot) for file in files]
        self.json(200, {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": entries}})

    def ms_download(self, name: str) -> None:
        revision, path = self.query.get("Revision", "master"), self.query.get("FilePath", "")
        _repository, file = self.server.repositories.file(name, revision, path)
        self.send(file, {"ETag": f'"{file.sha256}"'})

    def ms_acceleration(self) -> None:
        self.json(200, {"Code": 200, "Success": True, "Data": {"InternalRegionQueryAddress": ""}})

    # -- Hugging Face

    def hf_model(self, name: str, revision: str | None = None) -> None:
        snapshot = self.server.repositories.snapshot(name, revision or self.first_revision(name))
        blobs = self.query.get("blobs", "").lower() == "true"
        siblings = [hf_sibling(file, blobs) for file in snapshot.files.values()]
        content = {
            "_id": snapshot.commit[:24],
            "id": name,
            "modelId": name,
            "sha": snapshot.commit,
            "lastModified": timestamp(snapshot.modified_s),
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
        }
        self.json(200, content)

    def hf_tree(self, name: str, revision: str, path: str | None = None) -> None:
        snapshot = self.server.repositories.snapshot(name, revision)
        below = f"{path.strip('/')}/" if path else ""
        self.json(200, [hf_entry(file) for file in snapshot.files.values() if file.path.startswith(below)])

    def hf_refs(self, name: str) -> None:
        branches = [
            {
                "name": revision,
                "ref": f"refs/heads/{revision}",
                "targetCommit": self.server.repositories.snapshot(name, revision).commit,
            }
            for revision in self.server.repositories.revisions(name)
        ]
        self.json(200, {"branches": branches, "converts": [], "tags": []})

    def hf_download(self, name: str, revision: str, path: str) -> None:
        snapshot, file = self.server.repositories.file(name, revision, path)
        headers = {"X-Repo-Commit": snapshot.commit, "ETag": f'"{file.sha256 if file.lfs else file.git_sha1}"'}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        self.send(file, headers)

    # -- plain files

    def folder(self, name: str, revision: str | None, path: str) -> None:
        snapshot = self.server.repositories.snapshot(name, revision or self.first_revision(name))
        if path == "SHA256SUMS" and path not in snapshot.files:
            body = "".join(f"{file.sha256}  {file.path}\n" for file in snapshot.files.values()).encode()
            self.head(200, {"Content-Type": "text/plain", "Content-Length": str(len(body))})
            if self.command != "HEAD":
                self.wfile.write(body)
            return
        _repository, file = self.server.repositories.file(name, revision or self.first_revision(name), path)
        self.send(file, {"ETag": f'"{file.git_sha1}"'})

    def first_revision(self, name: str) -> str:
        return self.server.repositories.revisions(name)[0]

    # -- sending files

    def send(self, file: File, headers: dict[str, str]) -> None:
        """Send a file, or the requested range of it, with the fault that is injected for it."""
        fault = self.server.faults.of(file.path) if self.command != "HEAD" else Fault()
        if fault.status is not None:
            self.refuse(fault.status, "Repo", f"injected fault on {file.path}")
            return
        size = file.size if fault.truncate is None else min(fault.truncate, file.size)
        start, end, status = 0, size, 200
        requested = RANGE.match(self.headers.get("Range", ""))
        if requested:
            start, end = int(requested[1]), min(int(requested[2]) + 1 if requested[2] else size, size)
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        if start > end or (requested and start == size):
            self.head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            return
        headers |= {
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
        }
        self.head(status, headers)
        if self.command != "HEAD":
            self.transfer(file.source, start, end, fault)

    def transfer(self, source: Path, start: int, end: int, fault: Fault) -> None:
        limit = end if fault.drop_after is None else min(end, start + fault.drop_after)
        rate = fault.bytes_per_s
        block_size = min(BLOCK, max(1, rate // 10)) if rate else BLOCK
        position, began = start, time.monotonic()
        with open(source, "rb") as content:
            content.seek(start)
            while position < limit:
                block = bytearray(content.read(min(block_size, limit - position)))
                if fault.flip is not None and position <= fault.flip < position + len(block):
                    block[fault.flip - position] ^= 0xFF
                position += len(block)
                if rate:
                    time.sleep(max(0.0, (position - start) / rate - (time.monotonic() - began)))
                self.wfile.write(block)
        if limit < end:
            self.close_connection = True


def ms_file(file: File, snapshot: Snapshot) -> dict:
    """Return an entry of ModelScope's file list."""
    return {
        "Name": Path(file.path).name,
        "Path": file.path,
        "Type": "blob",
        "Size": file.size,
        "Sha256": file.sha256,
        "Revision": snapshot.commit,
        "CommittedDate": file.modified_s,
        "IsLFS": file.lfs,
        "Mode": "33188",
    }


def ms_folder(path: str, snapshot: Snapshot) -> dict:
    return {
        "Name": Path(path).name,
        "Path": path,
        "Type": "tree",
        "Size": 0,
        "Sha256": "",
        "Revision": snapshot.commit,
        "CommittedDate": snapshot.modified_s,
        "IsLFS": False,
        "Mode": "16384",
    }


def hf_sibling(file: File, blobs: bool) -> dict:
    """Return an entry of the file list in Hugging Face's model information."""
    if not blobs:
        return {"rfilename": file.path}
    found = {"rfilename": file.path, "size": file.size, "blobId": file.git_sha1}
    return found | {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": 135}} if file.lfs else found


def hf_entry(file: File) -> dict:
    """Return an entry of Hugging Face's file tree."""
    found = {"type": "file", "oid": file.git_sha1, "size": file.size, "path": file.path}
    return found | {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 135}} if file.lfs else found


def routes() -> list[tuple[tuple[str, ...], re.Pattern, Callable]]:
    """Return [(methods, path, method of Handler)]. The first entry that matches a request is called."""
    read = ("GET", "HEAD")
    return [
        (methods, re.compile(pattern), respond)
        for methods, pattern, respond in (
            (("POST",), r"/api/v1/login", Handler.login),
            (read, r"/api/v1/repos/internalAccelerationInfo", Handler.ms_acceleration),
            (read, rf"/api/v1/models/{NAME}", Handler.ms_model),
            (read, rf"/api/v1/models/{NAME}/revisions", Handler.ms_revisions),
            (read, rf"/api/v1/models/{NAME}/repo/files", Handler.ms_files),
            (read, rf"/api/v1/models/{NAME}/repo", Handler.ms_download),
            (read, rf"/api/models/{NAME}", Handler.hf_model),
            (read, rf"/api/models/{NAME}/revision/{REVISION}", Handler.hf_model),
            (read, rf"/api/models/{NAME}/tree/{REVISION}(?P<path>/.*)?", Handler.hf_tree),
            (read, rf"/api/models/{NAME}/refs", Handler.hf_refs),
            (read, rf"/folders/{NAME}(?:@{REVISION})?/(?P<path>.+)", Handler.folder),
            (read, rf"/{NAME}/resolve/{REVISION}/(?P<path>.+)", Handler.hf_download),
        )
    ]


ROUTES = routes()
