# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Download files of a model, in a container of the image.

fetch.py CLIENT ARGUMENT …               runs the client of a hub
fetch.py http URL FOLDER WORKERS PATH …  downloads from a plain web server

While it runs, the program holds two locks of the model, so that the staging module cannot publish the folder:
STAGING_LOCK of this node, which is mounted read-only, and STAGING_WORK_LOCK of all nodes that mount the folder.

STAGING_FOLDER is the path of the folder, and STAGING_WANTED the path of the list of its files. STAGING_CREDENTIALS is
the path of a file with the token and other variables. This keeps them out of argv and of the configuration of the
container. STAGING_IDENTITY is the device and inode of the folder. If another user has replaced a part of the path by a
link, the mounted folder has another identity, and nothing is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 60
ATTEMPTS = 5
SHORTEST_SECRET = 4  # characters
# Bytes per second. A server that sends less counts as hung.
SLOWEST_BYTES_S = 1000
# Limits in characters: a line that a client prints, and a file of the staging module.
MAX_LINE, MAX_FILE = 1 << 16, 256 << 20


def main() -> None:
    """Run the client of a hub, or download from a plain web server."""
    check_identity(os.environ["STAGING_FOLDER"], os.environ["STAGING_IDENTITY"])
    hold(os.environ["STAGING_LOCK"], os.O_RDONLY)
    hold(os.environ["STAGING_WORK_LOCK"], os.O_RDWR)
    secrets = credentials()
    try:
        # These variables, such as a proxy, also apply to the requests of this program.
        os.environ.update(secrets)
        sys.exit(download(dict(os.environ)))
    except Exception:  # pylint: disable=broad-except
        sys.exit(masked(traceback.format_exc(), secrets.values()))


def download(environment: dict[str, str]) -> int | str:
    """Run the command in argv with these environment variables and the token. Return the argument for sys.exit."""
    if sys.argv[1] == "http":
        url, folder, workers, *paths = sys.argv[2:]
        fetch_all(url, folder, int(workers), paths, environment.get("HTTP_TOKEN"))
        return 0
    if "MODELSCOPE_API_TOKEN" in environment:
        log_in(environment["MODELSCOPE_API_TOKEN"])
    return run(sys.argv[1:], environment, os.environ["STAGING_FOLDER"])


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a traceback without secrets, because http.client quotes an invalid header in its exception."""
    for secret in secrets:
        for spelling in (repr(secret)[1:-1], secret.strip()):
            # Shorter values, such as `on`, occur in too many words.
            text = text.replace(spelling, "(redacted)") if len(spelling) >= SHORTEST_SECRET else text
    return text


def check_identity(folder: str, identity: str) -> None:
    """Exit if the folder is not the folder that the staging module has prepared."""
    found = os.stat(folder)
    if f"{found.st_dev}:{found.st_ino}" != identity:
        sys.exit(f"{folder} was replaced by another folder after it was prepared; check which users can write to the "
                 "folder of the models, and run again")


def hold(path: str, flags: int) -> None:
    """Hold a lock until the program ends, or exit if another run holds it."""
    try:
        fcntl.flock(os.open(path, flags | os.O_NOFOLLOW), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run holds the lock of this model")


def run(command: list[str], environment: dict[str, str], folder: str) -> int | str:
    """Run a client. If it fails after it has downloaded something, run it again, because the clients can resume.

    :returns: the argument for sys.exit: 0, or the reason for the failure and the incomplete files.
    """
    while True:
        before = disk_usage(folder)
        status, last = follow(command, environment)
        if not status:
            return 0
        if disk_usage(folder) <= before:
            return f"{command[0]} exited with code {status}: {last}{incomplete(folder, environment)}"
        print("the client failed and is started again", flush=True)


def follow(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command, print its output, and return its exit code and the last line that it printed."""
    last = "it printed nothing"
    # Without buffering, so that the output of a client in Python does not follow its error message.
    environment = dict(environment, PYTHONUNBUFFERED="1")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as client:
        for line in iter(lambda: client.stdout.readline(MAX_LINE), ""):
            print(line, end="", flush=True)
            last = line.strip() or last
    return client.returncode, last


def incomplete(folder: str, environment: dict[str, str]) -> str:
    """Return a list of the incomplete files in the folder for a message, or an empty string if there are none."""
    sizes, paths = wanted_files(environment)
    lacking = [path for path in paths if size(os.path.join(folder, path)) != sizes[path]]
    others = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return f" (incomplete: {', '.join(lacking[:3])}{others})" if lacking else ""


