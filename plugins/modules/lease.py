# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: lease
short_description: Release the leases of a run
version_added: 0.9.0
description:
  - A run that changes a node holds a lease on the node and on the results folder. Meanwhile, no other run can change
    them, even from another controller. The first task of the run takes the leases, and every later task renews them.
  - This action releases the leases. Playbooks run it as their last task.
  - Without this action, a lease expires 24 hours after its last renewal. For other runs on the same controller, it
    expires as soon as the process of its run no longer exists.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes]
options:
  state: {type: str, required: true, choices: [absent], description: "V(absent) releases the leases of this run."}
attributes:
  check_mode: {details: ["A run in check mode has no lease on a node."]}
"""

EXAMPLES = r"""
- name: Release the lease of this run
  ascend.vllm.lease: {state: absent}
"""

RETURN = r"""
"""
