# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of a run of Ansible on this node: only its holder changes the node.

PRIVATE to the collection. A run that changes the node describes itself in an environment variable of its modules. The
first module takes the lease, and each further one renews it. A lease is a folder, which also contains the run's files
that no later run needs. Where the controller of a run was killed, the next run finds its lease, and removes what it has
left: containers with its label, the files that its modules have announced, and the process of its last module.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypedDict

    from ansible.module_utils.basic import AnsibleModule

    class Run(TypedDict):
        """A run of Ansible, and the process on the controller that executes it."""

        run: str  # its id
        user: str
        controller: str  # name of the host
        processes: str  # identifies the processes that are visible there; process ids of others mean nothing
        pid: int
        pid_started: str | None  # its start time in the unit of /proc
        since: str

    class LeaseRequest(Run):
        """What a run tells its modules."""

        docker_socket: str
        gone: list[str]  # the ids of runs whose process has ended on the controller

    class Lease(Run):
        """The content of the file."""

        paths: list[str]  # what the run may leave on the node
        module: tuple[int, str]  # the process id and start time of its last module

VARIABLE = "ASCEND_VLLM_RUN"
ROOT = "/var/lib/ascend-vllm/runs"
FILE = "lease.json"
# The longest limit of a task: a run that has not renewed its lease for so long is over.
LIMIT_S = 24 * 3600
# Seconds to wait for a module of a killed run to end.
END_S = 5
REMOVE_S = 60


class Held(Exception):
    """Another run holds the lease."""

    def __init__(self, holder: Run) -> None:
        super().__init__(holder)
        self.holder = holder


def hold(module: AnsibleModule, *paths: str) -> None:
    """Take the lease for the run of this module, or renew it; without a run that changes the node, do nothing.

    :param paths: what the run leaves on the node if its controller is killed, in addition to its folder.
    """
    text = os.environ.get(VARIABLE)
    if not text or module.check_mode:
        return
    try:
        take(json.loads(text), paths)
    except Held as held:
        module.fail_json(msg=refusal("this node", held.holder, os.path.join(ROOT, held.holder["run"])),
                         holder=held.holder)
    except OSError as error:
        module.fail_json(msg="The lease of this run cannot be written: %s; repair the file system of %s." % (
            error, ROOT))


def run_id() -> str:
    """Return the id of the run of this module; empty if it does not change the node."""
    text = os.environ.get(VARIABLE)
    return json.loads(text)["run"] if text else ""


def refusal(what: str, holder: Run, path: str) -> str:
    """Return a sentence about the run that holds a lease."""
    return ("%s is in use by the run %s of %s on %s (process %d, since %s); wait until it ends, or end it. If that "
            "process no longer exists, remove %s." % (
                what[0].upper() + what[1:], holder["run"], holder["user"], holder["controller"], holder["pid"],
                holder["since"], path))


def take(request: LeaseRequest, paths: Iterable[str] = (), root: str = ROOT) -> None:
    """Take or renew the lease, and remove what runs have left that are over.

    :raises Held: if another run holds the lease. :raises OSError: if it cannot be written.
    """
    os.makedirs(root, 0o700, exist_ok=True)
    own = os.path.join(root, request["run"])
    with open(os.path.join(root, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        over = {}
        for name in os.listdir(root):
            if name not in (request["run"], ".lock"):
                lease, age_s = _read(os.path.join(root, name))
                if lease and lease["run"] not in request["gone"] and abs(age_s) < LIMIT_S:
                    raise Held(lease)
                if lease or abs(age_s) >= LIMIT_S:
                    over[name] = lease
        os.makedirs(own, 0o700, exist_ok=True)
        known = _read(own)[0]
        described = {key: value for key, value in request.items() if key not in ("docker_socket", "gone")}
        _write(own, dict(described, paths=sorted({*(known["paths"] if known else ()), *paths}),
                         module=[os.getpid(), started(os.getpid())]))
        if over:
            _remove_leftovers(request, over, root)


def started(pid: int) -> str | None:
    """Return the start time of a process, in a unit of the kernel; None if it does not exist or is a zombie."""
    words = read_text("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return words[19] if words and words[0] not in "ZX" else None


def _read(folder: str) -> tuple[Lease | None, float]:
    """Return the lease of a run, None if there is none or it is damaged, and its age in seconds."""
    path = os.path.join(folder, FILE)
    age_s = time.time() - os.stat(path if os.path.exists(path) else folder).st_mtime
    try:
        return json.loads(read_text(path)), age_s
    except ValueError:
        return None, age_s


def _write(folder: str, lease: dict[str, Any]) -> None:
    path = os.path.join(folder, FILE)
    with open(path + ".new", "w", encoding="utf-8") as stream:
        json.dump(lease, stream)
    os.rename(path + ".new", path)


def _end(pid: int, since: str) -> bool:
    """End a process if it still has this start time; return False if it cannot be killed."""
    begun = time.monotonic()
    while started(pid) == since:
        if time.monotonic() - begun > 2 * END_S:
            return False
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM if time.monotonic() - begun < END_S else signal.SIGKILL)
        time.sleep(0.1)
    return True


def _remove_leftovers(request: LeaseRequest, over: dict[str, Lease | None], root: str) -> None:
    """Remove what runs have left. The folder of a run is the last: if anything fails before, the next task repeats it.

    :param over: ``{name of the folder of a run: its lease}``.
    """
    for lease in over.values():
        if lease and not _end(*lease["module"]):
            return
    docker = DockerEngine(request["docker_socket"])
    try:
        for container in docker.get(labels.list_query(labels.RUN, every_state=True)) or ():
            if container["Labels"][labels.RUN] != request["run"]:
                docker.remove(container["Id"], REMOVE_S)
    except DockerError:
        return
    for name, lease in over.items():
        for path in [*(lease["paths"] if lease else ()), os.path.join(root, name)]:
            shutil.rmtree(path, ignore_errors=True)  # does not follow a link
            with contextlib.suppress(OSError):  # it is a file
                os.unlink(path)
