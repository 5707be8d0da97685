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
  - Looks at every instance of the plan with M(ascend.vllm.serving_info) until each of them answers a completion, one
    of them has failed and none is starting any more, or C(serving_ready_timeout_s) is over.
  - In a group the head answers for all, and every node is waited for. When one of them fails, is lost or left before
    it was started, the containers of the group are stopped, since they would wait for it in vain.
  - Prints how far a start is, as the server's log tells it.
  - Does not fail the host, which M(ascend.vllm.stage) does after it has recorded what was found.
extends_documentation_fragment:
  - ascend.vllm.plan_option
attributes:
  check_mode:
    support: full
    description: One look is taken, and nothing is waited for or stopped.
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
ended:
  description: The nodes that ended the start, each with C(host), C(state) (V(failed) or V(late)) and C(reason).
  type: list
  elements: dict
  returned: in a group
failed_instances:
  description: The instances that failed, as M(ascend.vllm.serving_info) returns them.
  type: list
  elements: dict
  returned: always
ready:
  description: Whether all instances are ready, in a group those of all nodes.
  type: bool
  returned: always
seconds:
  description: Seconds waited.
  type: int
  returned: always
"""
