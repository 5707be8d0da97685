# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query HAProxy through its admin socket and parse the answers. PRIVATE to the collection.

Commands and columns: HAProxy's management guide, "Unix Socket commands" and "Statistics and monitoring".
"""

from __future__ import annotations

import csv
import socket

BACKEND = "vllm"
UNITS = ("ascend-vllm-balancer.service", "ascend-vllm-balancer-watch.service")
# As in balancer.service.j2 and balancer.cfg.j2 of roles/balancer/templates.
SOCKET = "/run/ascend-vllm-balancer/admin.sock"

UP, DRAIN, MAINT, DOWN = "UP", "DRAIN", "MAINT", "DOWN"

# State of an engine before HAProxy's first agent check.
NOT_ASKED = "not asked yet"

_LARGEST = 16 * 1024 * 1024


class BalancerError(Exception):
    """HAProxy did not answer or refused; the message is one sentence."""


def asker(path, timeout_s):
    """Return a function ``ask(command) -> str`` for the admin socket, which raises `BalancerError`."""
    def ask(command):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
            connection.sendall(command.encode() + b"\n")
            parts = []
            while sum(map(len, parts)) < _LARGEST:
                part = connection.recv(65536)
                if not part:
                    break
                parts.append(part)
        except OSError as error:
            raise BalancerError("the balancer does not answer at %s: %s" % (path, error)) from error
        finally:
            connection.close()
        return b"".join(parts).decode("utf-8", "replace")
    return ask


def server_name(host, port):
    """Return the server name of an instance, such as ``node1:8888``."""
    return "%s:%d" % (host, port)


def host_of(server):
    """Return the inventory name in the name of a server."""
    return server.rpartition(":")[0]


def servers(ask, backend=BACKEND):
    """Return the servers of the backend, in the order of the configuration.

    :returns: ``[{"name": str, "host": str, "status": str, "taken_out": bool, "sessions": int, "check": str,
        "watched": bool or None, "engine": str}]``;
        ``status`` is UP, DRAIN (finishes requests in progress), MAINT or DOWN; ``taken_out`` is whether it was set to
        DRAIN or MAINT, which the status of a server that is DOWN does not show; ``sessions`` is the number of requests
        in progress; ``check`` is the result of the last health check, such as ``L7OK/200``; ``watched`` is whether the
        watch for hung engines answers, None where there is none; ``engine`` is the state that it reported, such as
        ``up``.
    """
    text, states = ask("show stat"), ask("show servers state %s" % backend)
    if not text.startswith("# "):
        raise BalancerError("the balancer answers with no statistics: %s" % text.strip()[:200])
    # After a line with the version: # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state …
    fields = [line.split() for line in states.splitlines() if line[:1].isdigit()]
    administered = {row[3] for row in fields if len(row) > 6 and row[6] != "0"}
    found = []
    for row in csv.DictReader(text[2:].splitlines()):
        if row["pxname"] == backend and row["svname"] not in ("BACKEND", "FRONTEND"):
            result = (row.get("check_status") or "").lstrip("* ")
            code = row.get("check_code") or ""
            found.append({
                "name": row["svname"], "host": host_of(row["svname"]), "status": status(row["status"]),
                "taken_out": row["svname"] in administered, "sessions": int(row["scur"] or 0),
                "check": result + ("/" + code if code else ""),
                **engine((row.get("agent_status") or "").lstrip("* "), row.get("last_agt") or "")})
    return found


def engine(state, said):
    """Return ``watched`` and ``engine`` for the state and the last output of HAProxy's agent check."""
    if not state:
        return {"watched": None, "engine": ""}
    if state == "INI":
        return {"watched": True, "engine": NOT_ASKED}
    return {"watched": state.startswith("L7") or state == "CHECKED", "engine": said.rpartition("via agent : ")[2]}


def status(text):
    """Return UP, DRAIN, MAINT or DOWN for a status of HAProxy such as ``UP 1/3`` or ``MAINT (via …)``."""
    word = text.split(" ")[0]
    return {"NOLB": DRAIN, "no": UP}.get(word, word)


def set_state(ask, server, state, backend=BACKEND):
    """Set a server to ``ready`` or ``drain``; raises `BalancerError` when HAProxy refuses."""
    answer = ask("set server %s/%s state %s" % (backend, server, state)).strip()
    if answer:
        raise BalancerError("the balancer does not set %s to %s: %s" % (server, state, answer))
