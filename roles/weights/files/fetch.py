# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch files of a model in the image's container.

fetch.py CLIENT ARGUMENT …                   runs a hub's client
fetch.py http ADDRESS FOLDER WORKERS PATH …  is the client of a plain web server

It holds the model's lock, which the staging module takes too, so a folder is never published under the client's hands.
STAGING_FOLDER, STAGING_WANTED, STAGING_LOCK and STAGING_CREDENTIALS name the folder, what has to come into it, the lock
and a file with the token, which neither argv nor the container's configuration shows.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 60
ATTEMPTS = 5


def main():
    """Run the hub's client, or be the client of a plain web server."""
    lock = os.open(os.environ["STAGING_LOCK"], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run holds the lock of this model")
    environment = dict(os.environ, **credentials())
    if sys.argv[1] == "http":
        fetch_all(*sys.argv[2:5], sys.argv[5:], environment.get("HTTP_TOKEN"))
        return
    if "MODELSCOPE_API_TOKEN" in environment:
        log_in(environment["MODELSCOPE_API_TOKEN"])
    sys.exit(run(sys.argv[1:], environment, os.environ["STAGING_FOLDER"]))


def run(command, environment, folder):
    """Run a client, and again when it failed after it had brought something: both clients resume.

    Returns what sys.exit takes: 0, or why it failed and which files are not whole.
    """
    while True:
        before = filled(folder)
        status, last = follow(command, environment)
        if not status:
            return 0
        if filled(folder) <= before:
            return f"{command[0]} ended with exit code {status}: {last}{unfinished(folder, environment)}"
        print("the client ended early and is started again", flush=True)


def follow(command, environment):
    """Run a command, pass its output on, and return its exit code and the last line that it printed."""
    last = "it printed nothing"
    # Else what a client written in Python printed first would come after its last words.
    environment = dict(environment, PYTHONUNBUFFERED="1")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as client:
        for line in client.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return client.returncode, last


def unfinished(folder, environment):
    """Which of the wanted files are not whole in the folder, in words."""
    try:
        with open(environment["STAGING_WANTED"], encoding="utf-8") as stream:
            wanted = json.load(stream)
    except (KeyError, OSError):  # What will come, only the tool knows.
        return ""
    sizes = {entry["path"]: entry["size"] for entry in wanted["files"] or ()}
    lacking = [path for path in wanted["download"] if size(os.path.join(folder, path)) != sizes[path]]
    others = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return f" (not whole: {', '.join(lacking[:3])}{others})" if lacking else ""


def size(path):
    """The size of a file in bytes, None where there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def filled(folder):
    """The bytes that a folder holds on the disk."""
    return sum(os.lstat(os.path.join(root, name)).st_blocks * 512
               for root, _folders, names in os.walk(folder) for name in names)


def credentials():
    """``{variable: token}``, read once: the file is gone afterwards."""
    path = os.environ["STAGING_CREDENTIALS"]
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        found = json.load(stream)
    os.unlink(path)
    return found


def log_in(token):
    """Give the token to the modelscope package, whose clients before 1.33 take it from their own login only."""
    try:
        from modelscope.hub.api import HubApi
    except ImportError:  # modelscope-hub alone, which reads the environment
        return
    HubApi().login(token)


def fetch_all(address, folder, workers, paths, token):
    """Fetch the paths below the address, several at a time; what is there of a file is kept."""
    with ThreadPoolExecutor(int(workers)) as pool:
        fetched = pool.map(lambda path: fetch(f"{address}/{quote(path)}", os.path.join(folder, path), token), paths)
        for path, size in zip(paths, fetched):
            print(f"{path}: {size} bytes", flush=True)


def fetch(url, target, token):
    """Fetch one file, or the rest of it, and return its size. Its content is proven afterwards, by its SHA-256."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "ab") as stream:
        for attempt in range(ATTEMPTS):
            try:
                if append_rest(url, stream, token):
                    return stream.tell()
                reason = "the connection ended early"
            except OSError as error:
                reason = error
            print(f"{url}: {reason} at byte {stream.tell()}, attempt {attempt + 1} of {ATTEMPTS}", flush=True)
            time.sleep(attempt)
    sys.exit(f"{url} could not be fetched: {reason}")


def append_rest(url, stream, token):
    """Append what is missing of a file; tells whether it is whole now."""
    start = stream.tell()
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        answer = urlopen(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        if error.code == 416:  # nothing lies behind the last byte
            return True
        raise
    with answer:
        if start and answer.status != 206:
            stream.truncate(0)
            start = 0
        shutil.copyfileobj(answer, stream, BLOCK_BYTES)
        return stream.tell() == start + int(answer.headers["Content-Length"])


if __name__ == "__main__":
    main()
