# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: serving_wait
short_description: Wait until the service of a node has no unfinished requests, or until its NPUs are free
version_added: 0.9.0
description:
  - With O(until=requests_done), waits until no running container of the deployment has unfinished requests. After
    O(timeout_s), the action does not fail, but warns that the remaining requests will be aborted.
  - Without a balancer, the action does not wait for servers that finish their requests when they are stopped
    (C(--shutdown-timeout)).
  - With O(until=npus_free), waits until no process uses the NPUs and their HBM is free. After O(timeout_s), the action
    fails. The error message contains each NPU that is not free, and the process or container that uses it.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
options:
  until: {type: str, required: true, choices: [requests_done, npus_free], description: "The condition to wait for."}
  timeout_s: {type: float, required: true, description: "The maximum number of seconds to wait."}
  devices: {type: list, elements: int, default: [], description: "The NPUs, as the numbers N of C(/dev/davinciN)."}
attributes:
  check_mode: {details: ["The action checks the service or the NPUs once and does not wait."]}
seealso: [{module: ascend.vllm.serving_info}, {module: ascend.vllm.npu_info}]
"""

EXAMPLES = r"""
- name: Wait until the NPUs are free
  ascend.vllm.serving_wait:
    until: npus_free
    devices: [0, 1]
    timeout_s: 120
"""

RETURN = r"""
containers: {type: list, elements: dict, returned: with O(until=requests_done), description: "The containers of the
  deployment, as M(ascend.vllm.serving_info) returns them."}
left: {type: list, elements: str, returned: always, description: "Servers with requests, or NPUs that are not free."}
seconds: {type: int, returned: always, description: "The waiting time in seconds."}
"""
