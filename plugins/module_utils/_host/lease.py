# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of an Ansible run on this node. Only the run that holds the lease changes the node.

A run that changes the node passes its description to its modules in an environment variable. The first module takes the
lease, and every later module renews it. If the controller of a run was killed, the next run finds the lease of the
killed run and removes its leftovers: the process of its last module, its containers (which have a label), and the files
that its modules registered in the lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, cast

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text

if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, TypedDict

    from ansible.module_utils.basic import AnsibleModule

    class Run(TypedDict):
        """A run of Ansible, and the process on the controller that executes it."""

        run: str  # its id
        user: str
        controller: str
        processes: str  # identifies the boot and the PID namespace in which the process id is valid
        pid: int
        pid_started: str | None  # see `started`
        since: str

# The environment variable with the JSON of a `Run`. It also has ``docker_socket``, the path of Docker's socket, and
# ``gone``, the ids of the runs that have ended according to the controller.
VARIABLE = "ASCEND_VLLM_RUN"
# The folder with one folder for each run. The file in the folder of a run is a `Run` with ``paths``, the registered
# files, and ``module``, the process id and start time of the last module.
ROOT = "/var/lib/ascend-vllm/runs"
FILE = "lease.json"
# The longest time limit of a task in seconds. A run that has not renewed its lease for this time has ended.
LIMIT_S = 24 * 3600
# The numbers of seconds to wait until a module of a killed run has exited, and until Docker has removed a container.
END_S, REMOVE_S = 5, 60


def hold(module: AnsibleModule, *paths: str) -> None:
    """Take or renew the lease for the run of this module. A module of a run that changes nothing needs no lease.

    :param paths: the files and folders to remove if the controller of this run is killed.
    """
    if not run_id() or module.check_mode:
        return
    try:
        holder = take(json.loads(os.environ[VARIABLE]), paths)
        if holder:
            module.fail_json(msg=refusal("This node", holder, os.path.join(ROOT, holder["run"])), holder=holder)
    except OSError as error:
        module.fail_json(msg="The lease of this run cannot be written to %s: %s" % (ROOT, error))


def run_id() -> str:
    """Return the id of the run of this module, or an empty string if the run changes nothing."""
    run: str = json.loads(os.environ.get(VARIABLE, '{"run": ""}'))["run"]
    return run


def refusal(what: str, holder: Run, path: str) -> str:
    """Return a sentence about the run that holds a lease.

    :param what: what is leased, such as ``This node``.
    :param path: the path of the lease.
    """
    return ("%s is in use by run %s, started by %s on %s (process %d, since %s); wait until it finishes, or stop it. "
            "If that process no longer exists, remove %s." % (
                what, holder["run"], holder["user"], holder["controller"], holder["pid"], holder["since"], path))


def take(request: Mapping[str, Any], paths: Iterable[str] = (), root: str = ROOT) -> Run | None:
    """Take or renew the lease, and remove the leftovers of ended runs. Return the other run that holds it, or None.

    :raises OSError: if the lease cannot be written.
    """
    own = os.path.join(root, request["run"])
    os.makedirs(root, 0o700, exist_ok=True)
    with open(os.path.join(root, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        others = {name: _read(os.path.join(root, name)) for name in os.listdir(root)
                  if name not in (request["run"], ".lock")}
        for name, (found, age_s) in others.items():
            if found and name not in request["gone"] and age_s < LIMIT_S:
                return cast("Run", found)
        os.makedirs(own, 0o700, exist_ok=True)
        lease = {key: value for key, value in request.items() if key not in ("docker_socket", "gone")}
        lease["paths"] = sorted({*(_read(own)[0] or lease).get("paths", ()), *paths})
        lease["module"] = os.getpid(), started(os.getpid())
        path = os.path.join(own, FILE)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            json.dump(lease, stream)
        os.rename(path + ".new", path)
        if others:
            _remove_leftovers(request, {name: found for name, (found, _age_s) in others.items()}, root)
    return None


def started(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot; None if it does not exist or has ended."""
    words = read_text("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return words[19] if words and words[0] not in "ZX" else None


def _read(folder: str) -> tuple[Any, float]:
    """Return the lease of a run, or None if it is missing or damaged, and its age in seconds."""
    path = os.path.join(folder, FILE)
    try:
        return json.loads(read_text(path)), abs(time.time() - os.stat(path).st_mtime)
    except (OSError, ValueError):
        return None, 0


def _remove_leftovers(request: Mapping[str, Any], ended: Mapping[str, Any], root: str) -> None:
    """Remove the leftovers of ended runs, and then the leases, so that the next module tries again after a failure.

    :param ended: ``{id of the run: lease}``. A lease is None if it is missing or damaged.
    """
    docker = DockerEngine(request["docker_socket"])
    try:
        if not all(_end(*lease["module"]) for lease in ended.values() if lease):
            return
        for container in docker.get(labels.list_query(labels.RUN, every_state=True)) or ():
            if container["Labels"][labels.RUN] != request["run"]:
                docker.remove(container["Id"], REMOVE_S)
    except DockerError:
        return
    for name, lease in ended.items():
        for path in [*(lease["paths"] if lease else ()), os.path.join(root, name)]:
            shutil.rmtree(path, ignore_errors=True)  # does not follow a link
            with contextlib.suppress(OSError):  # rmtree does not remove a file
                os.unlink(path)


def _end(pid: int, since: str) -> bool:
    """Stop the process that has this id and start time, with SIGINT and then SIGKILL. Return whether it has ended."""
    until = time.monotonic() + END_S
    while started(pid) == since and time.monotonic() < until + END_S:
        with contextlib.suppress(OSError):
            # After SIGINT, a module removes its temporary files.
            os.kill(pid, signal.SIGINT if time.monotonic() < until else signal.SIGKILL)
        time.sleep(0.1)
    return started(pid) != since
