# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: serving_group
short_description: Decide whether a group of nodes is restarted
version_added: 0.9.0
description:
  - Each node of a group reports its state to the other nodes, and all nodes get the same decision. The group is
    restarted only if the container of at least one node is missing, has exited or is out of date.
  - Runs only on the controller. The reports are files below C(report_path). All nodes of the group have to run the same
    tasks at the same time, as with the strategy C(linear).
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
options:
  state:
    description:
      - V(prepared) reports whether the container of the node is as planned.
      - V(decided) returns the decision. It fails if a node has not reported V(prepared).
      - V(started) reports that the container of the node was started, or that the container was already running.
    type: str
    choices: [prepared, decided, started]
    required: true
  secrets: {type: str, default: "", description: "With O(state=prepared), the expected label C(ascend.vllm.secrets)."}
attributes:
  check_mode: {details: ["Nothing is changed on a node."]}
seealso: [{module: ascend.vllm.plan}, {module: ascend.vllm.serving_ready}]
"""

EXAMPLES = r"""
- name: Observe the container of the node
  ascend.vllm.observe: {stage: serving, phase: before}

- name: Report to the other nodes whether the container is as planned
  ascend.vllm.serving_group: {state: prepared}

- name: Decide whether the group is restarted
  ascend.vllm.serving_group: {state: decided}
  register: __serving_group
"""

RETURN = r"""
current: {type: bool, returned: with O(state=decided), description: "Whether all nodes' containers run as planned."}
reasons: {type: dict, returned: with O(state=decided), description: "The reasons to restart, by node."}
"""
