# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/weights_chain.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_chain
short_description: Choose the source of the model for every node of a fan-out
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Chooses the node that gets the model from its source, the stager, and from which node the node of the task gets it.
  - The receivers form a chain behind each node that has the model.
  - Runs on the controller only.
options:
  held:
    description:
      - For each node of the play that answered, what M(ascend.vllm.weights_staging) returned with C(state=held).
    type: dict
    required: true
  failed:
    description: Nodes that tried to get the model from the source. Those that do not have it by now failed.
    type: list
    elements: str
    default: []
  staged:
    description: Whether a node has to have the model by now. If so, the task fails when none does.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Never changes anything.
"""

EXAMPLES = r"""
- name: Choose the stager
  ascend.vllm.weights_chain:
    held:
      node1: {holds: false, files: 0, manifest: null}
      node2: {holds: false, files: 3, manifest: null}
  register: __weights_chain
"""

RETURN = r"""
stager:
  description: The node that gets the model from the source, or that has it; null when no node can.
  type: str
  returned: always
receivers:
  description: The nodes that do not have the whole model.
  type: list
  elements: str
  returned: always
address:
  description: The address of this node.
  type: str
  returned: always
allies:
  description: The addresses of all nodes.
  type: list
  elements: str
  returned: always
upstream:
  description: The addresses of the nodes to get the model from, the nearest first.
  type: list
  elements: str
  returned: always
manifest:
  description: The manifest of the model, or null when no node has it.
  type: dict
  returned: always
"""
