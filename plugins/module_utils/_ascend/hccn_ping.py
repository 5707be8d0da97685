# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This node's part of the ping mesh, and whether it reaches the other hosts. PRIVATE to the collection."""
from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query, ping_loss

# Pings in a row without an answer after which an NPU gives up the node that it is meeting, and everything.
_LOST_IN_A_ROW = 3
_SILENT = 6
# Up to so many dead pings of an NPU are tried again: more have a cause that a second try does not cure.
_RARE = 8


class _MeshRow:
    """One NPU that sends: it goes through the rounds by itself."""

    def __init__(self, npu, ping, rounds, width, in_time):
        self.npu = npu
        self.ping = ping
        self.rounds = rounds
        self.in_time = in_time
        self.losses = {partner["host"]: [None] * width for partner, _shift in rounds if partner}
        self.errors, self.not_sent, self.given_up, self.retried = [], 0, 0, 0
        # Pings without an answer in a row: to the node that it is meeting, and since the beginning.
        self.row, self.silence = (None, 0), 0

    def run(self, wait):
        """Send what is due in each round; ``wait(round)`` returns when that round may begin."""
        lost = []
        for number, (partner, shift) in enumerate(self.rounds):
            target = (self.npu + shift) % len(self.losses[partner["host"]]) if partner else None
            address = partner["npus"].get(str(target)) if partner else None
            if address is None:
                continue
            if self.silence >= _SILENT or self.row == (partner["host"], _LOST_IN_A_ROW):
                self.given_up += 1
                continue
            wait(number)
            if not self.in_time():
                self.not_sent += 1
            elif self.send(partner["host"], target, address):
                lost.append((partner["host"], target, address))
        if self.silence < _SILENT:
            self.retry(lost)
        return self

    def send(self, host, target, address):
        """Ping one NPU and keep the loss; returns whether packets were lost."""
        result = self.ping(self.npu, address)
        loss = result.get("loss_percent")
        if loss is None:
            message = result["error"]["message"] if "error" in result else "no summary was printed"
            self.errors.append((message, "npu %d -> %s npu %d" % (self.npu, host, target)))
            loss = ping_loss.ERROR
        self.losses[host][target] = loss
        answered = not ping_loss.failed(loss)
        met, count = self.row
        self.row = (host, 0) if answered else (host, count + 1 if met == host else 1)
        self.silence = -1 if answered or self.silence < 0 else self.silence + 1
        return loss != 0

    def retry(self, lost):
        """Try again where packets were lost: the first may have waited for ARP. Where all were, if that is rare."""
        dead = [one for one in lost if ping_loss.failed(self.losses[one[0]][one[1]])]
        for one in [one for one in lost if one not in dead] + (dead if len(dead) <= _RARE else []):
            if self.in_time():
                self.send(*one)
                self.retried += 1


def ping_mesh_part(run, tool, npus, partners, shifts, round_s, timeout_s, limit_s, clock=time.monotonic,
                   sleep=time.sleep):
    """Ping what the schedule says, NPUs side by side.

    No one tells the nodes when a round begins: each starts round n at n times ``round_s`` after its own start, and all
    start within the seconds that Ansible takes. A round is longer than a ping that works, so nodes keep in step; one
    that waited for a ping without an answer runs its next rounds at once until it has caught up. Out of step an NPU
    may for a while receive two pings at a time, which changes no result: the device answers echo requests by itself.
    To keep a dead node or NPU from costing a timeout for every pair, an NPU gives a node up after a few pings in a row
    without an answer, and the whole mesh when nobody ever answered.

    :param npus: numbers of the NPUs that send.
    :param partners: ``[{"host", "npus": {number (str): address}} or None]``, in the order of the meetings.
    :param limit_s: pings that would start later are not sent.
    :returns: ``{"matrix": {npu: {host: [loss, ...]}}, "errors": {message: [pair, ...]}, "not_sent", "given_up",
        "retried", "rounds", "duration_s"}``; loss in percent, ping_mesh.ERROR, or None.
    """
    started = clock()
    rounds = [(partner, shift) for partner in partners for shift in shifts]
    width = 1 + max([int(number) for partner in partners if partner for number in partner["npus"]] + list(npus) + [-1])

    def wait(number):
        pause = started + number * round_s - clock()
        if pause > 0:
            sleep(pause)

    rows = [_MeshRow(npu, lambda npu, address: hccn_query.ask(run, tool, npu, "ping", timeout_s, ["address", address]),
                     rounds, width, lambda: clock() - started <= limit_s) for npu in npus]
    if rows:
        with ThreadPoolExecutor(len(rows)) as pool:
            rows = list(pool.map(lambda row: row.run(wait), rows))
    errors = {}
    for message, pair in dict.fromkeys(error for row in rows for error in row.errors):
        errors.setdefault(message, []).append(pair)
    result = {"matrix": {str(row.npu): row.losses for row in rows},
              "errors": {message: pairs[:8] for message, pairs in errors.items()},
              "rounds": len(rounds), "duration_s": round(clock() - started, 3)}
    result.update({count: sum(getattr(row, count) for row in rows) for count in ("not_sent", "given_up", "retried")})
    return result


def reach_hosts(targets, timeout_s, connect=socket.create_connection):
    """Return ``{host: {"address", "reached": bool, "error"}}`` for ``[{"host", "address", "port"}]``, by TCP.

    A refused connection is an answer too: the other host's kernel gave it.
    """
    def reach(target):
        try:
            connect((target["address"], target["port"]), timeout_s).close()
        except ConnectionRefusedError:
            pass
        except OSError as error:
            return {"address": target["address"], "reached": False, "error": str(error)}
        return {"address": target["address"], "reached": True, "error": None}

    if not targets:
        return {}
    with ThreadPoolExecutor(min(32, len(targets))) as pool:
        return dict(zip((target["host"] for target in targets), pool.map(reach, targets)))
