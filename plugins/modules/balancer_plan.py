# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/balancer_plan.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_plan
short_description: Resolve what stands behind the balancer
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Resolves the plans of C(serving_balancer_nodes) from the inventory, also of nodes that the play does not have, and
    tells which of C(serving_balancer_hosts) this host of the play takes care of.
  - A balancer that is in the play takes care of itself; for others the first host does that has not failed.
  - Works on the controller alone, and fails with a sentence for each reason why the nodes cannot be balanced.
options: {}
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
seealso:
  - module: ascend.vllm.plan
  - module: ascend.vllm.balancer_info
"""

EXAMPLES = r"""
- name: Work out what is balanced
  ascend.vllm.balancer_plan:
  register: __serving_balancer
"""

RETURN = r"""
hosts:
  description: The balancers that give this host requests; empty where it has no instance that takes any.
  type: list
  elements: str
  returned: success
managed:
  description: The balancers that this host takes care of.
  type: list
  elements: str
  returned: success
servers:
  description:
    - The instances behind the balancer with C(name), C(host), C(address), C(port) and C(served_name).
    - Where C(managed) is empty, those of this host only.
  type: list
  elements: dict
  returned: success
services:
  description: C(name), C(url) and C(served_name) of what the balancers in C(managed) serve.
  type: list
  elements: dict
  returned: success
ports:
  description: The inputs that name a port of a balancer, C(name) and C(port).
  type: list
  elements: dict
  returned: success
"""
