# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a model to many nodes in about the time of one copy, with libtorrent (https://libtorrent.org).

Runs in a container of the image, whose Python it uses; WHEELS holds libtorrent's wheel. The nodes form a chain: each
takes the model from the one before it and passes every piece on as soon as its SHA-256 is proven, so each link carries
the model once in each direction, however many nodes there are. Ansible knows the nodes, so no tracker is asked, nobody
is searched for, and nobody else is let in. A node whose upstream brings nothing turns to the next one before that.
"""

import argparse
import base64
import fcntl
import importlib
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
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

NAME = "model"
RETRY_S = 1
STALLED_S = 10
IDLE_S = 900
TICK_S = 0.2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheels", type=Path, required=True, help="folder with libtorrent's wheels")
    commands = parser.add_subparsers(dest="command", required=True)
    describe_parser = commands.add_parser("describe", help="print the torrent of the files of a manifest in base64")
    share_parser = commands.add_parser("share", help="take what is missing and pass on what is there")
    for command in (describe_parser, share_parser):
        command.add_argument("--folder", type=Path, required=True, help=f"folder that holds the model as {NAME}")
    describe_parser.add_argument("--manifest", type=Path, required=True)
    share_parser.add_argument("--torrent", type=Path, required=True, help="the torrent in base64")
    share_parser.add_argument("--lock", type=Path, help="lock of the model, held while something is missing")
    share_parser.add_argument("--address", required=True, help="own address, to listen on")
    share_parser.add_argument("--port", type=int, required=True, help="port of every node")
    share_parser.add_argument("--ally", action="append", default=[], help="a node that is let in")
    share_parser.add_argument("--upstream", action="append", default=[], help="a node to take from, the nearest first")
    share_parser.add_argument("--only", action="append", default=[], help="a file that is missing; none: nothing is")
    share_parser.add_argument("--patience", type=float, default=300, help="seconds without a byte to give up after")
    share_parser.add_argument("--done", type=Path, help="file to write when everything is there")
    options = parser.parse_args()
    lt = load_libtorrent(options.wheels)
    if options.command == "describe":
        print(base64.b64encode(describe(lt, options.folder, options.manifest)).decode())
    else:
        share(lt, options)


def load_libtorrent(wheels):
    """The module out of the wheel for this interpreter and processor."""
    version = "cp%d%d" % sys.version_info[:2]
    found = sorted(wheels.glob(f"libtorrent-*-{version}-{version}-*{platform.machine()}.whl"))
    if not found:
        sys.exit(f"{wheels} holds no wheel of libtorrent for {version} on {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(found[-1]) as wheel:
            wheel.extractall(folder)
        sys.path.insert(0, folder)
        return importlib.import_module("libtorrent")


def describe(lt, folder, manifest):
    """The torrent (BitTorrent v2: SHA-256 of every piece) of a manifest's files.

    libtorrent hashes a torrent in one thread and keeps Python's lock meanwhile. In v2 every file has hashes of its own,
    so each is described alone, by several processes, and the descriptions are laid over each other.
    """
    files = json.loads(manifest.read_text("utf-8"))["files"]
    piece = piece_bytes(sum(entry["size"] for entry in files))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("fork")) as pool:
        described = [pool.submit(describe_file, lt.__name__, str(folder), entry["path"], entry["size"], piece)
                     for entry in sorted(files, key=lambda entry: -entry["size"]) if entry["size"]]
        parts = [part.result() for part in described]
    for entry in files:
        if not entry["size"]:
            tree = {b"": {b"length": 0}}
            for name in reversed(entry["path"].encode().split(b"/")):
                tree = {name: tree}
            parts.append({b"info": {b"file tree": tree}})
    whole = {}
    for part in parts:
        lay_over(whole, part)
    return lt.bencode(whole)


def describe_file(module, folder, path, size, piece):
    """The torrent of one file, as a dictionary. Runs in a process of its own."""
    lt = importlib.import_module(module)
    created = lt.create_torrent([lt.create_file_entry(f"{NAME}/{path}", size)], piece, lt.create_torrent.v2_only)
    created.set_priv(True)
    lt.set_piece_hashes(created, folder)
    return created.generate()


def lay_over(whole, part):
    """Put into a dictionary what it lacks of another one, level by level."""
    for key, value in part.items():
        if isinstance(value, dict):
            lay_over(whole.setdefault(key, {}), value)
        else:
            whole.setdefault(key, value)


def piece_bytes(total):
    """A power of two that gives some thousand pieces: fine enough to be passed on soon, coarse enough to be listed."""
    size = 1 << 16
    while size < total // 4096 and size < 1 << 23:
        size *= 2
    return size


def share(lt, options):
    """Take what is missing, write ``done``, and pass on until it is ended or nobody has asked for long."""
    if options.only and options.lock:
        lock = options.lock.open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another run holds the lock of this model")
    session = lt.session(settings(lt, options))
    session.set_ip_filter(only(lt, [resolve(name) for name in options.ally]))
    torrent = lt.load_torrent_buffer(base64.b64decode(options.torrent.read_bytes()))
    torrent.save_path = str(options.folder)
    torrent.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if not options.only:
        torrent.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(torrent)
    files = handle.torrent_file().layout()
    wanted = {f"{NAME}/{path}" for path in options.only}
    touch_empty(files, wanted, options.folder)
    if options.only:
        handle.prioritize_files([4 if files.file_path(at) in wanted else 0 for at in range(files.num_files())])
    upstream = Upstream(handle.connect_peer, [(resolve(name), options.port) for name in options.upstream])
    moved, moved_at, missing = -1, time.monotonic(), bool(options.only)
    while True:
        status = handle.status()
        if status.errc.value():
            sys.exit(f"libtorrent: {status.errc.message()}")
        if missing and (not wanted or (status.is_finished and status.num_pieces)):
            flush(lt, session, handle)
            options.done.touch()
            missing = False
        now = time.monotonic()
        if status.total_payload_upload + status.total_payload_download != moved:
            moved, moved_at = status.total_payload_upload + status.total_payload_download, now
        if missing:
            upstream.keep(status.total_payload_download, now)
            if now - moved_at > options.patience:
                lacking = status.total_wanted - status.total_wanted_done
                sys.exit(f"no node gave anything for {options.patience:.0f} s; {lacking} bytes are missing, and the "
                         "next run resumes there")
        elif now - moved_at > IDLE_S:
            return
        time.sleep(TICK_S)


def touch_empty(files, wanted, folder):
    """Make the wanted files that have no bytes, and so no pieces, and take them out of ``wanted``."""
    for at in range(files.num_files()):
        path = files.file_path(at)
        if path in wanted and not files.file_size(at):
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            wanted.discard(path)


class Upstream:
    """Connects to the nearest upstream, and to the next one, too, whenever nothing has come for a while.

    :param connect: ``connect(address)``. :param addresses: the nearest first. What comes down a longer chain may take
        longer to arrive at first.
    """

    def __init__(self, connect, addresses):
        self._connect, self._addresses = connect, addresses
        self._next, self._received, self._since, self._asked = 0, 0, None, None
        self._patience_s = STALLED_S + len(addresses)

    def keep(self, received, now):
        """Call it again and again with the bytes received so far and the time in seconds."""
        if self._since is None or received != self._received:
            self._received, self._since = received, now
        if now - self._since > self._patience_s:
            self._next, self._since, self._asked = (self._next + 1) % len(self._addresses), now, None
        if self._asked is None or (not received and now - self._asked > RETRY_S):
            self._connect(self._addresses[self._next])
            self._asked = now


def settings(lt, options):
    """libtorrent for one trusted network: TCP only, everybody is served, nobody is searched for."""
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


def flush(lt, session, handle):
    """Wait until what was received is in its files."""
    handle.flush_cache()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        session.wait_for_alert(1000)
        if any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts()):
            return
    sys.exit("libtorrent did not write its cache within 60 s")


def only(lt, addresses):
    """A filter that lets these addresses in and nobody else."""
    found = lt.ip_filter()
    found.add_rule("0.0.0.0", "255.255.255.255", 1)
    found.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1)
    for address in addresses:
        found.add_rule(address, address, 0)
    return found


def resolve(name):
    """The address of a node by its name or address."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        sys.exit(f"the address of {name} is not known: {error}; set weights_swarm_address for it")


if __name__ == "__main__":
    main()
