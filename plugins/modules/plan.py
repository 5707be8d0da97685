# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/plan.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Resolve what is deployed on a node
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Turns the catalogue and the inputs of the roles C(plan), C(image), C(weights) and C(serving) into the deployment
    of the node, with image, devices, mounts, environment, command of C(vllm serve), ports, patch and warnings.
  - Works on the controller alone. The node is not asked, so a plan is known to be valid before any node is touched.
  - The action reads the inputs of the roles itself. Variables of the host take precedence over role defaults.
  - A plan is resolved once for each host and run, and filed as C(<report_path>/<host>/plan.json) for later tasks.
  - Fails with one sentence for each mistake in the inputs, all at once.
options:
  show:
    description: Whether to print the plan for people.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
seealso:
  - module: ascend.vllm.stage
"""

EXAMPLES = r"""
- name: Plan the deployment
  ascend.vllm.plan:
  register: __serving_plan

- name: Print the address of the first instance
  ansible.builtin.debug:
    msg: "{{ __serving_plan.plan.instances[0].url }}"
"""

RETURN = r"""
plan:
  description:
    - The plan, of schema C(ascend.vllm/plan/v1).
    - C(hash) changes when what is deployed changes. C(instances) holds one entry for each container of the node, with
      its C(npus), C(url), C(devices), C(mounts), C(environment), C(command) and C(hash).
    - The C(origin) of a mount tells who brings its source, C(host) for what the driver installed, C(site) for what
      C(serving_mounts) adds, and C(weights), C(patch) and C(secrets) for what roles of this collection put there.
  type: dict
  returned: success
refusals:
  description: The mistakes, each with C(id) and C(message).
  type: list
  elements: dict
  returned: failure
"""
