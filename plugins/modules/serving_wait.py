# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/serving_wait.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_wait
short_description: Wait until the service of a node has nothing to do, or until its NPUs are free
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - With V(requests_done) every running container of the deployment is asked for its requests until none is running or
    waiting. When the time is over it warns of those that are cut off and does not fail.
  - Without a balancer, servers that finish their requests by themselves (C(--shutdown-timeout)) are not waited for.
  - With V(npus_free) the NPUs are looked at until no process is on them and their HBM is free. When the time is over
    it fails and names each NPU with its holder.
options:
  until:
    description: What is waited for.
    type: str
    choices: [requests_done, npus_free]
    required: true
  timeout_s:
    description: Seconds to wait.
    type: float
    required: true
  devices:
    description: The NPUs, as the numbers N of C(/dev/davinciN).
    type: list
    elements: int
    default: []
attributes:
  check_mode:
    support: full
    description: One look is taken and nothing is waited for.
seealso:
  - module: ascend.vllm.serving_info
  - module: ascend.vllm.npu_info
"""

EXAMPLES = r"""
- name: Wait until the NPUs are free
  ascend.vllm.serving_wait:
    until: npus_free
    devices: [0, 1]
    timeout_s: 120
"""

RETURN = r"""
containers:
  description: The containers of the deployment, as M(ascend.vllm.serving_info) returns them.
  type: list
  elements: dict
  returned: with V(requests_done)
left:
  description: What was still to wait for, a clause each.
  type: list
  elements: str
  returned: always
seconds:
  description: Seconds waited.
  type: int
  returned: always
"""
