# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/serving_status.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_status
short_description: Show what the service of each node does
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - One call of M(ascend.vllm.serving_info) looks at the node. With O(show) the rows of all nodes are
    printed as one table.
  - Tells for each instance the state of its container, whether it answers, its requests running and waiting, how full
    its KV cache is, its NPUs, how long it is up, whether it is what the plan says, and its image.
  - A node that cannot be reached has a row that says so. Nothing is changed.
extends_documentation_fragment:
  - ascend.vllm.plan_option
options:
  show:
    description: Rows of all hosts.
    type: list
    elements: list
  balancers:
    description: What M(ascend.vllm.balancer_info) returned in a loop over the balancers.
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    support: full
    description: The same is shown; the module never changes anything.
"""

EXAMPLES = r"""
- name: Look at the service
  ascend.vllm.serving_status:
  register: __serving_status
"""

RETURN = r"""
rows:
  description: A list of texts for each instance.
  type: list
  elements: list
  returned: always
lines:
  description: The table.
  type: list
  elements: str
  returned: with O(show)
"""
