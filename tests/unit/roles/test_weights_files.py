# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that run in containers of the weights role: the download clients and the torrent client."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import os
import platform
import re
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles" / "weights" / "files"
CONTENT = bytes(range(256)) * 1000


def load(name):
    spec = importlib.util.spec_from_file_location("weights_" + name, FILES / (name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fetch, swarm = load("fetch"), load("swarm")


class Web(BaseHTTPRequestHandler):
    """A handler that sends CONTENT, with or without ranges, and interrupts the first responses."""

    ranges, interruptions, starts, token = True, 0, [], None

    def do_GET(self):
        cls = type(self)
        start = int(self.headers["Range"].split("=")[1].rstrip("-")) if self.headers["Range"] and cls.ranges else 0
        cls.starts.append(start)
        if cls.token and self.headers["Authorization"] != "Bearer " + cls.token:
            self.send_error(401)
        elif start >= len(CONTENT):
            self.send_error(416)
        else:
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:100_000] if cls.interruptions else body)
            cls.interruptions = max(0, cls.interruptions - 1)
        self.close_connection = True

    def log_message(self, *_values):
        pass


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(fetch.time, "sleep", lambda _seconds: None)
    handler = type("Handler", (Web,), {"starts": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.url = "http://127.0.0.1:%d/a" % server.server_port
    yield handler
    server.shutdown()
    server.server_close()


def test_file_is_downloaded(web, tmp_path):
    assert fetch.fetch(web.url, str(tmp_path / "sub" / "a"), None) == len(CONTENT)
    assert (tmp_path / "sub" / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("listed", [10, len(CONTENT) - 1, len(CONTENT) + 1])
def test_file_whose_size_differs_from_the_listing_is_not_downloaded(web, tmp_path, listed):
    with pytest.raises(SystemExit, match=f"has {len(CONTENT)} bytes, but the listing of the source says {listed}"):
        fetch.fetch(web.url, str(tmp_path / "a"), None, listed)
    assert (tmp_path / "a").stat().st_size == 0


def test_partial_file_that_is_too_large_is_downloaded_again(web, tmp_path):
    (tmp_path / "a").write_bytes(CONTENT + b"more")
    assert fetch.fetch(web.url, str(tmp_path / "a"), None, len(CONTENT)) == len(CONTENT)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_no_more_than_the_announced_size_is_read(tmp_path):
    response = Mock(read1=lambda size: b"x" * size)
    with open(tmp_path / "a", "ab") as stream:
        fetch.copy(response, stream, 10)
    assert (tmp_path / "a").read_bytes() == b"x" * 10


def test_slow_response_is_an_error(tmp_path, monkeypatch):
    clock = itertools.count(step=7.0)
    monkeypatch.setattr(fetch.time, "monotonic", lambda: next(clock))
    response = Mock(read1=lambda size: b"x")
    with open(tmp_path / "a", "ab") as stream, pytest.raises(OSError, match="only 9 bytes were received in 60 s"):
        fetch.copy(response, stream, 10**9)


def test_sizes_are_read_from_the_file_of_the_staging_module(tmp_path, monkeypatch):
    monkeypatch.setenv("STAGING_WANTED", str(tmp_path / "wanted.json"))
    assert fetch.wanted_files(os.environ) == ({}, [])
    (tmp_path / "wanted.json").write_text(json.dumps({"files": [{"path": "a", "size": 10}], "download": ["a"]}))
    assert fetch.wanted_files(os.environ) == ({"a": 10}, ["a"])


@pytest.mark.parametrize("size", [1000, len(CONTENT)])
def test_download_is_resumed(web, tmp_path, size):
    (tmp_path / "a").write_bytes(CONTENT[:size])
    fetch.fetch(web.url, str(tmp_path / "a"), None)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert web.starts == [size]


def test_server_without_ranges_sends_the_whole_file_again(web, tmp_path):
    web.ranges = False
    (tmp_path / "a").write_bytes(b"x" * 1000)
    fetch.fetch(web.url, str(tmp_path / "a"), None)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_download_is_resumed_after_an_interruption(web, tmp_path):
    web.interruptions = 2
    fetch.fetch(web.url, str(tmp_path / "a"), None)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert web.starts == [0, 100_000, 200_000]


@pytest.fixture
def client(web, tmp_path, monkeypatch):
    """Return a function (credentials) that downloads a file as the client's container does."""
    (tmp_path / "folder").mkdir()
    for name, file in {"STAGING_LOCK": "lock", "STAGING_WORK_LOCK": "work-lock", "STAGING_CREDENTIALS": "credentials",
                       "STAGING_WANTED": "wanted.json", "STAGING_FOLDER": "folder"}.items():
        monkeypatch.setenv(name, str(tmp_path / file))
    for lock in ("lock", "work-lock"):
        (tmp_path / lock).touch()
    found = (tmp_path / "folder").stat()
    monkeypatch.setenv("STAGING_IDENTITY", f"{found.st_dev}:{found.st_ino}")
    monkeypatch.setattr(sys, "argv", ["fetch.py", "http", web.url, str(tmp_path / "folder"), "1", "a"])

    def run(credentials):
        for name in credentials:
            monkeypatch.setenv(name, "")  # so that it is restored after the test
        (tmp_path / "credentials").write_text(json.dumps(credentials))
        fetch.main()
    return run


def test_requests_use_the_proxy_in_the_credentials_file(client, web, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request._opener", None)  # an earlier test set an opener without a proxy
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match=r"could not be downloaded: .*refused"):
        client({"http_proxy": "http://127.0.0.1:9"})
    assert web.starts == []
    assert not (tmp_path / "credentials").exists()


def test_error_does_not_show_the_token(client, web):
    """http.client quotes a token that contains a line break. Very short values, such as ``l``, are not masked."""
    with pytest.raises(SystemExit) as ended:
        client({"HTTP_TOKEN": "t0k3n\n", "SWITCH": "l"})
    assert "Invalid header value b'Bearer (redacted)" in ended.value.code
    assert "t0k3n" not in ended.value.code
    assert web.starts == []


def test_number_of_attempts_is_limited(web, tmp_path):
    web.token = "right"
    with pytest.raises(SystemExit, match="could not be downloaded: HTTP Error 401"):
        fetch.fetch(web.url, str(tmp_path / "a"), {"Authorization": "Bearer wrong"})
    assert len(web.starts) == fetch.ATTEMPTS


# Each start writes a file while there are fewer than argv[2], and succeeds once there are argv[3].
CLIENT = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
step = len(list(folder.iterdir()))
if step < int(sys.argv[2]):
    (folder / str(step)).write_bytes(bytes(5000))
sys.exit(0 if step + 1 >= int(sys.argv[3]) else 3)
"""


@pytest.mark.parametrize(("available", "needed", "failure", "files"), [
    (4, 3, "", 3), (2, 9, "code 3", 2), (0, 9, "code 3", 0)])
def test_failed_client_is_started_again_if_it_downloaded_something(tmp_path, available, needed, failure, files):
    folder = tmp_path / "staging"
    folder.mkdir()
    command = [sys.executable, "-c", CLIENT, str(folder), str(available), str(needed)]
    assert failure in str(fetch.run(command, {}, str(folder)) or "")
    assert len(list(folder.iterdir())) == files


def test_client_error_contains_the_last_line_and_the_incomplete_files(tmp_path):
    wanted = tmp_path / "wanted.json"
    files = [{"path": name, "size": 2} for name in ("a", "b", "c", "d", "e", "f")]
    wanted.write_text(json.dumps({"files": files, "download": ["a", "b", "c", "d", "e"]}))
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "a").write_bytes(b"12")
    (folder / "b").write_bytes(b"1")
    command = [sys.executable, "-c", "print('x'); raise OSError(28, 'No space left on device')"]
    assert fetch.run(command, {"STAGING_WANTED": str(wanted)}, str(folder)) == (
        f"{sys.executable} exited with code 1: OSError: [Errno 28] No space left on device "
        "(incomplete: b, c, d and 1 more)")


class Layout:
    """A fake of libtorrent's list of files."""

    def __init__(self, sizes):
        self._files = list(sizes.items())

    def num_files(self):
        return len(self._files)

    def file_path(self, at):
        return self._files[at][0]

    def file_size(self, at):
        return self._files[at][1]


def test_empty_files_are_created_without_download(tmp_path):
    wanted = {"model/sub/empty", "model/a"}
    swarm.create_empty(Layout({"model/a": 5, "model/sub/empty": 0, "model/other": 0}), wanted, tmp_path)
    assert wanted == {"model/a"}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["empty"]


def connections(received, addresses=("near", "far", "seed"), until=60):
    """Return the connections as ``[(second, address)]``. ``received(second)`` returns the bytes received so far."""
    made, now = [], [0]
    upstream = swarm.Upstream(lambda address: made.append((now[0], address)), list(addresses))
    for now[0] in range(until):
        upstream.keep_connected(received(now[0]), float(now[0]))
    return made


def test_no_further_connection_is_made_while_data_is_received():
    assert connections(lambda second: second + 1) == [(0, "near")]


def test_connection_is_retried_until_data_is_received():
    made = connections(lambda second: 0 if second < 5 else second, until=20)
    assert {address for _second, address in made} == {"near"}
    assert len(made) > 1


def test_next_upstream_is_used_after_a_stall():
    last, addresses = 3, ["near", "far", "seed"]
    made = connections(lambda second: min(second, last) + 1, addresses, until=80)
    assert [address for _second, address in made][:4] == [*addresses, "near"]
    assert made[1][0] == last + swarm.STALLED_S + len(addresses) + 1


def test_descriptions_of_files_are_merged():
    torrent = {}
    for name, root in ((b"a", b"1"), (b"b", b"2")):
        swarm.merge(torrent, {b"info": {b"name": b"model", b"file tree": {b"sub": {name: {b"": {b"length": 9}}}}},
                              b"piece layers": {root: b"hashes"}})
    assert torrent == {
        b"info": {b"name": b"model", b"file tree": {
            b"sub": {b"a": {b"": {b"length": 9}}, b"b": {b"": {b"length": 9}}}}},
        b"piece layers": {b"1": b"hashes", b"2": b"hashes"}}


@pytest.mark.parametrize(("total", "expected"), [
    (0, 1 << 16), (100 << 20, 1 << 16), (7_000_000_000, 1 << 21), (44_300_000_000, 1 << 23), (1 << 50, 1 << 23)])
def test_piece_size_depends_on_the_total_size(total, expected):
    assert swarm.piece_bytes(total) == expected


def test_missing_wheel_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="has no wheel of libtorrent for cp3"):
        swarm.load_libtorrent(tmp_path, [])


@pytest.fixture
def wheel(tmp_path):
    """A wheel for this interpreter, with a module that has the attribute LOADED."""
    version = "cp%d%d" % sys.version_info[:2]
    path = tmp_path / f"libtorrent-9-{version}-{version}-linux_{platform.machine()}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("libtorrent.py", "LOADED = True\n")
    yield path
    sys.modules.pop("libtorrent", None)


def test_wheel_with_a_known_sha256_is_loaded(wheel, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert swarm.load_libtorrent(wheel.parent, ["0" * 64, digest]).LOADED is True


def test_wheel_with_another_sha256_is_refused(wheel, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit, match=f"has the SHA-256 [0-9a-f]{{64}}, expected {'0' * 64}"):
        swarm.load_libtorrent(wheel.parent, ["0" * 64])
    assert "libtorrent" not in sys.modules


def test_all_wheel_hashes_that_pip_verifies_are_found():
    """The expression in vars/main.yml finds all hashes."""
    text = (FILES / "requirements-swarm.txt").read_text()
    assert len(re.findall("sha256:([0-9a-f]{64})", text)) == text.count("--hash") == 4


@pytest.mark.parametrize("check", [fetch.check_identity, swarm.check_identity], ids=["fetch", "swarm"])
def test_folder_that_was_replaced_by_a_link_is_refused(tmp_path, check):
    prepared, other, path = tmp_path / "prepared", tmp_path / "other", tmp_path / "path"
    prepared.mkdir()
    other.mkdir()
    identity = f"{prepared.stat().st_dev}:{prepared.stat().st_ino}"
    path.symlink_to(prepared)
    check(path, identity)
    path.unlink()
    path.symlink_to(other)
    with pytest.raises(SystemExit, match="replaced by another folder"):
        check(path, identity)


def test_lock_on_a_read_only_mount_excludes_other_runs(tmp_path):
    lock = tmp_path / "lock"
    lock.touch()
    fetch.hold(str(lock), os.O_RDONLY)
    with pytest.raises(SystemExit, match="another run holds the lock"):
        fetch.hold(str(lock), os.O_RDONLY)


@pytest.mark.parametrize("name", ["127.0.0.1", "::1"])
def test_address_is_returned_unchanged(name):
    assert swarm.resolve(name) == name


def test_unknown_name_is_an_error(monkeypatch):
    def unknown(*_arguments, **_options):
        raise OSError("Name or service not known")

    monkeypatch.setattr(swarm.socket, "getaddrinfo", unknown)
    with pytest.raises(SystemExit, match="set weights_swarm_address"):
        swarm.resolve("nowhere")
