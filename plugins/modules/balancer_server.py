#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_server
short_description: Drain or enable a node in the balancer on this host
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Sets the servers of a node in the HAProxy of the unit C(ascend-vllm-balancer) through its admin socket.
  - With O(state=drain) the node gets no new requests and finishes those in progress. With O(state=ready) it gets
    requests as soon as its health checks pass.
options:
  node:
    description: Inventory name of the node.
    type: str
    required: true
  state:
    description: State of the servers of the node.
    type: str
    choices: [ready, drain]
    required: true
  keep_serving:
    description: Whether draining fails when no server of another node could take the requests.
    type: bool
    default: false
  wait_s:
    description:
      - Seconds to wait, with O(state=drain) for the last request and with O(state=ready) for the health checks.
    type: float
    default: 0
  socket:
    description: The admin socket.
    type: path
    default: /run/ascend-vllm-balancer/admin.sock
attributes:
  check_mode:
    support: full
    description: Returns whether a state would be set, and does not wait.
notes:
  - HAProxy loses this state when it reloads its configuration.
seealso:
  - module: ascend.vllm.balancer_info
"""

EXAMPLES = r"""
- name: Drain node1 and wait for its last request
  ascend.vllm.balancer_server:
    node: node1
    state: drain
    wait_s: 600
  delegate_to: node2
"""

RETURN = r"""
error:
  description: Why HAProxy could not be queried, or null. For O(state=drain) it need not run.
  type: str
  returned: always
servers:
  description: The servers of the node, as M(ascend.vllm.balancer_info) returns them.
  type: list
  elements: dict
  returned: always
settled:
  description: Whether the servers reached the state within O(wait_s).
  type: bool
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy

SOCKET_TIMEOUT_S = 5
INTERVAL_S = 0.5


class Refused(Exception):
    """The state is not set and nothing was changed; the message is one sentence."""


def change(ask, params, dry=False):
    """Set the state of the servers of the node; return whether one was in another state."""
    servers = haproxy.servers(ask)
    own = [server for server in servers if server["host"] == params["node"]]
    pending = [server for server in own if server["taken_out"] == (params["state"] == "ready")]
    if params["state"] == "drain":
        others = [server for server in servers if server["host"] != params["node"] and server["status"] == haproxy.UP]
        if pending and params["keep_serving"] and not others:
            raise Refused("%s cannot be drained, since no other node could take its requests: %s" % (
                params["node"], _states(servers) or "the balancer has no servers"))
    for server in () if dry else pending:
        haproxy.set_state(ask, server["name"], params["state"])
    return bool(pending)


def settle(ask, params):
    """Wait for the state; return ``(servers of the node, settled)``. During a reload the balancer may not answer."""
    deadline = time.monotonic() + params["wait_s"]
    while True:
        own = []
        try:
            own = [server for server in haproxy.servers(ask) if server["host"] == params["node"]]
            if params["state"] == "drain":
                settled = not any(server["sessions"] for server in own)
            else:
                settled = bool(own) and all(server["status"] == haproxy.UP and server["engine"] != haproxy.NOT_ASKED
                                            for server in own)
        except haproxy.BalancerError:
            if time.monotonic() >= deadline:
                raise
            settled = False
        if settled or time.monotonic() >= deadline:
            return own, settled
        time.sleep(INTERVAL_S)


def _states(servers):
    return ", ".join("%s is %s" % (server["name"], server["status"]) for server in servers)


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "node": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["ready", "drain"], "required": True},
        "keep_serving": {"type": "bool", "default": False},
        "wait_s": {"type": "float", "default": 0},
        "socket": {"type": "path", "default": haproxy.SOCKET},
    })
    params = dict(module.params, wait_s=0 if module.check_mode else module.params["wait_s"])
    ask = haproxy.asker(params["socket"], SOCKET_TIMEOUT_S)
    result = {"changed": False, "error": None, "servers": [], "settled": False}
    try:
        result["changed"] = change(ask, params, module.check_mode)
        result["servers"], result["settled"] = settle(ask, params)
    except haproxy.BalancerError as error:
        # Where nothing balances, nothing has to be drained.
        result.update(error=str(error), settled=params["state"] == "drain")
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
