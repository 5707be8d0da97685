# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: hccl_mesh
short_description: Ping every NPU from every NPU of the other nodes
version_added: 0.9.0
description:
  - Reads the observations that M(ascend.vllm.observe) has saved for all nodes of the play, and computes the pings that
    this node sends in each round of a round-robin schedule. Sends these pings with one call of
    M(ascend.vllm.hccn_ping).
  - Also tests whether this node can open TCP connections to the other hosts.
  - Saves the results with the observation of this node. The C(hccl) stage judges the results. Failed pings do not fail
    the host.
  - A node that could not be observed is skipped.
  - The action reads the inputs of the role P(ascend.vllm.hccl#role).
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
attributes:
  check_mode: {details: ["The pings are also sent in check mode, because they do not change anything."]}
seealso: [{module: ascend.vllm.observe}, {module: ascend.vllm.hccn_ping}, {module: ascend.vllm.stage}]
"""

EXAMPLES = r"""
- name: Query the network ports of the node
  ascend.vllm.observe: {stage: hccl}

- name: Ping every NPU from every NPU of the other nodes
  ascend.vllm.hccl_mesh:
"""

RETURN = r"""
ping: {type: dict, returned: always, description: "The RV(ascend.vllm.hccn_ping#module:ping), or null."}
reach: {type: dict, returned: always, description: "The RV(ascend.vllm.hccn_ping#module:reach), or null."}
ping_error: {type: str, returned: always, description: "The error of M(ascend.vllm.hccn_ping), or null."}
"""
