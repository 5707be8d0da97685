# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with a node, done for real, and undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from .bed import Bed, address
from .machine import BedError, run

DIRECTIONS = {"in": ("PREROUTING",), "out": ("POSTROUTING",), "both": ("PREROUTING", "POSTROUTING")}
INTERFACES = {"hosts": "eth0", "npus": "npu0"}


class Node:
    """One node, for those who break and mend it."""

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

    def inside(self, *argv: str) -> str:
        """Run a command of the machine in the node's network; works on a frozen node too."""
        path = self.docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", self.name).strip()
        return run("nsenter", f"--net={self.bed.world.root}{path}", "--", *argv)

    def outer_end(self, network: str) -> str:
        """Name of the world's end of the node's link to ``network``."""
        link = json.loads(self.inside("ip", "-json", "link", "show", INTERFACES[network]))[0]
        return next(outer["ifname"] for outer in self.bed.world.links() if outer["ifindex"] == link["link_index"])


def chosen(value: str, of: dict) -> str:
    if value not in of:
        raise BedError(f"expected one of {', '.join(of)}, found {value!r}")
    return value


def set_link(node: Node, network: str, state: str) -> None:
    node.bed.world.run("ip", "link", "set", node.outer_end(chosen(network, INTERFACES)), state)


def slow(node: Node, rate: str = "10mbit", network: str = "hosts") -> None:
    shape = ("root", "tbf", "rate", rate, "burst", "64kb", "latency", "400ms")
    node.bed.world.run("tc", "qdisc", "replace", "dev", node.outer_end(chosen(network, INTERFACES)), *shape)
    node.inside("tc", "qdisc", "replace", "dev", INTERFACES[network], *shape)


def fast(node: Node, network: str = "hosts") -> None:
    for run_there, link in ((node.bed.world.run, node.outer_end(chosen(network, INTERFACES))), (node.inside, INTERFACES[network])):
        if " tbf " in run_there("tc", "qdisc", "show", "dev", link):
            run_there("tc", "qdisc", "del", "dev", link, "root")


def drop_rule(node: Node, interface: str, direction: str, match: Callable[[str], list[str]]) -> None:
    """Drop silently, forwarded packets of the node's containers included; the mangle table sees them all."""
    for chain in DIRECTIONS[chosen(direction, DIRECTIONS)]:
        side = "-i" if chain == "PREROUTING" else "-o"
        node.inside("iptables", "-w", "-t", "mangle", "-I", chain, side, interface, *match(chain), "-j", "DROP")


def drop(node: Node, direction: str = "both", peer: str = "") -> None:
    def match(chain: str) -> list[str]:
        return [("-s" if chain == "PREROUTING" else "-d"), address(index_of(peer))] if peer else []

    drop_rule(node, "eth0", direction, match)


def npu_drop(node: Node, rail: str = "all", direction: str = "both", peer: str = "") -> None:
    if rail != "all" and rail not in map(str, range(8)):
        raise BedError(f"a rail is 0 to 7 or 'all', found {rail!r}")

    def match(chain: str) -> list[str]:
        third, bits = (rail, 24) if rail != "all" else ("0", 20)
        network = f"10.78.{third}.0/{bits}"
        if peer:
            network = f"10.78.{third}.{10 + index_of(peer)}" if rail != "all" else all_rails_need_no_peer()
        return [("-s" if chain == "PREROUTING" else "-d"), network]

    drop_rule(node, "npu0", direction, match)


def all_rails_need_no_peer() -> str:
    raise BedError("a peer can be given for one rail only; run the fault once for each rail")


def index_of(node: str) -> int:
    if not node.removeprefix("node").isdigit():
        raise BedError(f"a peer is a node's name like node2, found {node!r}")
    return int(node.removeprefix("node"))


def pass_again(node: Node) -> None:
    for chain in DIRECTIONS["both"]:
        node.inside("iptables", "-w", "-t", "mangle", "-F", chain)


def small_disk(node: Node, path: str, size: str = "64m") -> None:
    node.console("mkdir", "-p", path)
    node.console("mount", "-t", "tmpfs", "-o", f"size={size}", "small-disk", path)


