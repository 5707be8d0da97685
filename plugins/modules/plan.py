# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/plan.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Resolve the deployment on the node
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Resolves the deployment on the node from the catalogue and the inputs of the roles C(plan), C(image), C(weights) and
    C(serving). The plan contains the image, the devices, the mounts, the environment, the command of C(vllm serve), the
    ports, the patch and the warnings.
  - Runs on the controller and does not contact the node, so a plan is validated before any node is changed.
  - The action reads the inputs of the roles. Variables of the host take precedence over role defaults.
  - A plan is resolved once per host and run, and saved as C(<report_path>/<host>/plan.json) for later tasks.
  - If inputs are invalid, the action fails with one sentence for each error.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._attributes.action]
options:
  show: {type: bool, default: false, description: "Whether to print the plan."}
attributes:
  check_mode: {support: full, details: ["The node is not changed."]}
seealso: [{module: ascend.vllm.stage}]
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
    - The plan in the schema C(ascend.vllm/plan/v1).
    - C(hash) changes when the deployment changes. C(instances) has one item for each container of the node, with the
      C(npus), C(url), C(devices), C(mounts), C(environment), C(command) and C(hash) of the container.
    - The C(origin) of a mount shows where its source comes from. C(host) is used for files that the installer of the
      driver created, C(site) for the mounts in C(serving_mounts), and C(weights), C(patch), C(health), C(secrets)
      and C(plog) for files and folders that roles of this collection create.
  type: dict
  returned: success
run:
  description: The id of this run of Ansible, which is part of the names of temporary files and containers.
  type: str
  returned: success
  sample: 20260102T030405Z-1a2b3c4d
refusals: {type: list, elements: dict, returned: failure, description: "Errors, each with C(id) and C(message)."}
"""
