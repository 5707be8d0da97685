# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control HAProxy through its admin socket and parse the responses.

The commands and columns are described in the management guide of HAProxy, sections "Unix Socket commands" and
"Statistics and monitoring".
"""

from __future__ import annotations

import csv
import socket
import time
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DeadlineSocket

if TYPE_CHECKING:
    from typing import Callable, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import Response

    SendCommand = Callable[[str], str]

    class AgentState(TypedDict):
        """The information that HAProxy has received from the watchdog for hung engines."""

        #: Whether the watchdog responds, or None if there is no watchdog.
        watched: bool | None
        #: The last state that the watchdog reported, such as ``up``, or `NOT_CHECKED`.
        engine: str

    class BalancerServer(AgentState):
        """A vLLM instance as a server of the backend."""

        name: str
        host: str
        #: UP, DRAIN (the server finishes its requests), MAINT or DOWN.
        status: str
        #: Whether an operator has set DRAIN or MAINT, which ``status`` does not show if the server is DOWN.
        disabled: bool
        #: The number of requests in progress.
        sessions: int
        #: The result of the last health check, such as ``L7OK/200``.
        check: str

    class BalancerObservation(TypedDict):
        """The return values of ``ascend.vllm.balancer_info``."""

        error: str | None
        servers: list[BalancerServer]
        holder: str | None
        completion: Response | None

    class NodeState(TypedDict):
        """The return values of ``ascend.vllm.balancer_server``."""

        changed: bool
        error: str | None
        servers: list[BalancerServer]
        settled: bool

BACKEND = "vllm"
UNITS = ("ascend-vllm-balancer.service", "ascend-vllm-balancer-watch.service")
# Also set in balancer.service.j2 and balancer.cfg.j2 in roles/balancer/templates.
SOCKET = "/run/ascend-vllm-balancer/admin.sock"

UP, DRAIN, MAINT, DOWN = "UP", "DRAIN", "MAINT", "DOWN"

# The state of an engine before the first response of the watchdog.
NOT_CHECKED = "not checked yet"

_MAX_RESPONSE_BYTES = 16 * 1024 * 1024


class BalancerError(Exception):
    """HAProxy did not respond or refused the command. The message is one sentence."""


def command_sender(path: str, timeout_s: float) -> SendCommand:
    """Return a function that sends a command to the admin socket and returns the response.

    The returned function raises `BalancerError` if HAProxy does not respond.

    :param path: the path of the socket.
    :param timeout_s: the timeout of a whole response in seconds.
    """
    def send_command(command: str) -> str:
        try:
            with DeadlineSocket(socket.AF_UNIX) as connection, connection.makefile("rb") as stream:
                connection.set_deadline(time.monotonic() + timeout_s)
                connection.connect(path)
                connection.sendall(command.encode() + b"\n")
                return stream.read(_MAX_RESPONSE_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise BalancerError("the balancer does not respond at %s: %s" % (path, error)) from error
    return send_command


def server_name(host: str, port: int) -> str:
    """Return the server name of an instance, such as ``node1:8888``."""
    return "%s:%d" % (host, port)


def host_of(server: str) -> str:
    """Return the inventory name of the host in a server name."""
    return server.rpartition(":")[0]


def servers(send_command: SendCommand) -> list[BalancerServer]:
    """Return the servers of the backend in the order of the configuration. Raise `BalancerError` on failure."""
    text, states = send_command("show stat"), send_command("show servers state %s" % BACKEND)
    if not text.startswith("# "):
        raise BalancerError("the balancer returned no statistics: %s" % text.strip()[:200])
    # The columns below the line with the version: be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state …
    fields = [line.split() for line in states.splitlines() if line[:1].isdigit()]
    disabled = {row[3] for row in fields if len(row) > 6 and row[6] != "0"}
    found: list[BalancerServer] = []
    for row in csv.DictReader(text[2:].splitlines()):
        if row["pxname"] == BACKEND and row["svname"] not in ("BACKEND", "FRONTEND"):
            result = (row.get("check_status") or "").lstrip("* ")
            code = row.get("check_code") or ""
            found.append({
                "name": row["svname"], "host": host_of(row["svname"]), "status": status(row["status"]),
                "disabled": row["svname"] in disabled, "sessions": int(row["scur"] or 0),
                "check": result + ("/" + code if code else ""),
                **engine((row.get("agent_status") or "").lstrip("* "), row.get("last_agt") or "")})
    return found


def engine(state: str, message: str) -> AgentState:
    """Interpret the state and the last message of HAProxy's agent check."""
    if not state:
        return {"watched": None, "engine": ""}
    if state == "INI":
        return {"watched": True, "engine": NOT_CHECKED}
    return {"watched": state.startswith("L7") or state == "CHECKED", "engine": message.rpartition("via agent : ")[2]}


def status(text: str) -> str:
    """Return UP, DRAIN, MAINT or DOWN for a status in the statistics, such as ``UP 1/3`` or ``MAINT (via …)``."""
    word = text.split(" ")[0]
    return {"NOLB": DRAIN, "no": UP}.get(word, word)


def set_state(send_command: SendCommand, server: str, state: str) -> None:
    """Set a server to ``ready`` or ``drain``. Raise `BalancerError` on failure."""
    refusal = send_command("set server %s/%s state %s" % (BACKEND, server, state)).strip()
    if refusal:
        raise BalancerError("the balancer refused to set %s to %s: %s" % (server, state, refusal))
