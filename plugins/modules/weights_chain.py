# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/weights_chain.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_chain
short_description: Work out who brings a model to the cluster and who takes it from whom
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Reads on the controller what every node of the play told that it holds, and answers for the node of the task.
  - Receivers form one chain behind every node that holds the model.
options:
  held:
    description: The variable that holds what P(ascend.vllm.weights_staging#module) told with C(state=held).
    type: str
    required: true
  failed:
    description: Nodes that tried to get the model from its source. One that does not hold it by now failed.
    type: list
    elements: str
    default: []
  staged:
    description: Whether a node has to hold the model by now; fails when none does.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Only computes.
"""

EXAMPLES = r"""
- name: Choose who gets the model from its source
  ascend.vllm.weights_chain:
    held: __weights_held
  register: __weights_chain
"""

RETURN = r"""
stager:
  description: The node that gets the model from its source, or that holds it.
  type: str
  returned: always
receivers:
  description: The nodes that do not hold the whole model.
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
  description: The addresses of the nodes to take the model from, the nearest first.
  type: list
  elements: str
  returned: always
manifest:
  description: The manifest of the model, or null when no node holds it.
  type: dict
  returned: always
"""
