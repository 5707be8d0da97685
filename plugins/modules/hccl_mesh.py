# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/hccl_mesh.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hccl_mesh
short_description: Ping every NPU from every NPU of other nodes
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Works out this node's part of a round-robin tournament from the observations that
    M(ascend.vllm.observe) has filed for all nodes of the play, and has it sent by M(ascend.vllm.hccn_ping) in one call.
  - Tries also whether the addresses of the other hosts can be reached.
  - Keeps the outcome with this node's observation, for the stage C(hccl) to judge. It fails no host by itself.
  - The inputs are those of the role P(ascend.vllm.hccl#role).
extends_documentation_fragment:
  - ascend.vllm.plan_option
attributes:
  check_mode:
    support: full
    description: The pings are sent; nothing is changed by them.
seealso:
  - module: ascend.vllm.stage
"""

EXAMPLES = r"""
- name: Ping every NPU from every NPU of other nodes
  ascend.vllm.hccl_mesh:
"""

RETURN = r"""
ping:
  description: What M(ascend.vllm.hccn_ping) returned, or null.
  type: dict
  returned: success
reach:
  description: By host whether its address was reached, or null.
  type: dict
  returned: success
ping_error:
  description: Why C(ping) is null.
  type: str
  returned: success
"""
