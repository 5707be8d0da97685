# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Judge the node for a stage and record the result
version_added: 0.9.0
description:
  - Compares the observation of the node with the plan and the inputs of the stage's role, and writes the result to
    C(<report_path>/<host>/<stage>.json) on the controller. Fails the host if a critical check failed.
  - If M(ascend.vllm.observe) has saved an observation for this phase in this run, the action uses this observation, and
    the judge of the stage can compare it with the observations of the other hosts of the play. Otherwise, the action
    observes the node in one module call.
  - If the node is unreachable or the module fails, this failure is recorded as a failed check.
  - The action reads the inputs of the role. Variables of the host take precedence over role defaults.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
options:
  stage: {type: str, required: true, choices: [npu_driver, hccl, image, weights, serving, functional, accuracy,
    benchmark], description: "The stage. It determines the judge, the role whose inputs are read, and the name of the
    file."}
  phase: {type: str, default: "", description: "The phase of the stage, if the stage is judged more than once. The
    C(image) and C(serving) stages are judged in the phase C(before) before the node is changed. The C(serving) stage is
    also judged in the phase C(rolled_back) after a failed upgrade, and in the phase C(restored) after a restore of the
    kept containers."}
  measured: {type: dict, description: "The results of other tasks of the role, see the judge of the stage."}
  failure: {type: str, description: "The error message of a failed task of the role."}
  only: {type: list, elements: str, description: "The IDs of the checks to replace in the result that this run has
    already written. By default, the whole result is replaced."}
attributes:
  check_mode: {details: ["The node is observed and judged, but no result is written."]}
seealso: [{module: ascend.vllm.observe}, {module: ascend.vllm.plan}]
"""

EXAMPLES = r"""
- name: Observe the service, judge it and record the result
  ascend.vllm.stage: {stage: serving}

- name: Pull the image, or record why it could not be pulled
  block:
    - name: Pull the image
      community.docker.docker_image_pull: {name: "quay.io/ascend/vllm-ascend:v0.11.0rc1", pull: not_present}
  rescue:
    - name: Record the failure
      ascend.vllm.stage: {stage: image, failure: "{{ ansible_failed_result.msg }}"}
"""

RETURN = r"""
status: {type: str, returned: always, sample: passed, description: "The worst status of the checks."}
path: {type: str, returned: always, description: "The path of the result on the controller; null in check mode."}
reachable: {type: bool, returned: always, description: "Whether the node was reachable."}
observed: {type: dict, returned: always, description: "The part of the observation that the role uses."}
"""
