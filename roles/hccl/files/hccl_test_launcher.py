# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run CANN's all_reduce_test over the containers of all nodes, without keys between them.

Started alike in the container of every node. Hydra, the process manager of MPICH, can leave the start of its proxies to
others (``-launcher manual``): the first node runs mpiexec and hands each of the others the arguments of its proxy over
TCP. An image without MPICH or without the built program gets the probe instead, and a line that says why.

Arguments: a job as JSON ({"required", "toolkit", "addresses", "names", "node", "port", "processes", "sizes",
"options"}), then the command of the probe. Lines of ours begin with a mark; all others are mpiexec's.
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

MARK = "ASCEND-VLLM-PROBE "
MPIEXEC = ("mpiexec.hydra", "mpiexec", "mpirun", "/usr/local/mpich/bin/mpiexec")
TOOLKITS = ("/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann")
PROXY = "hydra_pmi_proxy"
# Seconds that the nodes wait for each other: Ansible starts their containers within a few.
JOIN_S = 60
# Seconds that mpiexec gets to end when the proxy of a node has ended.
GRACE_S = 5
# Exit status of a node that could not take part, and of the first one when mpiexec went on without a node.
NO_PART, LEFT = 3, 4


class Unfit(Exception):
    """Why hccl_test cannot be run from this image."""


class Broken(Exception):
    """Why the nodes did not come together."""


def say(**record):
    print(MARK + json.dumps(record), flush=True)


def output(*argv):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


# --- What the image has ----------------------------------------------------------------------------------------------

def find_mpiexec():
    """Return the path of MPICH's mpiexec; Unfit where there is none."""
    found = [path for path in map(shutil.which, MPIEXEC) if path]
    for path in found:
        if "HYDRA" in output(path, "--version"):
            return path
    if found:
        raise Unfit("%s is not MPICH's; other MPIs need keys between the nodes" % found[0])
    raise Unfit("the image has no MPI")


def find_program(toolkit):
    """Return (folder of hccl_test, its all_reduce_test); Unfit where it is not built or lacks a library."""
    known = (os.environ.get("ASCEND_TOOLKIT_HOME"), os.environ.get("ASCEND_HOME_PATH"), *TOOLKITS)
    roots = [toolkit] if toolkit else [path for path in known if path]
    for root in roots:
        program = os.path.join(root, "tools", "hccl_test", "bin", "all_reduce_test")
        if os.access(program, os.X_OK):
            return root, program
    raise Unfit("all_reduce_test is not built in %s/tools/hccl_test" % roots[0])


