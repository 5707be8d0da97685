#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_server
short_description: Drain the servers of a node in the balancer, or make them ready again
version_added: 0.9.0
description: Sets the state of a node's servers in the HAProxy that the unit C(ascend-vllm-balancer) runs on this host,
  through its admin socket.
extends_documentation_fragment: [ascend.vllm._attributes]
options:
  node: {type: str, required: true, description: "The inventory name of the node."}
  state: {type: str, required: true, choices: [ready, drain], description: "With V(drain), the node finishes the
    requests in progress and receives no new requests. With V(ready), the node receives requests as soon as its health
    checks pass."}
  keep_serving: {type: bool, default: false, description: "With O(state=drain), whether the module fails instead of
    draining the node if no other node can process the requests."}
  wait_s: {type: float, default: 0, description: "The maximum time to wait, in seconds. With O(state=drain), the module
    waits until the requests in progress are finished. With O(state=ready), the module waits until the health checks
    pass."}
attributes:
  check_mode: {details: ["In check mode, O(wait_s) is ignored."]}
notes: ["HAProxy discards the state when it reloads its configuration."]
seealso: [{module: ascend.vllm.balancer_info}]
"""

EXAMPLES = r"""
- name: Drain node1 and wait until its requests are finished
  ascend.vllm.balancer_server:
    node: node1
    state: drain
    keep_serving: true
    wait_s: 600
  delegate_to: node2
"""

RETURN = r"""
error: {type: str, returned: success, description: "The reason why HAProxy did not respond or refused the change, or
  null. The module does not fail because of such an error."}
servers: {type: list, elements: dict, returned: success, description: "The servers of the node, as described in
  RV(ascend.vllm.balancer_info#module:servers)."}
settled: {type: bool, returned: success, description: "With O(state=drain), whether all requests in progress are
  finished. This is also true if HAProxy does not respond, because there are no requests to wait for then. With
  O(state=ready), whether the health checks of all servers of the node pass."}
"""

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy

SOCKET_TIMEOUT_S = 5
INTERVAL_S = 0.5


class Refused(Exception):
    """The change was refused, and nothing was changed. The message is one sentence."""


def change(send_command: haproxy.SendCommand, params: Mapping[str, Any], dry: bool = False) -> bool:
    """Set the state of the servers of the node, unless ``dry``, and return whether any of them had another state.

    :raises Refused: if another node must serve the requests (``keep_serving``), but none can.
    """
    servers = haproxy.servers(send_command)
    own = [server for server in servers if server["host"] == params["node"]]
    pending = [server for server in own if server["disabled"] == (params["state"] == "ready")]
    if params["state"] == "drain":
        others = [server for server in servers if server["host"] != params["node"] and server["status"] == haproxy.UP]
        if pending and params["keep_serving"] and not others:
            raise Refused("%s cannot be drained, since no other node could take its requests: %s" % (
                params["node"], _states(servers) or "the balancer has no servers"))
    for server in () if dry else pending:
        haproxy.set_state(send_command, server["name"], params["state"])
    return bool(pending)


def settle(send_command: haproxy.SendCommand, params: Mapping[str, Any]) -> tuple[list[haproxy.BalancerServer], bool]:
    """Wait until the requests are finished or the health checks pass. Return (servers of the node, settled)."""
    deadline = time.monotonic() + params["wait_s"]
    while True:
        own: list[haproxy.BalancerServer] = []
        try:
            own = [server for server in haproxy.servers(send_command) if server["host"] == params["node"]]
            if params["state"] == "drain":
                settled = not any(server["sessions"] for server in own)
            else:
                settled = bool(own) and all(server["status"] == haproxy.UP and server["engine"] != haproxy.NOT_CHECKED
                                            for server in own)
        except haproxy.BalancerError:  # HAProxy may be reloading its configuration
            if time.monotonic() >= deadline:
                raise
            settled = False
        if settled or time.monotonic() >= deadline:
            return own, settled
        time.sleep(INTERVAL_S)


def _states(servers: list[haproxy.BalancerServer]) -> str:
    return ", ".join("%s is %s" % (server["name"], server["status"]) for server in servers)


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "node": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["ready", "drain"], "required": True},
        "keep_serving": {"type": "bool", "default": False},
        "wait_s": {"type": "float", "default": 0},
    })
    params = dict(module.params, wait_s=0 if module.check_mode else module.params["wait_s"])
    send_command = haproxy.command_sender(haproxy.SOCKET, SOCKET_TIMEOUT_S)
    result: haproxy.NodeState = {"changed": False, "error": None, "servers": [], "settled": False}
    try:
        result["changed"] = change(send_command, params, module.check_mode)
        result["servers"], result["settled"] = settle(send_command, params)
    except haproxy.BalancerError as error:
        # A balancer that does not respond sends no requests, so the node is drained.
        result["error"], result["settled"] = str(error), params["state"] == "drain"
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
