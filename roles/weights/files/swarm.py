# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Distribute a model to many nodes in about the time of one copy, with libtorrent (https://libtorrent.org).

Runs in a container of the image, with the Python of the image. WHEELS contains the wheel of libtorrent, which is loaded
only if the role knows its SHA-256. The nodes form a chain: each node downloads from the node before it, and uploads a
piece as soon as the SHA-256 of the piece is verified. So each link transfers the model once per direction, whatever the
number of nodes. The nodes are known, so there is no tracker and no peer discovery, and connections from other hosts are
rejected. A node whose upstream node sends nothing also connects to the next upstream node.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import importlib
import io
import ipaddress
import json
import multiprocessing
import os
import platform
import socket
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

NAME = "model"  # of the torrent, and of the folder with its files
RETRY_S = 1  # between two attempts to connect to the upstream node
STALLED_S = 10  # without data, after which the node also connects to the next upstream node
IDLE_S = 900  # without a transfer, after which a node that has the whole model exits
TICK_S = 0.2  # between two checks of the torrent
MAX_FILE_BYTES = 256 << 20


def main() -> None:
    """Print the torrent of a model, or download and upload it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheels", type=Path, required=True, help="folder with wheels of libtorrent")
    parser.add_argument("--sha256", action="append", default=[], help="a SHA-256 that a wheel may have")
    commands = parser.add_subparsers(dest="command", required=True)
    describe_parser = commands.add_parser("describe", help="print the torrent of the files of a manifest in base64")
    share_parser = commands.add_parser("share", help="download missing files and upload the model")
    for command in (describe_parser, share_parser):
        command.add_argument("--folder", type=Path, required=True, help=f"folder that contains the model as {NAME}")
        command.add_argument("--identity", required=True, help="device and inode of the model")
    describe_parser.add_argument("--manifest", type=Path, required=True)
    share_parser.add_argument("--torrent", type=Path, required=True, help="the torrent in base64")
    share_parser.add_argument("--lock", type=Path, help="lock of the model, held while files are missing")
    share_parser.add_argument("--address", required=True, help="address of this node, to listen on")
    share_parser.add_argument("--port", type=int, required=True, help="port of all nodes")
    share_parser.add_argument("--peer", action="append", default=[], help="a node that may connect")
    share_parser.add_argument("--upstream", action="append", default=[], help="a node to download from, nearest first")
    share_parser.add_argument("--missing", action="append", default=[], help="a file to download")
    share_parser.add_argument("--patience", type=float, default=300, help="seconds without a byte before giving up")
    share_parser.add_argument("--done", type=Path, help="file to create when all missing files are complete")
    options = parser.parse_args()
    check_identity(options.folder / NAME, options.identity)
    lt = load_libtorrent(options.wheels, options.sha256)
    if options.command == "describe":
        print(base64.b64encode(describe(lt, options.folder, options.manifest)).decode())
    else:
        share(lt, options)


def read(path: Path) -> bytes:
    """Return the content of a file, or its first MAX_FILE_BYTES."""
    with path.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES)


def check_identity(folder: Path, identity: str) -> None:
    """Exit if the mounted folder is not the one that the staging module has checked; a link may have replaced it."""
    found = folder.stat()
    if f"{found.st_dev}:{found.st_ino}" != identity:
        sys.exit("the folder of the model was replaced by another folder after it was checked; check which users can "
                 "write to the folder of the models, and run again")


def load_libtorrent(wheels: Path, sha256: Sequence[str]) -> Any:
    """Return the module libtorrent from the wheel for this interpreter and processor.

    :param sha256: the SHA-256 that the wheel may have.
    """
    version = "cp%d%d" % sys.version_info[:2]
    found = sorted(wheels.glob(f"libtorrent-*-{version}-{version}-*{platform.machine()}.whl"))
    if not found:
        sys.exit(f"{wheels} has no wheel of libtorrent for {version} on {platform.machine()}")
    content = read(found[-1])
    digest = hashlib.sha256(content).hexdigest()
    if digest not in sha256:
        sys.exit(f"{found[-1]} has the SHA-256 {digest}, expected {' or '.join(sha256)}")
    with tempfile.TemporaryDirectory() as folder:
        # Extract the verified bytes, because the file can change.
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            wheel.extractall(folder)
        sys.path.insert(0, folder)
        return importlib.import_module("libtorrent")


def describe(lt: Any, folder: Path, manifest: Path) -> bytes:
    """Return the torrent of the files of a manifest (BitTorrent v2, with the SHA-256 of each piece).

    libtorrent hashes a torrent in one thread and holds Python's GIL. In v2, each file has separate hashes, so
    several processes describe one file each, and their descriptions are merged.
    """
    files = json.loads(read(manifest))["files"]
    piece = piece_bytes(sum(entry["size"] for entry in files))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("fork")) as pool:
        described = [pool.submit(describe_file, lt.__name__, str(folder), entry["path"], entry["size"], piece)
                     for entry in sorted(files, key=lambda entry: -entry["size"]) if entry["size"]]
        parts = [part.result() for part in described]
    for entry in files:
        if not entry["size"]:
            tree: dict[bytes, Any] = {b"": {b"length": 0}}
            for name in reversed(entry["path"].encode().split(b"/")):
                tree = {name: tree}
            parts.append({b"info": {b"file tree": tree}})
    torrent: dict[bytes, Any] = {}
    for part in parts:
        merge(torrent, part)
    encoded: bytes = lt.bencode(torrent)
    return encoded


def describe_file(module: str, folder: str, path: str, size: int, piece: int) -> dict[bytes, Any]:
    """Return the torrent of one file as a dictionary. Runs in a separate process."""
    lt = importlib.import_module(module)
    created = lt.create_torrent([lt.create_file_entry(f"{NAME}/{path}", size)], piece, lt.create_torrent.v2_only)
    created.set_priv(True)
    lt.set_piece_hashes(created, folder)
    generated: dict[bytes, Any] = created.generate()
    return generated


def merge(target: dict[bytes, Any], source: dict[bytes, Any]) -> None:
    """Add the missing keys of nested dictionaries to the target."""
    for key, value in source.items():
        if isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target.setdefault(key, value)


def piece_bytes(total: int) -> int:
    """Return the size of a piece in bytes: a power of two that is small enough for the first upload to start soon."""
    size = 1 << 16
    while size < total // 4096 and size < 1 << 23:
        size *= 2
    return size


def share(lt: Any, options: argparse.Namespace) -> None:
    """Download the missing files, create ``done``, and upload until nothing was transferred for `IDLE_S` seconds."""
    if options.missing and options.lock:
        lock = options.lock.open()  # mounted read-only
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another run holds the lock of this model")
    session = lt.session(settings(lt, options))
    session.set_ip_filter(allow_only(lt, [resolve(name) for name in options.peer]))
    torrent = lt.load_torrent_buffer(base64.b64decode(read(options.torrent)))
    torrent.save_path = str(options.folder)
    torrent.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if not options.missing:
        torrent.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(torrent)
    files = handle.torrent_file().layout()
    wanted = {f"{NAME}/{path}" for path in options.missing}
    create_empty(files, wanted, options.folder)
    if options.missing:
        handle.prioritize_files([4 if files.file_path(at) in wanted else 0 for at in range(files.num_files())])
    upstream = Upstream(handle.connect_peer, [(resolve(name), options.port) for name in options.upstream])
    transferred, transferred_at, missing = -1, time.monotonic(), bool(options.missing)
    while True:
        status = handle.status()
        if status.errc.value():
            sys.exit(f"libtorrent: {status.errc.message()}")
        if missing and (not wanted or (status.is_finished and status.num_pieces)):
            flush(lt, session, handle)
            options.done.touch()
            missing = False
        now = time.monotonic()
        if status.total_payload_upload + status.total_payload_download != transferred:
            transferred, transferred_at = status.total_payload_upload + status.total_payload_download, now
        if missing:
            upstream.keep_connected(status.total_payload_download, now)
            if now - transferred_at > options.patience:
                lacking = status.total_wanted - status.total_wanted_done
                sys.exit(f"no node sent anything for {options.patience:.0f} s; {lacking} bytes are missing, and the "
                         "next run resumes the download")
        elif now - transferred_at > IDLE_S:
            return
        time.sleep(TICK_S)


def create_empty(files: Any, wanted: set[str], folder: Path) -> None:
    """Create the wanted files that are empty, which have no pieces, and remove them from ``wanted``."""
    for at in range(files.num_files()):
        path = files.file_path(at)
        if path in wanted and not files.file_size(at):
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            wanted.discard(path)


class Upstream:
    """Connects to the nearest upstream node, and also to the next one when nothing has been received for a while.

    :param connect: a function that connects to an address.
    :param addresses: the addresses of the upstream nodes, the nearest first. The more there are, the longer the first
        piece may take.
    """

    def __init__(self, connect: Callable[[Any], object], addresses: Sequence[Any]) -> None:
        self._connect, self._addresses = connect, addresses
        self._current, self._received = 0, 0
        self._since: float | None = None
        self._connected_at: float | None = None
        self._patience_s = STALLED_S + len(addresses)

    def keep_connected(self, received: int, now: float) -> None:
        """Connect if necessary. Call this periodically, with the bytes received so far and the time in seconds."""
        if self._since is None or received != self._received:
            self._received, self._since = received, now
        if now - self._since > self._patience_s:
            self._current, self._since, self._connected_at = (self._current + 1) % len(self._addresses), now, None
        if self._connected_at is None or (not received and now - self._connected_at > RETRY_S):
            self._connect(self._addresses[self._current])
            self._connected_at = now


def settings(lt: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of libtorrent for a trusted network: TCP only, all peers are served, no peer discovery."""
    address = resolve(options.address)
    host = f"[{address}]" if ":" in address else address
    return {
        "listen_interfaces": f"{host}:{options.port}",
        "outgoing_interfaces": address,
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "choking_algorithm": int(lt.choking_algorithm_t.fixed_slots_choker), "unchoke_slots_limit": 1000,
        "peer_connect_timeout": 5, "min_reconnect_time": 1, "max_failcount": 1000, "tick_interval": 100,
        "hashing_threads": max(1, (os.cpu_count() or 1) // 4),
        "alert_mask": int(lt.alert.category_t.storage_notification),
    }


def flush(lt: Any, session: Any, handle: Any) -> None:
    """Wait until the received data is written to the files."""
    handle.flush_cache()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        session.wait_for_alert(1000)
        if any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts()):
            return
    sys.exit("libtorrent did not write its cache within 60 s")


def allow_only(lt: Any, addresses: Iterable[str]) -> Any:
    """Return a filter that accepts only these addresses."""
    blocked, allowed = 1, 0
    rules = lt.ip_filter()
    rules.add_rule("0.0.0.0", "255.255.255.255", blocked)
    rules.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", blocked)
    for address in addresses:
        rules.add_rule(address, address, allowed)
    return rules


def resolve(name: str) -> str:
    """Return the IP address of a node by its name or address."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        sys.exit(f"the address of {name} is unknown: {error}; set weights_swarm_address for this node")


if __name__ == "__main__":
    main()
