# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run CANN's all_reduce_test over the containers of all nodes, without SSH keys between them.

This launcher runs in the container of every node. Hydra, the process manager of MPICH, allows other programs to start
its proxies (``-launcher manual``). The first node runs mpiexec, and sends each other node the arguments of the proxy of
that node over TCP. If the image has no MPICH or no all_reduce_test, the launcher prints a record with the reason, then
runs the probe instead.

The arguments are a job as JSON, then the command of the probe. Records are lines with MARK and JSON. All other lines
come from mpiexec.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Iterable, TypedDict

    class Job(TypedDict):
        """The part of one node in a run. Lists are in the order of the nodes; the first node is the leader."""

        #: Whether the run fails if hccl_test is not available.
        required: bool
        #: Folder of the CANN toolkit; empty for the default.
        toolkit: str
        addresses: list[str]
        names: list[str]
        #: Index of this node.
        node: int
        #: TCP port of the first node.
        port: int
        #: Ranks per node.
        processes: int
        #: Sizes in bytes that all_reduce_test measures.
        sizes: list[int]
        #: Options of all_reduce_test.
        options: list[str]

MARK = "ASCEND-VLLM-PROBE "
MPIEXEC = ("mpiexec.hydra", "mpiexec", "mpirun", "/usr/local/mpich/bin/mpiexec")
TOOLKITS = ("/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann")
PROXY = "hydra_pmi_proxy"
# Seconds to wait for the other nodes. Ansible starts all containers within a few seconds.
JOIN_S = 60
# Timeout of a program that prints its version or libraries, in seconds.
OUTPUT_S = 20
# Seconds until mpiexec is killed after the proxy of a node has exited.
GRACE_S = 5
# Maximum length of the arguments of a proxy, in characters.
MAX_COMMAND = 1 << 20
# Exit status of a node that could not start its part of the run, and of the first node if another node has exited
# and mpiexec has not.
NOT_STARTED, NODE_LOST = 3, 4


class Unavailable(Exception):
    """hccl_test cannot be run from this image. The message is the reason."""


class StartFailed(Exception):
    """The nodes could not start a common run. The message is the reason."""


def print_record(**record: Any) -> None:
    print(MARK + json.dumps(record), flush=True)


def output(*argv: str) -> str:
    """Return the output of a program, or "" if it cannot be started or takes too long. Do not wait after killing it."""
    try:
        started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return ""
    try:
        return started.communicate(timeout=OUTPUT_S)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        started.kill()
        return ""


# --- The image -------------------------------------------------------------------------------------------------------

def find_mpiexec() -> str:
    """Return the path of MPICH's mpiexec. Raises Unavailable if there is none."""
    found = [path for path in map(shutil.which, MPIEXEC) if path]
    for path in found:
        if "HYDRA" in output(path, "--version"):
            return path
    if found:
        raise Unavailable("%s is not from MPICH; other MPIs need SSH keys between the nodes" % found[0])
    raise Unavailable("the image has no MPI")


def find_program(toolkit: str) -> tuple[str, str]:
    """Return (folder of the toolkit, path of all_reduce_test). Raises Unavailable if it is not compiled."""
    known = (os.environ.get("ASCEND_TOOLKIT_HOME"), os.environ.get("ASCEND_HOME_PATH"), *TOOLKITS)
    roots = [toolkit] if toolkit else [path for path in known if path]
    for root in roots:
        program = os.path.join(root, "tools", "hccl_test", "bin", "all_reduce_test")
        if os.access(program, os.X_OK):
            return root, program
    raise Unavailable("all_reduce_test is not built in %s/tools/hccl_test" % roots[0])