def prepare(toolkit):
    """Return (mpiexec, all_reduce_test), and let processes find the libraries of both."""
    mpiexec = find_mpiexec()
    root, program = find_program(toolkit)
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(mpiexec)))
    paths = [os.path.join(prefix, "lib"), os.path.join(root, "lib64"), os.environ.get("LD_LIBRARY_PATH")]
    os.environ["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    needed = output("ldd", program)
    missing = [line.split()[0] for line in needed.splitlines() if line.rstrip().endswith("not found")]
    if missing:
        raise Unfit("all_reduce_test lacks %s" % ", ".join(missing))
    if "libmpi.so.40" in needed:
        raise Unfit("all_reduce_test is built with Open MPI; other MPIs than MPICH need keys between the nodes")
    return mpiexec, program


# --- The first node --------------------------------------------------------------------------------------------------

class Leader:
    """Runs mpiexec, gives each node the arguments of its proxy, and passes on what the ranks print."""

    def __init__(self, job, mpiexec, program):
        self.job, self.nodes = job, []
        count = job["processes"] * len(job["addresses"])
        # Every rank has the environment of its own container (-genvnone): interfaces and paths differ between nodes.
        self.mpiexec = subprocess.Popen(
            [mpiexec, "-launcher", "manual", "-genvnone", "-hosts", ",".join(job["addresses"]), "-ppn",
             str(job["processes"]), "-n", str(count), program, *job["options"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)

    def run(self):
        try:
            commands = self.commands()
            pump = threading.Thread(target=self.pass_on, daemon=True)
            pump.start()
            with listen(self.job) as server:
                proxy = start_proxy(commands[0], self.job)
                self.hand_out(server, commands)
            status = self.wait(proxy)
            self.end()
            pump.join(10)
            return status
        finally:
            self.end()

    def end(self):
        # It answers no gentler signal while it waits for proxies.
        if self.mpiexec.poll() is None:
            self.mpiexec.kill()

    def wait(self, proxy):
        """Return mpiexec's exit status, or LEFT when it goes on without a node: a rank that failed may leave others
        waiting for ever, and its proxy tells nothing of that. Nodes hold their connection as long as their proxy runs.
        """
        while self.mpiexec.poll() is None:
            gone = select.select(self.nodes, [], [], 0.2)[0]
            if gone or proxy.poll() is not None:
                try:
                    return self.mpiexec.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    return LEFT
        return self.mpiexec.returncode

    def commands(self):
        """Return the arguments of each node's proxy, in the order of the nodes."""
        commands = []
        for line in self.mpiexec.stdout:
            if line.startswith("HYDRA_LAUNCH: "):
                words = shlex.split(line)
                at = next((at for at, word in enumerate(words) if os.path.basename(word) == PROXY), None)
                if at is None:
                    raise Broken("mpiexec wants to start something else than %s: %s" % (PROXY, line.strip()))
                commands.append(words[at:])
            elif line.startswith("HYDRA_LAUNCH_END"):
                break
            else:
                print(line, end="", flush=True)
        if len(commands) != len(self.job["addresses"]):
            raise Broken("mpiexec named %d proxies for %d nodes" % (len(commands), len(self.job["addresses"])))
        return commands

    def pass_on(self):
        for line in self.mpiexec.stdout:
            print(line, end="", flush=True)

    def hand_out(self, server, commands):
        waiting, until = set(range(1, len(commands))), time.monotonic() + JOIN_S
        while waiting:
            server.settimeout(max(0.1, until - time.monotonic()))
            try:
                connection, peer = server.accept()
            except socket.timeout:
                names = ", ".join(self.job["names"][node] for node in sorted(waiting))
                raise Broken("%s did not join within %d s" % (names, JOIN_S)) from None
            node = next((node for node in waiting if self.job["addresses"][node] == peer[0]), None)
            if node is None:
                connection.close()
            else:
                connection.sendall(json.dumps(commands[node]).encode() + b"\n")
                self.nodes.append(connection)
                waiting.remove(node)
            if self.mpiexec.poll() is not None:
                raise Broken("mpiexec ended with status %d before all nodes had joined" % self.mpiexec.returncode)


def listen(job):
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((job["addresses"][0], job["port"]))
    server.listen(len(job["addresses"]))
    return server


# --- The other nodes -------------------------------------------------------------------------------------------------

def follow(job):
    """Ask the first node for the arguments of this node's proxy, and run it."""
    first, own, until = job["addresses"][0], job["addresses"][job["node"]], time.monotonic() + JOIN_S
    while True:
        try:
            with socket.create_connection((first, job["port"]), 5, (own, 0)) as connection:
                connection.settimeout(JOIN_S)
                with connection.makefile(encoding="utf-8") as stream:
                    command = json.loads(stream.readline())
                return start_proxy(command, job).wait()
        except (OSError, ValueError) as error:
            if time.monotonic() > until:
                raise Broken("%s gave no part of the run within %d s: %s" % (
                    job["names"][0], JOIN_S, error)) from error
            time.sleep(0.5)


def start_proxy(command, job):
    """Start the proxy of this container's own MPICH with arguments that mpiexec made.

    mpiexec names its host by a name that other nodes need not know: the address is put in its place.
    """
    program = command[0] if os.access(command[0], os.X_OK) else shutil.which(PROXY)
    if os.path.basename(command[0]) != PROXY or not program:
        raise Broken("%s is not in the image of %s" % (command[0], job["names"][job["node"]]))
    arguments = list(command[1:])
    at = arguments.index("--control-port") + 1
    arguments[at] = "%s:%s" % (job["addresses"][0], arguments[at].rpartition(":")[2])
    return subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL)


def main(job, probe):
    try:
        mpiexec, program = prepare(job["toolkit"])
    except Unfit as reason:
        if not job["required"]:
            say(type="choice", tool="probe", reason=str(reason))
            os.execvp(probe[0], probe)
        say(type="error", rank=job["node"], host=job["names"][job["node"]], message=str(reason))
        return NO_PART
    say(type="start", tool="hccl_test", backend="hccl_test", node=job["node"], sizes=job["sizes"],
        ranks=job["processes"] * len(job["addresses"]))
    try:
        status = follow(job) if job["node"] else Leader(job, mpiexec, program).run()
    except (Broken, OSError) as error:
        say(type="error", rank=job["node"], host=job["names"][job["node"]], message=str(error))
        return NO_PART
    say(type="end", status=status)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
