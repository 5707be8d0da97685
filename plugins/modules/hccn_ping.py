#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: hccn_ping
short_description: Send the pings of one node in a ping mesh of NPUs
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Sends all scheduled pings of the NPUs of a node with C(hccn_tool), which is searched for in C(PATH) and in
    C(/usr/local/Ascend/driver/tools). The NPUs send their pings in parallel, with one
    ping per NPU at a time.
  - Tests TCP connections to O(hosts).
  - P(ascend.vllm.hccl_mesh#module) computes the schedule for all nodes.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._attributes.info]
options:
  npus: {type: list, elements: int, required: true, description: "The numbers of the NPUs that send pings."}
  partners:
    description: The nodes to ping, in this order. Each item has the keys C(host) and C(npus), which maps NPU numbers to
      addresses. If an item is null, this node pauses for the time of the pings to one node.
    type: list
    elements: raw
    required: true
  shifts:
    description: The shifts between the numbers of the sending and the receiving NPUs. For each shift, NPU I(i) pings
      NPU I(i + shift) of the partner. The last NPU of the partner is followed by its first NPU.
    type: list
    elements: int
    required: true
  round_s: {type: float, default: 0.5, description: "The seconds from the start of a round of pings to the next."}
  timeout_s: {type: float, default: 10, description: "The timeout in seconds of a ping or TCP connection."}
  limit_s: {type: float, default: 600, description: "The number of seconds after which no more pings are sent."}
  hosts:
    description: The hosts to which the node opens test connections.
    type: list
    elements: dict
    default: []
    suboptions:
      host: {type: str, required: true, description: "The name of the host in RV(reach)."}
      address: {type: str, required: true, description: "The IP address."}
      port: {type: int, required: true, description: "The TCP port."}
attributes:
  check_mode: {details: ["The pings are also sent in check mode."]}
seealso: [{module: ascend.vllm.hccn_info}, {module: ascend.vllm.hccl_mesh}]
"""

EXAMPLES = r"""
- name: Ping one NPU of another node from NPU 0
  ascend.vllm.hccn_ping:
    npus: [0]
    partners: [{host: node2, npus: {"0": 192.0.2.2}}]
    shifts: [0]
  register: mesh

- name: Fail if packets were lost
  ansible.builtin.assert:
    that: mesh.ping.matrix['0'].node2[0] == 0

- name: Test only whether the SSH port of another host can be reached
  ascend.vllm.hccn_ping:
    npus: []
    partners: []
    shifts: []
    hosts: [{host: node2, address: 10.0.0.2, port: 22}]
"""

RETURN = r"""
ping:
  description: The result of the pings.
  type: dict
  returned: success
  contains:
    matrix: {type: dict, sample: {"0": {node2: [0, 0, 33.33, null]}}, description: "The packet loss in percent by
      sending NPU, host and receiving NPU. A value is C(-1) if C(hccn_tool) failed, and null if no ping was sent."}
    errors:
      description: The pairs of NPUs for which C(hccn_tool) failed, with the error message as key. At most 8 pairs are
        returned for each message.
      type: dict
      sample: {"Execute failed: Link status is down.": ["npu 0 -> node2 npu 1"]}
    not_sent: {type: int, description: "The number of pings that were not sent because O(limit_s) had passed."}
    given_up: {type: int, description: "The number of pings that were skipped after consecutive pings without a reply."}
    retried: {type: int, description: "The number of pings that were repeated because packets were lost."}
    rounds: {type: int, description: "The number of rounds of pings."}
    duration_s: {type: float, description: "The duration of all pings in seconds."}
reach:
  description: The results of the test connections, with the names of the hosts as keys. Each has C(address), C(reached)
    (whether the host accepted or refused the connection) and C(error) (the reason why not, or null).
  type: dict
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_ping, hccn_query
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "npus": {"type": "list", "elements": "int", "required": True},
        "partners": {"type": "list", "elements": "raw", "required": True},
        "shifts": {"type": "list", "elements": "int", "required": True},
        "round_s": {"type": "float", "default": 0.5},
        "timeout_s": {"type": "float", "default": 10},
        "limit_s": {"type": "float", "default": 600},
        "hosts": {"type": "list", "elements": "dict", "default": [], "options": {
            "host": {"type": "str", "required": True}, "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True}}},
    })
    lease.hold(module)
    params = module.params
    tool = module.get_bin_path("hccn_tool", opt_dirs=[os.path.dirname(hccn_query.TOOL)])
    try:
        ping = hccn_ping.ping_mesh_part(
            hccn_query.run_bounded, tool or hccn_query.TOOL, params["npus"], params["partners"], params["shifts"],
            params["round_s"], params["timeout_s"], params["limit_s"])
    except OSError as error:
        module.fail_json(msg="hccn_tool cannot be run: %s" % error)
    module.exit_json(changed=False, ping=ping, reach=hccn_ping.reach_hosts(params["hosts"], params["timeout_s"]))


if __name__ == "__main__":
    main()