def prepare(toolkit: str) -> tuple[str, str]:
    """Return the paths of mpiexec and all_reduce_test, and set LD_LIBRARY_PATH for the libraries of both."""
    mpiexec = find_mpiexec()
    root, program = find_program(toolkit)
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(mpiexec)))
    paths = [os.path.join(prefix, "lib"), os.path.join(root, "lib64"), os.environ.get("LD_LIBRARY_PATH")]
    os.environ["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    needed = output("ldd", program)
    missing = [line.split()[0] for line in needed.splitlines() if line.rstrip().endswith("not found")]
    if missing:
        raise Unavailable("all_reduce_test needs %s, which the image does not have" % ", ".join(missing))
    if "libmpi.so.40" in needed:
        raise Unavailable("all_reduce_test is built with Open MPI, which needs SSH keys between the nodes")
    return mpiexec, program


# --- The first node --------------------------------------------------------------------------------------------------

class Leader:
    """Runs mpiexec, sends each node the arguments of its proxy, and prints the output of the ranks."""

    def __init__(self, job: Job, mpiexec: str, program: str) -> None:
        self.job = job
        self.nodes: list[socket.socket] = []
        count = job["processes"] * len(job["addresses"])
        # -genvnone: interfaces and paths differ between nodes, so every rank has the environment of its container.
        self.mpiexec = subprocess.Popen(
            [mpiexec, "-launcher", "manual", "-genvnone", "-hosts", ",".join(job["addresses"]), "-ppn",
             str(job["processes"]), "-n", str(count), program, *job["options"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        self.lines: Iterable[str] = self.mpiexec.stdout or ()

    def run(self) -> int:
        """Run all_reduce_test; return the exit status of mpiexec, or NODE_LOST."""
        try:
            commands = self.commands()
            pump = threading.Thread(target=self.print_lines, daemon=True)
            pump.start()
            with socket.create_server((self.job["addresses"][0], self.job["port"])) as server:
                proxy = start_proxy(commands[0], self.job)
                self.send(server, commands)
            status = self.wait(proxy)
            self.kill()
            pump.join(10)
            return status
        finally:
            self.kill()

    def kill(self) -> None:
        # While mpiexec waits for proxies, it ignores other signals.
        if self.mpiexec.poll() is None:
            self.mpiexec.kill()

    def wait(self, proxy: subprocess.Popen[bytes]) -> int:
        """Return the exit status of mpiexec, or NODE_LOST if it continues without a node.

        After a rank has failed, other ranks may wait for it indefinitely, and its proxy does not report the failure.
        But a node closes its connection when its proxy exits.
        """
        while True:
            status = self.mpiexec.poll()
            if status is not None:
                return status
            closed = select.select(self.nodes, [], [], 0.2)[0]
            if closed or proxy.poll() is not None:
                try:
                    return self.mpiexec.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    return NODE_LOST

    def commands(self) -> list[list[str]]:
        """Return the arguments of each node's proxy, in the order of the nodes."""
        commands = []
        for line in self.lines:
            if line.startswith("HYDRA_LAUNCH: "):
                words = shlex.split(line)
                at = next((at for at, word in enumerate(words) if os.path.basename(word) == PROXY), None)
                if at is None:
                    raise StartFailed("mpiexec tries to start a program other than %s: %s" % (PROXY, line.strip()))
                commands.append(words[at:])
            elif line.startswith("HYDRA_LAUNCH_END"):
                break
            else:
                print(line, end="", flush=True)
        if len(commands) != len(self.job["addresses"]):
            raise StartFailed("mpiexec tries to start %d proxies for %d nodes" % (
                len(commands), len(self.job["addresses"])))
        return commands

    def print_lines(self) -> None:
        for line in self.lines:
            print(line, end="", flush=True)

    def send(self, server: socket.socket, commands: list[list[str]]) -> None:
        """Send each of the other nodes the arguments of its proxy when it connects."""
        missing, end = set(range(1, len(commands))), time.monotonic() + JOIN_S
        while missing:
            server.settimeout(max(0.1, end - time.monotonic()))
            try:
                connection, peer = server.accept()
            except socket.timeout:
                names = ", ".join(self.job["names"][node] for node in sorted(missing))
                raise StartFailed("%s did not join within %d s" % (names, JOIN_S)) from None
            node = next((node for node in missing if self.job["addresses"][node] == peer[0]), None)
            if node is None:
                connection.close()
            else:
                connection.sendall(json.dumps(commands[node]).encode() + b"\n")
                self.nodes.append(connection)
                missing.remove(node)
            if self.mpiexec.poll() is not None:
                raise StartFailed("mpiexec exited with %d before all nodes had joined" % self.mpiexec.returncode)


# --- The other nodes -------------------------------------------------------------------------------------------------

def follow(job: Job) -> int:
    """Receive the arguments of this node's proxy from the first node, and run it; return its exit status."""
    first, own, end = job["addresses"][0], job["addresses"][job["node"]], time.monotonic() + JOIN_S
    while True:
        try:
            with socket.create_connection((first, job["port"]), 5, (own, 0)) as connection:
                connection.settimeout(JOIN_S)
                with connection.makefile(encoding="utf-8") as stream:
                    command = json.loads(stream.readline(MAX_COMMAND))
                return start_proxy(command, job).wait()
        except (OSError, ValueError) as error:
            if time.monotonic() > end:
                raise StartFailed("%s did not send the command of the run within %d s: %s" % (
                    job["names"][0], JOIN_S, error)) from error
            time.sleep(0.5)


def start_proxy(command: list[str], job: Job) -> subprocess.Popen[bytes]:
    """Start the proxy of the MPICH in this container, with the arguments of mpiexec.

    The arguments contain the name of the first host. Other nodes may be unable to resolve it, so its address replaces
    the name.
    """
    program = command[0] if os.access(command[0], os.X_OK) else shutil.which(PROXY)
    if os.path.basename(command[0]) != PROXY or not program:
        raise StartFailed("%s is not in the image of %s" % (command[0], job["names"][job["node"]]))
    arguments = list(command[1:])
    at = arguments.index("--control-port") + 1
    arguments[at] = "%s:%s" % (job["addresses"][0], arguments[at].rpartition(":")[2])
    return subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL)


def main(job: Job, probe: list[str]) -> int:
    try:
        mpiexec, program = prepare(job["toolkit"])
    except Unavailable as reason:
        if not job["required"]:
            print_record(type="choice", tool="probe", reason=str(reason))
            os.execvp(probe[0], probe)
        print_record(type="error", rank=job["node"], host=job["names"][job["node"]], message=str(reason))
        return NOT_STARTED
    print_record(type="start", tool="hccl_test", backend="hccl_test", node=job["node"], sizes=job["sizes"],
                 ranks=job["processes"] * len(job["addresses"]))
    try:
        status = follow(job) if job["node"] else Leader(job, mpiexec, program).run()
    except (StartFailed, OSError) as error:
        print_record(type="error", rank=job["node"], host=job["names"][job["node"]], message=str(error))
        return NOT_STARTED
    print_record(type="end", status=status)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
