# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/serving_ready.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_ready
short_description: Wait until the planned service of a node answers or has failed
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Observes every instance of the plan with M(ascend.vllm.serving_info) until each of them has answered a completion or
    failed, or until C(serving_ready_timeout_s).
  - In a group, where only the head answers, every node is waited for. If one of them fails, becomes unreachable or left
    the run before it was started, the containers of the group are stopped, because they would wait for it in vain.
  - Prints the progress of the start, which is read from the log of the server.
  - Does not fail the host. M(ascend.vllm.stage) does so after it has recorded the result.
extends_documentation_fragment:
  - ascend.vllm._plan_option
attributes:
  check_mode:
    support: full
    description: The service is observed once. Nothing is waited for or stopped.
seealso:
  - module: ascend.vllm.serving_info
  - module: ascend.vllm.stage
"""

EXAMPLES = r"""
- name: Wait for the service
  ascend.vllm.serving_ready:
  register: __serving_ready
"""

RETURN = r"""
failed_instances:
  description: The instances that failed, as M(ascend.vllm.serving_info) returns them.
  type: list
  elements: dict
  returned: always
failed_members:
  description: The nodes that failed or were late, each with C(host), C(state) (V(failed) or V(late)) and C(reason).
  type: list
  elements: dict
  returned: in a group
ready:
  description: Whether all instances are ready, in a group those of all nodes.
  type: bool
  returned: always
seconds:
  description: Seconds waited.
  type: int
  returned: always
"""
