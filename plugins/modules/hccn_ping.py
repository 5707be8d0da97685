#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: hccn_ping
short_description: Send a node's part of a ping mesh from its NPUs
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Runs the node's whole schedule of NPU pings in one call, NPUs side by side, one ping at a time for each NPU.
  - Tries TCP connections to other hosts, where asked for.
  - The action C(ascend.vllm.hccl_mesh) works the schedule out.
options:
  npus:
    description: The numbers of the NPUs that send.
    type: list
    elements: int
    required: true
  partners:
    description: The nodes to meet, in order. Each has C(host) and C(npus), the address by NPU number; or is null.
    type: list
    elements: raw
    required: true
  shifts:
    description: NPU I(i) pings NPU I(i + shift) of the partner, once for each shift.
    type: list
    elements: int
    required: true
  round_s:
    description: Seconds from the start of one round to the start of the next, where pings come back in time.
    type: float
    default: 0.5
  timeout_s:
    description: Seconds that one ping may take.
    type: float
    default: 10
  limit_s:
    description: Seconds after which no further ping is sent.
    type: float
    default: 600
  hosts:
    description: Host addresses to reach by TCP, each with C(host), C(address) and C(port).
    type: list
    elements: dict
    default: []
  tool:
    description: The path of hccn_tool. Left out, it is looked for in C(PATH) and in the driver's folder.
    type: path
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed; the pings are sent.
"""

EXAMPLES = r"""
- name: Ping one NPU of another node from NPU 0
  ascend.vllm.hccn_ping:
    npus: [0]
    partners: [{host: node2, npus: {"0": 192.0.2.2}}]
    shifts: [0]
"""

RETURN = r"""
ping:
  description:
    - C(matrix) holds the loss in percent by sending NPU, receiving host and receiving NPU; -1 where the tool failed,
      null where nothing was sent.
    - C(errors) holds the tool's messages, C(not_sent) counts pings for which the time was up, C(given_up) those that
      were left out because the ones before had no answer.
  type: dict
  returned: success
reach:
  description: By host whether its address was C(reached), and the C(error).
  type: dict
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_ping, hccn_query


def main():
    module = AnsibleModule(
        argument_spec={
            "npus": {"type": "list", "elements": "int", "required": True},
            "partners": {"type": "list", "elements": "raw", "required": True},
            "shifts": {"type": "list", "elements": "int", "required": True},
            "round_s": {"type": "float", "default": 0.5},
            "timeout_s": {"type": "float", "default": 10},
            "limit_s": {"type": "float", "default": 600},
            "hosts": {"type": "list", "elements": "dict", "default": []},
            "tool": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    tool = params["tool"] or module.get_bin_path("hccn_tool", opt_dirs=[os.path.dirname(hccn_query.TOOL)])
    try:
        ping = hccn_ping.ping_mesh_part(
            hccn_query.run_bounded, tool or hccn_query.TOOL, params["npus"], params["partners"], params["shifts"],
            params["round_s"], params["timeout_s"], params["limit_s"])
    except OSError as error:
        module.fail_json(msg="hccn_tool cannot be run: %s" % error)
    module.exit_json(changed=False, ping=ping, reach=hccn_ping.reach_hosts(params["hosts"], params["timeout_s"]))


if __name__ == "__main__":
    main()
