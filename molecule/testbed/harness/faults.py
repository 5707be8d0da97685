# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real faults of a node, and how they are undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from .bed import Bed
from .guard import address, npu_address
from .machine import BedError, run, wait_until

DIRECTIONS = {"in": ("PREROUTING",), "out": ("POSTROUTING",), "both": ("PREROUTING", "POSTROUTING")}
INTERFACES = {"hosts": "eth0", "npus": "npu0"}


class Node:
    """One node, and the ways to reach it while it is broken."""

    def __init__(self, bed: Bed, name: str):
        bed.require()
        if name not in bed.nodes():
            raise BedError(f"bed {bed.name} has no {name}; it has {', '.join(bed.nodes()) or 'no node'}")
        self.bed, self.name = bed, name

    def docker(self, *argv: str) -> str:
        return self.bed.world.docker(*argv)

    def console(self, *argv: str) -> str:
        return self.bed.console(self.name, *argv)

    def state(self) -> str:
        return self.bed.nodes()[self.name]

    def run_in_network(self, *argv: str) -> str:
        """Run a command of the machine in the node's network. This also works for a frozen node."""
        path = self.docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", self.name).strip()
        return run("nsenter", f"--net={self.bed.world.root}{path}", "--", *argv)

    def outer_end(self, network: str) -> str:
        """Return the name of the world's end of the node's link to ``network``."""
        link = json.loads(self.run_in_network("ip", "-json", "link", "show", INTERFACES[network]))[0]
        return next(outer["ifname"] for outer in self.bed.world.links() if outer["ifindex"] == link["link_index"])


def one_of(choices: dict, value: str) -> str:
    if value not in choices:
        raise BedError(f"expected one of {', '.join(choices)}, found {value!r}")
    return value


def set_link(node: Node, network: str, state: str) -> None:
    node.bed.world.run("ip", "link", "set", node.outer_end(one_of(INTERFACES, network)), state)


def limit_rate(node: Node, rate: str = "10mbit", network: str = "hosts") -> None:
    shape = ("root", "tbf", "rate", rate, "burst", "64kb", "latency", "400ms")
    node.bed.world.run("tc", "qdisc", "replace", "dev", node.outer_end(one_of(INTERFACES, network)), *shape)
    node.run_in_network("tc", "qdisc", "replace", "dev", INTERFACES[network], *shape)


def remove_rate_limit(node: Node, network: str) -> None:
    ends = ((node.bed.world.run, node.outer_end(network)), (node.run_in_network, INTERFACES[network]))
    for run_there, link in ends:
        if " tbf " in run_there("tc", "qdisc", "show", "dev", link):
            run_there("tc", "qdisc", "del", "dev", link, "root")


def drop_packets(node: Node, interface: str, direction: str, others: str) -> None:
    """Drop packets from and to ``others``; the mangle table also sees packets forwarded to containers."""
    for chain in DIRECTIONS[one_of(DIRECTIONS, direction)]:
        link, other = ("-i", "-s") if chain == "PREROUTING" else ("-o", "-d")
        node.run_in_network("iptables", "-w", "-t", "mangle", "-I", chain, link, interface, other, others, "-j", "DROP")


def drop(node: Node, direction: str = "both", peer: str = "") -> None:
    drop_packets(node, "eth0", direction, address(index_of(peer)) if peer else "0.0.0.0/0")


def npu_drop(node: Node, rail: str, direction: str = "both", peer: str = "") -> None:
    if rail not in map(str, range(8)):
        raise BedError(f"a rail is 0 to 7, found {rail!r}")
    drop_packets(node, "npu0", direction, npu_address(int(rail), index_of(peer)) if peer else f"10.78.{rail}.0/24")


def npu_rail_down(node: Node, rail: str) -> None:
    npu_drop(node, rail)


def index_of(node: str) -> int:
    if not node.removeprefix("node").isdigit():
        raise BedError(f"expected the name of a node such as node2, found {node!r}")
    return int(node.removeprefix("node"))


def stop_dropping(node: Node) -> None:
    for chain in DIRECTIONS["both"]:
        node.run_in_network("iptables", "-w", "-t", "mangle", "-F", chain)


def small_disk(node: Node, path: str, size: str = "64m") -> None:
    node.console("mkdir", "-p", path)
    node.console("mount", "-t", "tmpfs", "-o", f"size={size}", "small-disk", path)


