#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_info
short_description: Query the servers of the balancer on this host
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Queries the HAProxy of the unit C(ascend-vllm-balancer) for its servers and, with O(url), requests a completion
    through it.
  - Changes nothing. A balancer that does not answer is reported in RV(error) and does not fail the task.
options:
  socket:
    description: The admin socket.
    type: path
    default: /run/ascend-vllm-balancer/admin.sock
  url:
    description: Address of the balancer, such as V(http://10.0.0.1:8080). Without it no completion is requested.
    type: str
  port:
    description: Port of the balancer, for which RV(holder) is returned.
    type: int
  served_name:
    description: The name of the model in requests.
    type: str
    default: ""
  api_key:
    description: The key of the service.
    type: str
    default: ""
  timeout_s:
    description: Seconds that the completion may take.
    type: float
    default: 20
attributes:
  check_mode:
    support: full
    description: The same is returned; the module never changes anything.
seealso:
  - module: ascend.vllm.balancer_server
"""

EXAMPLES = r"""
- name: Query the servers of the balancer
  ascend.vllm.balancer_info:
  register: balancer
"""

RETURN = r"""
error:
  description: Why HAProxy could not be queried, or null.
  type: str
  returned: always
servers:
  description:
    - The instances, each with C(name), C(host), C(status) (V(UP), V(DRAIN), V(MAINT) or V(DOWN)), C(taken_out)
      (whether it was set to drain or maintenance), C(sessions) (requests in progress), C(check) (result of the last
      health check), C(watched) (whether the watch for hung engines answers, null where there is none) and C(engine)
      (the state of the engine according to the watch).
  type: list
  elements: dict
  returned: always
holder:
  description: The process other than the balancer that listens on O(port), or null.
  type: str
  returned: always
  sample: process 111 (sshd)
completion:
  description: The response to the completion, with C(status) and, where it failed, C(error); null without O(url).
  type: dict
  returned: always
"""

from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy
from ansible_collections.ascend.vllm.plugins.module_utils._host import holders
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import Server

if TYPE_CHECKING:
    from typing import Any

SOCKET_TIMEOUT_S = 5


def complete(params: dict[str, Any]) -> dict[str, Any]:
    """Return the response to a completion of one token."""
    server = Server(params["url"], params["api_key"], params["timeout_s"])
    return server.ask({"endpoint": "/v1/completions", "body": {
        "model": params["served_name"], "prompt": "Hello", "max_tokens": 1, "temperature": 0}})


def holder(port: int) -> str | None:
    """Return which process other than the balancer listens on a port, such as ``process 111 (sshd)``, or None."""
    found = holders.open_files([port])[0].get(port)
    if found is None or any(unit in found["cgroup"] for unit in haproxy.UNITS):
        return None
    return holders.describe_holder({"pid": found["pid"], "process": found["process"], "container": None})


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "socket": {"type": "path", "default": haproxy.SOCKET},
        "url": {"type": "str"},
        "port": {"type": "int"},
        "served_name": {"type": "str", "default": ""},
        "api_key": {"type": "str", "default": "", "no_log": True},
        "timeout_s": {"type": "float", "default": 20},
    })
    port = module.params["port"]
    found: dict[str, Any] = {"error": None, "servers": [], "holder": holder(port) if port else None, "completion": None}
    try:
        found["servers"] = haproxy.servers(haproxy.asker(module.params["socket"], SOCKET_TIMEOUT_S))
        if module.params["url"]:
            found["completion"] = complete(module.params)
    except haproxy.BalancerError as error:
        found["error"] = str(error)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
