# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/serving_group.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_group
short_description: Bring the nodes that serve together to one decision
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Each node of a group tells the others how far it is, and learns whether the group has to be started again. It does
    when one of its containers is missing, has ended or is out of date, and never otherwise.
  - Works on the controller alone, through files below C(report_path). Every node of the group has to run the same tasks
    in step, as with the strategy C(linear).
extends_documentation_fragment:
  - ascend.vllm.plan_option
options:
  state:
    description:
      - V(prepared) tells whether the container of the node is as planned.
      - V(decided) returns what follows for all of them. It fails when a node did not come as far as V(prepared).
      - V(started) tells that the container of the node was started, or did not have to be.
    type: str
    choices: [prepared, decided, started]
    required: true
  secrets:
    description: With V(prepared), the mark of the API key that the container should have been started with.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Nothing is changed on a node.
seealso:
  - module: ascend.vllm.plan
  - module: ascend.vllm.serving_ready
"""

EXAMPLES = r"""
- name: Decide whether the group is started again as a whole
  ascend.vllm.serving_group:
    state: decided
  register: __serving_group
"""

RETURN = r"""
current:
  description: Whether every node runs as planned.
  type: bool
  returned: with C(state=decided)
reasons:
  description: Why the group is started again, for each node that is not as planned.
  type: dict
  returned: with C(state=decided)
"""