def unmount_small_disks(node: Node) -> None:
    for line in reversed(node.console("cat", "/proc/self/mounts").splitlines()):
        source, path, *_options = line.split()
        if source == "small-disk":
            node.console("umount", "--lazy", path)


def signal_sshd(node: Node, number: str) -> None:
    pid = node.console("systemctl", "show", "--property", "MainPID", "--value", "ssh").strip()
    if pid == "0":
        raise BedError(f"sshd of {node.name} is not running; `bed heal {node.name}` starts it")
    node.console("kill", f"-{number}", pid)


def container_kill(node: Node, container: str) -> None:
    """Kill a container without a request to its Docker engine, as the kernel does when memory runs out."""
    pid = node.console("docker", "inspect", "--format", "{{.State.Pid}}", container).strip()
    if pid == "0":
        raise BedError(f"container {container} of {node.name} is not running")
    node.console("kill", "-KILL", pid)


def reboot(node: Node) -> None:
    """Reboot a node; return when it has shut down and started to boot again."""
    before = started_at(node)
    node.console("systemctl", "--no-block", "reboot")
    wait_until(f"the reboot of {node.name}", lambda: started_at(node) != before and node.state() == "running", 120)


def started_at(node: Node) -> str:
    return node.docker("inspect", "--format", "{{.State.StartedAt}}", node.name)


class Fault(NamedTuple):
    """A kind of fault, injected by ``inject(node, *arguments)``."""

    inject: Callable[..., object]
    usage: str
    effect: str


FAULTS = {
    "sshd-stop": Fault(lambda n: n.console("systemctl", "stop", "ssh"), "", "connection refused"),
    "sshd-hang": Fault(lambda n: signal_sshd(n, "STOP"), "", "SSH times out during the banner exchange"),
    "link-down": Fault(lambda n, net="hosts": set_link(n, net, "down"), "[hosts|npus]", "the cable is unplugged"),
    "link-up": Fault(lambda n, net="hosts": set_link(n, net, "up"), "[hosts|npus]", "the cable is plugged in again"),
    "slow": Fault(limit_rate, "[RATE [hosts|npus]]", "the link is slow in both directions (default 10mbit)"),
    "drop": Fault(drop, "[in|out|both [NODE]]", "packets of the host network are lost"),
    "npu-drop": Fault(npu_drop, "RAIL [in|out|both [NODE]]", "packets of one NPU are lost"),
    "npu-rail-down": Fault(npu_rail_down, "RAIL", "no packet reaches or leaves one NPU"),
    "docker-kill": Fault(lambda n: n.console("systemctl", "kill", "-s", "KILL", "docker"), "", "Docker crashes"),
    "docker-stop": Fault(lambda n: n.console("systemctl", "stop", "docker.socket", "docker"), "", "Docker is stopped"),
    "container-kill": Fault(container_kill, "CONTAINER", "a container's first process is killed"),
    "small-disk": Fault(small_disk, "PATH [SIZE]", "a tmpfs of SIZE (default 64m) covers PATH"),
    "freeze": Fault(lambda n: n.docker("pause", n.name), "", "the node hangs"),
    "thaw": Fault(lambda n: n.docker("unpause", n.name), "", "the node continues"),
    "power-cut": Fault(lambda n: n.docker("kill", n.name), "", "the node loses power"),
    "power-on": Fault(lambda n: n.docker("start", n.name), "", "the node boots"),
    "reboot": Fault(reboot, "", "the node shuts down and boots"),
}


def inject(bed: Bed, kind: str, name: str, *arguments: str) -> None:
    """Inject a fault of ``kind`` into node ``name``."""
    from inspect import signature  # slow, and no other command needs it

    if kind not in FAULTS:
        raise BedError(f"unknown fault {kind!r}; expected one of {', '.join(FAULTS)}")
    fault, node = FAULTS[kind], Node(bed, name)
    try:
        signature(fault.inject).bind(node, *arguments)
    except TypeError:
        raise BedError(f"usage: bed fault {kind} NODE {fault.usage}") from None
    fault.inject(node, *arguments)


def heal(bed: Bed, name: str) -> None:
    """Undo all faults of node ``name``; return when SSH and Docker respond."""
    node = Node(bed, name)
    if node.state() == "paused":
        node.docker("unpause", name)
    node.docker("start", name)
    bed.wait_until_booted(name)
    for network in INTERFACES:
        set_link(node, network, "up")
        remove_rate_limit(node, network)
    stop_dropping(node)
    unmount_small_disks(node)
    signal_sshd(node, "CONT")
    bed.check_access(name)
