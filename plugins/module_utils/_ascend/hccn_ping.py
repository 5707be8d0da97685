# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send the pings of this node in the ping mesh, and test TCP connections to other hosts."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query, ping_loss

if TYPE_CHECKING:
    from typing import Callable, Optional, Sequence, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_tool import HccnAnswer
    from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import Run

    class Partner(TypedDict):
        """A node to ping. ``npus`` maps NPU numbers to addresses."""

        host: str
        npus: dict[str, str]

    class Target(TypedDict):
        """A TCP address of another host."""

        host: str
        address: str
        port: int

    class Reach(TypedDict):
        """The result of a TCP connection to a host. ``error`` is None if the connection succeeded."""

        address: str
        reached: bool
        error: str | None

    class PingMesh(TypedDict):
        """The result of `ping_mesh_part`."""

        #: ``{sending NPU: {host: [loss by NPU of that host]}}``. A loss is a percentage, ``ping_loss.ERROR``, or None
        #: if no ping was sent.
        matrix: dict[str, dict[str, list[float | None]]]
        #: ``{error message: [pair of NPUs]}``, with at most 8 pairs per message.
        errors: dict[str, list[str]]
        #: The number of pings that were not sent because the time limit had passed.
        not_sent: int
        #: The number of pings that were skipped because earlier pings were lost, and the number of repeated pings.
        given_up: int
        retried: int
        rounds: int
        duration_s: float

    class PingObservation(TypedDict):
        """The return values of ``ascend.vllm.hccn_ping``."""

        ping: PingMesh
        reach: dict[str, Reach]

    Ping = Callable[[int, str], HccnAnswer]
    Round = tuple[Optional[Partner], int]

# The number of consecutive pings without a reply after which an NPU skips the remaining pings to the current partner,
# or all remaining pings.
_LOST_TO_PARTNER = 3
_LOST_TO_ALL = 6
# If an NPU has more pings without a reply than this, they are not repeated, because the cause is permanent.
_MAX_DEAD_RETRIES = 8


class _MeshRow:
    """The pings of one sending NPU, which are independent of the pings of the other NPUs."""

    def __init__(self, npu: int, ping: Ping, rounds: Sequence[Round], width: int, in_time: Callable[[], bool]) -> None:
        self.npu = npu
        self.ping = ping
        self.rounds = rounds
        self.in_time = in_time
        self.losses: dict[str, list[float | None]] = {
            partner["host"]: [None] * width for partner, _shift in rounds if partner}
        self.errors: list[tuple[str, str]] = []
        self.not_sent, self.given_up, self.retried = 0, 0, 0
        # The number of consecutive pings without a reply: to the current partner (host, number), and to all partners
        # since the start (-1 after the first reply).
        self.lost_to_partner: tuple[str, int] = ("", 0)
        self.lost_to_all = 0

    def run(self, wait: Callable[[int], None]) -> _MeshRow:
        """Send the ping of each round, after ``wait(round)`` has returned, and repeat lost pings."""
        lost = []
        for number, (partner, shift) in enumerate(self.rounds):
            if partner is None:
                continue
            target = (self.npu + shift) % len(self.losses[partner["host"]])
            address = partner["npus"].get(str(target))
            if address is None:
                continue
            if self.lost_to_all >= _LOST_TO_ALL or self.lost_to_partner == (partner["host"], _LOST_TO_PARTNER):
                self.given_up += 1
                continue
            wait(number)
            if not self.in_time():
                self.not_sent += 1
            elif self.send(partner["host"], target, address):
                lost.append((partner["host"], target, address))
        if self.lost_to_all < _LOST_TO_ALL:
            self.retry(lost)
        return self

    def send(self, host: str, target: int, address: str) -> bool:
        """Ping an NPU and store the loss. Return whether packets were lost."""
        result = self.ping(self.npu, address)
        loss = result.get("loss_percent")
        if loss is None:
            message = result["error"]["message"] if "error" in result else "no summary was printed"
            self.errors.append((message, "npu %d -> %s npu %d" % (self.npu, host, target)))
            loss = ping_loss.ERROR
        self.losses[host][target] = loss
        answered = not ping_loss.failed(loss)
        partner, count = self.lost_to_partner
        self.lost_to_partner = (host, 0) if answered else (host, count + 1 if partner == host else 1)
        self.lost_to_all = -1 if answered or self.lost_to_all < 0 else self.lost_to_all + 1
        return loss != 0

    def retry(self, lost: list[tuple[str, int, str]]) -> None:
        """Repeat pings that lost packets, because the first packet can be lost while ARP resolves the address."""
        dead = [ping for ping in lost if ping_loss.failed(self.losses[ping[0]][ping[1]] or 0)]
        for ping in [ping for ping in lost if ping not in dead] + (dead if len(dead) <= _MAX_DEAD_RETRIES else []):
            if self.in_time():
                self.send(*ping)
                self.retried += 1