def disk_back(node: Node) -> None:
    for line in reversed(node.console("cat", "/proc/self/mounts").splitlines()):
        source, path, *_ = line.split()
        if source == "small-disk":
            node.console("umount", "--lazy", path)


def signal_sshd(node: Node, number: str) -> None:
    pid = node.console("systemctl", "show", "--property", "MainPID", "--value", "ssh").strip()
    if pid == "0":
        raise BedError(f"sshd of {node.name} does not run; `bed heal {node.name}` starts it")
    node.console("kill", f"-{number}", pid)


def container_kill(node: Node, container: str) -> None:
    """As the kernel does when memory runs out: its engine did not ask for it."""
    pid = node.console("docker", "inspect", "--format", "{{.State.Pid}}", container).strip()
    if pid == "0":
        raise BedError(f"container {container} of {node.name} does not run")
    node.console("kill", "-KILL", pid)


class Fault(NamedTuple):
    """What a kind of fault does; ``inject(node, *arguments)``."""

    inject: Callable[..., object]
    usage: str
    effect: str


FAULTS = {
    "sshd-stop": Fault(lambda n: n.console("systemctl", "stop", "ssh"), "", "connection refused"),
    "sshd-hang": Fault(lambda n: signal_sshd(n, "STOP"), "", "SSH times out in the banner exchange"),
    "link-down": Fault(lambda n, net="hosts": set_link(n, net, "down"), "[hosts|npus]", "the cable is out"),
    "link-up": Fault(lambda n, net="hosts": set_link(n, net, "up"), "[hosts|npus]", "the cable is back"),
    "slow": Fault(slow, "[RATE [hosts|npus]]", "the link is slow both ways (default 10mbit)"),
    "drop": Fault(drop, "[in|out|both [NODE]]", "packets of the host network vanish"),
    "npu-drop": Fault(npu_drop, "[RAIL|all [in|out|both [NODE]]]", "packets of the NPU network vanish"),
    "npu-rail-down": Fault(lambda n, rail: npu_drop(n, rail), "RAIL", "one NPU's rail is dead"),
    "docker-kill": Fault(lambda n: n.console("systemctl", "kill", "-s", "KILL", "docker"), "", "the engine crashes"),
    "docker-stop": Fault(lambda n: n.console("systemctl", "stop", "docker.socket", "docker"), "", "no engine answers"),
    "container-kill": Fault(container_kill, "CONTAINER", "a container's first process is killed"),
    "small-disk": Fault(small_disk, "PATH [SIZE]", "a tmpfs of SIZE (default 64m) covers PATH"),
    "freeze": Fault(lambda n: n.docker("pause", n.name), "", "the node hangs"),
    "thaw": Fault(lambda n: n.docker("unpause", n.name), "", "the node goes on"),
    "power-cut": Fault(lambda n: n.docker("kill", n.name), "", "the node is off at once"),
    "power-on": Fault(lambda n: n.docker("start", n.name), "", "the node boots"),
    "reboot": Fault(lambda n: n.console("systemctl", "--no-block", "reboot"), "", "the node shuts down and boots"),
}


def inject(bed: Bed, kind: str, name: str, *arguments: str) -> None:
    """Do ``kind`` to node ``name``."""
    if kind not in FAULTS:
        raise BedError(f"no fault is called {kind!r}; there are {', '.join(FAULTS)}")
    try:
        FAULTS[kind].inject(Node(bed, name), *arguments)
    except TypeError as error:
        raise BedError(f"usage: bed fault {kind} NODE {FAULTS[kind].usage}") from error


def heal(bed: Bed, name: str) -> None:
    """Undo every fault of node ``name``; returns when it runs, with SSH and Docker started."""
    node = Node(bed, name)
    if node.state() == "paused":
        node.docker("unpause", name)
    node.docker("start", name)
    for network in INTERFACES:
        set_link(node, network, "up")
        fast(node, network)
    pass_again(node)
    disk_back(node)
    with suppress(BedError):  # it may not run at all; then the next line starts it
        signal_sshd(node, "CONT")
    bed.wait(name)
