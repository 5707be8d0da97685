# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Resolve the deployment on the node
version_added: 0.9.0
description:
  - Resolves the deployment on the node from the catalogue and the inputs of the roles C(plan), C(image), C(weights) and
    C(serving). The plan contains the image, the devices, the mounts, the environment, the command of C(vllm serve), the
    ports, the patch and the warnings.
  - Runs on the controller and does not contact the node, so a plan is validated before any node is changed.
  - The action reads the inputs of the roles. Variables of the host take precedence over role defaults.
  - A plan is resolved once per host and run, and saved as C(<report_path>/<host>/plan.json) for later tasks.
  - If inputs are invalid, the action fails with one sentence for each error.
  - The playbooks begin with O(phase=begin), which reports the errors of all nodes together.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes]
options:
  phase:
    description:
      - V(begin) resolves and saves the plans of O(hosts), checks the inputs of all roles, and prints the warnings. It
        fails with the errors of all hosts, or if the control node lacks a collection or cannot write to
        C(report_path).
      - V(show) prints the plans of O(hosts). They begin with a head of at most 25 lines. Equal plans are printed once.
      - V(offline) returns what O(hosts) need at a site without internet access, and the inputs with which they use it.
      - V(resolve) returns the plan.
    type: str
    choices: [begin, show, offline, resolve]
    default: resolve
  hosts: {type: list, elements: str, default: [], description: "The hosts of the phases other than V(resolve)."}
  commands: {type: dict, default: {}, description: "For O(phase=offline), the commands that collect each kind of part."}
  site: {type: dict, description: "For O(phase=offline), C(path) and C(url) of the folder at the site, and C(ids), the
    ids of the images by part."}
  stages: {type: list, elements: str, choices: [npu_driver, hccl, image, weights, serving, functional, accuracy,
    benchmark], description: "The stages whose inputs are checked. By default, these are the stages that the tags of the
    run select."}
attributes:
  check_mode: {details: ["The node is not changed."]}
seealso: [{module: ascend.vllm.stage}, {module: ascend.vllm.offline}]
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
  returned: with O(phase=resolve)
run: {type: str, sample: 20260102T030405Z-1a2b3c4d, returned: with O(phase=resolve), description: "The id of this run of
  Ansible, which is part of the names of temporary files and containers."}
observers: {type: dict, returned: with O(phase=resolve), description: "C({stage: host}) for the stages that are run once
  per node. C(host) is the deployment that runs the stage for this host."}
parts: {type: list, elements: dict, returned: with O(phase=offline), description: "What M(ascend.vllm.offline) needs."}
inventory: {type: dict, returned: with O(phase=offline), description: "C({host: {input: value}}) for the site."}
msg: {type: str, returned: when O(phase=show), description: "The head of the plans."}
refusals: {type: list, elements: raw, returned: failure, description: "Sentences, or C(id) and C(message) of each."}
"""