def ping_mesh_part(run: Run, tool: str, npus: Sequence[int], partners: Sequence[Partner | None], shifts: Sequence[int],
                   round_s: float, timeout_s: float, limit_s: float, clock: Callable[[], float] = time.monotonic,
                   sleep: Callable[[float], None] = time.sleep) -> PingMesh:
    """Send the scheduled pings of all NPUs of this node in parallel.

    The nodes are not synchronized. Each node starts round n at n times ``round_s`` after its own start, and Ansible
    starts all nodes within a few seconds. A round is longer than a ping with a reply, so the nodes stay in step. A node
    that has waited for a lost ping runs its next rounds without a pause until it has caught up. During this time, an
    NPU can receive two pings at the same time. This does not change the results, because the device itself replies to
    echo requests.

    If a node or an NPU does not respond, waiting for a timeout per pair would take too long. Therefore, an NPU skips
    the remaining pings to a partner after several consecutive lost pings, and all remaining pings if it has never
    received a reply.

    :param npus: the numbers of the NPUs that send pings.
    :param partners: the nodes to ping, in this order. If an item is None, this node pauses for one node's rounds.
    :param shifts: one number for each round with a partner. NPU i pings NPU i + shift of the partner.
    :param round_s: the number of seconds from the start of a round to the start of the next round.
    :param timeout_s: the timeout of each ping in seconds.
    :param limit_s: the number of seconds after which no more pings are sent.
    """
    started = clock()
    rounds = [(partner, shift) for partner in partners for shift in shifts]
    width = 1 + max([int(number) for partner in partners if partner for number in partner["npus"]] + list(npus) + [-1])

    def wait(number: int) -> None:
        pause = started + number * round_s - clock()
        if pause > 0:
            sleep(pause)

    def ping(npu: int, address: str) -> HccnAnswer:
        return hccn_query.run_query(run, tool, npu, "ping", timeout_s, ["address", address])

    rows = [_MeshRow(npu, ping, rounds, width, lambda: clock() - started <= limit_s) for npu in npus]
    with ThreadPoolExecutor(max(1, len(rows))) as pool:
        rows = list(pool.map(lambda row: row.run(wait), rows))
    errors: dict[str, list[str]] = {}
    for message, pair in dict.fromkeys(error for row in rows for error in row.errors):
        errors.setdefault(message, []).append(pair)
    return {"matrix": {str(row.npu): row.losses for row in rows},
            "errors": {message: pairs[:8] for message, pairs in errors.items()},
            "not_sent": sum(row.not_sent for row in rows), "given_up": sum(row.given_up for row in rows),
            "retried": sum(row.retried for row in rows), "rounds": len(rounds),
            "duration_s": round(clock() - started, 3)}


def reach_hosts(targets: Sequence[Target], timeout_s: float,
                connect: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection
                ) -> dict[str, Reach]:
    """Open a TCP connection to each target. A host that refuses the connection also counts as reached."""
    def reach(target: Target) -> Reach:
        try:
            connect((target["address"], target["port"]), timeout_s).close()
        except ConnectionRefusedError:
            pass
        except OSError as error:
            return {"address": target["address"], "reached": False, "error": str(error)}
        return {"address": target["address"], "reached": True, "error": None}

    with ThreadPoolExecutor(max(1, min(32, len(targets)))) as pool:
        return dict(zip((target["host"] for target in targets), pool.map(reach, targets)))
