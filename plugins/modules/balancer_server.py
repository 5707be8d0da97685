#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_server
short_description: Take a node out of the balancer of this host, or give it back
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Sets the servers of a node in the HAProxy of the unit C(ascend-vllm-balancer) through its admin socket.
  - With V(drain) a node gets no new requests and finishes those it has. With V(ready) it gets requests as soon as its
    health checks pass.
options:
  node:
    description: The inventory name of the node.
    type: str
    required: true
  state:
    description: What the servers of the node shall do.
    type: str
    choices: [ready, drain]
    required: true
  keep_serving:
    description: Whether draining is refused when no server of another node could take the requests.
    type: bool
    default: false
  wait_s:
    description: Seconds to wait, with V(drain) for the last request and with V(ready) for the health checks.
    type: float
    default: 0
  socket:
    description: The admin socket.
    type: path
    default: /run/ascend-vllm-balancer/admin.sock
attributes:
  check_mode:
    support: full
    description: Whether a state would be set is told, and nothing is waited for.
notes:
  - A state that was set is forgotten when HAProxy reloads its configuration.
seealso:
  - module: ascend.vllm.balancer_info
"""

EXAMPLES = r"""
- name: Take node1 out and wait for its last request
  ascend.vllm.balancer_server:
    node: node1
    state: drain
    wait_s: 600
  delegate_to: node2
"""

RETURN = r"""
error:
  description: Why HAProxy could not be asked, or null. With V(drain) a balancer that does not run is fine.
  type: str
  returned: always
servers:
  description: The servers of the node, as M(ascend.vllm.balancer_info) returns them.
  type: list
  elements: dict
  returned: always
settled:
  description: Whether what was waited for has come.
  type: bool
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy

SOCKET_TIMEOUT_S = 5
INTERVAL_S = 0.5


class Refused(Exception):
    """Nothing was changed; the message is one sentence."""


def change(ask, params, dry=False):
    """Set the servers of the node; returns whether one was in another state."""
    servers = haproxy.servers(ask)
    own = [server for server in servers if server["host"] == params["node"]]
    pending = [server for server in own if server["taken_out"] == (params["state"] == "ready")]
    if params["state"] == "drain":
        others = [server for server in servers if server["host"] != params["node"] and server["status"] == haproxy.UP]
        if pending and params["keep_serving"] and not others:
            raise Refused("%s would be taken out of the balancer, but no other node could take its requests: %s" % (
                params["node"], _states(servers) or "there is none"))
    for server in () if dry else pending:
        haproxy.set_state(ask, server["name"], params["state"])
    return bool(pending)


def settle(ask, params):
    """Wait; returns ``(servers of the node, settled)``. A balancer that reloads may not answer for a moment."""
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
