# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_chain
short_description: Determine from which nodes a node copies the model
version_added: 0.9.0
description:
  - Chooses the stager, which is the node that gets the model from its source, and the nodes from which this node gets
    the model.
  - The receivers form a chain behind each node that has the model.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes]
options:
  held: {type: dict, required: true, description: "The return values of M(ascend.vllm.weights_staging) with
    C(state=held), with the names of the nodes as keys. Nodes on which the module failed are omitted."}
  failed: {type: list, elements: str, default: [], description: "The nodes that have already tried to get the model from
    the source. If such a node does not have the model, the node is not chosen again."}
  hosts: {type: list, elements: str, description: "The nodes that need the model, in order. By default, these are all
    nodes of the play."}
  staged: {type: bool, default: false, description: "Whether to fail if no node has the model."}
"""

EXAMPLES = r"""
- name: Choose the stager
  ascend.vllm.weights_chain:
    held: {node1: {holds: false, files: 0, manifest: null}, node2: {holds: false, files: 3, manifest: null}}
  register: __weights_chain
"""

RETURN = r"""
stager: {type: str, returned: always, description: "The node that gets the model from the source or has it, or null."}
receivers: {type: list, elements: str, returned: always, description: "The nodes that do not have the whole model."}
address: {type: str, returned: always, description: "The address at which the other nodes reach this node."}
peers: {type: list, elements: str, returned: always, description: "The addresses of all nodes that need the model."}
upstream: {type: list, elements: str, returned: always, description: "The addresses of the nodes from which this node
  gets the model, with the nearest node first."}
manifest: {type: dict, returned: always, description: "The manifest of the model, or null if no node has the model."}
"""