def size(path: str) -> int | None:
    """Return the size of a file in bytes, or None if it does not exist."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def disk_usage(folder: str) -> int:
    """Return the disk space that the files in a folder use, in bytes."""
    return sum(os.lstat(os.path.join(root, name)).st_blocks * 512
               for root, _folders, names in os.walk(folder) for name in names)


def credentials() -> dict[str, str]:
    """Return the token and other variables as ``{variable: value}``, and remove the file that contains them."""
    path = os.environ["STAGING_CREDENTIALS"]
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        found: dict[str, str] = json.loads(stream.read(MAX_FILE))
    os.unlink(path)
    return found


def log_in(token: str) -> None:
    """Log in with the package modelscope, whose client before 1.33 does not read the token from its environment."""
    try:
        from modelscope.hub.api import HubApi
    except ImportError:  # The package modelscope-hub reads the environment.
        return
    HubApi().login(token)


def fetch_all(url: str, folder: str, workers: int, paths: list[str], token: str | None) -> None:
    """Download the paths below the URL, several at a time, and resume incomplete files."""
    sizes, headers = wanted_files(os.environ)[0], {"Authorization": f"Bearer {token}"} if token else None
    with ThreadPoolExecutor(workers) as pool:
        fetched = pool.map(lambda path: fetch(f"{url}/{quote(path)}", os.path.join(folder, path), headers,
                                              sizes.get(path)), paths)
        for path, count in zip(paths, fetched):
            print(f"{path}: {count} bytes", flush=True)


def wanted_files(environment: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Return ``{path: size}`` of the wanted files, and the paths to download. Both are empty if they are not known."""
    try:
        with open(environment["STAGING_WANTED"], encoding="utf-8") as stream:
            wanted = json.loads(stream.read(MAX_FILE))
    except (KeyError, OSError):  # The files that msModelSlim will write are not known.
        return {}, []
    return {entry["path"]: entry["size"] for entry in wanted["files"] or ()}, wanted["download"]


def fetch(url: str, target: str, headers: dict[str, str] | None, wanted: int | None = None) -> int:
    """Download a file, or the rest of it, and return its size. The staging module verifies its SHA-256 later.

    :param headers: headers that are not sent to another host after a redirect.
    :param wanted: the size of the file in bytes. A server that sends a file of another size is refused.
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "ab") as stream:
        for attempt in range(ATTEMPTS):
            try:
                if append_rest(url, stream, headers, wanted):
                    return end_of(stream)
                reason = "the connection was closed"
            except OSError as error:
                reason = str(error)
            print(f"{url}: {reason} at byte {end_of(stream)}, attempt {attempt + 1} of {ATTEMPTS}", flush=True)
            time.sleep(attempt)
    sys.exit(f"{url} could not be downloaded: {reason}")


def append_rest(url: str, stream: BinaryIO, headers: dict[str, str] | None, wanted: int | None = None) -> bool:
    """Append the missing bytes of a file, and return whether it is complete."""
    start = end_of(stream)
    if wanted is not None and start > wanted:
        stream.truncate(0)
        start = 0
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    for name, value in (headers or {}).items():
        request.add_unredirected_header(name, value)
    try:
        response = urlopen(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        if error.code == 416:  # The file has no bytes after those that were downloaded.
            return wanted in (None, start)
        raise
    with response:
        if start and response.status != 206:
            stream.truncate(0)
            start = 0
        length = int(response.headers.get("Content-Length") or 0)
        if wanted is not None and start + length != wanted:
            sys.exit(f"{url} has {start + length} bytes, but the listing of the source says {wanted}")
        copy(response, stream, length)
        return end_of(stream) == start + length


def copy(response: HTTPResponse, stream: BinaryIO, length: int) -> None:
    """Append at most ``length`` bytes of a response to a file. Raise OSError if they arrive too slowly."""
    since, received = time.monotonic(), 0
    while length > 0:
        block = response.read1(min(BLOCK_BYTES, length))
        if not block:
            return
        stream.write(block)
        length, received = length - len(block), received + len(block)
        if time.monotonic() - since > TIMEOUT_S:
            if received < TIMEOUT_S * SLOWEST_BYTES_S:
                raise OSError(f"only {received} bytes were received in {TIMEOUT_S} s")
            since, received = time.monotonic(), 0


def end_of(stream: BinaryIO) -> int:
    """Go to the end of a file, and return the offset in bytes."""
    return stream.seek(0, os.SEEK_END)


if __name__ == "__main__":
    main()
