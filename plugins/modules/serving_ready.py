# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: serving_ready
short_description: Wait until the planned service of a node is ready or has failed
version_added: 0.9.0
description:
  - Observes every instance of the plan with M(ascend.vllm.serving_info) until each instance has completed a request or
    failed, or until C(serving_ready_timeout_s) has passed.
  - In a group, only the head serves the API, but the action waits for every node. If a node fails, becomes unreachable,
    or has failed earlier in the run, the containers of the group are stopped, because they would wait forever for this
    node.
  - Prints the progress of the start, which is read from the log of the server.
  - The action does not fail the host. M(ascend.vllm.stage) fails the host after it has recorded the result.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
attributes:
  check_mode: {details: ["The service is observed once. The action does not wait and does not stop anything."]}
seealso: [{module: ascend.vllm.serving_info}, {module: ascend.vllm.stage}]
"""

EXAMPLES = r"""
- name: Wait for the service
  ascend.vllm.serving_ready:
  register: __serving_ready
"""

RETURN = r"""
failed_instances: {type: list, elements: dict, returned: always, description: "As in M(ascend.vllm.serving_info)."}
failed_members: {type: list, elements: dict, returned: in a group, description: "The nodes that failed or were not ready
  in time, each with C(host), C(state) (V(failed) or V(late)) and C(reason)."}
ready: {type: bool, returned: always, description: "Whether all instances are ready, on all nodes of a group."}
seconds: {type: int, returned: always, description: "The waiting time in seconds."}
"""
